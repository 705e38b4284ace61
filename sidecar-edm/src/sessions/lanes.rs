//! How rows get to the thread that writes them, without anybody waiting for it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::block::Block;
use super::{Reason, SessionRow};
use crate::histogram_file::Interval;

/// Threads share these; two that have the same one wait for each other as long as a row takes to copy.
const LANES: usize = 4;
/// All blocks that there are: one for each lane, and those on their way. Some eight megabytes.
const BLOCKS: usize = LANES + 8;

thread_local! {
    static LANE: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) % LANES
    };
}

/// Where rows are put.
pub(super) struct Lanes {
    lanes: [Mutex<Option<Block>>; LANES],
    work: Arc<Work>,
}

/// What the thread does next.
#[derive(Debug)]
pub(super) enum Job {
    /// Write these.
    Rows(Block),
    /// End the file.
    Rotate(Interval),
}

/// What waits for the thread, and what is free.
pub(super) struct Work {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    free: Vec<Block>,
    made: usize,
    closed: bool,
    ended: bool,
}

impl Lanes {
    pub(super) fn new() -> Self {
        let work = Work { state: Mutex::default(), changed: Condvar::new() };
        Self { lanes: Default::default(), work: Arc::new(work) }
    }

    pub(super) const fn work(&self) -> &Arc<Work> {
        &self.work
    }

    /// Puts a row into this thread's lane.
    pub(super) fn put(&self, row: &SessionRow<'_>) -> Result<(), Reason> {
        let Some(lane) = self.lanes.get(LANE.with(|lane| *lane)) else { return Err(Reason::Busy) };
        let mut lane = lock(lane);
        if lane.as_mut().is_some_and(|block| block.push(row)) {
            return Ok(());
        }
        *lane = self.work.exchange(lane.take());
        let block = lane.as_mut().ok_or(Reason::Busy)?;
        if block.push(row) { Ok(()) } else { Err(Reason::TooLarge) }
    }

    /// Hands over what all lanes have, and the order to end the file.
    pub(super) fn rotate(&self, interval: Interval) {
        for lane in &self.lanes {
            let mut lane = lock(lane);
            if lane.as_ref().is_some_and(|block| block.len() > 0) {
                self.work.hand_over(lane.take());
            }
        }
        self.work.rotate(interval);
    }
}

impl Work {
    /// A full block for an empty one, if one is free.
    fn exchange(&self, full: Option<Block>) -> Option<Block> {
        self.hand_over(full);
        let mut state = self.state();
        if state.closed {
            return None;
        }
        if state.free.is_empty() && state.made < BLOCKS {
            state.made += 1;
            return Some(Block::new());
        }
        state.free.pop()
    }

    fn hand_over(&self, full: Option<Block>) {
        let Some(block) = full else { return };
        let mut state = self.state();
        if !state.closed {
            state.waiting.push_back(Job::Rows(block));
            drop(state);
            self.changed.notify_all();
        }
    }

    fn rotate(&self, interval: Interval) {
        let mut state = self.state();
        // With nothing in between there would be no file: so no more orders wait than blocks, however long the disk hangs.
        if !state.closed && !matches!(state.waiting.back(), Some(Job::Rotate(_))) {
            state.waiting.push_back(Job::Rotate(interval));
            drop(state);
            self.changed.notify_all();
        }
    }

    /// Gives every job to `take` until there are no more and none will come. Blocks that come back are free again.
    pub(super) fn each(&self, mut take: impl FnMut(Job) -> Option<Block>) {
        while let Some(job) = self.next() {
            if let Some(mut block) = take(job) {
                block.clear();
                self.state().free.push(block);
            }
        }
    }

    fn next(&self) -> Option<Job> {
        let waited = self.changed.wait_while(self.state(), |state| state.waiting.is_empty() && !state.closed);
        waited.unwrap_or_else(PoisonError::into_inner).waiting.pop_front()
    }

    pub(super) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    pub(super) fn finish(&self, patience: Duration) -> bool {
        self.close();
        let waited = self.changed.wait_timeout_while(self.state(), patience, |state| !state.ended);
        waited.unwrap_or_else(PoisonError::into_inner).0.ended
    }

    pub(super) const fn ended_when_dropped(&self) -> Ended<'_> {
        Ended(self)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says so when the thread ends.
pub(super) struct Ended<'a>(&'a Work);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        // Also after a panic: nobody takes anything any more.
        (state.closed, state.ended) = (true, true);
        drop(state);
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::super::block::ROWS;
    use super::*;
    use crate::decode::Message;
    use crate::names::WireName;

    fn put(lanes: &Lanes) -> Result<(), Reason> {
        lanes.put(&SessionRow { message: &Message::default(), name: WireName::ROOT })
    }

    fn interval() -> Interval {
        Interval { start: jiff::Timestamp::UNIX_EPOCH, stop: jiff::Timestamp::UNIX_EPOCH }
    }

    #[test]
    fn a_thread_that_hangs_costs_rows_and_nobody_waits() {
        let lanes = Lanes::new();
        // All blocks go to this thread's lane.
        assert!((0..ROWS * BLOCKS).all(|_| put(&lanes).is_ok()));
        assert_eq!(put(&lanes), Err(Reason::Busy));
        (0..1000).for_each(|_| lanes.rotate(interval()));
        assert_eq!(lanes.work.state().waiting.len(), BLOCKS + 1);
        assert_eq!(put(&lanes), Err(Reason::Busy));
        // One comes back, and all is well again.
        let mut jobs = 0;
        lanes.work.close();
        lanes.work.each(|job| {
            jobs += 1;
            match job {
                Job::Rows(block) => Some(block),
                Job::Rotate(_) => None,
            }
        });
        assert_eq!((jobs, lanes.work.state().free.len()), (BLOCKS + 1, BLOCKS));
        assert_eq!(put(&lanes), Err(Reason::Busy), "closed");
        lanes.work.state().closed = false;
        assert_eq!(put(&lanes), Ok(()));
    }

    #[test]
    fn what_fits_no_block_is_dropped_alone() {
        let lanes = Lanes::new();
        put(&lanes).unwrap();
        let message = Message { response: &vec![0; super::super::block::OCTETS], ..Message::default() };
        assert_eq!(lanes.put(&SessionRow { message: &message, name: WireName::ROOT }), Err(Reason::TooLarge));
        assert_eq!(put(&lanes), Ok(()));
        lanes.rotate(interval());
        let waiting = lanes.work.state();
        let rows: Vec<_> = waiting.waiting.iter().map(|job| if let Job::Rows(block) = job { block.len() } else { 0 }).collect();
        assert_eq!(rows, [1, 1, 0]);
    }
}
