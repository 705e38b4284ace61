//! Observations on disk: what was known at some moment as two tables, and a log of what came since.
//!
//! A generation is `live-N.tab`, `guards-N.tab` and `log-N.log`; the log of the next one is begun while its tables are written, and the old ones go once
//! those are there. So at every moment tables and the logs from theirs on say everything. A log is written before its changes count, and flushed by
//! whoever has the time: a process that is killed loses nothing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use tapir_table::{Cursor as _, KeyBuf, Palette, Staged, TableFile, TableWriter, Tree, Value, Written};

use super::failpoint::pass;
use super::scribe::Scribe;
use crate::knowledge::observations::{Known, Observations};

/// Length and checksum of a record.
const HEAD: usize = 8;
/// Longer ones were not written by us.
const LONGEST: usize = 16 << 20;
/// Generations that may be there: each process begins one of its own.
const MOST_GENERATIONS: u64 = 16;
/// A log is condensed when it is longer than this, and than a quarter of the tables.
const SHORT: u64 = 4 << 20;

/// What was found at the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Names that were read, some of which may be over.
    pub names: u64,
    /// A log ends within a record, as after a power loss.
    pub torn: bool,
    /// Tables that cannot be read: what stood in them is lost.
    pub broken: usize,
}

/// The log of a source.
#[derive(Debug)]
pub struct ObservationLog {
    folder: PathBuf,
    generation: u64,
    file: Arc<File>,
    octets: u64,
    /// Octets of the tables.
    condensed: u64,
    /// Oldest generation of which something is there.
    oldest: u64,
    /// What is to be written next.
    buffer: Vec<u8>,
    /// Octets that are written.
    end: u64,
    scribe: Scribe,
}

/// Tables of a moment, to be written by another thread while the log goes on.
#[derive(Debug)]
pub struct Condense {
    folder: PathBuf,
    generation: u64,
    observations: Observations,
}

/// They are written.
#[derive(Clone, Copy, Debug)]
pub struct Condensed {
    generation: u64,
    octets: u64,
}

impl ObservationLog {
    /// Reads what is there into `observations`.
    ///
    /// # Errors
    /// When the folder cannot be read or no log be begun. Files that are broken are no error; what can be read of them is taken.
    pub fn open(folder: &Path, observations: &mut Observations, now: Timestamp) -> io::Result<(Self, Found)> {
        fs::create_dir_all(folder)?;
        let mut found = Found::default();
        let logs = numbers(folder, "log-", ".log")?;
        // The latest tables that are whole; logs from then on.
        let tables = numbers(folder, "live-", ".tab")?;
        let first = tables.iter().rev().copied().find(|number| {
            let read = restore(folder, *number, observations, now);
            found.names += read.unwrap_or_default();
            if read.is_none() {
                found.broken += 1;
                set_aside(folder, *number);
            }
            read.is_some()
        });
        for number in logs.iter().filter(|number| **number >= first.unwrap_or(0)) {
            let (names, whole) = replay(&log_path(folder, *number), observations, now)?;
            found.names += names;
            found.torn |= !whole;
        }
        let generation = logs.iter().chain(&tables).max().map_or(1, |last| last + 1);
        let oldest = logs.iter().chain(&tables).min().copied().unwrap_or(generation);
        let condensed = first.map_or(0, |number| octets(folder, number));
        let file = Arc::new(begin(&log_path(folder, generation))?);
        Ok((
            Self {
                folder: folder.to_owned(),
                generation,
                file,
                octets: 0,
                condensed,
                oldest,
                buffer: Vec::new(),
                end: 0,
                scribe: Scribe::direct(),
            },
            found,
        ))
    }

    /// Lets somebody write who may wait for the disk.
    #[must_use]
    pub fn through(self, scribe: &Scribe) -> Self {
        Self { scribe: scribe.clone(), ..self }
    }

    /// Writes down what became known in one go.
    ///
    /// # Errors
    /// As [`ObservationLog::write`].
    pub fn append<'a>(&mut self, changes: impl IntoIterator<Item = (&'a KeyBuf, Known)>) -> io::Result<()> {
        changes.into_iter().for_each(|(key, known)| self.note(key, known));
        self.write()
    }

    /// What is to be written next, together with what was noted before.
    pub fn note(&mut self, key: &KeyBuf, known: Known) {
        let (kind, value) = match known {
            Known::Live(sighting) => (1, Written::of(&sighting)),
            Known::Over(guard) => (0, Written::of(&guard)),
        };
        if self.buffer.is_empty() {
            self.buffer.extend([0; HEAD]);
        }
        self.buffer.extend([kind, u8::try_from(key.len()).unwrap_or(u8::MAX)]);
        self.buffer.extend(key.as_bytes());
        self.buffer.extend(value.as_bytes());
    }

    /// Writes down what was noted, in one go.
    ///
    /// # Errors
    /// When it could not be: a restart would forget it, until tables are written, which is due then.
    pub fn write(&mut self) -> io::Result<()> {
        let mut octets = std::mem::take(&mut self.buffer);
        let Some((head, payload)) = octets.split_at_mut_checked(HEAD) else { return Ok(()) };
        let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
        let (first, second) = head.split_at_mut(4);
        first.copy_from_slice(&length.to_be_bytes());
        second.copy_from_slice(&crc32fast::hash(payload).to_be_bytes());
        let (file, end, count, path) = (Arc::clone(&self.file), self.end, octets.len() as u64, self.folder.clone());
        let written = self.scribe.run(move || {
            let written = pass(&path).and_then(|()| (&*file).write_all(&octets));
            if written.is_err() {
                // Nothing that comes later is to stand behind half of this.
                _ = file.set_len(end);
            }
            octets.clear();
            written.map(|()| octets)
        });
        match written {
            Ok(memory) => {
                self.buffer = memory;
                self.end += count;
                self.octets += count;
                Ok(())
            }
            Err(error) => {
                self.lengthen();
                Err(error)
            }
        }
    }

    /// Whether the log is long, compared with what is known, or there are many.
    #[must_use]
    pub fn is_long(&self) -> bool {
        self.octets > SHORT.max(self.condensed / 4) || self.generation - self.oldest > MOST_GENERATIONS
    }

    /// What is known is not what the files say: tables are to be written next.
    pub const fn lengthen(&mut self) {
        self.octets = u64::MAX / 2;
    }

    /// Begins the next log, and gives what is to be written as tables. `observations` are those that the logs up to now say.
    ///
    /// # Errors
    /// When it cannot be begun; the present one goes on.
    pub fn condense(&mut self, observations: &Observations) -> io::Result<Condense> {
        // Where nothing was written to the present one, it is the next one already: a disk that takes no tables is not to be filled with logs.
        if self.end > 0 {
            let generation = self.generation + 1;
            let path = log_path(&self.folder, generation);
            self.file = Arc::new(self.scribe.run(move || begin(&path))?);
            self.generation = generation;
        }
        let generation = self.generation;
        (self.octets, self.end) = (0, 0);
        Ok(Condense { folder: self.folder.clone(), generation, observations: observations.clone() })
    }

    /// The tables are there: what was before them goes.
    pub fn condensed(&mut self, done: Condensed) {
        self.condensed = done.octets;
        let (folder, former) = (self.folder.clone(), self.oldest..done.generation);
        let removed = self.scribe.run(move || former.into_iter().try_for_each(|number| remove(&folder, number)));
        match removed {
            Ok(()) => self.oldest = done.generation,
            // Together with those of the next time.
            Err(error) => tracing::warn!(%error, "former files of observations cannot be removed"),
        }
    }

    /// The log, for whoever flushes it.
    #[must_use]
    pub fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }
}

impl Condense {
    /// Writes the tables. The names that they have become visible last.
    ///
    /// # Errors
    /// When the disk does not take them; the logs go on to say everything.
    pub fn write(&self) -> io::Result<Condensed> {
        write(&path(&self.folder, "guards", self.generation), self.observations.guards())?;
        pass(&self.folder)?;
        // Its presence says that both are whole.
        write(&path(&self.folder, "live", self.generation), self.observations.live())?;
        Ok(Condensed { generation: self.generation, octets: octets(&self.folder, self.generation) })
    }
}

fn write<V: Value>(path: &Path, tree: &Tree<V>) -> io::Result<()> {
    pass(path)?;
    let staged = Staged::create(path)?;
    let mut writer = TableWriter::new(staged).map_err(io::Error::other)?;
    writer.push_all(&mut tree.cursor()).map_err(io::Error::other)?;
    let (staged, _) = writer.finish(0, &Palette::default()).map_err(io::Error::other)?;
    pass(path)?;
    staged.finish().map(drop)
}

/// For somebody to look at: it may hold more than anyone else knows. The newest of them is kept.
fn set_aside(folder: &Path, number: u64) {
    for which in ["live", "guards"] {
        if let Err(error) = fs::rename(path(folder, which, number), folder.join(format!("{which}.broken")))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "tables of observations that cannot be read cannot be set aside");
        }
    }
}

/// Names that were read of both tables; none when one is not whole.
fn restore(folder: &Path, number: u64, observations: &mut Observations, now: Timestamp) -> Option<u64> {
    let open = |which: &str| File::open(path(folder, which, number)).ok();
    let live = TableFile::open(open("live")?).ok()?;
    let guards = TableFile::open(open("guards")?).ok()?;
    let mut names = 0;
    let mut scan = live.scan().forgetting();
    while scan.advance().ok()? {
        observations.restore(scan.key(), Known::Live(scan.value()), now);
        names += 1;
    }
    let mut scan = guards.scan().forgetting();
    while scan.advance().ok()? {
        observations.restore(scan.key(), Known::Over(scan.value()), now);
        names += 1;
    }
    Some(names)
}

/// Names of a log, and whether it ends with a whole record.
fn replay(path: &Path, observations: &mut Observations, now: Timestamp) -> io::Result<(u64, bool)> {
    let mut file = BufReader::with_capacity(256 << 10, File::open(path)?);
    let (mut names, mut payload) = (0, Vec::new());
    loop {
        let mut head = [0; HEAD];
        let read = file.by_ref().take(HEAD as u64).read(&mut head)?;
        if read == 0 {
            return Ok((names, true));
        }
        if file.read_exact(head.get_mut(read..).unwrap_or_default()).is_err() {
            return Ok((names, false));
        }
        let [a, b, c, d, checksum @ ..] = head;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        payload.clear();
        // Not more than there is, whatever the length says.
        let mut whole =
            || length <= LONGEST && file.by_ref().take(length as u64).read_to_end(&mut payload).is_ok_and(|read| read == length);
        if !whole() || crc32fast::hash(&payload).to_be_bytes() != checksum {
            return Ok((names, false));
        }
        let mut rest = payload.as_slice();
        while let Some((key, known, after)) = entry(rest) {
            observations.restore(&key, known, now);
            names += 1;
            rest = after;
        }
        if !rest.is_empty() {
            return Ok((names, false));
        }
    }
}

fn entry(octets: &[u8]) -> Option<(KeyBuf, Known, &[u8])> {
    let ([kind, length], rest) = octets.split_first_chunk()?;
    let (key, rest) = rest.split_at_checked(usize::from(*length))?;
    let key = KeyBuf::from_key(key).ok()?;
    let mut at = 0;
    let known = if *kind == 1 { Known::Live(Value::read(rest, &mut at)?) } else { Known::Over(Value::read(rest, &mut at)?) };
    Some((key, known, rest.get(at..)?))
}

/// Files of a generation that is not needed any more.
fn remove(folder: &Path, number: u64) -> io::Result<()> {
    for path in [log_path(folder, number), path(folder, "live", number), path(folder, "guards", number)] {
        match pass(&path).and_then(|()| fs::remove_file(&path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn begin(path: &Path) -> io::Result<File> {
    pass(path)?;
    OpenOptions::new().append(true).create(true).open(path)
}

fn octets(folder: &Path, number: u64) -> u64 {
    ["live", "guards"].iter().filter_map(|which| fs::metadata(path(folder, which, number)).ok()).map(|known| known.len()).sum()
}

fn numbers(folder: &Path, before: &str, after: &str) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number: Option<u64> = name.to_str().and_then(|name| name.strip_prefix(before)?.strip_suffix(after)?.parse().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn log_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("log-{number:010}.log"))
}

fn path(folder: &Path, which: &str, number: u64) -> PathBuf {
    folder.join(format!("{which}-{number:010}.tab"))
}

#[cfg(test)]
#[path = "observation_log_tests.rs"]
mod tests;
