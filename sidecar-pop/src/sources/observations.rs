//! What Core observed, until it expires.
//!
//! Core repeats nothing and removes nothing: an observation ends by `time_added` + `ttl` alone. Whoever records a message
//! could send it again later, so a name remembers the newest time of its observations for as long as an older message about
//! it could still have an effect.

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
    /// No room for another name.
    Full,
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
    /// When something is due for a name: its end, then the end of its guard.
    due: BTreeSet<(Timestamp, Name)>,
    live: usize,
}

impl Observations {
    /// An observation came. The result is what is now known of the name.
    pub fn add(&mut self, entry: &Entry, now: Timestamp) -> Result<Record, Refusal> {
        if entry.time_added > later(now, CLOCK_TOLERANCE) {
            return Err(Refusal::Future);
        }
        let expires = entry.expires().min(later(entry.time_added, LONGEST_TTL));
        if expires <= now {
            return Err(Refusal::Expired);
        }
        let known = self.records.get(&entry.name).map(|held| held.record);
        if known.is_some_and(|known| entry.time_added < known.added) {
            return Err(Refusal::Stale);
        }
        if known.is_none() && !self.has_room_for(&entry.name) {
            return Err(Refusal::Full);
        }
        let guard = known.map_or(expires, |known| known.guard.max(expires));
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
        let known = self.records.contains_key(&name);
        if record.guard > now && (known || self.has_room_for(&name)) {
            self.put(name, record, now);
        }
    }

    /// Forgets what is over; whether a live observation ended.
    pub fn expire(&mut self, now: Timestamp) -> bool {
        let mut ended = false;
        while let Some((due, _)) = self.due.first() {
            if *due > now {
                break;
            }
            let Some((due, name)) = self.due.pop_first() else { break };
            let Some(held) = self.records.get_mut(&name) else { continue };
            if held.live {
                ended = true;
                held.live = false;
                self.live -= 1;
            }
            if held.record.guard > due {
                self.due.insert((held.record.guard, name));
            } else {
                self.weight -= weight(&name);
                self.records.remove(&name);
            }
        }
        ended
    }

    /// When [`Observations::expire`] has something to do next.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(due, _)| *due)
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
    pub const fn live_len(&self) -> usize {
        self.live
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

    fn has_room_for(&self, name: &Name) -> bool {
        self.records.len() < MOST_NAMES && self.weight + weight(name) <= MOST_WEIGHT
    }

    fn put(&mut self, name: Name, record: Record, now: Timestamp) {
        let live = record.expires > now;
        self.live += usize::from(live);
        if let Some(old) = self.records.insert(name.clone(), Held { record, live }) {
            self.live -= usize::from(old.live);
            self.due.remove(&(old.due(), name.clone()));
        } else {
            self.weight += weight(&name);
        }
        self.due.insert((Held { record, live }.due(), name));
    }
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
}
