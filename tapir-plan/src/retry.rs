//! How long to wait after a failed call to Core.

use std::time::Duration;

use jiff::Timestamp;

const FIRST: Duration = Duration::from_secs(30);
const SHORTEST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_hours(1);
const LONGEST_AFTER_EXPIRY: Duration = Duration::from_mins(10);
/// Core said no in a way that time seldom heals: asked again all the same, as a Core that was restored from a backup heals it.
const REFUSED: Duration = Duration::from_mins(10);
/// No pause before expiry takes more than this part of what is left: five of them leave (5/6)^5, two fifths.
const PARTS: u32 = 6;
/// The jitter takes away at most this part.
const JITTER_PARTS: f64 = 4.0;

/// What kind of failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No answer, or one that may be another in a moment.
    Passing,
    /// Core refuses this node.
    Refused,
}

/// The pause after so many failures in a row, this one included. `chance` is uniform in `[0, 1)` and spreads edges that failed together.
///
/// It never says to give up: after expiry an edge asks on, since only a renewal brings it back.
#[must_use]
pub fn pause(failures: u32, failure: Failure, not_after: Timestamp, now: Timestamp, chance: f64) -> Duration {
    let grown = FIRST.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
    let pause = match Duration::try_from(not_after.duration_since(now)) {
        Ok(left) if !left.is_zero() => grown.min(LONGEST).min(left / PARTS).max(SHORTEST),
        _ => grown.min(LONGEST_AFTER_EXPIRY),
    };
    let pause = match failure {
        Failure::Passing => pause,
        Failure::Refused => pause.max(REFUSED),
    };
    pause.mul_f64(1.0 - chance.clamp(0.0, 1.0) / JITTER_PARTS)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn seconds(failures: u32, failure: Failure, left: i64) -> u64 {
        pause(failures, failure, at(left), at(0), 0.0).as_secs()
    }

    #[test]
    fn pauses_grow_to_their_bounds() {
        let month = 30 * 86_400;
        let before: Vec<u64> = (1..=9).map(|failures| seconds(failures, Failure::Passing, month)).collect();
        assert_eq!(before, [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
        let after: Vec<u64> = (1..=7).map(|failures| seconds(failures, Failure::Passing, -1)).collect();
        assert_eq!(after, [30, 60, 120, 240, 480, 600, 600]);
        assert_eq!((seconds(u32::MAX, Failure::Passing, month), seconds(0, Failure::Passing, month)), (3600, 30));
        assert_eq!((seconds(5, Failure::Passing, 60), seconds(5, Failure::Passing, 6)), (10, 5));
        assert_eq!((seconds(1, Failure::Refused, month), seconds(9, Failure::Refused, month)), (600, 3600));
        assert_eq!(seconds(1, Failure::Refused, -1), 600);
    }

    #[test]
    fn jitter_takes_a_quarter_at_most() {
        let with = |chance| pause(1, Failure::Passing, at(86_400), at(0), chance).as_millis();
        assert_eq!((with(0.0), with(0.5), with(1.0)), (30_000, 26_250, 22_500));
        assert_eq!((with(-3.0), with(7.0)), (30_000, 22_500));
    }

    proptest! {
        #[test]
        fn five_tries_fit_before_expiry(left in 75_i64..400 * 86_400, chances in prop::array::uniform5(0.0..1.0_f64)) {
            let mut now = at(0);
            for (failures, chance) in (1..).zip(chances) {
                now += pause(failures, Failure::Passing, at(left), now, chance);
                prop_assert!(now < at(left), "try {failures} comes at {now} of {left} s");
            }
        }

        #[test]
        fn it_goes_on_after_expiry(failures: u32, ago in 0_i64..100_000_000, chance in 0.0..1.0_f64) {
            let pause = pause(failures, Failure::Passing, at(-ago), at(0), chance);
            prop_assert!(pause >= FIRST.mul_f64(0.75) && pause <= LONGEST_AFTER_EXPIRY);
        }
    }
}
