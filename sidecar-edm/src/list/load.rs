//! A list from its file.

use std::io::{self, Read as _};
use std::path::Path;
use std::sync::{Arc, LazyLock};

use tapir_wire::dawg::WalkError;

use super::hash::Hasher;
use super::table::{Entry, GROUP, Name, Table};
use super::words;
use crate::memory::{Budget, Charge};

/// Longest file in octets: some seven million names.
pub const MAX_FILE: u64 = 64 << 20;
/// Names of a list at most.
pub const MAX_NAMES: u64 = 4_000_000;
/// Octets of all words at most: few octets of a file can say very many.
pub(crate) const MAX_TEXT: u64 = 256 << 20;

/// Octets that a name takes beside its own: its slots, and what stands in front of it.
const OF_EACH: u64 = 20;

/// A list of names.
pub struct List {
    table: Table,
    unmatchable: u64,
    mark: u64,
    charge: Option<Charge>,
}

/// Why a file was refused.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// It cannot be read, or it is no word list, or a damaged one.
    #[error(transparent)]
    File(#[from] WalkError),
    /// Longer than [`MAX_FILE`].
    #[error("word list is longer than {} MiB", MAX_FILE >> 20)]
    TooLong,
    /// Its words are longer than what is taken.
    #[error("word list has more than {} MiB of words", MAX_TEXT >> 20)]
    TooMuchText,
    /// While it is read, or afterwards, it would take more memory than there is.
    #[error("word list takes more than the {} MiB of memory that are left for it: the container's limit is too low", .0 >> 20)]
    NoRoom(usize),
}

impl From<io::Error> for ListError {
    fn from(error: io::Error) -> Self {
        Self::File(error.into())
    }
}

impl List {
    /// Reads and checks a file.
    pub fn read(path: &Path) -> Result<Self, ListError> {
        Self::from_dawg(&octets(path, usize::MAX)?)
    }

    /// The list of a file; the known one where it was made of the same octets.
    pub fn read_again(path: &Path, known: Option<&Arc<Self>>, budget: &Arc<Budget>) -> Result<Arc<Self>, ListError> {
        let room = budget.room();
        let file = octets(path, room)?;
        match known.filter(|known| known.mark == mark(&file)) {
            Some(known) => Ok(Arc::clone(known)),
            None => Ok(Arc::new(Self::within(&file, room)?.charged(budget))),
        }
    }

    /// Reads and checks the file of names that are left out: one without an octet, or without a word, leaves out none.
    pub fn read_ignored(path: &Path, room: usize) -> Result<Option<Self>, ListError> {
        let octets = octets(path, room)?;
        if octets.is_empty() {
            return Ok(None);
        }
        Self::within(&octets, room).map(|list| Some(list).filter(|list| !list.is_empty()))
    }

    /// Checks a file and takes its words over.
    pub fn from_dawg(file: &[u8]) -> Result<Self, ListError> {
        Self::within(file, usize::MAX)
    }

    /// The same with so many octets of memory at most, the file's own included. Nothing that is larger is taken first.
    pub fn within(file: &[u8], room: usize) -> Result<Self, ListError> {
        if file.len() as u64 > MAX_FILE {
            return Err(ListError::TooLong);
        }
        let words = tapir_wire::dawg::Header::read(file).map_err(WalkError::from)?.words.min(MAX_NAMES);
        let fixed = file.len() as u64 + words * OF_EACH;
        let Some(most) = (room as u64).checked_sub(fixed) else { return Err(ListError::NoRoom(room)) };
        let refused = || if most < MAX_TEXT { ListError::NoRoom(room) } else { ListError::TooMuchText };
        let (table, unmatchable) = words::table(file, most.min(MAX_TEXT), refused)?;
        Ok(Self { table, unmatchable, mark: mark(file), charge: None })
    }

    /// The entry that a name hits: its own, else the longest with a dot in front that it lies below (`edm.md` 7.5).
    ///
    /// `wire`: labels with their lengths, in lower case, with or without the root's zero.
    #[must_use]
    pub fn find(&self, wire: &[u8]) -> Option<Entry> {
        self.table.find(wire)
    }

    /// The same for many names, several at once. `found` has at least as many places.
    pub fn find_all(&self, names: &[&[u8]], found: &mut [Option<Entry>]) {
        for (names, found) in names.chunks(GROUP).zip(found.chunks_mut(GROUP)) {
            self.table.find_group(names, found);
        }
    }

    /// This very name, as an entry of another list has it.
    #[must_use]
    pub fn entry(&self, name: Name<'_>) -> Option<Entry> {
        self.table.entry(name)
    }

    /// The name of an entry of this list.
    #[must_use]
    pub fn name(&self, entry: Entry) -> Name<'_> {
        self.table.name(entry)
    }

    /// The entry at a place that an entry of this list told.
    pub(crate) fn at(&self, place: u32) -> Entry {
        self.table.at(place)
    }

    /// How many names can be hit.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.table.len()
    }

    /// Whether no name can be hit.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many words the file has. Numbers of entries are below it.
    #[must_use]
    pub const fn words(&self) -> u64 {
        self.len() as u64 + self.unmatchable
    }

    /// How many words of the file no name off the wire can ever hit.
    #[must_use]
    pub const fn unmatchable(&self) -> u64 {
        self.unmatchable
    }

    /// What it takes in memory.
    #[must_use]
    pub fn octets(&self) -> usize {
        self.table.octets()
    }

    /// Has its memory accounted for as long as it is there, so that others know what is left.
    #[must_use]
    pub fn charged(mut self, budget: &Arc<Budget>) -> Self {
        let mut charge = Charge::new(budget);
        charge.add(self.octets());
        self.charge = Some(charge);
        self
    }

    /// The same for the same file in one process.
    #[must_use]
    pub const fn mark(&self) -> u64 {
        self.mark
    }
}

impl std::fmt::Debug for List {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("List")
            .field("names", &self.len())
            .field("unmatchable", &self.unmatchable)
            .field("charged", &self.charge.as_ref().map(Charge::octets))
            .finish_non_exhaustive()
    }
}

impl PartialEq for List {
    /// Equal files make equal lists.
    fn eq(&self, other: &Self) -> bool {
        (self.mark, self.len(), self.unmatchable) == (other.mark, other.len(), other.unmatchable)
    }
}

fn mark(file: &[u8]) -> u64 {
    static HASHER: LazyLock<Hasher> = LazyLock::new(Hasher::new);
    HASHER.entry(file, false)
}

/// Never more than one octet beyond the longest: the length that a file tells may change.
fn octets(path: &Path, room: usize) -> Result<Vec<u8>, ListError> {
    let file = std::fs::File::open(path)?;
    let expected = usize::try_from(file.metadata()?.len().min(MAX_FILE)).unwrap_or_default();
    if expected > room {
        return Err(ListError::NoRoom(room));
    }
    let mut octets = Vec::with_capacity(expected + 1);
    file.take(MAX_FILE + 1).read_to_end(&mut octets)?;
    if octets.len() as u64 > MAX_FILE { Err(ListError::TooLong) } else { Ok(octets) }
}
