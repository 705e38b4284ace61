//! A start with an empty store: every name would be new, so events come slowly at first.
//!
//! The rate doubles every ten minutes. It is over when a whole minute needed no suppression, when the rate has reached that of all events, or
//! after an hour; what was suppressed is not marked, and comes later. Time counts from the first name that was offered: identity, list and
//! resolver may come long after the process.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::bucket::{Bucket, Rate};

const SECOND: u64 = 1_000_000_000;
const DOUBLES: u64 = 600 * SECOND;
const LASTS: u64 = 3600 * SECOND;
/// Without suppression.
const QUIET: u64 = 60 * SECOND;

#[derive(Debug)]
pub(super) struct StartUp {
    /// What had passed of it before this process.
    before: u64,
    bucket: Bucket,
    /// When the first name was offered.
    begun: OnceLock<u64>,
    suppressed_at: AtomicU64,
    over: AtomicBool,
}

impl StartUp {
    pub(super) fn new(age: Option<Duration>) -> Self {
        let before = age.map_or(0, |age| u64::try_from(age.as_nanos()).unwrap_or(u64::MAX));
        let (bucket, begun, suppressed_at) = (Bucket::default(), OnceLock::new(), AtomicU64::new(0));
        Self { before, bucket, begun, suppressed_at, over: AtomicBool::new(before >= LASTS) }
    }

    pub(super) fn take(&self, rate: Rate, all: Rate, now: u64) -> bool {
        if self.over.load(Ordering::Relaxed) || rate.is_unlimited() {
            return true;
        }
        let begun = *self.begun.get_or_init(|| now);
        let passed = self.before.saturating_add(now.saturating_sub(begun));
        let rate = rate.times(1 << (passed / DOUBLES).min(20));
        let quiet = now.saturating_sub(self.suppressed_at.load(Ordering::Relaxed).max(begun)) >= QUIET;
        let reached = !all.is_unlimited() && rate.interval <= all.interval;
        if passed >= LASTS || quiet || reached {
            if !self.over.swap(true, Ordering::Relaxed) {
                tracing::info!("the store of seen names has been filled: events are no longer held back");
            }
            return true;
        }
        let taken = self.bucket.take(rate, now);
        if !taken {
            self.suppressed_at.store(now, Ordering::Relaxed);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolver_that_comes_late_meets_the_same_limit() {
        let (rate, all) = (Rate::new(50, 50), Rate::new(1000, 5000));
        for begun in [0, 5 * QUIET, 2 * LASTS] {
            let start_up = StartUp::new(None);
            let passed = |second: u64| (0..1000).filter(|_| start_up.take(rate, all, begun + second * SECOND)).count();
            assert_eq!((passed(0), passed(1), passed(59)), (50, 50, 50), "{begun}");
            assert_eq!(passed(59 + QUIET / SECOND), 1000, "a minute without suppression ends it");
        }
    }
}
