//! When a feed asks again, and until when its copy counts.

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
/// First pause after a failure; the longest is that of a refresh, or this.
const RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(300);

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

    /// Between two questions while something is wrong: from a second up to the refresh that is set, or to five minutes.
    pub(super) fn pauses(&self) -> Pauses {
        let most = self.refresh.map_or(LONGEST_RETRY, |refresh| Duration::from_secs(refresh.max(1).into())).min(LONGEST_RETRY);
        BackOff { min: RETRY.min(most), max: most }.start()
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
}
