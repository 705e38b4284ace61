//! One file of the log.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FallocateFlags, MemfdFlags, fallocate, memfd_create};

use super::record::{HEAD, Record, Step};
use crate::state::failpoint::pass;
use crate::state::scribe::Scribe;

/// First octets of each segment. Before, codes of all records were those of one palette.
const MAGIC: &[u8; 8] = b"TAPZLOG2";
/// A record that is longer than this was not written by us.
const LONGEST: usize = 256 << 20;

/// A file of records, one after the other.
#[derive(Debug)]
pub(super) struct Segment {
    pub number: u64,
    pub file: Arc<File>,
    /// Where the next record goes.
    pub end: u64,
    /// Something stands there that is no whole record.
    pub torn: bool,
    /// None in memory.
    path: Option<PathBuf>,
}

/// Where a record stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub segment: u64,
    pub offset: u64,
    pub octets: usize,
}

impl Segment {
    pub(super) fn create(folder: &Path, number: u64, octets: u64) -> io::Result<Self> {
        let path = path(folder, number);
        pass(&path)?;
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
        // Where the file system has no such thing, the file grows with each record.
        _ = fallocate(&file, FallocateFlags::empty(), 0, octets);
        pass(&path)?;
        file.write_all_at(MAGIC, 0)?;
        Ok(Self { number, file: Arc::new(file), end: MAGIC.len() as u64, torn: false, path: Some(path) })
    }

    /// The same in memory, for want of a disk.
    pub(super) fn in_memory(number: u64) -> io::Result<Self> {
        let file = File::from(memfd_create("zone-log", MemfdFlags::CLOEXEC)?);
        file.write_all_at(MAGIC, 0)?;
        Ok(Self { number, file: Arc::new(file), end: MAGIC.len() as u64, torn: false, path: None })
    }

    /// Opens one for reading, and names every whole record up to the first that is not.
    pub(super) fn read(folder: &Path, number: u64, mut each: impl FnMut(Step, u32, Place)) -> io::Result<Self> {
        let path = path(folder, number);
        let file = File::open(&path)?;
        let mut magic = [0; MAGIC.len()];
        let mut segment = Self { number, file: Arc::new(file), end: 0, torn: true, path: Some(path) };
        if segment.file.read_exact_at(&mut magic, 0).is_err() || magic != *MAGIC {
            return Ok(segment);
        }
        segment.end = MAGIC.len() as u64;
        let mut head = [0; HEAD];
        while segment.file.read_exact_at(&mut head, segment.end).is_ok()
            && let Some(octets) = Record::length(head)
            && octets <= LONGEST
            && segment.file.metadata()?.len() >= segment.end + octets as u64
        {
            let place = Place { segment: number, offset: segment.end, octets };
            let content = segment.content(place)?;
            let Ok(record) = Record::read(&content) else { break };
            if record.check().is_err() {
                break;
            }
            each(record.step, record.count, place);
            segment.end += octets as u64;
        }
        let mut rest = [0; HEAD];
        let octets = segment.file.read_at(&mut rest, segment.end).unwrap_or(0);
        segment.torn = rest.iter().take(octets).any(|octet| *octet != 0);
        // A torn end shows until history is begun anew.
        if !segment.torn {
            segment.give_back();
        }
        Ok(segment)
    }

    /// Nothing is written to it any more: what was taken from the disk ahead goes.
    fn give_back(&self) {
        let file = self.path.as_ref().and_then(|path| OpenOptions::new().write(true).open(path).ok());
        if let Some(file) = file
            && file.metadata().is_ok_and(|known| known.len() > self.end)
            && let Err(error) = file.set_len(self.end)
        {
            tracing::debug!(%error, "the unused rest of a segment stays");
        }
    }

    pub(super) fn content(&self, place: Place) -> io::Result<Vec<u8>> {
        let mut content = vec![0; place.octets];
        self.file.read_exact_at(&mut content, place.offset)?;
        Ok(content)
    }

    /// The memory of the record can be used again, unless the disk hangs.
    pub(super) fn append(&mut self, record: &mut Vec<u8>, scribe: &Scribe) -> io::Result<Place> {
        let place = Place { segment: self.number, offset: self.end, octets: record.len() };
        let Some(path) = self.path.clone() else {
            self.file.write_all_at(record, self.end)?;
            self.end += place.octets as u64;
            return Ok(place);
        };
        let (file, octets, end) = (Arc::clone(&self.file), std::mem::take(record), self.end);
        *record = scribe.run(move || pass(&path).and_then(|()| file.write_all_at(&octets, end)).map(|()| octets))?;
        self.end += place.octets as u64;
        Ok(place)
    }

    pub(super) fn remove(&self) -> io::Result<()> {
        self.path.as_ref().map_or(Ok(()), |path| pass(path).and_then(|()| fs::remove_file(path)))
    }
}

/// Numbers of the segments of a folder, in order.
pub(super) fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number: Option<u64> =
            name.to_str().and_then(|name| name.strip_prefix("journal-")?.strip_suffix(".log")?.parse().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("journal-{number:010}.log"))
}
