//! The log of seen names: a file for each generation, appended to and never rewritten.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::fingerprint::OCTETS;
use super::{Fingerprint, GENERATIONS, Secret, Table};
use crate::disk;
use crate::events::BROKEN;
use crate::events::blocks::{self, End, Extent, HEADER, Header};
use crate::events::writes;

const MAGIC: [u8; 8] = *b"tapirsn1";
const PREFIX: &str = "seen-";
const SUFFIX: &str = ".log";
/// Beyond every number that can be reached by counting.
const LAST: u64 = u64::MAX / 2;
/// Octets of a record: what it says, and of whom.
const RECORD: usize = 1 + OCTETS;
/// Records of a block.
const BLOCK: usize = blocks::LONGEST / RECORD;
/// Octets of a file at most: far more names than any configuration asks for.
const LARGEST: u64 = 1 << 30;

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The name is seen.
    Mark = 1,
    /// It is not, its event was lost.
    Unmark = 2,
}

/// What was found at the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// For how long names have been kept here; none where there was nothing.
    pub age: Option<Duration>,
    /// Octets of a torn end that were cut.
    pub cut: u64,
    /// Damaged files, set aside or cut.
    pub damaged: usize,
}

/// The log.
#[derive(Debug)]
pub struct Log {
    folder: PathBuf,
    check: u64,
    /// Records of a generation.
    most: u64,
    /// Names that are not asked for any longer than this are forgotten.
    forget_after: Duration,
    /// Oldest first, the present one last.
    generations: VecDeque<Generation>,
    file: File,
    end: u64,
    records: u64,
    unsynced: bool,
    buffer: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Generation {
    number: u64,
    created: u64,
    /// When it was last written to, if that was before the start.
    touched: Option<u64>,
}

impl Log {
    /// Reads what is in the folder into the table. Files that are damaged are set aside; what can be read of them is taken.
    ///
    /// # Errors
    /// When the folder cannot be read, or no file be begun.
    pub fn open(
        folder: &Path,
        secret: &Secret,
        names: usize,
        forget_after: Duration,
        now: u64,
        table: &Table,
    ) -> io::Result<(Self, Opened)> {
        let check = secret.check();
        let (mut generations, mut opened) = (VecDeque::new(), Opened::default());
        for number in numbers(folder)? {
            let header = match header(&path(folder, number)) {
                Err(error) if writes::is_damage(&error) => None,
                header => header?,
            };
            match header.filter(|header| header.number == number && header.check == check) {
                Some(header) => generations.push_back(Generation { number, created: header.created, touched: None }),
                None => {
                    opened.damaged += 1;
                    set_aside(folder, number)?;
                }
            }
        }
        opened.age = generations.front().map(|oldest: &Generation| Duration::from_secs(now.saturating_sub(oldest.created)));
        let newest = generations.back().map_or(0, |newest| newest.number);
        // Not by age: nobody knows yet whether the clock is right.
        while let Some(oldest) = generations.front().filter(|oldest| newest - oldest.number >= GENERATIONS) {
            writes::remove(&path(folder, oldest.number))?;
            generations.pop_front();
        }
        if let Some(present) = generations.back_mut() {
            present.touched = Some(seconds(std::fs::metadata(path(folder, present.number))?.modified()?));
        }
        if let (Some(oldest), Some(newest)) = (generations.front(), generations.back()) {
            table.turn(oldest.number, newest.number);
        }
        let mut records = 0;
        for (index, generation) in generations.iter().enumerate() {
            let is_last = index + 1 == generations.len();
            records = load(folder, generation.number, is_last, table, &mut opened)?;
        }
        let file = match generations.back() {
            Some(present) => writes::open(&path(folder, present.number))?,
            None => {
                let number = newest + 1;
                let (file, generation) = begin(folder, Header { number, created: now, check })?;
                generations.push_back(generation);
                table.turn(number, number);
                file
            }
        };
        let end = file.metadata()?.len();
        let log = Self {
            folder: folder.to_owned(),
            check,
            most: most(names),
            forget_after,
            generations,
            file,
            end,
            records,
            unsynced: false,
            buffer: Vec::new(),
        };
        Ok((log, opened))
    }

    /// Other bounds. What is too much goes when the next generation begins.
    pub fn set_bounds(&mut self, names: usize, forget_after: Duration) {
        (self.most, self.forget_after) = (most(names), forget_after);
    }

    /// Reads all files into another table.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn replay(&self, table: &Table) -> io::Result<()> {
        if let (Some(oldest), Some(newest)) = (self.generations.front(), self.generations.back()) {
            table.turn(oldest.number, newest.number);
        }
        self.generations.iter().try_for_each(|generation| replay(&self.folder, generation.number, table).map(drop))
    }

    /// Writes these down. Without an error they survive the end of the process.
    ///
    /// # Errors
    /// When the disk does not take them; then some of the first may be there all the same, which does not matter.
    pub fn append(&mut self, records: &[(Kind, Fingerprint)]) -> io::Result<()> {
        for records in records.chunks(BLOCK) {
            let mut payload = Vec::with_capacity(records.len() * RECORD);
            for (kind, print) in records {
                payload.push(*kind as u8);
                payload.extend_from_slice(&print.octets());
            }
            self.buffer.clear();
            blocks::push(&mut self.buffer, &payload);
            writes::append(&self.file, self.end, &self.buffer)?;
            self.end += self.buffer.len() as u64;
            self.records += records.len() as u64;
            self.unsynced = true;
        }
        if let Some(present) = self.generations.back_mut() {
            present.touched = None;
        }
        Ok(())
    }

    /// Makes what was appended survive the end of the machine.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn sync(&mut self) -> io::Result<()> {
        if self.unsynced {
            writes::sync(&self.file)?;
            self.unsynced = false;
        }
        Ok(())
    }

    /// The present generation is full or old. Age counts only by a clock that is known to be right: one that was set ahead for a moment would
    /// make all names old.
    #[must_use]
    pub fn is_turn_due(&self, now: u64, clock_is_right: bool) -> bool {
        let age = |present: &Generation| Duration::from_secs(now.saturating_sub(present.created));
        let is_old = |present: &Generation| present.created > now || age(present) >= self.forget_after / GENERATIONS as u32;
        self.records >= self.most || (clock_is_right && self.generations.back().is_some_and(is_old))
    }

    /// Begins the next generation if the present one is full or old, and drops what is too much or too old.
    ///
    /// # Errors
    /// When no file can be begun, or one that should go stays; then the present one goes on.
    pub fn turn_if_due(&mut self, now: u64, clock_is_right: bool, table: &Table) -> io::Result<()> {
        let due = |_: &Generation| self.is_turn_due(now, clock_is_right);
        let Some(present) = self.generations.back().copied().filter(due) else { return Ok(()) };
        self.sync()?;
        let number = present.number + 1;
        let (file, generation) = begin(&self.folder, Header { number, created: now, check: self.check })?;
        // Nobody reads it before the next start.
        let _ = rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::DontNeed);
        (self.file, self.end, self.records) = (file, HEADER as u64, 0);
        self.generations.push_back(generation);
        let result = self.drop_old(now, clock_is_right);
        table.turn(self.generations.front().map_or(number, |oldest| oldest.number), number);
        result
    }

    fn drop_old(&mut self, now: u64, clock_is_right: bool) -> io::Result<()> {
        while let Some(oldest) = self.generations.front().copied() {
            // As the next one began. One that began while the clock was ahead tells nothing.
            let next = self.generations.iter().skip(1).map(|later| later.created).min();
            let Some(ended) = next.map(|next| oldest.touched.map_or(next, |touched| touched.min(next))) else { break };
            let over = clock_is_right && ended.saturating_add(self.forget_after.as_secs()) <= now;
            if !over && self.generations.len() as u64 <= GENERATIONS {
                break;
            }
            let path = path(&self.folder, oldest.number);
            self.generations.pop_front();
            writes::remove(&path)?;
        }
        Ok(())
    }
}

fn most(names: usize) -> u64 {
    (names as u64 / GENERATIONS).max(1)
}

fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(name(number))
}

fn name(number: u64) -> String {
    format!("{PREFIX}{number:010}{SUFFIX}")
}

/// The number of a file that is called as it would be called here, and after which there can be others.
fn number(file: &str) -> Option<u64> {
    let number = file.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse().ok()?;
    (number <= LAST && name(number) == file).then_some(number)
}

fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let entries = disk::list(folder, |name| number(name).is_some())?;
    let mut numbers: Vec<u64> = entries.iter().filter_map(|entry| number(&entry.name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn begin(folder: &Path, header: Header) -> io::Result<(File, Generation)> {
    let file = writes::begin(folder, &name(header.number), &header.octets(MAGIC))?;
    Ok((file, Generation { number: header.number, created: header.created, touched: None }))
}

fn header(path: &Path) -> io::Result<Option<Header>> {
    let mut file = writes::to_read(path)?;
    if file.metadata()?.len() > LARGEST { Ok(None) } else { Header::read(&mut file, MAGIC) }
}

/// Since the epoch.
pub(in crate::events) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Reads one file into the table, and mends its end. Tells how many records it has.
fn load(folder: &Path, number: u64, is_last: bool, table: &Table, opened: &mut Opened) -> io::Result<u64> {
    let (records, good, end) = replay(folder, number, table)?;
    let path = path(folder, number);
    let length = std::fs::metadata(&path)?.len();
    match end {
        End::Whole => return Ok(records),
        End::Torn if is_last => opened.cut += length - good,
        End::Torn | End::Corrupt => {
            opened.damaged += 1;
            // For a person alone: a disk that does not give it back, or has no room for it, is no reason to stop.
            let copied = std::fs::copy(&path, folder.join(BROKEN));
            tracing::warn!(
                file = name(number),
                octets = length,
                readable = good,
                copy_error = copied.err().map(|error| error.to_string()),
                "a log of seen names is damaged; what can be read of it is taken, and a copy is kept as {BROKEN}"
            );
        }
    }
    writes::cut(&writes::open(&path)?, good)?;
    Ok(records)
}

/// How many records, how many octets of the file are good, and how it ends.
fn replay(folder: &Path, number: u64, table: &Table) -> io::Result<(u64, u64, End)> {
    let file = match writes::to_read(&path(folder, number)) {
        Err(error) if writes::is_damage(&error) => return Ok((0, HEADER as u64, End::Corrupt)),
        file => file?,
    };
    let length = file.metadata()?.len().saturating_sub(HEADER as u64);
    let mut reader = BufReader::with_capacity(blocks::LONGEST, file);
    reader.by_ref().take(HEADER as u64).read_exact(&mut [0; HEADER])?;
    let (mut records, mut good) = (0, 0);
    let read = blocks::read(&mut reader, length, |offset, payload| {
        good = offset + blocks::size(payload.len()) as u64;
        each(payload, |kind, print| {
            records += 1;
            match kind {
                Kind::Mark => table.mark_in(print, number),
                Kind::Unmark => {
                    table.unmark(print);
                }
            }
        })
    });
    let extent = match read {
        Err(error) if writes::is_damage(&error) => Extent { good, end: End::Corrupt },
        read => read?,
    };
    // Those that were read already are not to come back after a restart without the file's end.
    let _ = rustix::fs::fadvise(reader.get_ref(), 0, None, rustix::fs::Advice::DontNeed);
    Ok((records, HEADER as u64 + extent.good, extent.end))
}

/// The records of a block; false if it is none of ours, and then none was handed out.
fn each(payload: &[u8], mut then: impl FnMut(Kind, Fingerprint)) -> bool {
    let (records, rest) = payload.as_chunks::<RECORD>();
    let known = |record: &[u8; RECORD]| record[0] == Kind::Mark as u8 || record[0] == Kind::Unmark as u8;
    if !rest.is_empty() || !records.iter().all(known) {
        return false;
    }
    for [kind, print @ ..] in records {
        then(if *kind == Kind::Mark as u8 { Kind::Mark } else { Kind::Unmark }, Fingerprint::from_octets(*print));
    }
    true
}

/// A file of which nothing can be taken.
fn set_aside(folder: &Path, number: u64) -> io::Result<()> {
    tracing::warn!(file = name(number), "a log of seen names is not readable or of another secret; it is kept as {BROKEN}");
    writes::rename(&path(folder, number), &folder.join(BROKEN))
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
