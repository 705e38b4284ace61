//! Names in any order into a table, in bounded memory: what fills the arena is sorted and spilled as a table of its own, and all of
//! those are merged at the end.

use std::fmt::{self, Debug};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::codes::Codes;
use crate::coding::Broken;
use crate::cursor::ReadError;
use crate::file::{OpenError, Scan, TableFile, TableWriter, WriteError};
use crate::key::KeyBuf;
use crate::merge::Merge;
use crate::palette::Palette;
use crate::value::{Value, Written};

/// Octets of names and values that are sorted at once: about 200 000 names.
const ARENA: usize = 4 << 20;
/// Names that are sorted at once by octets of the arena; each takes 16 octets more.
const OCTETS_A_NAME: usize = 16;
/// Runs of one size that are merged into one larger. Each that is read takes 32 KiB.
const RUNS: usize = 32;

/// Why sorting failed.
#[derive(Debug, thiserror::Error)]
pub enum SortError {
    /// The disk says no.
    #[error("spilling names to {folder}")]
    Spill {
        /// Where.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no disk, and memory has its limit.
    #[error("the names take more than the {limit} octets of memory that they may")]
    TooLarge {
        /// In octets.
        limit: usize,
    },
    /// Writing a run or the table.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Reading a run.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A run is not what was written.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// Where what does not fit into the arena goes.
#[derive(Clone, Debug)]
pub enum Spill {
    /// Into files of this folder. They have no names, so a crash leaves none behind.
    Folder(PathBuf),
    /// Into memory, so many octets at most.
    Memory(usize),
}

/// Of a name in the arena: its first 12 octets, and where it is.
type Entry = (u64, u32, u32);

/// What two values of the same name make.
type Combine<V> = dyn FnMut(V, V) -> V + Send;

/// Sorts.
pub struct Sorter<V = Codes> {
    spill: Spill,
    combine: Box<Combine<V>>,
    /// Octets of the arena at most.
    limit: usize,
    arena: Vec<u8>,
    entries: Vec<Entry>,
    /// Runs by the number of times that their names were merged.
    runs: Vec<Vec<TableFile<V>>>,
    in_memory: usize,
}

impl<V> Debug for Sorter<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { spill, limit, entries, in_memory, .. } = self;
        let names = entries.len();
        f.debug_struct("Sorter")
            .field("spill", spill)
            .field("limit", limit)
            .field("names", &names)
            .field("in_memory", in_memory)
            .finish()
    }
}

impl<V: Value> Sorter<V> {
    /// `combine` says what two values of the same name make, the earlier one first.
    #[must_use]
    pub fn new(spill: Spill, combine: impl FnMut(V, V) -> V + Send + 'static) -> Self {
        let combine = Box::new(combine);
        Self { spill, combine, limit: ARENA, arena: Vec::new(), entries: Vec::new(), runs: Vec::new(), in_memory: 0 }
    }

    /// Another arena than 4 MiB; the whole takes twice as much.
    #[must_use]
    pub fn with_arena(mut self, octets: usize) -> Self {
        self.limit = octets.min(ARENA * 64);
        self
    }

    /// One more name, in any order. A value that stands for nothing says nothing.
    pub fn push(&mut self, key: &KeyBuf, value: V) -> Result<(), SortError> {
        if value.is_absent() {
            return Ok(());
        }
        let octets = key.as_bytes();
        let value = Written::of(&value);
        let size = self.arena.len() + octets.len() + value.as_bytes().len();
        if size >= self.limit || self.entries.len() >= self.limit / OCTETS_A_NAME {
            self.end_run()?;
        }
        let (first, rest) = prefix(key);
        let at = u32::try_from(self.arena.len()).unwrap_or(u32::MAX);
        self.arena.push(u8::try_from(octets.len()).unwrap_or(u8::MAX));
        self.arena.extend(octets);
        self.arena.extend(value.as_bytes());
        self.entries.push((first, rest, at));
        Ok(())
    }

    /// Writes everything to `table`.
    pub fn finish<W: Write>(mut self, table: &mut TableWriter<W, V>) -> Result<(), SortError> {
        if self.runs.is_empty() {
            return self.write_arena(table);
        }
        self.end_run()?;
        (self.arena, self.entries) = (Vec::new(), Vec::new());
        // The earliest names stand in the runs that were merged most often.
        let runs: Vec<_> = self.runs.into_iter().rev().flatten().collect();
        merge(&runs, &mut *self.combine, table)
    }

    fn end_run(&mut self) -> Result<(), SortError> {
        if self.entries.is_empty() {
            return Ok(());
        }
        let run = self.write_run(|sorter, table| sorter.write_arena(table))?;
        self.arena.clear();
        self.entries.clear();
        self.keep(run, 0)
    }

    /// Adds a run, and merges those of its size when there are many.
    fn keep(&mut self, run: TableFile<V>, level: usize) -> Result<(), SortError> {
        if self.runs.len() == level {
            self.runs.push(Vec::new());
        }
        let Some(runs) = self.runs.get_mut(level) else { return Ok(()) };
        runs.push(run);
        if runs.len() < RUNS {
            return Ok(());
        }
        let runs = std::mem::take(runs);
        let merged = self.write_run(|sorter, table| merge(&runs, &mut *sorter.combine, table))?;
        if matches!(self.spill, Spill::Memory(_)) {
            self.in_memory -= runs.iter().map(|run| usize::try_from(run.octets()).unwrap_or_default()).sum::<usize>();
        }
        self.keep(merged, level + 1)
    }

    fn write_run(
        &mut self,
        write: impl FnOnce(&mut Self, &mut TableWriter<RunFile, V>) -> Result<(), SortError>,
    ) -> Result<TableFile<V>, SortError> {
        let file = match &self.spill {
            Spill::Folder(folder) => match nameless(folder) {
                Ok(file) => RunFile::File(file),
                Err(source) => return Err(SortError::Spill { folder: folder.clone(), source }),
            },
            Spill::Memory(_) => RunFile::Memory(Vec::new()),
        };
        let mut table = TableWriter::new(file)?;
        write(self, &mut table)?;
        match (table.finish(0, &Palette::default())?.0, &self.spill) {
            (RunFile::File(file), _) => Ok(TableFile::open(file)?),
            (RunFile::Memory(octets), Spill::Memory(limit)) if self.in_memory + octets.len() > *limit => {
                Err(SortError::TooLarge { limit: *limit })
            }
            (RunFile::Memory(octets), _) => {
                self.in_memory += octets.len();
                Ok(TableFile::from_memory(octets)?)
            }
        }
    }

    fn write_arena<W: Write>(&mut self, table: &mut TableWriter<W, V>) -> Result<(), SortError> {
        let Self { arena, entries, combine, .. } = self;
        // Equal names stay in the order in which they came.
        entries.sort_unstable_by(|one, other| {
            (one.0, one.1)
                .cmp(&(other.0, other.1))
                .then_with(|| octets(arena, one).cmp(octets(arena, other)))
                .then(one.2.cmp(&other.2))
        });
        let mut last: Option<(KeyBuf, V)> = None;
        for entry in entries.iter() {
            let key = octets(arena, entry);
            let mut at = entry.2 as usize + 1 + key.len();
            let value = V::read(arena, &mut at).ok_or(ReadError::Broken(Broken))?;
            match &mut last {
                Some((before, known)) if before.as_bytes() == key => *known = combine(*known, value),
                _ => {
                    if let Some((key, value)) = last {
                        table.push(&key, value)?;
                    }
                    last = Some((KeyBuf::unchecked(key).ok_or(ReadError::Broken(Broken))?, value));
                }
            }
        }
        if let Some((key, value)) = last {
            table.push(&key, value)?;
        }
        Ok(())
    }
}

/// Octets of a key in the arena.
fn octets<'a>(arena: &'a [u8], entry: &Entry) -> &'a [u8] {
    let rest = arena.get(entry.2 as usize..).unwrap_or_default();
    rest.split_first().and_then(|(length, rest)| rest.get(..usize::from(*length))).unwrap_or_default()
}

/// The first 12 octets, zero behind a shorter key: no key has octets there that are less.
fn prefix(key: &KeyBuf) -> (u64, u32) {
    let mut first = [0; 12];
    for (to, from) in first.iter_mut().zip(key.as_bytes()) {
        *to = *from;
    }
    let [a, b, c, d, e, f, g, h, i, j, k, l] = first;
    (u64::from_be_bytes([a, b, c, d, e, f, g, h]), u32::from_be_bytes([i, j, k, l]))
}

fn merge<W: Write, V: Value>(
    runs: &[TableFile<V>],
    combine: &mut Combine<V>,
    table: &mut TableWriter<W, V>,
) -> Result<(), SortError> {
    let mut merge: Merge<Scan<V>> = Merge::new(runs.iter().map(|run| run.scan().forgetting()).collect());
    while merge.advance()? {
        if let Some(value) = merge.hits().iter().map(|hit| hit.value).reduce(&mut *combine) {
            table.push(merge.key(), value)?;
        }
    }
    Ok(())
}

#[derive(Debug)]
enum RunFile {
    File(File),
    Memory(Vec<u8>),
}

impl Write for RunFile {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.write(octets),
            Self::Memory(memory) => memory.write(octets),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file of this folder that nobody else can open.
fn nameless(folder: &std::path::Path) -> io::Result<File> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = folder.join(format!("run-{}-{number}.tmp", std::process::id()));
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}
