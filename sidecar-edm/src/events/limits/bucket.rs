//! A rate with a burst, as one number that threads share: the generic cell rate algorithm (ITU-T I.371, annex A).

use std::sync::atomic::{AtomicU64, Ordering};

const SECOND: u64 = 1_000_000_000;

/// So many a second, and so many at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Nanoseconds from one to the next; zero without a limit.
    pub(super) interval: u64,
    burst: u64,
}

impl Rate {
    /// Zero a second is no limit.
    #[must_use]
    pub fn new(a_second: u32, burst: u32) -> Self {
        let interval = if a_second == 0 { 0 } else { SECOND / u64::from(a_second) };
        Self { interval, burst: u64::from(burst.max(1)) }
    }

    /// There is no limit.
    #[must_use]
    pub const fn is_unlimited(self) -> bool {
        self.interval == 0
    }

    /// The same rate with a part of the burst.
    pub(super) fn with_burst_over(self, parts: u64) -> Self {
        Self { burst: (self.burst / parts).max(1), ..self }
    }

    /// So many times the rate; the burst stays.
    pub(super) fn times(self, factor: u64) -> Self {
        Self { interval: if self.interval == 0 { 0 } else { (self.interval / factor).max(1) }, ..self }
    }

    /// How far ahead of the time the next one may be due.
    pub(super) const fn tolerance(self) -> u64 {
        self.interval.saturating_mul(self.burst - 1)
    }
}

/// When the next one would be due if they came evenly.
#[derive(Debug, Default)]
pub(super) struct Bucket(AtomicU64);

impl Bucket {
    /// Takes one if there is one.
    pub(super) fn take(&self, rate: Rate, now: u64) -> bool {
        if rate.is_unlimited() {
            return true;
        }
        let next = |due: u64| (due <= now.saturating_add(rate.tolerance())).then(|| due.max(now).saturating_add(rate.interval));
        self.0.try_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let (bucket, rate) = (Bucket::default(), Rate::new(10, 5));
        let taken = |now: u64| (0..100).filter(|_| bucket.take(rate, now)).count();
        assert_eq!(taken(SECOND), 5);
        assert_eq!(taken(SECOND), 0);
        assert_eq!(taken(SECOND + SECOND / 10), 1);
        assert_eq!(taken(SECOND * 2 + SECOND / 10), 5, "no more than the burst, however long the pause");
        assert!((0..100_000).filter(|tick| bucket.take(rate, SECOND * 3 + tick * SECOND / 1000)).count() <= 1005);
    }
}
