//! A mark beside the file of the last serial: from this number on some may be in use that the file does not tell of.
//!
//! It is a name without content, so that it can be made on a disk that has no room. It stands for a row of [`AHEAD`] numbers, so
//! that it is made before the first of them and then not for a while. The name tells the start of the machine too: in the same one the log tells how
//! many of the row were used, after a power loss its end may be missing, and all of the row counts as used.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::failpoint::pass;
use super::file::sync_directory;
use super::scribe::Scribe;
use crate::zone::Serial;

/// Numbers that a mark stands for: those of a minute. A restart goes on behind them, and so runs ahead of the clock at most so far;
/// much more would be in the way of a POP that lost its state altogether and goes by the clock.
pub const AHEAD: u32 = 600;
/// Beginning of the name; number and start of the machine follow.
const PREFIX: &str = "serial-unwritten-";

/// The mark on disk, if there is one.
#[derive(Debug)]
pub struct Unwritten {
    directory: PathBuf,
    boot_id: String,
    from: Option<Serial>,
    /// A restart may take the mark for one that was left over: the disk may tell of its beginning.
    outdated: bool,
    scribe: Scribe,
}

/// One of them on disk.
struct Mark {
    serial: Serial,
    boot_id: String,
    path: PathBuf,
}

impl Mark {
    /// The last number that it stands for.
    const fn through(&self) -> Serial {
        Serial(self.serial.0.wrapping_add(AHEAD))
    }
}

impl Unwritten {
    /// Looks for marks, and for the last number that may be in use by what they say, where that is behind `last`, which log and reservation tell.
    /// Whether the log of this start of the machine `is_whole` decides what its marks say: they were left over if the log is beyond them.
    pub fn open(directory: &Path, last: Option<Serial>, boot_id: &str, is_whole: bool) -> io::Result<(Self, Option<Serial>)> {
        let later = |serial: Serial, than: Option<Serial>| than.is_none_or(|than| serial.is_after(than));
        let (mut from, mut used) = (None, None);
        for mark in marks(directory)?.into_iter().filter(|mark| later(mark.through(), last)) {
            let is_told = is_whole && mark.boot_id == boot_id && !later(mark.serial, last);
            if !is_told && later(mark.through(), used) {
                used = Some(mark.through());
            }
            if later(mark.serial, from) {
                from = Some(mark.serial);
            }
        }
        // What is told by the log now may be gone after the next power loss: such a mark stays until numbers are reserved.
        remove_others(directory, from);
        Ok((Self { from, ..Self::none(directory, boot_id) }, used))
    }

    /// No mark is known.
    #[must_use]
    pub fn none(directory: &Path, boot_id: &str) -> Self {
        let (directory, boot_id) = (directory.to_owned(), boot_id.to_owned());
        Self { directory, boot_id, from: None, outdated: false, scribe: Scribe::direct() }
    }

    /// Lets somebody write who may wait for the disk.
    #[must_use]
    pub fn through(self, scribe: &Scribe) -> Self {
        Self { scribe: scribe.clone(), ..self }
    }

    /// Makes sure that `serial`, which is about to be used, is not used again after a restart.
    pub fn mark(&mut self, serial: Serial) -> io::Result<()> {
        if !self.outdated && self.from.is_some_and(|from| serial.0.wrapping_sub(from.0) <= AHEAD) {
            return Ok(());
        }
        let (directory, boot_id) = (self.directory.clone(), self.boot_id.clone());
        self.scribe.run(move || {
            fs::create_dir_all(&directory)?;
            pass(&directory)?;
            File::create(directory.join(format!("{PREFIX}{serial}-{boot_id}")))?.sync_all()?;
            sync_directory(&directory)?;
            remove_others(&directory, Some(serial));
            Ok(())
        })?;
        (self.from, self.outdated) = (Some(serial), false);
        Ok(())
    }

    /// The present mark is not enough for what is used from now on: the disk may tell of its beginning, and a restart would take it for one that was
    /// left over.
    pub const fn outdate(&mut self) {
        self.outdated = true;
    }

    /// Everything is written down.
    pub fn clear(&mut self) {
        if self.from.take().is_some() {
            let directory = self.directory.clone();
            _ = self.scribe.run(move || {
                remove_others(&directory, None);
                Ok(())
            });
        }
    }
}

/// What cannot be removed is earlier than the file or another mark, and so harmless.
fn remove_others(directory: &Path, kept: Option<Serial>) {
    for Mark { serial, path, .. } in marks(directory).unwrap_or_default() {
        if kept != Some(serial) && pass(&path).is_ok() {
            let _ = fs::remove_file(path);
        }
    }
}

fn marks(directory: &Path) -> io::Result<Vec<Mark>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut marks = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        let (serial, boot_id) = rest.split_once('-').unwrap_or((rest, ""));
        if let Ok(serial) = serial.parse() {
            marks.push(Mark { serial: Serial(serial), boot_id: boot_id.to_owned(), path: entry.path() });
        }
    }
    Ok(marks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_stands_for_what_the_log_may_have_lost() {
        let folder = tempfile::tempdir().unwrap();
        let open = |last: u32, boot: &str, is_whole| {
            let (unwritten, used) = Unwritten::open(folder.path(), Some(Serial(last)), boot, is_whole).unwrap();
            (unwritten.from.map(|from| from.0), used.map(|used| used.0))
        };
        assert_eq!(open(7, "a", true), (None, None));
        Unwritten::none(folder.path(), "a").mark(Serial(100)).unwrap();
        assert_eq!(open(99, "a", true), (Some(100), Some(700)), "the log does not know of it");
        assert_eq!(open(105, "a", true), (Some(100), None), "the log tells what was used");
        assert_eq!(open(105, "b", true), (Some(100), Some(700)), "the machine was started anew");
        assert_eq!(open(105, "a", false), (Some(100), Some(700)), "something is missing");
        // As it was named before.
        fs::rename(folder.path().join("serial-unwritten-100-a"), folder.path().join("serial-unwritten-100")).unwrap();
        assert_eq!(open(105, "a", true), (Some(100), Some(700)));
        assert_eq!(open(700, "a", true), (None, None), "whatever it stands for is known");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_mark_is_made_once_for_a_row_and_again_when_it_is_outdated() {
        let folder = tempfile::tempdir().unwrap();
        let names = || {
            let entries = fs::read_dir(folder.path()).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
        };
        let mut unwritten = Unwritten::none(folder.path(), "a");
        for (serial, marked) in [(100, 100), (101, 100), (700, 100), (701, 701)] {
            unwritten.mark(Serial(serial)).unwrap();
            assert_eq!(names(), [format!("serial-unwritten-{marked}-a")]);
        }
        unwritten.outdate();
        unwritten.mark(Serial(702)).unwrap();
        unwritten.mark(Serial(703)).unwrap();
        assert_eq!(names(), ["serial-unwritten-702-a"]);
        unwritten.clear();
        assert!(names().is_empty());
    }
}
