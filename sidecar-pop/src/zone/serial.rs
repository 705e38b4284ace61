//! Serial numbers (RFC 1982) from the clock.

use std::fmt::{self, Display};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Serial number of the zone. Not `Ord`: the order of RFC 1982 is not transitive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Serial(pub u32);

impl Serial {
    /// Tenths of a second since 1970 modulo 2^32; if that is not after `last` (the clock stepped back, or two versions within
    /// a tenth of a second), the one after `last`. So even a POP that lost its state exceeds what its resolver holds.
    #[must_use]
    pub fn next(last: Option<Self>, now: Timestamp) -> Self {
        let tenths = now.as_millisecond().div_euclid(100).rem_euclid(1 << 32);
        let clock = Self(u32::try_from(tenths).unwrap_or_default());
        match last {
            Some(last) if !clock.is_after(last) => Self(last.0.wrapping_add(1)),
            _ => clock,
        }
    }

    /// RFC 1982 section 3.2. Two numbers exactly half the space apart are after each other in neither order.
    #[must_use]
    pub const fn is_after(self, other: Self) -> bool {
        let ahead = self.0.wrapping_sub(other.0);
        ahead != 0 && ahead < 1 << 31
    }
}

impl Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::Serial;
    use jiff::Timestamp;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(milliseconds).unwrap()
    }

    #[test]
    fn tenths_of_a_second_modulo_the_number_space() {
        assert_eq!(Serial::next(None, at(1_000_099)), Serial(10_000));
        // 2026-11-21: past the first wrap.
        assert_eq!(Serial::next(None, at(1_795_219_200_000)), Serial(772_322_816));
    }

    #[test]
    fn never_the_same_twice() {
        let first = Serial::next(None, at(5_000));
        assert_eq!(Serial::next(Some(first), at(5_000)), Serial(51));
        assert_eq!(Serial::next(Some(first), at(4_000)), Serial(51));
        assert_eq!(Serial::next(Some(Serial(51)), at(5_100)), Serial(52));
        assert_eq!(Serial::next(Some(Serial(52)), at(6_000)), Serial(60));
    }

    #[test]
    fn order_at_the_wrap() {
        assert!(Serial(0).is_after(Serial(u32::MAX)));
        assert!(Serial(5).is_after(Serial(u32::MAX - 5)));
        assert!(!Serial(u32::MAX).is_after(Serial(0)));
        assert!(!Serial(7).is_after(Serial(7)));
        assert!(!Serial(1 << 31).is_after(Serial(0)));
        let wrap = (1_i64 << 32) * 100;
        assert_eq!(Serial::next(Some(Serial(u32::MAX)), at(wrap)), Serial(0));
        assert_eq!(Serial::next(Some(Serial(u32::MAX)), at(wrap - 100)), Serial(0));
    }
}
