//! The way of a line from whoever logs to standard output: bounded, on a thread of its own, and never waited for.

use std::io::{self, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;

/// Octets that wait at most, and as many are being written at most: some thousand lines.
const WAITING_AT_MOST: usize = 256 * 1024;

/// Lines on their way. Whoever logs only copies octets here.
#[derive(Debug, Default)]
pub(super) struct Lines {
    state: Mutex<State>,
    changed: Condvar,
    /// Lines that nobody will read.
    pub(super) dropped: Counter,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    /// Dropped since the last report.
    dropped: u64,
    writing: bool,
}

impl State {
    const fn is_idle(&self) -> bool {
        self.waiting.is_empty() && !self.writing
    }
}

impl Lines {
    /// Takes a line, or drops it when too much waits.
    fn push(&self, line: &[u8]) {
        let mut state = self.state();
        if state.waiting.len() + line.len() > WAITING_AT_MOST {
            state.dropped += 1;
            self.dropped.inc();
            return;
        }
        state.waiting.extend_from_slice(line);
        drop(state);
        self.changed.notify_all();
    }

    /// Writes what waits, again and again. `report` is told how many lines were lost, once those before them are written.
    pub(super) fn write_for_ever(&self, mut output: impl Write, report: impl Fn(u64)) {
        let mut batch = Vec::new();
        loop {
            let lost = self.take(&mut batch);
            for line in batch.split_inclusive(|octet| *octet == b'\n') {
                // One write for each line: those of process 1 on the same pipe do not come between.
                if output.write_all(line).is_err() {
                    self.dropped.inc();
                }
            }
            // Lines of this thread wait like those of all others.
            if lost > 0 {
                report(lost);
            }
        }
    }

    /// Waits for lines and takes them all, with the number of those that were lost behind them.
    fn take(&self, batch: &mut Vec<u8>) -> u64 {
        batch.clear();
        let mut state = self.state();
        state.writing = false;
        self.changed.notify_all();
        state = self.changed.wait_while(state, |state| state.waiting.is_empty()).unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut state.waiting, batch);
        state.writing = true;
        std::mem::take(&mut state.dropped)
    }

    /// Waits until everything is written, for `limit` at most.
    pub(super) fn flush(&self, limit: Duration) {
        let _ = self.changed.wait_timeout_while(self.state(), limit, |state| !state.is_idle());
    }

    /// Nothing in here is left half done by a panic.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the formatter writes into: one call for each line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entrance(pub(super) &'static Lines);

impl Write for Entrance {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
