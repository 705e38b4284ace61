//! Who may call Core now, and when the others are to ask again.
//!
//! Calls are limited to a rate with a burst (the generic cell rate algorithm: one point in time says how far calls already made reach into
//! the future). Who has to wait is told when its turn will be and holds nothing meanwhile: no thread, no slot of a controller. The most
//! urgent goes first; who has waited very long goes before all others, so nobody starves behind a stream of urgent ones. Who does not come at
//! its time keeps nobody else waiting.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// After this time a waiter goes first, whatever the urgency of others.
const PATIENCE: Duration = Duration::from_mins(30);
/// A waiter that is later than this keeps its place for itself and no longer before others: a controller may be busy.
const LATE: Duration = Duration::from_secs(15);
/// A waiter that is later than this will not come: its edge has other worries by now. It loses its place.
const GONE: Duration = Duration::from_mins(10);
/// A rate below one call in this time would be no rate.
const SLOWEST: Duration = Duration::from_secs(60);

/// Whether it is this one's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It is, and its calls are counted.
    Now,
    /// It is to ask again then. Only asking at that time makes it its turn; that may be later still when more urgent ones come between.
    At(Instant),
}

/// The gate. `K` names who asks.
#[derive(Clone, Debug)]
pub struct Gate<K> {
    interval: Duration,
    tolerance: Duration,
    /// When the calls that were made would have been made at exactly the rate; none before the first.
    reached: Option<Instant>,
    waiting: BTreeMap<K, Waiting>,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    urgency: Timestamp,
    calls: u32,
    since: Instant,
    turn: Instant,
}

impl Waiting {
    /// What orders those who wait: the smallest goes first.
    fn rank(&self, now: Instant) -> (bool, Timestamp, Instant) {
        let patient = now.saturating_duration_since(self.since) < PATIENCE;
        (patient, if patient { self.urgency } else { Timestamp::MIN }, self.since)
    }
}

impl<K: Ord + Clone> Gate<K> {
    /// So many calls a second, and so many at once after a pause.
    #[must_use]
    pub fn new(per_second: f64, burst: u32) -> Self {
        let interval = Duration::try_from_secs_f64(1.0 / per_second).unwrap_or(SLOWEST).min(SLOWEST);
        Self { interval, tolerance: interval * burst.saturating_sub(1), reached: None, waiting: BTreeMap::new() }
    }

    /// Asks for so many calls one after the other. The urgency is when it is too late: the end of a certificate.
    pub fn ask(&mut self, key: &K, urgency: Timestamp, calls: u32, now: Instant) -> Turn {
        let turn = self.apply(key, urgency, calls, now);
        if turn == Turn::Now {
            self.waiting.remove(key);
            let reached = self.reached.map_or(now, |reached| reached.max(now));
            self.reached = Some(reached + self.interval.saturating_mul(calls));
        }
        turn
    }

    /// Whether it would be its turn if it asked. From then on it waits, unless it is; no call is counted. Who has to prepare a call begins
    /// with this.
    pub fn apply(&mut self, key: &K, urgency: Timestamp, calls: u32, now: Instant) -> Turn {
        self.waiting.retain(|_, waiting| now.saturating_duration_since(waiting.turn) < GONE);
        // Who waits keeps the earliest urgency that it told: one that moves with the clock would put it behind all others each time it asks,
        // and where all do so nobody gets in.
        let (since, urgency) = self.waiting.get(key).map_or((now, urgency), |known| (known.since, known.urgency.min(urgency)));
        let own = Waiting { urgency, calls, since, turn: now };
        match self.turn(key, own, now) {
            None => Turn::Now,
            Some(turn) => {
                self.waiting.insert(key.clone(), Waiting { turn, ..own });
                Turn::At(turn)
            }
        }
    }

    /// When the turn of one that waits will be, as it would be told if it asked; none when it may ask, and for who does not wait. Who finds
    /// out what it would ask for at great cost looks here first.
    pub fn comes(&mut self, key: &K, now: Instant) -> Option<Instant> {
        let own = *self.waiting.get(key)?;
        let turn = self.turn(key, own, now)?;
        self.waiting.insert(key.clone(), Waiting { turn, ..own });
        Some(turn)
    }

    /// When it may call; none for now.
    fn turn(&self, key: &K, own: Waiting, now: Instant) -> Option<Instant> {
        let before = |(other, waiting): &(&K, &Waiting)| {
            *other != key
                && now.saturating_duration_since(waiting.turn) < LATE
                && (waiting.rank(now), *other) < (own.rank(now), key)
        };
        let before: u32 = self.waiting.iter().filter(before).map(|(_, waiting)| waiting.calls).fold(0, u32::saturating_add);
        let reached = self.reached.map_or(now, |reached| reached.max(now));
        let turn = reached + self.interval.saturating_mul(before);
        // Nobody is told to come in the past, nor at the very moment at which it asks.
        turn.checked_sub(self.tolerance).filter(|turn| *turn > now)
    }

    /// It need not call any more.
    pub fn forget(&mut self, key: &K) {
        self.waiting.remove(key);
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
