//! Work for a thread that may wait for the disk, handed over without waiting for it.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Where work is put. Dropped, the thread does what waits and ends.
pub struct Jobs<Job> {
    shared: Arc<Shared<Job>>,
}

/// What the thread sees of what waits for it.
pub struct Pressure<'a, Job> {
    shared: &'a Shared<Job>,
}

struct Shared<Job> {
    state: Mutex<State<Job>>,
    changed: Condvar,
    capacity: usize,
}

struct State<Job> {
    waiting: VecDeque<Job>,
    closed: bool,
    ended: bool,
}

impl<Job: Send + 'static> Jobs<Job> {
    /// Starts the thread. At most `capacity` pieces wait, beside the one that is being done.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn start(
        name: &str,
        capacity: usize,
        mut work: impl FnMut(Job, &Pressure<'_, Job>) + Send + 'static,
    ) -> io::Result<Self> {
        let state = State { waiting: VecDeque::with_capacity(capacity), closed: false, ended: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new(), capacity: capacity.max(1) });
        let theirs = Arc::clone(&shared);
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            // Also when the work panics: whoever waits for the end must not wait for ever.
            let _ended = Ended(&theirs);
            while let Some(job) = theirs.next() {
                work(job, &Pressure { shared: &theirs });
            }
        })?;
        Ok(Self { shared })
    }

    /// Hands over and never waits. When too much waits the oldest makes room and comes back, for the caller to count.
    pub fn put(&self, job: Job) -> Option<Job> {
        let mut state = self.shared.state();
        let displaced = if state.waiting.len() >= self.shared.capacity { state.waiting.pop_front() } else { None };
        state.waiting.push_back(job);
        drop(state);
        self.shared.changed.notify_all();
        displaced
    }

    /// How much waits.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.state().waiting.len()
    }

    /// Says that nothing more comes, and waits so long for what is there to be done. False when the disk did not take it in time: then
    /// the thread is left to itself.
    #[must_use]
    pub fn finish(self, patience: Duration) -> bool {
        self.shared.close();
        let state = self.shared.state();
        let waited = self.shared.changed.wait_timeout_while(state, patience, |state| !state.ended);
        waited.unwrap_or_else(PoisonError::into_inner).0.ended
    }
}

impl<Job> fmt::Debug for Jobs<Job> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jobs").field("waiting", &self.shared.state().waiting.len()).finish_non_exhaustive()
    }
}

impl<Job> fmt::Debug for Pressure<'_, Job> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pressure").field("waiting", &self.shared.state().waiting.len()).finish_non_exhaustive()
    }
}

impl<Job> Drop for Jobs<Job> {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl<Job> Pressure<'_, Job> {
    /// Waits before another try of the same work; false when there should be none, since as much waits as may, or the end has come.
    #[must_use]
    pub fn pause(&self, pause: Duration) -> bool {
        self.pause_unless(pause, |state| state.closed || state.waiting.len() >= self.shared.capacity)
    }

    /// The same before what has to be done however much waits: false at the end alone.
    #[must_use]
    pub fn pause_in_any_case(&self, pause: Duration) -> bool {
        self.pause_unless(pause, |state| state.closed)
    }

    fn pause_unless(&self, pause: Duration, is_over: impl Fn(&State<Job>) -> bool) -> bool {
        let end = Instant::now() + pause;
        let mut state = self.shared.state();
        loop {
            if is_over(&state) {
                return false;
            }
            let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else { return true };
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl<Job> Shared<Job> {
    fn state(&self) -> MutexGuard<'_, State<Job>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<Job> {
        let state = self.state();
        let waited = self.changed.wait_while(state, |state| state.waiting.is_empty() && !state.closed);
        waited.unwrap_or_else(PoisonError::into_inner).waiting.pop_front()
    }

    fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }
}

/// Says that the thread ended.
struct Ended<'a, Job>(&'a Shared<Job>);

impl<Job> Drop for Ended<'_, Job> {
    fn drop(&mut self) {
        self.0.state().ended = true;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// A thread that takes a number only when the test lets it: a disk that hangs.
    fn hanging(capacity: usize) -> (Jobs<u32>, mpsc::Sender<()>, mpsc::Receiver<u32>) {
        let (go_on, gate) = mpsc::channel::<()>();
        let (done, results) = mpsc::channel();
        let jobs = Jobs::start("hanging", capacity, move |job, _: &Pressure<'_, u32>| {
            let _ = gate.recv();
            let _ = done.send(job);
        });
        (jobs.unwrap(), go_on, results)
    }

    fn until_taken(jobs: &Jobs<u32>) {
        let end = Instant::now() + PATIENCE;
        while jobs.waiting() > 0 {
            assert!(Instant::now() < end, "the thread takes nothing");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_disk_that_hangs_makes_nobody_wait_and_costs_the_oldest() {
        let (jobs, go_on, results) = hanging(2);
        assert_eq!(jobs.put(1), None);
        until_taken(&jobs);
        assert_eq!([2, 3, 4, 5].map(|job| jobs.put(job)), [None, None, Some(2), Some(3)]);
        drop(go_on);
        assert!(jobs.finish(PATIENCE));
        assert_eq!(results.iter().collect::<Vec<_>>(), [1, 4, 5]);
    }

    #[test]
    fn the_end_does_not_wait_longer_than_it_may() {
        let (jobs, _go_on, _results) = hanging(1);
        jobs.put(1);
        assert!(!jobs.finish(Duration::from_millis(20)));
    }

    #[test]
    fn another_try_is_worth_it_until_too_much_waits() {
        let (said, verdicts) = mpsc::channel();
        let jobs = Jobs::start("trying", 2, move |_: u32, pressure: &Pressure<'_, u32>| {
            while pressure.pause(Duration::from_millis(1)) {
                let _ = said.send(true);
            }
            let _ = said.send(false);
        });
        let jobs = jobs.unwrap();
        jobs.put(1);
        assert!(verdicts.recv_timeout(PATIENCE).unwrap(), "nothing else waits");
        jobs.put(2);
        jobs.put(3);
        let end = Instant::now() + PATIENCE;
        while verdicts.recv_timeout(PATIENCE).unwrap() {
            assert!(Instant::now() < end, "it goes on trying");
        }
        assert!(jobs.finish(PATIENCE), "the end is no time for tries either");
    }

    #[test]
    fn a_panic_of_the_work_is_the_end() {
        let jobs = Jobs::start("panicking", 1, |_: u32, _: &Pressure<'_, u32>| panic!("as the test wants")).unwrap();
        jobs.put(1);
        assert!(jobs.finish(PATIENCE));
    }
}
