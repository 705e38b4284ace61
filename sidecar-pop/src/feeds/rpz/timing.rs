//! When a feed asks again, and until when its copy counts (RFC 1034 section 4.3.5, RFC 1035 section 3.3.13).

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tapir_runtime::back_off::{BackOff, Pauses};
use tapir_wire::config::pop::RpzSource;

use super::held::Held;
use crate::dns::records::Soa;

/// Bounds of what a zone may want where the configuration says nothing.
const REFRESH: (u32, u32) = (10, 24 * 3600);
/// A copy counts for as long at least, and at most.
const EXPIRE: (u32, u32) = (60, 30 * 24 * 3600);
/// Bounds of its pause after a failure, which is never longer than a refresh.
const RETRY: (u32, u32) = (5, 3600);
/// As long as no primary was reached since the start, who knows how long ago that was: first pause, and the longest where no zone says another.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST_FIRST: Duration = Duration::from_secs(300);

/// What the configuration says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    refresh: Option<u32>,
    keep: Option<u32>,
    bounds: (u32, u32),
}

impl Timing {
    pub(super) fn of(rpz: &RpzSource) -> Self {
        let least = rpz.min_refresh_seconds.unwrap_or(REFRESH.0);
        let most = rpz.max_refresh_seconds.unwrap_or(REFRESH.1).max(least);
        Self { refresh: rpz.refresh_seconds, keep: rpz.keep_seconds, bounds: (least.min(most).max(1), most.max(1)) }
    }

    fn refresh_of(&self, [refresh, ..]: [u32; 3]) -> u32 {
        self.refresh.unwrap_or_else(|| refresh.clamp(self.bounds.0, self.bounds.1)).max(1)
    }

    /// Between two questions while all is well.
    pub(super) fn refresh(&self, held: &Held) -> Duration {
        Duration::from_secs(self.refresh_of(held.timers).into())
    }

    /// When the copy stops to count: later than the next two questions, whatever the zone says.
    pub(super) fn expires_at(&self, held: &Held) -> Timestamp {
        self.after(held.timers, held.checked_at)
    }

    pub(super) fn expires_of(&self, soa: &Soa, now: Timestamp) -> Timestamp {
        self.after([soa.refresh, soa.retry, soa.expire], now)
    }

    fn after(&self, timers: [u32; 3], checked_at: Timestamp) -> Timestamp {
        let least = self.refresh_of(timers).saturating_mul(2).clamp(EXPIRE.0, EXPIRE.1);
        let seconds = self.keep.unwrap_or_else(|| timers[2].clamp(least, EXPIRE.1));
        checked_at.checked_add(SignedDuration::from_secs(seconds.into())).unwrap_or(Timestamp::MAX)
    }

    fn retry_of(&self, timers: [u32; 3]) -> u32 {
        timers[1].clamp(RETRY.0, RETRY.1).min(self.refresh_of(timers))
    }
}

/// Pauses while something is wrong.
#[derive(Debug)]
pub(super) struct Failing {
    timing: Timing,
    first: Pauses,
    /// A primary was of use since the start.
    reached: bool,
}

impl Failing {
    pub(super) fn new(timing: Timing) -> Self {
        let most = timing.refresh.map_or(LONGEST_FIRST, |refresh| Duration::from_secs(refresh.max(1).into())).min(LONGEST_FIRST);
        Self { timing, first: BackOff { min: FIRST.min(most), max: most }.start(), reached: false }
    }

    /// A primary was of use.
    pub(super) const fn reached(&mut self) {
        self.reached = true;
    }

    /// The next pause, where a zone with these timers is held: its retry, or half of that by chance, so that edges do not come back all at once.
    pub(super) fn next_pause(&mut self, timers: Option<[u32; 3]>) -> Duration {
        let retry = timers.map(|timers| Duration::from_secs(self.timing.retry_of(timers).into()));
        match retry {
            Some(retry) if self.reached => BackOff { min: retry, max: retry }.start().next_pause(),
            retry => self.first.next_pause().min(retry.unwrap_or(Duration::MAX)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rpz: &RpzSource, timers: [u32; 3], refresh: u32, keep: i64) {
        let timing = Timing::of(rpz);
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!((timing.refresh_of(timers), timing.after(timers, now).as_second()), (refresh, keep), "{rpz:?} {timers:?}");
    }

    #[test]
    fn the_zone_says_it_within_bounds_and_the_configuration_exactly() {
        let none = RpzSource::default();
        check(&none, [300, 60, 3600], 300, 3600);
        check(&none, [0, 0, 0], 10, 60);
        check(&none, [u32::MAX; 3], 24 * 3600, 30 * 24 * 3600);
        check(&none, [3600, 60, 300], 3600, 7200);
        check(&RpzSource { refresh_seconds: Some(1), keep_seconds: Some(2), ..none.clone() }, [300, 60, 3600], 1, 2);
        check(&RpzSource { min_refresh_seconds: Some(900), ..none.clone() }, [300, 60, 3600], 900, 3600);
        check(&RpzSource { max_refresh_seconds: Some(5), ..none }, [300, 60, 3600], 10, 3600);
    }

    /// So many pauses, each of which is between half of `due` and all of it.
    fn pauses(failing: &mut Failing, timers: Option<[u32; 3]>, due: &[u64]) {
        for due in due.iter().map(|due| Duration::from_secs(*due)) {
            let pause = failing.next_pause(timers);
            assert!((due / 2..=due).contains(&pause), "{pause:?} of {due:?} with {timers:?}");
        }
    }

    #[test]
    fn the_zones_retry_follows_a_failure_and_a_growing_pause_one_before_the_first_success() {
        let none = RpzSource::default();
        let mut failing = Failing::new(Timing::of(&none));
        pauses(&mut failing, None, &[1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        failing.reached();
        pauses(&mut failing, Some([3600, 600, 86_400]), &[600, 600, 600]);
        // Bounds: none of them, less than a refresh, and not at every moment.
        pauses(&mut failing, Some([86_400, 7200, 86_400]), &[3600]);
        pauses(&mut failing, Some([60, 7200, 86_400]), &[60]);
        pauses(&mut failing, Some([3600, 0, 86_400]), &[5]);
        pauses(&mut failing, Some([u32::MAX; 3]), &[3600]);
        let spread: std::collections::BTreeSet<_> = (0..20).map(|_| failing.next_pause(Some([3600, 600, 86_400]))).collect();
        assert!(spread.len() > 10, "{spread:?}");
        // What the configuration says exactly bounds both.
        let mut failing = Failing::new(Timing::of(&RpzSource { refresh_seconds: Some(2), ..none.clone() }));
        pauses(&mut failing, None, &[1, 2, 2]);
        failing.reached();
        pauses(&mut failing, Some([3600, 600, 86_400]), &[2]);
        // With the copy of before the start.
        let mut failing = Failing::new(Timing::of(&none));
        pauses(&mut failing, Some([3600, 6, 86_400]), &[1, 2, 4]);
        assert!((0..5).all(|_| failing.next_pause(Some([3600, 6, 86_400])) <= Duration::from_secs(6)));
    }
}
