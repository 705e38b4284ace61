//! What Core observed, until it expires.
//!
//! Core repeats nothing and removes nothing: an observation ends by `time_added` + `ttl` alone. Whoever records a message
//! could send it again later, so a name remembers the newest time of its observations for as long as an older message about
//! it could still have an effect.
//!
//! When the store is full the newest intelligence is worth more than the oldest: a name makes room by displacing first what is only
//! remembered against replay, then what ends first.

use std::collections::{BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tapir_wire::name::Name;
use tapir_wire::observation::Entry;

/// Longest life of an observation. Core's are hours to days; a month bounds what one mistaken message can do.
pub const LONGEST_TTL: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How far clocks may differ.
pub const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_mins(5);
/// Names that are remembered at most.
pub const MOST_NAMES: usize = 100_000;
/// Their weight at most, see [`weight`]: room for some 90 000 names of three short labels. With the versions of the zone that
/// follow from them they stay far below the 256 MiB of the container, whatever the names and the policy (`tests/memory.rs`).
pub const MOST_WEIGHT: usize = 12 * 1024 * 1024;
/// What a name costs in the trees and maps that hold it, beside its octets.
const NAME_OVERHEAD: usize = 32;

/// What is remembered of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Time of the newest observation.
    pub added: Timestamp,
    /// When it ends. In the past for names that are only remembered against replay.
    pub expires: Timestamp,
    /// Tags.
    pub tags: u32,
    /// Until when an older message could have an effect.
    pub guard: Timestamp,
}

/// Why an entry had no effect. Variant names serve as metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Refusal {
    /// Ended before it came.
    Expired,
    /// From the future.
    Future,
    /// Older than what is known of the name: late, or replayed.
    Stale,
    /// To be removed, but not there.
    Unknown,
}

/// `live` until the end was *processed*, so that a zone which is built twice between two calls of `expire` is the same twice.
#[derive(Clone, Copy, Debug)]
struct Held {
    record: Record,
    live: bool,
}

impl Held {
    const fn due(&self) -> Timestamp {
        if self.live { self.record.expires } else { self.record.guard }
    }
}

/// Observations by name.
#[derive(Clone, Debug, Default)]
pub struct Observations {
    records: HashMap<Name, Held>,
    /// Sum of the weights of all names.
    weight: usize,
    limits: Limits,
    displaced: u64,
    /// Live names by their end.
    ends: BTreeSet<(Timestamp, Name)>,
    /// The others by the end of their guard.
    guards: BTreeSet<(Timestamp, Name)>,
}

/// How much is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Names.
    pub names: usize,
    /// Their weight.
    pub weight: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { names: MOST_NAMES, weight: MOST_WEIGHT }
    }
}

impl Observations {
    /// Nothing known, with limits of its own.
    #[must_use]
    pub fn with_limits(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// An observation came. The result is what is now known of the name.
    pub fn add(&mut self, entry: &Entry, now: Timestamp) -> Result<Record, Refusal> {
        self.add_for(entry, LONGEST_TTL, now)
    }

    /// An observation came that counts for `max_ttl` at most. It is remembered for as long as it could be sent again.
    pub fn add_for(&mut self, entry: &Entry, max_ttl: SignedDuration, now: Timestamp) -> Result<Record, Refusal> {
        if entry.time_added > later(now, CLOCK_TOLERANCE) {
            return Err(Refusal::Future);
        }
        let replayable = entry.expires().min(later(entry.time_added, LONGEST_TTL));
        let expires = replayable.min(later(entry.time_added, max_ttl));
        if expires <= now {
            return Err(Refusal::Expired);
        }
        let held = self.records.get(&entry.name);
        // What ended or was removed does not come back with the message that it came with, or one of the same moment.
        let stale = |held: &Held| entry.time_added < held.record.added || (!held.live && entry.time_added == held.record.added);
        if held.is_some_and(stale) {
            return Err(Refusal::Stale);
        }
        let known = held.map(|held| held.record);
        let guard = known.map_or(replayable, |known| known.guard.max(replayable));
        let record = Record { added: entry.time_added, expires, tags: entry.tag_mask, guard };
        self.put(entry.name.clone(), record, now);
        Ok(record)
    }

    /// An observation was taken back.
    pub fn remove(&mut self, entry: &Entry, now: Timestamp) -> Result<Record, Refusal> {
        let known = self.records.get(&entry.name).filter(|held| held.live).ok_or(Refusal::Unknown)?.record;
        if entry.time_added < known.added {
            return Err(Refusal::Stale);
        }
        if entry.time_added > later(now, CLOCK_TOLERANCE) {
            return Err(Refusal::Future);
        }
        let record = Record { added: entry.time_added, expires: now, ..known };
        self.put(entry.name.clone(), record, now);
        Ok(record)
    }

    /// Takes back what was written down before a restart, unless it is over.
    pub fn restore(&mut self, name: Name, record: Record, now: Timestamp) {
        if record.guard > now {
            self.put(name, record, now);
        }
    }

    /// Forgets what is over; whether a live observation ended.
    pub fn expire(&mut self, now: Timestamp) -> bool {
        let mut ended = false;
        while let Some((end, name)) = pop_due(&mut self.ends, now) {
            ended = true;
            let Some(held) = self.records.get_mut(&name) else { continue };
            held.live = false;
            if held.record.guard > end {
                self.guards.insert((held.record.guard, name));
            } else {
                self.forget(&name);
            }
        }
        while let Some((_, name)) = pop_due(&mut self.guards, now) {
            self.forget(&name);
        }
        ended
    }

    /// When [`Observations::expire`] has something to do next.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        [&self.ends, &self.guards].into_iter().filter_map(|due| due.first()).map(|(due, _)| *due).min()
    }

    /// Names that were displaced by others since this was last asked.
    pub fn take_displaced(&mut self) -> u64 {
        std::mem::take(&mut self.displaced)
    }

    /// Whether a tenth of the room is free.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let free = |used: usize, limit: usize| used < limit - limit / 10;
        free(self.records.len(), self.limits.names) && free(self.weight, self.limits.weight)
    }

    /// Tags of a live observation.
    #[must_use]
    pub fn tags(&self, name: &Name) -> Option<u32> {
        self.records.get(name).filter(|held| held.live).map(|held| held.record.tags)
    }

    /// Live observations.
    pub fn live(&self) -> impl Iterator<Item = (&Name, &Record)> {
        self.records.iter().filter(|(_, held)| held.live).map(|(name, held)| (name, &held.record))
    }

    /// Everything that is remembered.
    pub fn all(&self) -> impl Iterator<Item = (&Name, &Record)> {
        self.records.iter().map(|(name, held)| (name, &held.record))
    }

    /// How many are live.
    #[must_use]
    pub fn live_len(&self) -> usize {
        self.ends.len()
    }

    /// Names that are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    fn put(&mut self, name: Name, record: Record, now: Timestamp) {
        match self.records.get(&name).copied() {
            Some(old) => {
                self.by_due(old.live).remove(&(old.due(), name.clone()));
            }
            None => {
                self.make_room_for(&name);
                self.weight += weight(&name);
            }
        }
        let held = Held { record, live: record.expires > now };
        self.records.insert(name.clone(), held);
        self.by_due(held.live).insert((held.due(), name));
    }

    fn make_room_for(&mut self, name: &Name) {
        let weight = weight(name);
        while self.records.len() >= self.limits.names || self.weight + weight > self.limits.weight {
            let Some((_, least)) = self.guards.pop_first().or_else(|| self.ends.pop_first()) else { return };
            self.forget(&least);
            self.displaced += 1;
        }
    }

    fn forget(&mut self, name: &Name) {
        if self.records.remove(name).is_some() {
            self.weight -= weight(name);
        }
    }

    const fn by_due(&mut self, live: bool) -> &mut BTreeSet<(Timestamp, Name)> {
        if live { &mut self.ends } else { &mut self.guards }
    }
}

fn pop_due(due: &mut BTreeSet<(Timestamp, Name)>, now: Timestamp) -> Option<(Timestamp, Name)> {
    due.first().is_some_and(|(time, _)| *time <= now).then(|| due.pop_first())?
}

/// Memory that a name can cause: its octets and those of every name above it, since below a blocked subtree the zone holds all of
/// them. So a name of 127 labels weighs as much as a hundred others.
fn weight(name: &Name) -> usize {
    let mut rest = name.as_str().len();
    let mut weight = 0;
    for label in name.labels() {
        weight += rest + NAME_OVERHEAD;
        rest = rest.saturating_sub(label.len() + 1);
    }
    weight
}

fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn entry(name: &str, added: i64, ttl: u32, tag_mask: u32) -> Entry {
        let time_added = later(NOW, SignedDuration::from_secs(added));
        Entry { name: Name::parse(name).unwrap(), time_added, ttl, tag_mask }
    }

    fn at(seconds: i64) -> Timestamp {
        later(NOW, SignedDuration::from_secs(seconds))
    }

    fn tags(store: &Observations, name: &str) -> Option<u32> {
        store.tags(&Name::parse(name).unwrap())
    }

    #[test]
    fn an_observation_lives_until_its_end_and_not_longer() {
        let mut store = Observations::default();
        store.add(&entry("a", -10, 60, 5), NOW).unwrap();
        assert_eq!(store.next_due(), Some(at(50)));
        assert!(!store.expire(at(49)));
        assert_eq!(tags(&store, "a"), Some(5));
        assert!(store.expire(at(50)));
        assert_eq!(tags(&store, "a"), None);
        assert!(store.is_empty());
    }

    #[test]
    fn refusals() {
        let mut store = Observations::default();
        assert_eq!(store.add(&entry("a", -60, 60, 1), NOW).unwrap_err(), Refusal::Expired);
        assert_eq!(store.add(&entry("a", 301, 60, 1), NOW).unwrap_err(), Refusal::Future);
        assert_eq!(store.remove(&entry("a", 0, 0, 0), NOW).unwrap_err(), Refusal::Unknown);
        store.add(&entry("a", 300, 60, 1), NOW).unwrap();
        assert_eq!(store.add(&entry("a", 299, 9999, 2), NOW).unwrap_err(), Refusal::Stale);
        assert_eq!(tags(&store, "a"), Some(1));
    }

    #[test]
    fn life_is_capped() {
        let mut store = Observations::default();
        let record = store.add(&entry("a", 0, u32::MAX, 1), NOW).unwrap();
        assert_eq!(record.expires, later(NOW, LONGEST_TTL));
    }

    #[test]
    fn a_shorter_life_does_not_let_the_same_message_come_again() {
        let mut store = Observations::default();
        let long = entry("a", 0, 1000, 1);
        let record = store.add_for(&long, SignedDuration::from_secs(60), NOW).unwrap();
        assert_eq!((record.expires, record.guard), (at(60), at(1000)));
        let again = store.add_for(&entry("c", 0, 10, 1), SignedDuration::from_secs(60), NOW).unwrap();
        assert_eq!(again.guard, at(10));
        let again = store.add_for(&entry("c", 1, 1000, 1), SignedDuration::from_secs(60), NOW).unwrap();
        assert_eq!((again.expires, again.guard), (at(61), at(1001)));
        assert!(store.expire(at(60)));
        assert_eq!(store.add(&long, at(61)).unwrap_err(), Refusal::Stale);
        assert_eq!(store.add_for(&entry("b", -60, 1000, 1), SignedDuration::from_secs(60), NOW).unwrap_err(), Refusal::Expired);
    }

    #[test]
    fn an_old_message_that_comes_again_has_no_effect() {
        let mut store = Observations::default();
        let long = entry("a", -10, 1000, 1);
        store.add(&long, NOW).unwrap();
        store.add(&entry("a", 0, 5, 2), NOW).unwrap();
        assert!(store.expire(at(5)));
        assert_eq!(store.add(&long, at(6)).unwrap_err(), Refusal::Stale);
        store.add(&entry("a", 6, 1000, 3), at(6)).unwrap();
        store.remove(&entry("a", 7, 0, 0), at(7)).unwrap();
        assert_eq!(tags(&store, "a"), None);
        assert_eq!(store.add(&entry("a", 6, 1000, 3), at(8)).unwrap_err(), Refusal::Stale);
        assert!(!store.expire(at(2000)), "what had ended already does not end again");
        assert!(store.is_empty());
    }

    #[test]
    fn a_removal_that_comes_again_does_not_remove_what_came_after() {
        let mut store = Observations::default();
        store.add(&entry("a", -20, 1000, 1), NOW).unwrap();
        let removal = entry("a", -10, 0, 0);
        store.remove(&removal, NOW).unwrap();
        store.add(&entry("a", -5, 1000, 1), NOW).unwrap();
        assert_eq!(store.remove(&removal, NOW).unwrap_err(), Refusal::Stale);
        assert_eq!(tags(&store, "a"), Some(1));
    }

    #[test]
    fn what_was_restored_keeps_its_end_and_its_guard() {
        let mut store = Observations::default();
        let live = Record { added: at(-10), expires: at(10), tags: 1, guard: at(10) };
        let over = Record { added: at(-10), expires: at(-5), tags: 2, guard: at(20) };
        let gone = Record { added: at(-10), expires: at(-5), tags: 3, guard: at(-5) };
        for (name, record) in [("live", live), ("over", over), ("gone", gone)] {
            store.restore(Name::parse(name).unwrap(), record, NOW);
        }
        assert_eq!(store.len(), 2);
        assert_eq!(tags(&store, "live"), Some(1));
        assert_eq!(tags(&store, "over"), None);
        assert_eq!(store.add(&entry("over", -11, 1000, 1), NOW).unwrap_err(), Refusal::Stale);
        assert_eq!(store.live_len(), 1);
        assert!(store.expire(at(10)));
        assert_eq!((store.len(), store.live_len()), (1, 0));
    }

    #[test]
    fn a_full_store_takes_the_new_and_gives_up_what_matters_least() {
        let mut store = Observations::with_limits(Limits { names: 3, weight: MOST_WEIGHT });
        store.add(&entry("long", 0, 1000, 1), NOW).unwrap();
        store.add(&entry("short", 0, 10, 1), NOW).unwrap();
        store.add(&entry("removed", 0, 5000, 1), NOW).unwrap();
        store.remove(&entry("removed", 1, 0, 0), NOW).unwrap();
        assert!(!store.has_room());
        assert_eq!(store.take_displaced(), 0);
        store.add(&entry("new", 0, 100, 1), NOW).unwrap();
        assert_eq!((tags(&store, "long"), tags(&store, "short"), tags(&store, "new")), (Some(1), Some(1), Some(1)));
        store.add(&entry("newer", 0, 100, 1), NOW).unwrap();
        assert_eq!((tags(&store, "long"), tags(&store, "short"), tags(&store, "newer")), (Some(1), None, Some(1)));
        assert_eq!((store.len(), store.live_len(), store.take_displaced()), (3, 3, 2));
        store.add(&entry("new", 1, 200, 2), NOW).unwrap();
        assert_eq!((store.len(), store.take_displaced()), (3, 0), "a known name needs no room");
        store.expire(at(2000));
        assert!(store.is_empty() && store.has_room());
        assert_eq!(store.weight, 0);
    }

    #[test]
    fn long_names_need_more_room() {
        let mut store = Observations::with_limits(Limits { names: 100, weight: 3000 });
        for index in 0..50 {
            store.add(&entry(&format!("{index}.{0}.{0}.example", "a".repeat(60)), 0, 1000 + index, 1), NOW).unwrap();
        }
        assert!(store.weight <= 3000 && store.len() > 1, "{} of {}", store.weight, store.len());
        assert_eq!(store.take_displaced() as usize + store.len(), 50);
    }

    #[test]
    fn a_removal_of_the_same_moment_is_not_undone_by_a_replay() {
        let mut store = Observations::default();
        let observed = entry("a", 0, 1000, 1);
        store.add(&observed, NOW).unwrap();
        store.remove(&entry("a", 0, 0, 0), NOW).unwrap();
        assert_eq!(store.add(&observed, at(1)).unwrap_err(), Refusal::Stale);
        assert_eq!(tags(&store, "a"), None);
        store.add(&entry("a", 1, 1000, 1), at(1)).unwrap();
        assert_eq!(tags(&store, "a"), Some(1));
    }
}
