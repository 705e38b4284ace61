//! Local data, each set of records once.

use crate::codes::Code;

/// Sets that a palette can hold.
pub const MAX_SETS: u16 = 4096 - 16;
/// Octets of one set as records, without their name: two of them stay far below what a message of a transfer holds.
const MAX_OCTETS: usize = 4096;
/// Octets of a record besides its data: pointer, label of a wildcard, type, class, TTL, length.
const AROUND_DATA: usize = 14;

/// Records that are the answer for a name: type and data of each, at least one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RecordSet {
    records: Vec<(u16, Vec<u8>)>,
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
            _ => Ok(Self { records }),
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
        for (kind, data) in &self.records {
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

/// All sets of local data that a zone refers to, by index. Grows only: an index means the same for ever.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Palette {
    sets: Vec<RecordSet>,
}

impl Palette {
    /// The code of this set, which is added if it is new.
    pub fn intern(&mut self, set: RecordSet) -> Result<Code, PaletteError> {
        let index = self.sets.iter().position(|known| *known == set).unwrap_or(self.sets.len());
        let code = u16::try_from(index).ok().and_then(Code::set).ok_or(PaletteError::Full)?;
        if index == self.sets.len() {
            self.sets.push(set);
        }
        Ok(code)
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
            if palette.sets.len() == usize::from(MAX_SETS) {
                return None;
            }
            palette.sets.push(set);
        }
        Some(palette)
    }
}
