//! A piece of the queue: a file, or memory where the disk takes nothing.
//!
//! A file is open only while it is read, and while it is the one that is appended to: however many wait, few are open.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk;
use crate::events::blocks::{self, HEADER, Header, Next};
use crate::events::writes;

const MAGIC: [u8; 8] = *b"tapirev1";
const PREFIX: &str = "waiting-";
const SUFFIX: &str = ".seg";
/// Beyond every number that can be reached by counting.
pub(super) const LAST: u64 = u64::MAX / 2;

/// A piece and what is known of it.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    /// Where the next block will begin.
    pub(super) end: u64,
    /// Events in it.
    pub(super) records: u64,
    /// So many of them were handed out, or were done with before.
    pub(super) handed: u64,
    /// Nothing is appended any more.
    pub(super) sealed: bool,
    pub(super) store: Arc<Store>,
}

#[derive(Debug)]
pub(super) enum Store {
    /// The file's path.
    Disk(PathBuf),
    /// What would stand in the file behind its header.
    Memory(Mutex<Vec<u8>>),
}

impl Segment {
    /// A new file, to be appended to.
    pub(super) fn begin(folder: &Path, number: u64, now: u64) -> io::Result<(Self, File)> {
        let file = writes::begin(folder, &name(number), &header(number, now))?;
        Ok((Self::new(number, Store::Disk(path(folder, number))), file))
    }

    /// A new one in memory.
    pub(super) fn in_memory(number: u64) -> Self {
        Self::new(number, Store::Memory(Mutex::default()))
    }

    /// One in memory with these blocks, of so many events.
    pub(super) fn of_blocks(number: u64, blocks: Vec<u8>, records: u64) -> Self {
        let end = (HEADER + blocks.len()) as u64;
        Self { end, records, sealed: true, ..Self::new(number, Store::Memory(Mutex::new(blocks))) }
    }

    fn new(number: u64, store: Store) -> Self {
        Self { number, end: HEADER as u64, records: 0, handed: 0, sealed: false, store: Arc::new(store) }
    }

    /// A file that is there; none if it is not one of these.
    pub(super) fn open(folder: &Path, number: u64) -> io::Result<Option<Self>> {
        let path = path(folder, number);
        let header = Header::read(&mut At { file: &writes::to_read(&path)?, offset: 0 }, MAGIC)?;
        let known = header.is_some_and(|header| header.number == number);
        Ok(known.then(|| Self::new(number, Store::Disk(path))))
    }

    /// Writes it into a file of its own, which then survives the end of the machine: for one in memory, and for a file of which nobody knows
    /// how much of it reached the disk.
    pub(super) fn written(&self, folder: &Path, now: u64) -> io::Result<Arc<Store>> {
        let mut octets = header(self.number, now).to_vec();
        match &*self.store {
            Store::Disk(path) => {
                octets.clear();
                writes::to_read(path)?.take(self.end).read_to_end(&mut octets)?;
            }
            Store::Memory(blocks) => octets.extend_from_slice(&locked(blocks)),
        }
        forget_pages(&writes::begin(folder, &name(self.number), &octets)?);
        Ok(Arc::new(Store::Disk(path(folder, self.number))))
    }

    /// Hands out the payload of each block, with its place.
    pub(super) fn scan(&self, mut each: impl FnMut(u64, &[u8]) -> bool) -> io::Result<blocks::Extent> {
        const FROM: u64 = HEADER as u64;
        let each = |offset, payload: &[u8]| each(FROM + offset, payload);
        let mut extent = match &*self.store {
            Store::Disk(path) => {
                let file = writes::to_read(path)?;
                let left = file.metadata()?.len().saturating_sub(FROM);
                let mut reader = io::BufReader::with_capacity(blocks::LONGEST, At { file: &file, offset: FROM });
                let read = blocks::read(&mut reader, left, each);
                // Whoever goes through all files must not have all of them in memory afterwards.
                forget_pages(&file);
                read
            }
            Store::Memory(octets) => {
                let octets = locked(octets);
                blocks::read(&mut octets.as_slice(), octets.len() as u64, each)
            }
        }?;
        extent.good += FROM;
        Ok(extent)
    }

    /// The block that begins at a place.
    pub(super) fn block(&self, offset: u64, payload: &mut Vec<u8>) -> io::Result<Next> {
        let left = self.end.saturating_sub(offset);
        match &*self.store {
            Store::Disk(path) => blocks::next(&mut At { file: &writes::to_read(path)?, offset }, left, payload),
            Store::Memory(octets) => blocks::next(&mut behind(&locked(octets), offset), left, payload),
        }
    }

    /// Octets on the disk.
    pub(super) fn on_disk(&self) -> u64 {
        if matches!(*self.store, Store::Disk(_)) { self.end } else { 0 }
    }

    /// Octets in memory.
    pub(super) fn in_memory_octets(&self) -> u64 {
        self.end - self.on_disk()
    }
}

/// The pages count as this container's memory, and what waits may wait for long.
pub(super) fn forget_pages(file: &File) {
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
}

fn header(number: u64, created: u64) -> [u8; HEADER] {
    Header { number, created, check: 0 }.octets(MAGIC)
}

/// Numbers of the files that are there.
pub(super) fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let entries = disk::list(folder, |name| number(name).is_some())?;
    let mut numbers: Vec<u64> = entries.iter().filter_map(|entry| number(&entry.name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

pub(super) fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(name(number))
}

pub(super) fn name(number: u64) -> String {
    format!("{PREFIX}{number:010}{SUFFIX}")
}

/// The number of a file that is called as it would be called here, and after which there can be others.
fn number(file: &str) -> Option<u64> {
    let number = file.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse().ok()?;
    (number <= LAST && name(number) == file).then_some(number)
}

pub(super) fn locked(octets: &Mutex<Vec<u8>>) -> MutexGuard<'_, Vec<u8>> {
    octets.lock().unwrap_or_else(PoisonError::into_inner)
}

fn behind(octets: &[u8], offset: u64) -> &[u8] {
    usize::try_from(offset.saturating_sub(HEADER as u64)).ok().and_then(|at| octets.get(at..)).unwrap_or_default()
}

/// A file from a place on, without a position that others share.
struct At<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for At<'_> {
    fn read(&mut self, place: &mut [u8]) -> io::Result<usize> {
        use std::os::unix::fs::FileExt as _;

        let read = self.file.read_at(place, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}
