//! What Core observed, until it expires.
//!
//! Core repeats nothing and removes nothing: an observation ends by `time_added` + `ttl` alone. Whoever records a message
//! could send it again later, so a name remembers the newest time of its observations for as long as an older message about
//! it could still have an effect.
//!
//! When there is no room left the newest intelligence is worth more than the oldest: a name displaces first what is only
//! remembered against replay, then what ends first.

use jiff::{SignedDuration, Timestamp};
use tapir_table::{Cursor as _, KeyBuf, Tree};
use tapir_wire::observation::Entry;

use super::sighting::{Guard, Sighting, milliseconds, second_near, second_of};

/// Longest life of an observation. Core's are hours to days; a month bounds what one mistaken message can do.
pub const LONGEST_TTL: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How far clocks may differ.
pub const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_mins(5);
/// What a name may take beside its octets: value, head and share of its leaf.
const BESIDE_THE_NAME: usize = 24;

/// Why an entry had no effect. Variant names serve as metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Refusal {
    /// Ended before it came.
    Expired,
    /// From the future.
    Future,
    /// Older than what is known of the name: late, or replayed.
    Stale,
    /// To be removed, but not there, and over for good.
    Unknown,
}

/// What is known of a name: to be written down, and to be read again at the next start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It counts.
    Live(Sighting),
    /// It has ended, or was taken back.
    Over(Guard),
}

/// Observations by name. A clone is a snapshot and costs nothing.
#[derive(Clone, Debug)]
pub struct Observations {
    live: Tree<Sighting>,
    guards: Tree<Guard>,
    /// Octets that both may take. A leaf that is split in two may go beyond by the length of one key, until the next change.
    room: usize,
    displaced: Vec<KeyBuf>,
}

impl Observations {
    /// Nothing known, and so many octets to remember in.
    #[must_use]
    pub fn new(room: usize) -> Self {
        Self { live: Tree::new(), guards: Tree::new(), room, displaced: Vec::new() }
    }

    /// An observation came, and counts for `max_ttl` at most. It is remembered for as long as it could be sent again.
    ///
    /// # Errors
    /// When it has no effect.
    pub fn add(&mut self, key: &KeyBuf, entry: &Entry, max_ttl: SignedDuration, now: Timestamp) -> Result<Sighting, Refusal> {
        if entry.time_added > later(now, CLOCK_TOLERANCE) {
            return Err(Refusal::Future);
        }
        let replayable = entry.expires().min(later(entry.time_added, LONGEST_TTL));
        let expires = replayable.min(later(entry.time_added, max_ttl));
        // Also by what is noted of it: what has ended by that does not come back for the rest of its time.
        let (end, expires) = (expires, second_near(expires));
        if end <= now || expires <= second_of(now) {
            return Err(Refusal::Expired);
        }
        let added = milliseconds(entry.time_added);
        let (live, over) = (self.live.get(key.as_bytes()), self.guards.get(key.as_bytes()));
        // What ended or was removed does not come back with the message that it came with, or one of the same moment.
        if live.is_some_and(|live| added < live.added) || over.is_some_and(|over| added <= over.added) {
            return Err(Refusal::Stale);
        }
        let known = live.map(|live| live.guard).max(over.map(|over| over.until)).unwrap_or(0);
        let guard = second_near(replayable).max(known).max(expires);
        let sighting = Sighting { added, expires, tags: entry.tag_mask, guard };
        self.put(key, Known::Live(sighting));
        Ok(sighting)
    }

    /// An observation was taken back.
    ///
    /// # Errors
    /// When there is none, or a newer one.
    pub fn remove(&mut self, key: &KeyBuf, entry: &Entry, now: Timestamp) -> Result<Guard, Refusal> {
        let Some(live) = self.live.get(key.as_bytes()) else { return self.remember(key, entry, now) };
        let added = milliseconds(entry.time_added);
        if added < live.added {
            return Err(Refusal::Stale);
        }
        if entry.time_added > later(now, CLOCK_TOLERANCE) {
            return Err(Refusal::Future);
        }
        let guard = Guard { added, until: live.guard };
        self.put(key, Known::Over(guard));
        Ok(guard)
    }

    /// What was taken back is not known here, or no more. Somebody who missed that may tell of it still, so it is remembered for as long as what
    /// was taken back could have an effect: while there is room, so that nothing that counts goes for it.
    fn remember(&mut self, key: &KeyBuf, entry: &Entry, now: Timestamp) -> Result<Guard, Refusal> {
        let until = second_near(entry.expires().min(later(entry.time_added, LONGEST_TTL)));
        if until <= second_of(now) || !self.has_room() {
            return Err(Refusal::Unknown);
        }
        if entry.time_added > later(now, CLOCK_TOLERANCE) {
            return Err(Refusal::Future);
        }
        let told = Guard { added: milliseconds(entry.time_added), until };
        let known = self.guards.get(key.as_bytes()).unwrap_or_default();
        let guard = Guard { added: told.added.max(known.added), until: told.until.max(known.until) };
        if guard == known {
            return Err(Refusal::Unknown);
        }
        self.put(key, Known::Over(guard));
        Ok(guard)
    }

    /// Takes back what was written down before a restart, unless it is over for good.
    pub fn restore(&mut self, key: &KeyBuf, known: Known, now: Timestamp) {
        let now = second_of(now);
        match known {
            Known::Live(sighting) if sighting.expires <= now => {
                let guard = Guard { added: sighting.added, until: sighting.guard };
                if guard.until > now {
                    self.put(key, Known::Over(guard));
                }
            }
            Known::Over(guard) if guard.until <= now => {}
            known => self.put(key, known),
        }
    }

    /// Takes over what was known at another time: the newest of each name counts, and at the same moment that it is over.
    pub fn join(&mut self, other: &Self) {
        let mut live = other.live.cursor();
        while live.advance().unwrap_or(false) {
            if self.added(live.key()).is_none_or(|added| added < live.value().added) {
                self.put(live.key(), Known::Live(live.value()));
            }
        }
        let mut guards = other.guards.cursor();
        while guards.advance().unwrap_or(false) {
            if self.added(guards.key()).is_none_or(|added| added <= guards.value().added) {
                self.put(guards.key(), Known::Over(guards.value()));
            }
        }
    }

    /// When the newest observation of a name was made that is known.
    fn added(&self, key: &KeyBuf) -> Option<u64> {
        let live = self.live.get(key.as_bytes()).map(|live| live.added);
        live.or_else(|| self.guards.get(key.as_bytes()).map(|guard| guard.added))
    }

    /// Ends what is over by now, at most `most` names in one call: how many live ones those were. Each of them is named.
    pub fn expire(&mut self, now: Timestamp, most: usize, mut each: impl FnMut(&KeyBuf)) -> usize {
        let now = second_of(now);
        self.guards.take_due(now, most, |_, _| {});
        let guards = &mut self.guards;
        self.live.take_due(now, most, |key, sighting| {
            if sighting.guard > now {
                guards.insert(key, Guard { added: sighting.added, until: sighting.guard });
            }
            each(key);
        })
    }

    /// The second in which [`Observations::expire`] has something to do next.
    #[must_use]
    pub fn next_due(&self) -> Option<u32> {
        [self.live.earliest(), self.guards.earliest()].into_iter().flatten().min()
    }

    /// Live observations that were displaced by others since this was last asked: to be asked after each that came.
    pub fn take_displaced(&mut self) -> Vec<KeyBuf> {
        std::mem::take(&mut self.displaced)
    }

    /// Whether a tenth of the room is free.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.octets() < self.room - self.room / 10
    }

    /// What counts: to be looked up, walked through, kept as a snapshot.
    #[must_use]
    pub const fn live(&self) -> &Tree<Sighting> {
        &self.live
    }

    /// What is only remembered against replay.
    #[must_use]
    pub const fn guards(&self) -> &Tree<Guard> {
        &self.guards
    }

    /// Octets that are taken.
    #[must_use]
    pub fn octets(&self) -> usize {
        self.live.octets() + self.guards.octets()
    }

    fn put(&mut self, key: &KeyBuf, known: Known) {
        match known {
            Known::Live(sighting) => {
                self.guards.remove(key.as_bytes());
                self.make_room_for(key);
                self.live.insert(key, sighting);
            }
            Known::Over(guard) => {
                self.live.remove(key.as_bytes());
                self.make_room_for(key);
                self.guards.insert(key, guard);
            }
        }
    }

    /// A name that is known already needs none: it is counted.
    fn make_room_for(&mut self, key: &KeyBuf) {
        let known = self.live.get(key.as_bytes()).is_some() || self.guards.get(key.as_bytes()).is_some();
        let needed = if known { 0 } else { key.len() + BESIDE_THE_NAME };
        while self.octets() + needed > self.room {
            if let Some(first) = self.guards.earliest()
                && self.guards.take_due(first, 1, |_, _| {}) > 0
            {
                continue;
            }
            let Some(first) = self.live.earliest() else { return };
            let displaced = &mut self.displaced;
            if self.live.take_due(first, 1, |key, _| displaced.push(*key)) == 0 {
                return;
            }
        }
    }
}

fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
#[path = "observations_tests.rs"]
mod tests;
