//! From the threads of connections to the one that writes: under one lock, for as long as it takes to copy some octets.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::candidate::{Candidate, Outcome};
use super::queue::record;
use super::seen::{Fingerprint, Found, Kind, Table};
use super::settings::Settings;

/// Marks that wait for it at most.
const MARKS: usize = 1 << 16;

/// Where candidates become events.
#[derive(Debug, Default)]
pub(super) struct Handover {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    open: bool,
    /// Octets of records at most.
    most: usize,
    batch: Batch,
    /// What was taken last is not written yet.
    busy: bool,
    closed: bool,
    ended: bool,
}

/// What the thread takes at once.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Records of events.
    pub(super) events: Vec<u8>,
    pub(super) marks: Vec<(Kind, Fingerprint)>,
    /// The newest settings, if they changed.
    pub(super) settings: Option<Settings>,
    /// Events and what was put in before are to be forgotten.
    pub(super) clear: bool,
}

impl Batch {
    const fn is_worth_it(&self, has_room: bool) -> bool {
        if has_room { !self.is_empty() } else { self.clear || self.settings.is_some() }
    }

    const fn is_empty(&self) -> bool {
        self.events.is_empty() && self.marks.is_empty() && self.settings.is_none() && !self.clear
    }
}

impl Handover {
    /// Makes an event of a candidate that was found to be new, and marks its name.
    pub(super) fn put(&self, candidate: &Candidate<'_>, print: Fingerprint, table: &ArcSwap<Table>) -> Outcome {
        let mut state = self.lock();
        let table = table.load();
        if !state.open {
            return Outcome::NotSending;
        }
        // Another connection may have been quicker.
        if table.find(print) != Found::New {
            return Outcome::Seen;
        }
        if state.batch.events.len() + record::LONGEST > state.most || state.batch.marks.len() >= MARKS {
            return Outcome::Full;
        }
        let was_empty = state.batch.is_empty();
        record::push(&mut state.batch.events, candidate, print);
        state.batch.marks.push((Kind::Mark, print));
        table.mark(print);
        self.wake(state, was_empty);
        Outcome::Queued
    }

    /// Marks a name, and writes it down. Where there is no room it is not written: it would be missing after a restart.
    pub(super) fn put_mark(&self, print: Fingerprint, table: &ArcSwap<Table>) {
        let mut state = self.lock();
        table.load().mark(print);
        if state.batch.marks.len() < MARKS {
            let was_empty = state.batch.is_empty();
            state.batch.marks.push((Kind::Mark, print));
            self.wake(state, was_empty);
        }
    }

    /// Takes another table into use. What was marked and not taken yet is marked there too.
    pub(super) fn swap(&self, table: &ArcSwap<Table>, new: Table) {
        let state = self.lock();
        new.replay(&state.batch.marks);
        table.store(Arc::new(new));
    }

    /// Other settings; whether events are taken counts from here on.
    pub(super) fn configure(&self, settings: Settings) {
        let mut state = self.lock();
        // Also where it was so before: what waits may be of a process before this one.
        state.batch.clear |= settings.forbidden;
        state.open = settings.sending;
        state.most = settings.buffered_octets.max(record::LONGEST);
        state.batch.settings = Some(settings);
        self.wake(state, true);
    }

    /// Takes what is there, or what concerns settings alone where there is no room for events: then those stay here, and this is full at last.
    /// Waits until there is something, or until then; none when no more comes.
    pub(super) fn take(&self, until: Instant, has_room: bool) -> Option<Batch> {
        let mut state = self.lock();
        while !state.batch.is_worth_it(has_room) && !state.closed {
            let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else { break };
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.closed && state.batch.is_empty() {
            return None;
        }
        state.busy = true;
        // What is to be forgotten needs no room.
        if has_room || state.closed || state.batch.clear {
            return Some(std::mem::take(&mut state.batch));
        }
        Some(Batch { settings: state.batch.settings.take(), ..Batch::default() })
    }

    /// What was taken is written. Waits, so that more comes together; not when the end has come.
    pub(super) fn pause(&self, pause: Duration) {
        let mut state = self.lock();
        state.busy = false;
        let _ = self.changed.wait_timeout_while(state, pause, |state| !state.closed);
    }

    /// Nothing comes any more.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        (state.closed, state.open) = (true, false);
        drop(state);
        self.changed.notify_all();
    }

    /// The thread has ended.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// Waits so long for the thread to end; whether it has.
    pub(super) fn ended(&self, patience: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.lock(), patience, |state| !state.ended);
        waited.unwrap_or_else(PoisonError::into_inner).0.ended
    }

    /// Nothing waits here, or is being written.
    pub(super) fn is_empty(&self) -> bool {
        let state = self.lock();
        state.batch.is_empty() && !state.busy
    }

    fn wake(&self, state: MutexGuard<'_, State>, was_empty: bool) {
        drop(state);
        if was_empty {
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
