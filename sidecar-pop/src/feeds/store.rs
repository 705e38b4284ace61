//! The last good copy of a source, kept across restarts: `<data>/sources/<name>/`.
//!
//! ```text
//! meta.json     which table counts, and all that is known about it; replaced whole
//! data-<n>.tab  the table
//! changes-<n>.log  what changed since, of a feed
//! ```
//! A new table is durable before `meta.json` names it, and the old one goes after that: whenever the process is killed, there is one
//! copy that is whole. Where the folder cannot be made or written everything is in memory, and a restart begins without; it is tried again, and
//! what is held goes there when it can.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use rustix::fs::{MemfdFlags, memfd_create};
use serde::{Deserialize, Serialize};
use tapir_table::{Codes, Palette, TableFile};

use super::Meta;
use super::begun::Begun;
use super::collect::{CollectError, Collected, IN_MEMORY, Place, write_table};
use crate::state::file::replace;

/// Version of `meta.json`.
const FORMAT: u32 = 1;
/// Largest `meta.json`: a hundred refused lines, and what a server says about itself.
const LARGEST_META: u64 = 1 << 20;

/// What a source keeps beside its content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Marks {
    /// SHA-256 of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The server's mark of this version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// The server's time of this version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
    /// Seconds of a SOA: refresh, retry, expire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timers: Option<[u32; 3]>,
    /// When the source was reached last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checked_at: Option<Timestamp>,
    /// Something could not be kept as it is, so changes to it cannot be checked.
    pub lossy: bool,
}

/// A whole content with everything that is known about it.
#[derive(Clone, Debug)]
pub struct Copy {
    /// Names.
    pub table: Arc<TableFile<Codes>>,
    /// Local data.
    pub palette: Arc<Palette>,
    /// What the engine is told.
    pub meta: Meta,
    /// What the source needs.
    pub marks: Marks,
    /// Its file, until it is kept.
    pub begun: Begun,
}

impl Copy {
    /// Of what was just collected.
    #[must_use]
    pub fn new(collected: &Collected, meta: Meta, marks: Marks) -> Self {
        let marks = Marks { lossy: collected.lossy, ..marks };
        Self {
            table: Arc::clone(&collected.table),
            palette: Arc::clone(&collected.palette),
            meta,
            marks,
            begun: collected.begun.clone(),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    format: u32,
    /// What the copy is of: one of something else is none.
    identity: String,
    table: String,
    meta: Meta,
    #[serde(default)]
    marks: Marks,
}

/// Tells a feed that its source is not wanted any more, or made anew. Its task can be dropped, while what it does on a thread of its own runs on: that
/// then writes nothing more.
#[derive(Clone, Debug, Default)]
pub struct Leave(Arc<AtomicBool>);

impl Leave {
    /// From now on.
    pub fn leave(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it is so.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The folder of one source.
#[derive(Debug)]
pub struct Store {
    leave: Leave,
    path: PathBuf,
    /// The same, once it could be made.
    folder: Option<PathBuf>,
    identity: String,
    /// Of the table that was begun last.
    generation: u64,
    /// Of the table that counts after a restart.
    kept: u64,
    /// What counts now is newer, and in memory only.
    in_memory: bool,
}

impl Store {
    /// Of this source. `identity` says what a copy is of: source, format, zone; a copy with another one does not count.
    #[must_use]
    pub fn open(data: &Path, source: &str, identity: String) -> Self {
        // A name like `..` is no folder of ours.
        let source: String = source.chars().map(|each| if each == '.' || each == '/' { '%' } else { each }).collect();
        let path = data.join("sources").join(source);
        let mut store = Self { leave: Leave::default(), path, folder: None, identity, generation: 0, kept: 0, in_memory: false };
        store.look();
        store
    }

    /// Makes the folder where it is missing: a volume may come late, or over what was there, and a disk may take it only now.
    pub(super) fn look(&mut self) {
        if fs::create_dir_all(&self.path).is_err() || self.folder.is_some() {
            return;
        }
        self.folder = Some(self.path.clone());
        let written = self.files().filter_map(|file| generation_of(&file)).max().unwrap_or(0);
        self.generation = self.generation.max(written);
        // What a killed process had begun to write.
        for file in self.files().filter(|file| file.ends_with(".new") || file.ends_with(".tmp")) {
            self.remove(&file);
        }
    }

    /// This one says when it is not wanted any more.
    #[must_use]
    pub fn leaving(self, leave: &Leave) -> Self {
        Self { leave: leave.clone(), ..self }
    }

    /// For who may say that it is not wanted any more.
    #[must_use]
    pub fn leave(&self) -> Leave {
        self.leave.clone()
    }

    /// Does it unless somebody else has the folder by now, who does nothing meanwhile.
    fn write<T>(&self, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        static ONE: Mutex<()> = Mutex::new(());
        let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        if self.leave.has_left() { Err(io::Error::other("the source is not wanted any more")) } else { work() }
    }

    /// Where the next table goes.
    pub fn next_place(&mut self) -> Place {
        // A feed that was replaced may be writing still: no two have one place.
        static LAST: AtomicU64 = AtomicU64::new(0);
        LAST.fetch_max(self.generation, Ordering::Relaxed);
        self.generation = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        match &self.folder {
            Some(folder) => Place::File(folder.join(table_name(self.generation))),
            None => Place::Memory,
        }
    }

    /// A file of this source that nobody else can open; `None` where there is no disk.
    pub fn scratch(&self) -> Option<io::Result<File>> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let path = self.folder.as_ref()?.join(format!("staged-{}.tmp", NUMBER.fetch_add(1, Ordering::Relaxed)));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path);
        Some(file.and_then(|file| fs::remove_file(&path).map(|()| file)))
    }

    /// The same, in memory where there is no disk.
    pub(super) fn scratch_or_memory(&self) -> io::Result<File> {
        match self.scratch() {
            Some(file) => file,
            None => Self::scratch_in_memory(),
        }
    }

    /// The same in memory.
    pub(super) fn scratch_in_memory() -> io::Result<File> {
        Ok(memfd_create("list", MemfdFlags::CLOEXEC)?.into())
    }

    /// The disk takes no copy of what counts from now on. A restart begins with the one before.
    pub(super) const fn hold_in_memory(&mut self) {
        self.in_memory = true;
    }

    /// Whether it is so.
    pub(super) const fn is_in_memory(&self) -> bool {
        self.in_memory
    }

    /// Whether there is a place for what is in memory: nothing needs to be put together before.
    pub(super) fn has_folder(&mut self) -> bool {
        self.look();
        self.folder.is_some()
    }

    /// Octets of a list that may be taken: few, where they go into memory.
    pub(super) fn most(&self, most: u64) -> u64 {
        if self.folder.is_some() { most } else { most.min(IN_MEMORY) }
    }

    /// Where changes to the table that counts stand; `None` where that is on no disk.
    pub(super) fn log(&self) -> Option<PathBuf> {
        if self.in_memory {
            return None;
        }
        Some(self.folder.as_ref()?.join(log_name(self.kept)))
    }

    /// The copy counts from now on, also after a restart. Its table stands in the place that was handed out last. Without a folder it is held in memory.
    pub fn keep(&mut self, copy: &Copy) -> io::Result<()> {
        if self.folder.is_none() {
            self.hold_in_memory();
            return Ok(());
        }
        let number = self.generation;
        let kept = self.write(|| {
            // Changes to a table of that number that is no more.
            self.remove(&log_name(number));
            self.name(copy, number)?;
            for old in self.files().filter(|file| generation_of(file).is_some_and(|generation| generation != number)) {
                self.remove(&old);
            }
            Ok(())
        });
        match kept {
            Ok(()) => {
                copy.begun.is_named();
                (self.kept, self.in_memory) = (number, false);
            }
            // It counts after a restart, whatever failed then.
            Err(_) if self.named() == Some(number) => copy.begun.is_named(),
            // Who has it reads on.
            Err(_) => self.remove(&table_name(number)),
        }
        kept
    }

    /// Something else is known of the copy that counts. One that is in memory is written down, should there be room by now.
    pub fn update(&mut self, copy: &mut Copy) -> Result<(), CollectError> {
        if !self.in_memory {
            return Ok(self.write(|| self.name(copy, self.kept))?);
        }
        if !self.has_folder() {
            return Err(CollectError::Io(io::ErrorKind::NotFound.into()));
        }
        let (place, palette) = (self.next_place(), (*copy.palette).clone());
        let (table, _, begun) = write_table(&place, copy.meta.serial.unwrap_or_default(), |table| {
            table.push_all(&mut copy.table.scan())?;
            Ok(palette)
        })?;
        let written = Copy { table: Arc::new(table), begun, ..copy.clone() };
        self.keep(&written)?;
        *copy = written;
        Ok(())
    }

    /// What changed, behind the changes to the table that counts.
    pub(super) fn append(&self, octets: &[u8]) -> io::Result<()> {
        let Some(path) = self.log() else { return Ok(()) };
        self.write(|| File::options().create(true).append(true).open(path)?.write_all(octets))
    }

    fn name(&self, copy: &Copy, number: u64) -> io::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let written = Written {
            format: FORMAT,
            identity: self.identity.clone(),
            table: table_name(number),
            meta: copy.meta.clone(),
            marks: copy.marks.clone(),
        };
        replace(&folder.join("meta.json"), &serde_json::to_vec(&written)?)
    }

    /// Number of the table that counts after a restart.
    fn named(&self) -> Option<u64> {
        let text = fs::read(self.folder.as_ref()?.join("meta.json")).ok()?;
        generation_of(&serde_json::from_slice::<Written>(&text).ok()?.table)
    }

    /// The copy that was kept. One that is broken or of something else is none: the source is asked again.
    pub fn load(&mut self) -> Option<Copy> {
        let folder = self.folder.as_ref()?;
        let path = folder.join("meta.json");
        if fs::metadata(&path).ok()?.len() > LARGEST_META {
            return None;
        }
        let written: Written = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
        if written.format != FORMAT || written.identity != self.identity {
            return None;
        }
        let generation = generation_of(&written.table)?;
        let table = TableFile::open(File::open(folder.join(&written.table)).ok()?).ok()?;
        // What was begun behind it was never finished.
        for other in self.files().filter(|file| generation_of(file).is_some_and(|other| other != generation)) {
            self.remove(&other);
        }
        (self.generation, self.kept) = (generation, generation);
        let palette = Arc::new(table.palette().clone());
        let begun = Begun::default();
        Some(Copy { table: Arc::new(table), palette, meta: written.meta, marks: written.marks, begun })
    }

    /// Names of the files in the folder.
    fn files(&self) -> impl Iterator<Item = String> + use<> {
        let entries = self.folder.as_ref().and_then(|folder| fs::read_dir(folder).ok());
        entries.into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok())
    }

    /// What cannot be removed takes room and does no harm.
    fn remove(&self, file: &str) {
        if let Some(folder) = &self.folder {
            _ = fs::remove_file(folder.join(file));
        }
    }
}

fn table_name(generation: u64) -> String {
    format!("data-{generation}.tab")
}

fn log_name(generation: u64) -> String {
    format!("changes-{generation}.log")
}

/// Of a table or a log.
fn generation_of(name: &str) -> Option<u64> {
    let table = name.strip_prefix("data-").and_then(|rest| rest.strip_suffix(".tab"));
    table.or_else(|| name.strip_prefix("changes-")?.strip_suffix(".log"))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use tapir_wire::name::Name;

    use super::super::collect::collect_names;
    use super::super::lists::Fit;
    use super::*;

    fn copy(store: &mut Store, name: &str) -> Copy {
        let fit = Fit::new(&Name::parse("dnstapir").unwrap());
        let collected = collect_names(&[name.to_owned()], fit, &store.next_place()).unwrap();
        let meta = collected.meta(Timestamp::UNIX_EPOCH, None);
        Copy::new(&collected, meta, Marks { sha256: Some(name.to_owned()), ..Marks::default() })
    }

    /// The table, and how many files there are.
    fn files(data: &Path) -> (PathBuf, usize) {
        let entries: Vec<_> = fs::read_dir(data.join("sources/s%1")).unwrap().map(|entry| entry.unwrap().path()).collect();
        let table = entries.iter().find(|path| path.extension().is_some_and(|end| end == "tab")).unwrap();
        (table.clone(), entries.len())
    }

    fn load(data: &Path, identity: &str) -> Option<(Option<String>, u64)> {
        Store::open(data, "s.1", identity.to_owned()).load().map(|copy| (copy.marks.sha256, copy.table.nodes()))
    }

    #[test]
    fn the_last_copy_that_was_kept_comes_back() {
        let data = tempfile::tempdir().unwrap();
        let mut store = Store::open(data.path(), "s.1", "a".to_owned());
        assert!(store.load().is_none());
        for name in ["one", "two"] {
            let copy = copy(&mut store, name);
            store.keep(&copy).unwrap();
            assert_eq!(load(data.path(), "a"), Some((Some(name.to_owned()), 1)));
        }
        let (table, count) = files(data.path());
        assert_eq!(count, 2);
        // Dropped between the table and the file that names it, as a feed that is not wanted any more; and killed there.
        drop(copy(&mut store, "three"));
        assert_eq!(files(data.path()), (table.clone(), 2), "at once");
        std::mem::forget(copy(&mut store, "three"));
        assert_eq!(files(data.path()).1, 3);
        assert_eq!(load(data.path(), "a"), Some((Some("two".to_owned()), 1)));
        assert_eq!(files(data.path()), (table.clone(), 2));
        assert_eq!(load(data.path(), "b"), None, "a copy of something else");
        fs::write(table, b"TAPTAB1\0rubbish").unwrap();
        assert_eq!(load(data.path(), "a"), None);
        fs::write(data.path().join("sources/s%1/meta.json"), b"{").unwrap();
        assert_eq!(load(data.path(), "a"), None);
    }

    /// A source that was configured otherwise meanwhile: what its former feed is still at does nothing to the copy of the new one.
    #[test]
    fn who_has_left_writes_nothing_more() {
        let data = tempfile::tempdir().unwrap();
        let mut former = Store::open(data.path(), "s.1", "a".to_owned());
        let late = copy(&mut former, "late");
        former.leave().leave();
        let mut store = Store::open(data.path(), "s.1", "b".to_owned());
        let new = copy(&mut store, "new");
        store.keep(&new).unwrap();
        assert!(former.keep(&late).is_err() && former.update(&mut late.clone()).is_err() && former.append(b"late").is_err());
        assert_eq!(load(data.path(), "b"), Some((Some("new".to_owned()), 1)));
        assert_eq!(files(data.path()).1, 2);
    }

    #[test]
    fn a_folder_that_comes_late_or_goes_takes_what_is_held() {
        let data = tempfile::tempdir().unwrap();
        let sources = data.path().join("sources");
        fs::write(&sources, "in the way").unwrap();
        let mut store = Store::open(data.path(), "s.1", "a".to_owned());
        let mut held = copy(&mut store, "one");
        store.keep(&held).unwrap();
        assert!(store.is_in_memory() && store.update(&mut held).is_err() && store.is_in_memory());
        fs::remove_file(&sources).unwrap();
        store.update(&mut held).unwrap();
        assert!(!store.is_in_memory());
        assert_eq!(load(data.path(), "a"), Some((Some("one".to_owned()), 1)));
        // A volume that is mounted over it.
        fs::rename(&sources, data.path().join("below")).unwrap();
        store.hold_in_memory();
        store.update(&mut held).unwrap();
        assert_eq!(load(data.path(), "a"), Some((Some("one".to_owned()), 1)));
        assert_eq!(files(data.path()).1, 2);
    }

    #[test]
    fn without_a_disk_everything_is_in_memory() {
        let mut store = Store::open(Path::new("/dev/null"), "s", String::new());
        let copy = copy(&mut store, "one");
        store.keep(&copy).unwrap();
        assert_eq!(copy.table.nodes(), 1);
        assert!(store.load().is_none() && store.scratch().is_none());
    }
}
