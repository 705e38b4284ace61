//! Local data, each set of records once.

use std::collections::HashMap;
use std::sync::Arc;

use crate::codes::Code;

/// Sets that a palette can hold.
pub const MAX_SETS: u16 = 4096 - 16;
/// Octets of one set as records, without their name: two of them stay far below what a message of a transfer holds.
const MAX_OCTETS: usize = 4096;
/// Octets of a record besides its data: pointer, label of a wildcard, type, class, TTL, length.
const AROUND_DATA: usize = 14;

/// Records that are the answer for a name: type and data of each, at least one. A copy costs one reference count.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RecordSet {
    records: Arc<[(u16, Vec<u8>)]>,
}

/// Why local data cannot be kept. Variant names serve as metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PaletteError {
    /// There is nothing in it.
    #[error("local data has no records")]
    Empty,
    /// Larger than one set may be.
    #[error("local data takes more than {MAX_OCTETS} octets")]
    TooLarge,
    /// All places are taken.
    #[error("there are more than {MAX_SETS} different sets of local data")]
    Full,
}

impl RecordSet {
    /// These records: type and data in wire form, uncompressed. Order and repetition mean nothing.
    pub fn new(mut records: Vec<(u16, Vec<u8>)>) -> Result<Self, PaletteError> {
        records.sort();
        records.dedup();
        let octets = records.iter().map(|(_, data)| data.len() + AROUND_DATA).sum::<usize>();
        match records.len() {
            0 => Err(PaletteError::Empty),
            _ if octets > MAX_OCTETS => Err(PaletteError::TooLarge),
            _ => Ok(Self { records: records.into() }),
        }
    }

    /// Type and data of each.
    pub fn records(&self) -> impl ExactSizeIterator<Item = (u16, &[u8])> {
        self.records.iter().map(|(kind, data)| (*kind, data.as_slice()))
    }

    /// Appends it as it stands in files: number of records, and for each type, length, data.
    pub fn write(&self, to: &mut Vec<u8>) {
        // At most 4096 octets in all, so all numbers fit.
        let short = |number: usize| u16::try_from(number).unwrap_or(u16::MAX).to_be_bytes();
        to.extend(short(self.records.len()));
        for (kind, data) in &*self.records {
            to.extend(kind.to_be_bytes());
            to.extend(short(data.len()));
            to.extend(data);
        }
    }

    /// Reads what [`RecordSet::write`] wrote in front of `rest`, which moves on.
    pub fn read(rest: &mut &[u8]) -> Option<Self> {
        let mut take = |count: usize| {
            let (taken, left) = rest.split_at_checked(count)?;
            *rest = left;
            Some(taken)
        };
        let count = u16::from_be_bytes(take(2)?.try_into().ok()?);
        let mut records = Vec::new();
        for _ in 0..count {
            let kind = u16::from_be_bytes(take(2)?.try_into().ok()?);
            let length = u16::from_be_bytes(take(2)?.try_into().ok()?);
            records.push((kind, take(usize::from(length))?.to_vec()));
        }
        let ascending = records.is_sorted_by(|one, other| one < other);
        Self::new(records).ok().filter(|_| ascending)
    }
}

/// Sets of local data that codes refer to, by index. Only grows: as long as there is this palette an index means the same. A zone that is made
/// anew gets another one.
#[derive(Clone, Debug)]
pub struct Palette {
    sets: Vec<RecordSet>,
    codes: HashMap<RecordSet, Code>,
    room: u16,
}

impl Default for Palette {
    fn default() -> Self {
        Self::with_room(MAX_SETS)
    }
}

impl PartialEq for Palette {
    fn eq(&self, other: &Self) -> bool {
        self.sets == other.sets
    }
}

impl Eq for Palette {}

impl Palette {
    /// An empty one that takes so many sets, [`MAX_SETS`] at most.
    #[must_use]
    pub fn with_room(room: u16) -> Self {
        Self { sets: Vec::new(), codes: HashMap::new(), room: room.min(MAX_SETS) }
    }

    /// How many sets it takes.
    #[must_use]
    pub const fn room(&self) -> u16 {
        self.room
    }

    /// The same sets, and room for so many from now on.
    #[must_use]
    pub fn roomy(self, room: u16) -> Self {
        Self { room: room.min(MAX_SETS), ..self }
    }

    /// The code of this set, which is added if it is new.
    pub fn intern(&mut self, set: RecordSet) -> Result<Code, PaletteError> {
        if let Some(known) = self.find(&set) {
            return Ok(known);
        }
        let index = u16::try_from(self.sets.len()).ok().filter(|index| *index < self.room);
        let code = index.and_then(Code::set).ok_or(PaletteError::Full)?;
        self.codes.insert(set.clone(), code);
        self.sets.push(set);
        Ok(code)
    }

    /// The code of this set, if it is there.
    #[must_use]
    pub fn find(&self, set: &RecordSet) -> Option<Code> {
        self.codes.get(set).copied()
    }

    /// The set that a code means.
    #[must_use]
    pub fn get(&self, code: Code) -> Option<&RecordSet> {
        self.sets.get(usize::from(code.set_index()?))
    }

    /// All sets, by index.
    #[must_use]
    pub fn sets(&self) -> &[RecordSet] {
        &self.sets
    }

    /// Appends it as it stands in files.
    pub fn write(&self, to: &mut Vec<u8>) {
        for set in &self.sets {
            set.write(to);
        }
    }

    /// Reads exactly what [`Palette::write`] wrote.
    #[must_use]
    pub fn read(mut octets: &[u8]) -> Option<Self> {
        let mut palette = Self::default();
        while !octets.is_empty() {
            let set = RecordSet::read(&mut octets)?;
            let before = palette.sets.len();
            palette.intern(set).ok()?;
            // Each set once: with one that is there twice, indices behind it would mean something else.
            if palette.sets.len() == before {
                return None;
            }
        }
        Some(palette)
    }
}
