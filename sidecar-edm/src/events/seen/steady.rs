//! Whether the clock on the wall is right: it went as the other clock goes, which nobody sets, for an hour.

use std::time::{Duration, Instant};

/// So far apart the two may come.
const APART: u64 = 60;
const LONG_ENOUGH: Duration = Duration::from_secs(3600);

/// What is known of the clock.
#[derive(Debug, Default)]
pub struct Steady(Option<(u64, Instant)>);

impl Steady {
    /// `now`, in seconds, is what the clock tells at this `instant`: whether to believe it.
    pub fn confirms(&mut self, now: u64, instant: Instant) -> bool {
        let (then, since) = *self.0.get_or_insert((now, instant));
        let passed = instant.saturating_duration_since(since);
        if then.saturating_add(passed.as_secs()).abs_diff(now) > APART {
            // It was set, or the machine slept.
            self.0 = Some((now, instant));
            return false;
        }
        passed >= LONG_ENOUGH
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_believed_when_it_went_right_for_an_hour() {
        let (mut steady, begun) = (Steady::default(), Instant::now());
        let mut check = |now: u64, passed: u64| steady.confirms(now, begun + Duration::from_secs(passed));
        assert!(!check(1000, 0) && !check(4599, 3599) && check(4600, 3600) && check(4659, 3700));
        // A year ahead, and back.
        assert!(!check(31_000_000, 3710) && !check(4720, 3720));
        assert!(!check(8319, 7319) && check(8320, 7320));
    }
}
