//! Where connections count: some shards, each behind a lock that hardly anybody else ever wants.
//!
//! A lock that nobody else holds costs some twelve nanoseconds for up to sixteen answers. It lets the rotation reach what idle connections have
//! counted, and it lets connections share where they are many: a shard of a large list takes four octets for each of its entries, so there
//! are no more of them than threads that can count at one time, twice over, and all of them together take a part of the memory that there is.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;

use crate::histogram::{Hit, Settings, Shard};
use crate::list::List;
use crate::memory::Budget;

/// Slots at most, whatever the machine.
const MOST: usize = 32;
/// The part of the memory that the indices of one list may take.
const PART: usize = 4;
/// Octets of an index for each entry.
const OF_EACH: usize = 4;

/// What counters take in memory, in octets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Rows, and where each entry has its own.
    pub rows: usize,
    /// Sketches of clients.
    pub sketches: usize,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Slots(Arc<[Arc<Slot>]>);

/// One, for a connection or some.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// Usually one. One more for each list and each way to count that was in force since the last rotation.
    shards: Mutex<Vec<Shard>>,
    users: AtomicUsize,
}

/// A connection's place in a slot.
#[derive(Debug)]
pub(super) struct Place {
    slots: Arc<[Arc<Slot>]>,
    index: usize,
}

impl Default for Slots {
    fn default() -> Self {
        Self::new(available_parallelism().map_or(1, usize::from) * 2)
    }
}

impl Slots {
    fn new(slots: usize) -> Self {
        Self((0..slots.clamp(1, MOST)).map(|_| Arc::default()).collect())
    }

    /// Where the fewest others are.
    pub(super) fn enter(&self) -> Place {
        let users = |slot: &Arc<Slot>| slot.users.load(Ordering::Relaxed);
        let least = self.0.iter().enumerate().min_by_key(|(_, slot)| users(slot));
        let place = Place { slots: Arc::clone(&self.0), index: least.map_or(0, |(index, _)| index) };
        if let Some(slot) = place.slots.get(place.index) {
            slot.users.fetch_add(1, Ordering::Relaxed);
        }
        place
    }

    /// Takes out what was counted.
    pub(super) fn take(&self) -> Vec<Shard> {
        self.0.iter().flat_map(|slot| std::mem::take(&mut *slot.lock())).collect()
    }

    /// Works while somebody holds every lock.
    #[cfg(test)]
    pub(super) fn while_locked<T>(&self, work: impl FnOnce() -> T) -> T {
        let _locks: Vec<_> = self.0.iter().map(|slot| slot.lock()).collect();
        work()
    }

    pub(super) fn held(&self) -> Held {
        let mut held = Held::default();
        for slot in self.0.iter() {
            for shard in slot.lock().iter() {
                held.rows += shard.octets_of_rows();
                held.sketches += shard.octets_of_sketches();
            }
        }
        held
    }
}

impl Place {
    /// Counts these answers, which are hits of this list.
    pub(super) fn count(&self, list: &Arc<List>, settings: Settings, budget: &Arc<Budget>, hits: &[Hit<'_>]) {
        // There is always one.
        let Some(slot) = self.slots.get(self.index % usable(self.slots.len(), list, budget)) else { return };
        let mut shards = slot.lock();
        let place = shards.iter().position(|shard| Arc::ptr_eq(shard.list(), list) && shard.settings() == settings);
        let place = place.unwrap_or_else(|| {
            shards.push(Shard::new(Arc::clone(list), settings, budget));
            shards.len() - 1
        });
        if let Some(shard) = shards.get_mut(place) {
            shard.count_all(hits);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(slot) = self.slots.get(self.index) {
            slot.users.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// How many of the slots may have an index of this list: one at least.
fn usable(slots: usize, list: &List, budget: &Budget) -> usize {
    let index = usize::try_from(list.words()).unwrap_or(usize::MAX).saturating_mul(OF_EACH).max(1);
    (budget.bound() / PART / index).clamp(1, slots.max(1))
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Vec<Shard>> {
        // A panic costs one connection and what it was counting; the rest of the shard is as good as before.
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::{Answer, Minute};

    const ANSWER: Answer = Answer { qtype: 1, qclass: 1, rcode: 0 };

    fn list(words: &[&str]) -> Arc<List> {
        Arc::new(List::from_dawg(&tapir_wire::dawg::compile(words.iter().copied()).unwrap()).unwrap())
    }

    fn count(place: &Place, list: &Arc<List>, budget: &Arc<Budget>) {
        let entry = list.find(b"\x01a\0").unwrap();
        place.count(list, Settings::default(), budget, &[Hit { entry, answer: ANSWER, client: &[192, 0, 2, 1] }]);
    }

    #[test]
    fn connections_spread_and_share_and_their_places_are_used_again() {
        let slots = Slots::new(2);
        let places: Vec<_> = (0..5).map(|_| slots.enter()).collect();
        let users = || slots.0.iter().map(|slot| slot.users.load(Ordering::Relaxed)).collect::<Vec<_>>();
        assert_eq!(users(), [3, 2]);
        drop(places);
        assert_eq!(users(), [0, 0]);
        assert_eq!((Slots::new(0).0.len(), Slots::new(1000).0.len()), (1, MOST));
    }

    #[test]
    fn what_connections_left_is_taken_with_what_the_idle_ones_have() {
        let (slots, budget, list) = (Slots::new(2), Budget::new(1 << 20), list(&["a."]));
        let (gone, idle) = (slots.enter(), slots.enter());
        count(&gone, &list, &budget);
        count(&idle, &list, &budget);
        drop(gone);
        assert!(slots.held().rows > 0 && slots.held().sketches > 0);
        assert_eq!(Minute::of(slots.take()).answers(), 2);
        assert_eq!((slots.held(), budget.used()), (Held::default(), 0));
        count(&idle, &list, &budget);
        assert_eq!(Minute::of(slots.take()).answers(), 1, "and none of them twice");
    }

    #[test]
    fn a_large_list_has_few_indices_however_many_processors_there_are() {
        let words: Vec<String> = (0..1000).map(|number| format!("a{number:03}.")).collect();
        let words: Vec<&str> = std::iter::once("a.").chain(words.iter().map(String::as_str)).collect();
        let (slots, list) = (Slots::new(MOST), list(&words));
        let places: Vec<_> = (0..MOST).map(|_| slots.enter()).collect();
        let used = || slots.0.iter().filter(|slot| !slot.lock().is_empty()).count();
        for (bound, most) in [(1 << 20, MOST), (3 * 1001 * OF_EACH * PART, 3), (1, 1)] {
            let budget = Budget::new(bound);
            places.iter().for_each(|place| count(place, &list, &budget));
            assert_eq!(used(), most);
            assert_eq!(Minute::of(slots.take()).answers(), MOST as u64);
        }
    }

    /// Two connections share a slot while the list changes under one of them: each answer is counted in the list that it hit.
    #[test]
    fn shards_of_two_lists_stand_side_by_side() {
        let (slots, budget) = (Slots::new(1), Budget::new(1 << 20));
        let (old, new) = (list(&["a.", "b."]), list(&["0.", "a."]));
        let (first, second) = (slots.enter(), slots.enter());
        for _ in 0..3 {
            count(&first, &old, &budget);
            count(&second, &new, &budget);
        }
        let shards = slots.take();
        assert_eq!(shards.iter().map(Shard::answers).collect::<Vec<_>>(), [3, 3]);
        let rows: Vec<_> = Minute::of(shards).rows().map(|row| (row.labels.get(0).map(str::to_owned), row.counters[0])).collect();
        assert_eq!(rows, [(Some("a".to_owned()), 6)]);
    }
}
