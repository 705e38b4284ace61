//! The end of a minute: what was counted becomes a file of the outbox, and session rows a file that stays.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tapir_runtime::shutdown::Shutdown;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::minute::Finished;
use super::{Minimiser, Policy};
use crate::histogram_file::{Interval, until_next_minute};
use crate::list::Lists;
use crate::outbox::Store;
use crate::sessions::Switch;

/// An end of a minute that is farther away is that of a minute to come: the clock was set back.
const MINUTE: Duration = Duration::from_secs(60);

/// What is counted of it. Cloning shares the counters.
#[derive(Clone, Debug, Default)]
pub struct RotationCounts {
    /// Minutes that ended.
    pub rotations: Counter,
    /// Answers that were counted in them.
    pub answers: Counter,
    /// Sketches given up for want of room in memory.
    pub sketches_lost: Counter,
    /// How late the last full minute was handed over, in seconds, or by how much the present one is overdue.
    pub lag: Gauge<f64, AtomicU64>,
    /// How late the last one was.
    last_lag: Gauge<f64, AtomicU64>,
    /// When the end of the present one is due, in milliseconds since 1970; zero where nobody waits for it.
    due: Arc<AtomicI64>,
}

impl RotationCounts {
    /// The lag at this moment: a rotation that hangs hands nothing over, and must not look like the last one that did not.
    pub fn observe(&self, now: Timestamp) {
        let due = self.due.load(Ordering::Relaxed);
        let overdue = if due == 0 { 0 } else { now.as_millisecond().saturating_sub(due).max(0) };
        self.lag.set(self.last_lag.get().max(overdue as f64 / 1000.0));
    }

    /// Registers everything. The prefix is the registry's.
    pub fn register(&self, registry: &mut Registry) {
        let Self { rotations, answers, sketches_lost, lag, .. } = self.clone();
        registry.register("rotations", "Intervals of histograms that ended", rotations);
        registry.register("histogram_answers", "Answers counted in intervals that ended", answers);
        registry.register(
            "sketches_lost",
            "Sketches of clients given up because memory was full; their counts are exact",
            sketches_lost,
        );
        registry.register(
            "rotation_lag_seconds",
            "How late after its end the last minute was handed over to be written, or by how much the present one is overdue",
            lag,
        );
    }
}

/// Ends minutes, at the clock's full minute or when it is told to.
#[derive(Clone, Debug)]
pub struct Rotation(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    minimiser: Minimiser,
    counts: RotationCounts,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// When the present interval began.
    begun: Timestamp,
    /// In it, answers were counted for another list than now, or in another way.
    has_changed: bool,
    /// Nothing may be sent, so nothing that was counted is kept.
    forbidden: bool,
    /// Where minutes go; none after the last.
    store: Option<Store>,
}

impl Rotation {
    /// The first interval begins now.
    #[must_use]
    pub fn new(minimiser: Minimiser, counts: RotationCounts, store: Store) -> Self {
        let state = Mutex::new(State { begun: Timestamp::now(), has_changed: false, forbidden: false, store: Some(store) });
        Self(Arc::new(Shared { minimiser, counts, state }))
    }

    /// Judges and counts by these from now on. May take as long as a rotation.
    ///
    /// What was counted before stays under the names of the list that it was counted for. So that at most two lists are held, the
    /// interval ends at the second change.
    pub fn take_up(&self, policy: Policy, lists: &Lists) {
        let mut state = self.lock();
        if policy.sending && state.forbidden {
            // What somebody was still counting when it was forbidden.
            self.end(&mut state, Timestamp::now());
            state.forbidden = false;
        }
        if self.0.minimiser.would_count_apart(policy, lists) {
            if state.has_changed {
                self.end(&mut state, Timestamp::now());
            }
            state.has_changed = true;
        }
        self.0.minimiser.set(policy, lists);
    }

    /// Sending is forbidden: what was counted is forgotten, and what Core does not have. To be called when the policy says so already.
    pub fn forget(&self) {
        let mut state = self.lock();
        state.forbidden = true;
        self.end(&mut state, Timestamp::now());
        if let Some(store) = &state.store {
            store.forget();
        }
    }

    /// Ends the interval. Takes as long as it takes to put together what the connections have counted.
    pub fn rotate(&self, now: Timestamp) {
        self.end(&mut self.lock(), now);
    }

    /// Session files, whose intervals end here too.
    #[must_use]
    pub fn sessions(&self) -> &Switch {
        &self.0.minimiser.0.sessions
    }

    /// Ends the last interval, and waits so long for what was counted to be written; false if it was not. Session rows are not waited for.
    pub fn finish(&self, now: Timestamp, patience: Duration) -> bool {
        let mut state = self.lock();
        self.end(&mut state, now);
        self.sessions().close(now);
        let store = state.store.take();
        drop(state);
        store.is_none_or(|store| store.finish(patience))
    }

    fn end(&self, state: &mut State, now: Timestamp) {
        // The clock may have been set back.
        let interval = Interval { start: state.begun.min(now), stop: now };
        self.sessions().rotate(now);
        let minute = self.0.minimiser.collect();
        (state.begun, state.has_changed) = (now, false);
        let counts = &self.0.counts;
        counts.rotations.inc();
        counts.answers.inc_by(minute.answers());
        counts.sketches_lost.inc_by(minute.sketches_lost());
        // An empty one would only take the place of another.
        if let Some(store) = state.store.as_ref().filter(|_| !state.forbidden && !minute.is_empty()) {
            store.put(Box::new(Finished { interval, minute }));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rotates at each full minute of the clock until shutdown.
    pub async fn run(self, shutdown: Shutdown) {
        loop {
            let now = Timestamp::now();
            let end = now + until_next_minute(now);
            self.0.counts.due.store(end.as_millisecond(), Ordering::Relaxed);
            let reached = tokio::select! {
                reached = until(end) => reached,
                () = shutdown.requested() => return,
            };
            if !reached {
                continue;
            }
            let rotation = self.clone();
            let rotated = spawn_blocking(move || {
                let now = Timestamp::now();
                rotation.rotate(now);
                // A clock that was set back tells nothing of how late it is.
                let lag = Timestamp::now().duration_since(end).max(SignedDuration::ZERO);
                rotation.0.counts.last_lag.set(lag.as_secs_f64());
            });
            if rotated.await.is_err() {
                return;
            }
        }
    }
}

/// Waits for a time of the clock, which does not go as the clock of waiting does. False when it was set back.
async fn until(end: Timestamp) -> bool {
    loop {
        let left = Duration::try_from(end.duration_since(Timestamp::now())).unwrap_or_default();
        if left.is_zero() || left > MINUTE {
            return left.is_zero();
        }
        sleep(left).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_that_hangs_is_seen_to() {
        let counts = RotationCounts::default();
        let lag = |second: i64| {
            counts.observe(Timestamp::from_second(second).unwrap());
            counts.lag.get()
        };
        assert_eq!(lag(1_000), 0.0, "nobody waits yet");
        counts.due.store(1_060_000, Ordering::Relaxed);
        counts.last_lag.set(0.5);
        assert_eq!([lag(1_000), lag(1_060), lag(1_075)], [0.5, 0.5, 15.0]);
        counts.due.store(1_120_000, Ordering::Relaxed);
        assert_eq!(lag(1_076), 0.5, "it came through");
    }
}
