//! Pauses between a worker's end and its next start.

use std::time::Duration;

/// Short enough that a single crash costs nearly nothing: the resolver's queue of dnstap frames outlasts it.
const FIRST: Duration = Duration::from_millis(100);

/// Long enough that a worker that crashes at once uses no noticeable processor time.
const LAST: Duration = Duration::from_secs(5);

/// A worker that lived so long did not crash because of how it was started.
const LONG_LIFE: Duration = Duration::from_secs(10);

/// The row of pauses: 0.1 s, doubling up to 5 s, from the beginning again after a life of 10 s.
#[derive(Debug)]
pub(crate) struct BackOff {
    next: Duration,
}

impl BackOff {
    pub(crate) const fn new() -> Self {
        Self { next: FIRST }
    }

    /// The pause after a worker that lived for `life`.
    pub(crate) fn after(&mut self, life: Duration) -> Duration {
        let pause = if life >= LONG_LIFE { FIRST } else { self.next };
        self.next = (pause * 2).min(LAST);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::BackOff;
    use std::time::Duration;

    #[test]
    fn doubles_to_five_seconds_and_starts_again_after_a_long_life() {
        let mut back_off = BackOff::new();
        let mut after = |life| u64::try_from(back_off.after(Duration::from_millis(life)).as_millis()).unwrap();
        let short: Vec<u64> = (0..9).map(|_| after(9_999)).collect();
        assert_eq!(short, [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
        assert_eq!([after(10_000), after(0), after(0)], [100, 200, 400]);
    }
}
