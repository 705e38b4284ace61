//! What is in a folder, and how to keep it within bounds.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::unfinished::UNFINISHED;
use super::{Failpoint, remove};

/// A file of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its length.
    pub octets: u64,
    /// When it was last changed.
    pub modified: SystemTime,
}

/// How much a folder may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// All files together.
    pub octets: u64,
    /// Files.
    pub files: usize,
    /// What is older than this goes.
    pub age: Duration,
}

/// How many files had to go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Older than they may be.
    pub old: u64,
    /// The oldest, for want of room.
    pub room: u64,
}

/// The regular files whose names please `wanted`, by name. A folder that is not there is empty.
///
/// # Errors
/// When the folder cannot be read.
pub fn list(folder: &Path, wanted: impl Fn(&str) -> bool) -> io::Result<Vec<Entry>> {
    let found = match std::fs::read_dir(folder) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut entries = Vec::new();
    for file in found {
        let file = file?;
        let Some(name) = file.file_name().to_str().filter(|name| wanted(name)).map(str::to_owned) else { continue };
        // It may be gone meanwhile: then it is none of ours any more.
        let Ok(metadata) = file.metadata() else { continue };
        if metadata.is_file() {
            let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            entries.push(Entry { name, octets: metadata.len(), modified });
        }
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// Removes what was unfinished when the process last ended, and says how many there were. For the start, before anything is written.
///
/// # Errors
/// When the folder cannot be read, or a file stays.
pub fn sweep(folder: &Path) -> io::Result<usize> {
    let left = list(folder, |name| name.ends_with(UNFINISHED))?;
    for entry in &left {
        remove(&folder.join(&entry.name))?;
    }
    Ok(left.len())
}

/// Removes what is too old and, the first names first, what is too much, `room` octets for a file to come included. Tells what went, and also
/// when a file stayed that should have gone.
pub fn bring_within(
    folder: &Path,
    entries: &mut Vec<Entry>,
    bound: &Bound,
    now: SystemTime,
    room: u64,
) -> (Dropped, io::Result<()>) {
    let mut dropped = Dropped::default();
    let mut octets = entries.iter().map(|entry| entry.octets).fold(room, u64::saturating_add);
    let mut files = entries.len() + usize::from(room > 0);
    let mut trouble = Ok(());
    entries.retain(|entry| {
        let old = now.duration_since(entry.modified).is_ok_and(|age| age > bound.age);
        if !old && octets <= bound.octets && files <= bound.files {
            return true;
        }
        Failpoint::DropBefore.pass();
        if let Err(error) = remove(&folder.join(&entry.name)) {
            trouble = Err(error);
            return true;
        }
        octets = octets.saturating_sub(entry.octets);
        files -= 1;
        if old {
            dropped.old += 1;
        } else {
            dropped.room += 1;
        }
        false
    });
    (dropped, trouble)
}

/// The same for whoever does not count what went.
///
/// # Errors
/// When a file stays that should go.
pub fn keep_within(folder: &Path, entries: &mut Vec<Entry>, bound: &Bound, now: SystemTime, room: u64) -> io::Result<Dropped> {
    let (dropped, trouble) = bring_within(folder, entries, bound, now, room);
    trouble.map(|()| dropped)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        list(folder, |_| true).unwrap().into_iter().map(|entry| entry.name).collect()
    }

    fn folder(files: &[(&str, usize)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, octets) in files {
            fs::write(folder.path().join(name), vec![0; *octets]).unwrap();
        }
        folder
    }

    fn bound(octets: u64, files: usize) -> Bound {
        Bound { octets, files, age: Duration::from_secs(3600) }
    }

    fn keep(folder: &Path, bound: &Bound, room: u64) -> Dropped {
        keep_within(folder, &mut list(folder, |_| true).unwrap(), bound, SystemTime::now(), room).unwrap()
    }

    #[test]
    fn only_regular_files_count_and_a_missing_folder_is_empty() {
        let folder = folder(&[("b", 1), ("a", 2)]);
        fs::create_dir(folder.path().join("c")).unwrap();
        std::os::unix::fs::symlink("a", folder.path().join("d")).unwrap();
        assert_eq!(names(folder.path()), ["a", "b"]);
        assert_eq!(list(&folder.path().join("none"), |_| true).unwrap(), []);
    }

    #[test]
    fn the_oldest_go_until_there_is_room() {
        let folder = folder(&[("a", 10), ("b", 10), ("c", 10)]);
        assert_eq!(keep(folder.path(), &bound(30, 3), 0), Dropped::default());
        assert_eq!(keep(folder.path(), &bound(30, 9), 1), Dropped { old: 0, room: 1 });
        assert_eq!(names(folder.path()), ["b", "c"]);
        assert_eq!(keep(folder.path(), &bound(30, 1), 0), Dropped { old: 0, room: 1 });
        assert_eq!(names(folder.path()), ["c"]);
    }

    #[test]
    fn what_went_is_told_although_something_else_stayed() {
        let folder = folder(&[("a", 10), ("c", 10)]);
        let mut entries = list(folder.path(), |_| true).unwrap();
        fs::create_dir(folder.path().join("b")).unwrap();
        entries.insert(1, Entry { name: "b".to_owned(), ..entries[0].clone() });
        let (dropped, trouble) = bring_within(folder.path(), &mut entries, &bound(0, 9), SystemTime::now(), 0);
        assert_eq!((dropped, trouble.is_err()), (Dropped { old: 0, room: 2 }, true));
        assert_eq!((entries.len(), names(folder.path())), (1, vec![]));
    }

    #[test]
    fn sent_files_go_when_recorded() {
        let vectors = crate::vectors::load("retention.json");
        let age = Duration::from_secs(vectors["retention_seconds"].as_u64().unwrap());
        for case in vectors["vectors"].as_array().unwrap() {
            let folder = folder(&[("a", 1)]);
            let mut entries = list(folder.path(), |_| true).unwrap();
            let now = entries[0].modified + Duration::from_secs(case["age_seconds"].as_u64().unwrap());
            let dropped = keep_within(folder.path(), &mut entries, &Bound { age, ..bound(9, 9) }, now, 0).unwrap();
            assert_eq!(dropped.old == 1, case["delete"].as_bool().unwrap(), "{case}");
            assert_eq!(names(folder.path()).len(), entries.len());
        }
    }

    #[test]
    fn what_was_unfinished_is_swept() {
        let folder = folder(&[("a.tmp", 1), ("a", 1), ("b.tmp", 0)]);
        assert_eq!(sweep(folder.path()).unwrap(), 2);
        assert_eq!(names(folder.path()), ["a"]);
    }
}
