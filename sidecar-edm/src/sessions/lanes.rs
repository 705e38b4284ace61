//! How rows get to the thread that writes them, without anybody waiting for it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::SessionRow;
use super::block::Block;
use super::writer::Terms;
use crate::histogram_file::Interval;

/// Threads share these; two that have the same one wait for each other as long as a row takes to copy.
const LANES: usize = 4;
/// All blocks that there are: one for each lane, and those on their way. Some eight megabytes.
const BLOCKS: usize = LANES + 8;
/// What they take.
pub(super) const OCTETS: usize = BLOCKS * super::block::MOST;

thread_local! {
    static LANE: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) % LANES
    };
}

/// Where rows are put.
pub(super) struct Lanes {
    lanes: [Mutex<Lane>; LANES],
    work: Arc<Work>,
}

#[derive(Default)]
struct Lane {
    block: Option<Block>,
    /// Nobody will look at it any more.
    closed: bool,
}

/// Rows that found no place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lost {
    /// No block was free.
    pub(super) busy: u64,
    /// They fit no block.
    pub(super) too_large: u64,
    /// The thread has ended, or will take no more.
    pub(super) ended: u64,
}

/// What the thread does next.
#[derive(Debug)]
pub(super) enum Job {
    /// Write these.
    Rows(Block),
    /// End the file.
    Rotate(Interval),
    /// End the file, and go on with these.
    Change(Interval, Box<Terms>),
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
    /// Blocks that come back are given back to the machine.
    resting: bool,
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

    /// Puts rows into this thread's lane. Where no block is free the rest of them is lost without another look.
    pub(super) fn put<'a>(&self, rows: impl IntoIterator<Item = SessionRow<'a>>) -> Lost {
        let (mut lost, mut rows) = (Lost::default(), rows.into_iter());
        let Some(lane) = self.lanes.get(LANE.with(|lane| *lane)) else { return lost };
        let mut lane = lock(lane);
        while let Some(row) = rows.next() {
            if lane.block.as_mut().is_some_and(|block| block.push(&row)) {
                continue;
            }
            if lane.closed {
                lost.ended += 1 + rows.count() as u64;
                return lost;
            }
            lost.ended += self.work.hand_over(lane.block.take());
            lane.block = self.work.free();
            let Some(block) = &mut lane.block else {
                lost.busy += 1 + rows.count() as u64;
                return lost;
            };
            lost.too_large += u64::from(!block.push(&row));
        }
        lost
    }

    /// Hands over what all lanes have, and the order to end the file. Gives the rows that nobody will write.
    pub(super) fn rotate(&self, interval: Interval) -> u64 {
        let lost = self.empty(false);
        self.work.order(Job::Rotate(interval));
        lost
    }

    /// The same, and what is to be done from then on. `rests`: nothing more is expected, so that memory can go.
    pub(super) fn change(&self, interval: Interval, terms: Terms, rests: bool) -> u64 {
        let lost = self.empty(false);
        self.work.rest(rests);
        self.work.order(Job::Change(interval, Box::new(terms)));
        lost
    }

    /// Hands over what all lanes have, and takes no more.
    pub(super) fn close(&self) -> u64 {
        self.empty(true)
    }

    fn empty(&self, closes: bool) -> u64 {
        let empty = |lane: &Mutex<Lane>| {
            let mut lane = lock(lane);
            lane.closed |= closes;
            self.work.hand_over(lane.block.take())
        };
        self.lanes.iter().map(empty).sum()
    }
}

impl Work {
    /// A block with nothing in it, if there is one.
    fn free(&self) -> Option<Block> {
        let mut state = self.state();
        if state.free.is_empty() && state.made < BLOCKS {
            state.made += 1;
            return Some(Block::new());
        }
        state.free.pop()
    }

    /// Gives the rows that nobody will write.
    fn hand_over(&self, full: Option<Block>) -> u64 {
        let Some(block) = full else { return 0 };
        let mut state = self.state();
        if block.len() == 0 {
            state.take_back(block);
        } else if state.closed {
            return block.len() as u64;
        } else {
            state.waiting.push_back(Job::Rows(block));
            drop(state);
            self.changed.notify_all();
        }
        0
    }

    fn order(&self, job: Job) {
        let mut state = self.state();
        // With nothing in between there would be no file: so no more orders wait than blocks, however long the disk hangs.
        match (state.waiting.back_mut(), job) {
            (Some(Job::Rotate(_) | Job::Change(..)), Job::Rotate(_)) => {}
            (Some(Job::Change(_, terms)), Job::Change(_, newer)) => *terms = newer,
            (_, job) => state.waiting.push_back(job),
        }
        drop(state);
        self.changed.notify_all();
    }

    fn rest(&self, rests: bool) {
        let mut state = self.state();
        state.resting = rests;
        if rests {
            state.made -= state.free.len();
            state.free = Vec::new();
        }
    }

    /// Gives every job to `take` until there are no more and none will come. Blocks that come back are free again.
    pub(super) fn each(&self, mut take: impl FnMut(Job) -> Option<Block>) {
        while let Some(job) = self.next() {
            if let Some(mut block) = take(job) {
                block.clear();
                self.state().take_back(block);
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

    /// Waits so long for the end of the thread; false if it did not come.
    pub(super) fn ended(&self, patience: Duration) -> bool {
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

impl State {
    fn take_back(&mut self, block: Block) {
        if self.resting {
            self.made -= 1;
        } else {
            self.free.push(block);
        }
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
    use super::super::Kept;
    use super::super::block::ROWS;
    use super::*;
    use crate::decode::Message;
    use crate::disk::Bound;
    use crate::names::WireName;

    const GOOD: Lost = Lost { busy: 0, too_large: 0, ended: 0 };

    fn put(lanes: &Lanes, rows: usize) -> Lost {
        lanes.put(std::iter::repeat_n(SessionRow { message: Message::default(), name: WireName::ROOT }, rows))
    }

    fn interval() -> Interval {
        Interval { start: jiff::Timestamp::UNIX_EPOCH, stop: jiff::Timestamp::UNIX_EPOCH }
    }

    fn terms() -> Terms {
        let bound = Bound { octets: 0, files: 0, age: Duration::ZERO };
        Terms { bound, kept: Kept::default(), pseudonyms: None }
    }

    /// As the thread does, until nothing waits: rows that it gets, and orders.
    fn work(lanes: &Lanes) -> (usize, usize) {
        let (mut rows, mut orders) = (0, 0);
        lanes.work.close();
        lanes.work.each(|job| match job {
            Job::Rows(block) => {
                rows += block.len();
                Some(block)
            }
            Job::Rotate(_) | Job::Change(..) => {
                orders += 1;
                None
            }
        });
        lanes.work.state().closed = false;
        (rows, orders)
    }

    /// All, and those that are free.
    fn blocks(lanes: &Lanes) -> (usize, usize) {
        let state = lanes.work.state();
        (state.made, state.free.len())
    }

    #[test]
    fn a_thread_that_hangs_costs_rows_and_nobody_waits() {
        let lanes = Lanes::new();
        // All blocks go to this thread's lane.
        assert_eq!(put(&lanes, ROWS * BLOCKS), GOOD);
        assert_eq!(put(&lanes, 7), Lost { busy: 7, ..GOOD });
        (0..1000).for_each(|_| assert_eq!(lanes.rotate(interval()), 0));
        (0..1000).for_each(|_| assert_eq!(lanes.change(interval(), terms(), false), 0));
        assert_eq!(lanes.work.state().waiting.len(), BLOCKS + 2);
        assert_eq!(put(&lanes, 1), Lost { busy: 1, ..GOOD });
        // They come back, and all is well again.
        assert_eq!(work(&lanes), (ROWS * BLOCKS, 2));
        assert_eq!(lanes.work.state().free.len(), BLOCKS);
        assert_eq!(put(&lanes, 1), GOOD);
    }

    #[test]
    fn rows_that_come_too_late_are_told() {
        let lanes = Lanes::new();
        assert_eq!(put(&lanes, 3), GOOD);
        assert_eq!(lanes.close(), 0);
        assert_eq!(put(&lanes, 2), Lost { ended: 2, ..GOOD });
        assert_eq!(work(&lanes), (3, 0));

        // The thread has panicked with rows in a lane.
        let lanes = Lanes::new();
        assert_eq!(put(&lanes, ROWS), GOOD);
        drop(lanes.work.ended_when_dropped());
        assert_eq!(put(&lanes, 1), Lost { ended: ROWS as u64, ..GOOD });
        assert_eq!(lanes.rotate(interval()), 1);
    }

    #[test]
    fn memory_goes_when_nothing_more_is_expected_and_comes_again() {
        let lanes = Lanes::new();
        assert_eq!(put(&lanes, ROWS * 3), GOOD);
        assert_eq!(work(&lanes), (ROWS * 2, 0));
        lanes.change(interval(), terms(), true);
        assert_eq!(work(&lanes), (ROWS, 1));
        assert_eq!(blocks(&lanes), (0, 0));
        // One that had not heard of it.
        assert_eq!(put(&lanes, 1), GOOD);
        lanes.rotate(interval());
        assert_eq!((work(&lanes), blocks(&lanes)), ((1, 1), (0, 0)));
        lanes.change(interval(), terms(), false);
        assert_eq!(put(&lanes, 1), GOOD);
        lanes.rotate(interval());
        assert_eq!((work(&lanes), blocks(&lanes)), ((1, 2), (1, 1)));
    }

    #[test]
    fn what_fits_no_block_is_dropped_alone() {
        let lanes = Lanes::new();
        put(&lanes, 1);
        let large = vec![0; super::super::block::OCTETS];
        let message = Message { response: &large, ..Message::default() };
        let row = SessionRow { message, name: WireName::ROOT };
        assert_eq!(lanes.put([row]), Lost { too_large: 1, ..GOOD });
        assert_eq!(put(&lanes, 1), GOOD);
        lanes.rotate(interval());
        let waiting = lanes.work.state();
        let rows: Vec<_> = waiting.waiting.iter().map(|job| if let Job::Rows(block) = job { block.len() } else { 0 }).collect();
        assert_eq!(rows, [1, 1, 0]);
    }
}
