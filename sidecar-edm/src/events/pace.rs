//! How fast events go to the broker.

use std::time::{Duration, Instant};

/// So many go at once at most after a pause: as many as this part of a second brings.
const BURST: Duration = Duration::from_millis(100);
/// Not each for itself: those of some milliseconds go together.
const TOGETHER: Duration = Duration::from_millis(5);

/// Grants a number of events a second.
#[derive(Debug)]
pub(super) struct Pace {
    a_second: u32,
    /// When the next event would be due if they went evenly.
    due: Instant,
}

impl Pace {
    pub(super) const fn new(now: Instant) -> Self {
        Self { a_second: 0, due: now }
    }

    /// Grants as many of these as may go now; zero a second is no limit.
    pub(super) fn take(&mut self, wanted: usize, a_second: u32, now: Instant) -> usize {
        self.a_second = a_second;
        if a_second == 0 {
            return wanted;
        }
        let interval = self.interval();
        self.due = self.due.max(now.checked_sub(BURST.max(interval)).unwrap_or(now));
        let ready = now.saturating_duration_since(self.due).as_nanos() / interval.as_nanos().max(1);
        let granted = wanted.min(usize::try_from(ready).unwrap_or(usize::MAX));
        self.due += interval * u32::try_from(granted).unwrap_or(u32::MAX);
        granted
    }

    /// Gives back what was not used.
    pub(super) fn give_back(&mut self, events: usize) {
        if self.a_second > 0 {
            let back = self.interval() * u32::try_from(events).unwrap_or(u32::MAX);
            self.due = self.due.checked_sub(back).unwrap_or(self.due);
        }
    }

    /// When some more may go.
    pub(super) fn next(&self) -> Instant {
        self.due + self.interval().max(TOGETHER)
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(1) / self.a_second.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_rate() {
        let begun = Instant::now();
        let (mut pace, mut now, mut granted) = (Pace::new(begun), begun, 0);
        while now < begun + Duration::from_secs(10) {
            granted += pace.take(64, 500, now);
            now = pace.next().max(now);
        }
        assert!((4900..=5050).contains(&granted), "{granted}");
        now += Duration::from_secs(60);
        assert!(pace.take(10_000, 500, now) <= 50, "what was not used is no debt");
        assert_eq!(pace.take(10_000, 0, now), 10_000);
    }

    #[test]
    fn what_is_given_back_is_granted_again() {
        let begun = Instant::now();
        let (mut pace, now) = (Pace::new(begun), begun + Duration::from_secs(1));
        assert_eq!(pace.take(100, 500, now), 50);
        assert_eq!(pace.take(100, 500, now), 0);
        pace.give_back(30);
        assert_eq!(pace.take(100, 500, now), 30);
        assert_eq!(pace.take(1, 1, now), 0);
        assert_eq!(pace.take(5, 1, now + Duration::from_secs(2)), 1);
    }
}
