//! A piece of the queue: a file, or memory where the disk takes nothing.

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
    Disk(File),
    /// What would stand in the file behind its header.
    Memory(Mutex<Vec<u8>>),
}

impl Segment {
    /// A new file.
    pub(super) fn begin(folder: &Path, number: u64, now: u64) -> io::Result<Self> {
        let header = Header { number, created: now, check: 0 };
        let file = writes::begin(folder, &name(number), &header.octets(MAGIC))?;
        Ok(Self::new(number, Store::Disk(file)))
    }

    /// A new one in memory.
    pub(super) fn in_memory(number: u64) -> Self {
        Self::new(number, Store::Memory(Mutex::default()))
    }

    fn new(number: u64, store: Store) -> Self {
        Self { number, end: HEADER as u64, records: 0, handed: 0, sealed: false, store: Arc::new(store) }
    }

    /// A file that is there; none if it is not one of these.
    pub(super) fn open(folder: &Path, number: u64) -> io::Result<Option<Self>> {
        let file = writes::open(&path(folder, number))?;
        let header = Header::read(&mut At { file: &file, offset: 0 }, MAGIC)?;
        let known = header.is_some_and(|header| header.number == number);
        Ok(known.then(|| Self::new(number, Store::Disk(file))))
    }

    /// Hands out the payload of each block, with its place.
    pub(super) fn scan(&self, each: impl FnMut(u64, &[u8]) -> bool) -> io::Result<blocks::Extent> {
        self.scan_from(HEADER as u64, each)
    }

    /// The same from a block on.
    pub(super) fn scan_from(&self, from: u64, mut each: impl FnMut(u64, &[u8]) -> bool) -> io::Result<blocks::Extent> {
        let each = |offset, payload: &[u8]| each(from + offset, payload);
        let mut extent = match &*self.store {
            Store::Disk(file) => {
                let left = file.metadata()?.len().saturating_sub(from);
                blocks::read(&mut io::BufReader::with_capacity(blocks::LONGEST, At { file, offset: from }), left, each)
            }
            Store::Memory(octets) => {
                let octets = locked(octets);
                let rest = behind(&octets, from);
                blocks::read(&mut &*rest, rest.len() as u64, each)
            }
        }?;
        extent.good += from;
        Ok(extent)
    }

    /// The block that begins at a place.
    pub(super) fn block(&self, offset: u64, payload: &mut Vec<u8>) -> io::Result<Next> {
        let left = self.end.saturating_sub(offset);
        match &*self.store {
            Store::Disk(file) => blocks::next(&mut At { file, offset }, left, payload),
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

impl Store {
    pub(super) fn append(&self, end: u64, block: &[u8]) -> io::Result<()> {
        match self {
            Self::Disk(file) => writes::append(file, end, block),
            Self::Memory(octets) => {
                locked(octets).extend_from_slice(block);
                Ok(())
            }
        }
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        match self {
            Self::Disk(file) => writes::sync(file),
            Self::Memory(_) => Ok(()),
        }
    }

    /// The pages count as this container's memory, and what waits may wait for long.
    pub(super) fn forget_pages(&self) {
        if let Self::Disk(file) = self {
            let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
        }
    }

    pub(super) fn cut(&self, end: u64) -> io::Result<()> {
        match self {
            Self::Disk(file) => writes::cut(file, end),
            Self::Memory(_) => Ok(()),
        }
    }
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

fn locked(octets: &Mutex<Vec<u8>>) -> MutexGuard<'_, Vec<u8>> {
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
