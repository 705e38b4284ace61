//! The table: open addressing, exact comparison.
//!
//! A slot has 32 bits of an entry's hash and the place of its record; a record is the entry's number, its length and the name on the wire. Some
//! nineteen octets an entry, and its name. Two threads make a table at once: each has half of the records, and the slots are for both.

use std::fmt;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use tapir_wire::name::{MAX_LABEL, push_octet};

use super::hash::{Hasher, MAX_LABELS};

/// An entry that a name hit. Means something for the list that gave it only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its word's place in the order of the list, from 0 on.
    pub number: u32,
    pub(super) place: u32,
    /// It stands for what is below it.
    pub suffix: bool,
}

impl Entry {
    /// Where its list has it: never 0, and enough to find it again.
    pub(crate) const fn place(self) -> u32 {
        self.place
    }
}

/// Names that are looked up side by side, so that the memory's answers overlap.
pub const GROUP: usize = 16;

/// Set in a record's number.
const SUFFIX: u32 = 1 << 31;
/// Octets of number and length.
const HEAD: usize = 5;
/// A record has some octets more than this, as a rule: where its last octets are.
const TYPICAL: usize = 24;
/// An empty slot: no record has the last place of all. Not zero, so that slots are written before they are read: the kernel gives a page at
/// the first read and another at the first write, and has all processors forget the one before.
const EMPTY: u64 = u64::MAX;
/// Of the slots of a list that is not tiny, three in five are taken.
const SLOTS_FOR_THREE: u64 = 5;
/// Set in the place of a record of the second half.
const SECOND: u32 = 1 << 31;

pub(super) struct Table {
    hasher: Hasher,
    /// Hash bits above, place below. There is always an empty one.
    slots: Vec<AtomicU64>,
    records: [Vec<u8>; 2],
    entries: u32,
    depths: Depths,
}

/// Which numbers of labels the entries have: what none has is not looked for.
#[derive(Clone, Copy, Default)]
struct Depths {
    exact: u128,
    suffix: u128,
}

/// What is known of a name when it was gone through.
#[derive(Clone, Copy)]
struct Seen {
    /// Of an entry for the name itself.
    hash: u64,
    /// How many labels, and where they end.
    labels: u8,
    end: u8,
}

impl Table {
    pub(super) const fn len(&self) -> u32 {
        self.entries
    }

    pub(super) fn octets(&self) -> usize {
        self.slots.capacity() * size_of::<u64>() + self.records.iter().map(Vec::capacity).sum::<usize>()
    }

    pub(super) fn name(&self, entry: Entry) -> Name<'_> {
        Name { wire: self.record(entry.place).1, suffix: entry.suffix }
    }

    pub(super) fn at(&self, place: u32) -> Entry {
        let (number, _) = self.record(place);
        Entry { number: number & !SUFFIX, place, suffix: number & SUFFIX != 0 }
    }

    pub(super) fn find(&self, wire: &[u8]) -> Option<Entry> {
        self.look(wire, self.see(wire)?)
    }

    /// All names of at most [`GROUP`], as [`Self::find`] finds each.
    pub(super) fn find_group(&self, names: &[&[u8]], found: &mut [Option<Entry>]) {
        let mut all = [None; GROUP];
        for (name, seen) in names.iter().zip(&mut all) {
            *seen = self.see(name);
        }
        // Asks the memory for all of them before the first answer is needed.
        let mut touched = 0;
        for seen in all.iter().take(names.len()).flatten() {
            let place = self.slots.get(self.position(seen.hash)).map_or(0, |slot| slot.load(Ordering::Relaxed) as u32);
            let (records, at) = self.half(place);
            for at in [at, at + TYPICAL] {
                touched ^= records.get(at).copied().unwrap_or_default();
            }
        }
        black_box(touched);
        for ((name, seen), found) in names.iter().zip(all).zip(found) {
            *found = seen.and_then(|seen| self.look(name, seen));
        }
    }

    /// The entry of this name itself, with or without a dot in front.
    pub(super) fn entry(&self, name: Name<'_>) -> Option<Entry> {
        self.probe(self.hasher.entry(name.wire, name.suffix), name.wire, name.suffix)
    }

    /// Goes through a name; none if it is no name.
    fn see(&self, wire: &[u8]) -> Option<Seen> {
        let (labels, end) = extent(wire)?;
        Some(Seen { hash: self.hasher.entry(wire.get(..usize::from(end))?, false), labels, end })
    }

    /// The name itself, else the longest rest that an entry with a dot in front has.
    fn look(&self, wire: &[u8], seen: Seen) -> Option<Entry> {
        let name = wire.get(..usize::from(seen.end))?;
        if self.depths.exact >> seen.labels & 1 == 1
            && let Some(entry) = self.probe(seen.hash, name, false)
        {
            return Some(entry);
        }
        // Fewer labels than the name has.
        if self.depths.suffix & ((1 << seen.labels) - 1) == 0 {
            return None;
        }
        let mut rest = name;
        for depth in (1..seen.labels).rev() {
            rest = rest.get(1 + usize::from(*rest.first()?)..)?;
            if self.depths.suffix >> depth & 1 == 1
                && let Some(entry) = self.probe(self.hasher.entry(rest, true), rest, true)
            {
                return Some(entry);
            }
        }
        None
    }

    fn probe(&self, hash: u64, name: &[u8], suffix: bool) -> Option<Entry> {
        let mut at = self.position(hash);
        loop {
            let slot = self.slots.get(at)?.load(Ordering::Relaxed);
            if slot == EMPTY {
                return None;
            }
            if (slot >> 32) as u32 == hash as u32 {
                let place = slot as u32;
                let (number, wire) = self.record(place);
                if wire == name && (number & SUFFIX != 0) == suffix {
                    return Some(Entry { number: number & !SUFFIX, place, suffix });
                }
            }
            at = if at + 1 == self.slots.len() { 0 } else { at + 1 };
        }
    }

    #[inline]
    fn half(&self, place: u32) -> (&[u8], usize) {
        let [first, second] = &self.records;
        (if place & SECOND == 0 { first } else { second }, (place & !SECOND) as usize)
    }

    fn record(&self, place: u32) -> (u32, &[u8]) {
        let (records, at) = self.half(place);
        let record = records.get(at..).unwrap_or_default();
        match record.split_first_chunk::<HEAD>() {
            Some((&[a, b, c, d, length], wire)) => {
                (u32::from_le_bytes([a, b, c, d]), wire.get(..usize::from(length)).unwrap_or_default())
            }
            None => (0, &[]),
        }
    }

    fn position(&self, hash: u64) -> usize {
        position(hash, self.slots.len())
    }
}

/// Any hash has a slot, and all slots about as many hashes.
#[inline]
fn position(hash: u64, slots: usize) -> usize {
    ((u128::from(hash) * slots as u128) >> 64) as usize
}

/// How many labels a name has, and where they end: at the root's zero, or at the end where there is none. None if it is no name.
#[inline]
fn extent(wire: &[u8]) -> Option<(u8, u8)> {
    let (mut labels, mut at) = (0, 0);
    while let Some(&length) = wire.get(at).filter(|length| **length != 0) {
        if usize::from(length) > MAX_LABEL || labels == MAX_LABELS {
            return None;
        }
        labels += 1;
        at += 1 + usize::from(length);
    }
    let end = u8::try_from(at).ok().filter(|_| at <= wire.len())?;
    Some((labels as u8, end))
}

/// Where labels begin, how many there are, and where they end: at the root's zero, or at the end where there is none.
fn starts(wire: &[u8]) -> Option<([u8; MAX_LABELS], usize, u8)> {
    let (mut starts, mut labels, mut at) = ([0; MAX_LABELS], 0, 0);
    while let Some(&length) = wire.get(at).filter(|length| **length != 0) {
        *starts.get_mut(labels)? = u8::try_from(at).ok()?;
        if usize::from(length) > MAX_LABEL {
            return None;
        }
        labels += 1;
        at += 1 + usize::from(length);
    }
    let end = u8::try_from(at).ok().filter(|_| at <= wire.len())?;
    Some((starts, labels, end))
}

/// Makes a table.
pub(super) struct Builder {
    hasher: Hasher,
    slots: Vec<AtomicU64>,
}

/// Takes entries, one by one, beside another.
pub(super) struct Half<'a> {
    builder: &'a Builder,
    /// What tells its records apart from those of the other one.
    which: u32,
    made: Made,
    /// Hashed but not in their slots yet: put there many at a time, so that the memory's answers overlap.
    pending: Vec<(u64, u32)>,
}

/// Half of a table.
#[derive(Default)]
pub(super) struct Made {
    records: Vec<u8>,
    entries: u32,
    depths: Depths,
}

const PENDING: usize = 512;
/// Octets of a half for each slot: it has more than half of the records only where the other thread was held up, and names are about this long.
const RESERVED: usize = 10;

impl Builder {
    /// For entries with numbers below this one.
    pub(super) fn new(entries: u64) -> Self {
        let slots = usize::try_from(entries.saturating_mul(SLOTS_FOR_THREE) / 3 + 8).unwrap_or(usize::MAX);
        Self { hasher: Hasher::new(), slots: vec![EMPTY; slots].into_iter().map(AtomicU64::new).collect() }
    }

    pub(super) fn half(&self, second: bool) -> Half<'_> {
        // Reserved at once, so that it stands in huge pages: only what is written takes memory.
        let mut records = Vec::with_capacity(self.slots.len() * RESERVED);
        // Place 0 is no record's.
        records.push(0);
        let made = Made { records, ..Made::default() };
        Half { builder: self, which: if second { SECOND } else { 0 }, made, pending: Vec::with_capacity(PENDING) }
    }

    pub(super) fn finish(self, [first, second]: [Made; 2]) -> Table {
        let Self { hasher, slots } = self;
        let depths =
            Depths { exact: first.depths.exact | second.depths.exact, suffix: first.depths.suffix | second.depths.suffix };
        Table { hasher, slots, entries: first.entries + second.entries, records: [first.records, second.records], depths }
    }
}

impl Half<'_> {
    /// Adds a name that was not added before, to either half; false if there is no room for it.
    #[must_use]
    pub(super) fn add(&mut self, number: u64, wire: &[u8], suffix: bool) -> bool {
        let made = &mut self.made;
        let Some((labels, _)) = extent(wire) else { return false };
        let place = u32::try_from(made.records.len()).ok().filter(|place| *place < SECOND - 1);
        // Numbers differ, so there are fewer entries than slots.
        let number =
            u32::try_from(number).ok().filter(|number| number & SUFFIX == 0 && (*number as usize) + 1 < self.builder.slots.len());
        let (Some(place), Some(number), Ok(length)) = (place, number, u8::try_from(wire.len())) else { return false };
        let flag = if suffix { SUFFIX } else { 0 };
        made.records.extend_from_slice(&(number | flag).to_le_bytes());
        made.records.push(length);
        made.records.extend_from_slice(wire);
        made.entries += 1;
        *(if suffix { &mut made.depths.suffix } else { &mut made.depths.exact }) |= 1 << labels;
        self.pending.push((self.builder.hasher.entry(wire, suffix), place | self.which));
        if self.pending.len() >= PENDING {
            self.place();
        }
        true
    }

    fn place(&mut self) {
        let slots = &self.builder.slots;
        // Asks the memory for all of them first: what changes a slot waits for it.
        let touch = |touched: u64, hash: u64| {
            touched ^ slots.get(position(hash, slots.len())).map_or(0, |slot| slot.load(Ordering::Relaxed))
        };
        black_box(self.pending.iter().fold(0, |touched, (hash, _)| touch(touched, *hash)));
        for (hash, place) in self.pending.drain(..) {
            let slot = u64::from(hash as u32) << 32 | u64::from(place);
            let mut at = position(hash, slots.len());
            // Whoever reads it has waited for the thread that made it.
            while slots
                .get(at)
                .is_some_and(|taken| taken.compare_exchange(EMPTY, slot, Ordering::Relaxed, Ordering::Relaxed).is_err())
            {
                at = if at + 1 == slots.len() { 0 } else { at + 1 };
            }
        }
    }

    pub(super) fn finish(mut self) -> Made {
        self.place();
        self.made.records.shrink_to_fit();
        self.made
    }
}

/// The name of an entry.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Name<'a> {
    /// Labels with their lengths, without the root's zero.
    pub(super) wire: &'a [u8],
    /// It stands for what is below it.
    pub suffix: bool,
}

impl<'a> Name<'a> {
    /// The labels from the right, as octets.
    pub fn labels_from_the_right(&self) -> impl Iterator<Item = &'a [u8]> {
        let wire = self.wire;
        let (starts, labels, end) = starts(wire).unwrap_or(([0; MAX_LABELS], 0, 0));
        let mut to = usize::from(end);
        (0..labels).rev().filter_map(move |label| {
            let start = usize::from(*starts.get(label)?);
            let label = wire.get(start + 1..to);
            to = start;
            label
        })
    }
}

impl fmt::Display for Name<'_> {
    /// As the list has it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::from(if self.suffix || self.wire.is_empty() { "." } else { "" });
        let labels: Vec<&[u8]> = self.labels_from_the_right().collect();
        for label in labels.into_iter().rev() {
            label.iter().for_each(|octet| push_octet(&mut text, *octet));
            text.push('.');
        }
        formatter.write_str(&text)
    }
}

impl fmt::Debug for Name<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Into the halves by turns.
    fn table(room: u64, entries: &[(&[u8], bool)]) -> (Table, usize) {
        let builder = Builder::new(room);
        let mut halves = [false, true].map(|second| builder.half(second));
        let adds = |(number, (wire, suffix)): (usize, &(&[u8], bool))| halves[number % 2].add(number as u64, wire, *suffix);
        let added = entries.iter().enumerate().map(adds).take_while(|added| *added).count();
        let made = halves.map(Half::finish);
        (builder.finish(made), added)
    }

    #[test]
    fn a_hash_alone_is_no_hit() {
        let (table, _) = table(2, &[(b"\x01a\x02se", false), (b"\x02se", true)]);
        for (entry, suffix) in [(b"\x01a\x02se".as_slice(), false), (b"\x02se", true)] {
            let hash = table.hasher.entry(entry, suffix);
            assert!(table.probe(hash, entry, suffix).is_some());
            assert_eq!(table.probe(hash, b"\x01b\x02se", suffix), None, "another name with the same hash");
            assert_eq!(table.probe(hash, entry, !suffix), None);
        }
    }

    #[test]
    fn there_is_room_for_as_many_as_were_announced_and_the_search_ends() {
        let names: Vec<_> = (0..=255_u8).map(|octet| [1, octet]).collect();
        let (table, added) = table(0, &names.iter().map(|name| (name.as_slice(), false)).collect::<Vec<_>>());
        assert!(added >= 1 && table.len() as usize == added);
        assert!(table.slots.iter().any(|slot| slot.load(Ordering::Relaxed) == EMPTY));
        assert!(names.iter().filter(|name| table.find(name.as_slice()).is_some()).count() == added);
    }
}
