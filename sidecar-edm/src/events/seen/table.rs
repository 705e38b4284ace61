//! Fingerprints in memory: a table of fixed size without locks, in which a look-up costs one cache line, seldom its neighbour too.
//!
//! A name belongs to a set of 16 slots in two neighbouring cache lines. A slot has 56 bits of the fingerprint and the last octet of the number
//! of its generation. Slots of generations that are over are empty. Where a set is full the oldest makes room; that hits about one name in a
//! hundred when the store is as full as it may be, and those are the ones that would go next anyway.
//!
//! # Limitations
//! Two threads that mark one name in the same instant may take two slots for it. Whoever needs a name to be new once has to look and mark
//! under a lock of his own, as [`super::super::handover`] does.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Fingerprint, GENERATIONS, Kind, Secret};

const LINE: usize = 8;
/// Slots for two names.
const SLOTS_FOR_TWO: usize = 3;
/// However often others are quicker: then the mark is not made, and the name is reported once more.
const TRIES: usize = 64;
/// Bits of a slot that tell the generation.
const AGE_BITS: u32 = 8;

#[derive(Debug, Default)]
#[repr(align(64))]
struct Line([AtomicU64; LINE]);

/// The table.
#[derive(Debug)]
pub struct Table {
    secret: Secret,
    lines: Box<[Line]>,
    names: AtomicU64,
    forgotten: AtomicU64,
    /// Number of the present generation.
    present: AtomicU64,
    /// Number of the oldest one that is not over.
    oldest: AtomicU64,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    New,
    /// Its mark.
    Marked,
    /// A mark of the older half of the generations, which is one of the present one now: it has to be written down again.
    Renewed,
}

impl Table {
    /// For at most so many names, by fingerprints of a secret of its own.
    #[must_use]
    pub fn new(names: usize) -> Self {
        Self::of(Secret::draw(), names)
    }

    /// For at most so many names, by fingerprints of this secret.
    #[must_use]
    pub fn of(secret: Secret, names: usize) -> Self {
        let lines = names.saturating_mul(SLOTS_FOR_TWO).div_ceil(2 * LINE).next_multiple_of(2).max(2);
        Self {
            secret,
            lines: (0..lines).map(|_| Line::default()).collect(),
            names: AtomicU64::new(0),
            forgotten: AtomicU64::new(0),
            present: AtomicU64::new(0),
            oldest: AtomicU64::new(0),
        }
    }

    /// The secret of the fingerprints.
    #[inline]
    #[must_use]
    pub const fn secret(&self) -> Secret {
        self.secret
    }

    /// Octets in memory.
    #[must_use]
    pub fn octets(&self) -> usize {
        self.lines.len() * size_of::<Line>()
    }

    /// Names remembered.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.names.load(Ordering::Relaxed)
    }

    /// Nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Names that had to go, by age or for want of room.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.forgotten.load(Ordering::Relaxed)
    }

    /// Looks a name up.
    #[inline]
    #[must_use]
    pub fn find(&self, print: Fingerprint) -> Found {
        let (present, oldest) = self.generations();
        for line in self.set(print) {
            for slot in &line.0 {
                let value = slot.load(Ordering::Relaxed);
                if value >> AGE_BITS != print.tag() {
                    continue;
                }
                let age = age(value, present);
                if age > present - oldest {
                    return Found::New;
                }
                if age < GENERATIONS / 2 {
                    return Found::Marked;
                }
                let renewed = slot.compare_exchange(value, entry(print, present), Ordering::Relaxed, Ordering::Relaxed).is_ok();
                return if renewed { Found::Renewed } else { Found::Marked };
            }
        }
        Found::New
    }

    /// Marks a name in the present generation.
    pub fn mark(&self, print: Fingerprint) {
        let present = self.generations().0;
        self.mark_in(print, present);
    }

    /// The same in an earlier generation, as its file tells.
    pub fn mark_in(&self, print: Fingerprint, generation: u64) {
        for _ in 0..TRIES {
            let Some((slot, value)) = self.slot_for(print, self.generations().0) else { return };
            if slot.compare_exchange(value, entry(print, generation), Ordering::Relaxed, Ordering::Relaxed).is_err() {
                continue;
            }
            if value == 0 {
                self.names.fetch_add(1, Ordering::Relaxed);
            } else if value >> AGE_BITS != print.tag() {
                self.forgotten.fetch_add(1, Ordering::Relaxed);
            }
            return;
        }
    }

    /// Whether a name is marked, without renewing its mark.
    #[must_use]
    pub fn contains(&self, print: Fingerprint) -> bool {
        let (present, oldest) = self.generations();
        let slots = self.set(print).flat_map(|line| &line.0);
        let mut values = slots.map(|slot| slot.load(Ordering::Relaxed));
        values.any(|value| value >> AGE_BITS == print.tag() && age(value, present) <= present - oldest)
    }

    /// Takes a mark back; false if there was none.
    pub fn unmark(&self, print: Fingerprint) -> bool {
        let mut was_marked = false;
        for slot in self.set(print).flat_map(|line| &line.0) {
            let value = slot.load(Ordering::Relaxed);
            if value >> AGE_BITS == print.tag() && slot.compare_exchange(value, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                self.names.fetch_sub(1, Ordering::Relaxed);
                was_marked = true;
            }
        }
        was_marked
    }

    /// Marks, and marks taken back, in this order.
    pub fn replay(&self, records: &[(Kind, Fingerprint)]) {
        for (kind, print) in records {
            match kind {
                Kind::Mark => self.mark(*print),
                Kind::Unmark => {
                    self.unmark(*print);
                }
            }
        }
    }

    /// Which generations are remembered from now on; the others are forgotten.
    pub fn turn(&self, oldest: u64, present: u64) {
        // More would not be told apart by their last octet.
        let oldest = oldest.max(present.saturating_sub(GENERATIONS - 1)).min(present);
        self.present.store(present, Ordering::Relaxed);
        self.oldest.store(oldest, Ordering::Relaxed);
        for slot in self.lines.iter().flat_map(|line| &line.0) {
            let value = slot.load(Ordering::Relaxed);
            if value != 0
                && age(value, present) > present - oldest
                && slot.compare_exchange(value, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
            {
                self.names.fetch_sub(1, Ordering::Relaxed);
                self.forgotten.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn generations(&self) -> (u64, u64) {
        let present = self.present.load(Ordering::Relaxed);
        // They are not changed together: between the two there may be one too few.
        (present, self.oldest.load(Ordering::Relaxed).min(present))
    }

    /// The lines of a name's set, the one to be looked at first in front.
    #[inline]
    fn set(&self, print: Fingerprint) -> impl Iterator<Item = &Line> {
        let first = print.place(self.lines.len());
        [first, first ^ 1].into_iter().filter_map(|line| self.lines.get(line))
    }

    /// The slot that has the name already, else an empty one, else the oldest.
    fn slot_for(&self, print: Fingerprint, present: u64) -> Option<(&AtomicU64, u64)> {
        let mut best: Option<(&AtomicU64, u64, u64)> = None;
        for slot in self.set(print).flat_map(|line| &line.0) {
            let value = slot.load(Ordering::Relaxed);
            if value >> AGE_BITS == print.tag() {
                return Some((slot, value));
            }
            let age = if value == 0 { u64::MAX } else { age(value, present) };
            if best.is_none_or(|(.., oldest)| age > oldest) {
                best = Some((slot, value, age));
            }
        }
        best.map(|(slot, value, _)| (slot, value))
    }
}

fn entry(print: Fingerprint, generation: u64) -> u64 {
    print.tag() << AGE_BITS | u64::from(generation as u8)
}

/// How many generations ago.
#[inline]
fn age(value: u64, present: u64) -> u64 {
    u64::from((present as u8).wrapping_sub(value as u8))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::Secret;
    use super::*;

    fn print(number: u64) -> Fingerprint {
        Secret::clone(SECRET.get_or_init(Secret::draw)).fingerprint(&number.to_le_bytes())
    }

    static SECRET: std::sync::OnceLock<Secret> = std::sync::OnceLock::new();

    #[test]
    fn what_is_marked_is_found_and_nothing_else() {
        // So few that no set is full, whatever the secret.
        let table = Table::new(30_000);
        (0..8000).for_each(|number| table.mark(print(number)));
        assert_eq!((table.len(), table.forgotten()), (8000, 0));
        assert!((0..8000).all(|number| table.find(print(number)) == Found::Marked));
        assert!((8000..100_000).all(|number| table.find(print(number)) == Found::New));
        assert!((0..4000).all(|number| table.unmark(print(number))) && !table.unmark(print(0)));
        assert!(!table.contains(print(0)) && table.contains(print(4000)));
        assert_eq!(table.len(), 4000);
        assert!((0..8000).all(|number| (table.find(print(number)) == Found::Marked) == (number >= 4000)));
    }

    #[test]
    fn marking_twice_takes_one_slot() {
        let table = Table::new(1000);
        (0..50).chain(0..50).for_each(|number| table.mark(print(number)));
        assert_eq!((table.len(), table.forgotten()), (50, 0));
    }

    #[test]
    fn a_full_table_forgets_few_and_the_oldest_first() {
        let table = Table::new(10_000);
        for generation in 0..GENERATIONS {
            table.turn(0, generation);
            (generation * 1250..(generation + 1) * 1250).for_each(|number| table.mark(print(number)));
        }
        let lost: Vec<u64> = (0..10_000).filter(|number| table.find(print(*number)) == Found::New).collect();
        assert_eq!(lost.len() as u64, table.forgotten());
        assert_eq!(table.len(), 10_000 - table.forgotten());
        assert!(lost.len() < 200, "{}", lost.len());
        assert!(lost.iter().filter(|number| **number >= 5000).count() < lost.len() / 4 + 1, "{lost:?}");
        // And however many come, memory does not grow.
        let octets = table.octets();
        (0..100_000).for_each(|number| table.mark(print(number)));
        assert!(table.len() <= 15_100 && table.octets() == octets);
    }

    #[test]
    fn a_name_in_use_is_renewed_and_one_that_is_not_goes() {
        let table = Table::new(4000);
        (0..500).for_each(|number| table.mark(print(number)));
        let mut renewed = 0;
        for generation in 1..40_u64 {
            table.turn(generation.saturating_sub(GENERATIONS - 1), generation);
            for number in 0..100 {
                match table.find(print(number)) {
                    Found::Renewed => renewed += 1,
                    Found::Marked => {}
                    Found::New => panic!("{number} is forgotten in {generation}"),
                }
            }
        }
        assert_eq!(renewed, 100 * (39 / (GENERATIONS / 2)));
        assert_eq!((table.len(), table.forgotten()), (100, 400));
        assert!((100..500).all(|number| table.find(print(number)) == Found::New));
        // Numbers of generations are told apart by their last octet: nothing old may come back.
        for generation in 40..700 {
            table.turn(generation - 7, generation);
            assert!((100..500).all(|number| table.find(print(number)) == Found::New));
        }
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn many_threads_lose_nothing() {
        let table = Table::new(400_000);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let table = &table;
                scope.spawn(move || {
                    for number in 0..40_000 {
                        // Each half is another thread's too.
                        table.mark(print(number + thread * 20_000));
                    }
                });
            }
        });
        assert!((0..100_000).all(|number| table.find(print(number)) == Found::Marked));
        let mut tags = HashSet::new();
        let doubled = table.lines.iter().flat_map(|line| &line.0).map(|slot| slot.load(Ordering::Relaxed));
        assert!(doubled.filter(|value| *value != 0 && !tags.insert(*value)).count() < 100);
    }
}
