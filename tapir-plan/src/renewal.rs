//! When a certificate is renewed, and where it stands at a given time.
//!
//! The jitter comes from the node and the serial number, so the same certificate has the same time of renewal after every restart and in
//! every replica: what is displayed is what is decided with. A new serial number draws anew, which spreads edges that once fell together.

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

/// How far the clock of the issuer may be ahead of ours without anybody being told.
const SKEW_SECONDS: i64 = 60;
/// At this share of the lifetime a renewal has been failing for long enough that a person should know.
const OVERDUE_PERCENT: i64 = 85;
/// The jitter takes away at most this share of the lifetime.
const JITTER_PERCENT: i64 = 10;
/// Longest lifetime that is reckoned with, in seconds: a thousand years. Keeps the integers below within their type.
const LONGEST: i64 = 1000 * 366 * 86_400;

/// Share of a lifetime, from 20 to 80 per cent: less the jitter it is still 10, and five tries fit behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u8);

impl Percent {
    /// What holds when nobody chose.
    pub const DEFAULT: Self = Self(66);

    /// None outside of 20 to 80.
    #[must_use]
    pub fn new(percent: u8) -> Option<Self> {
        (20..=80).contains(&percent).then_some(Self(percent))
    }

    /// From text such as `66%`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::new(text.strip_suffix('%').filter(|number| !number.starts_with('+'))?.parse().ok()?)
    }
}

/// From when until when a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

impl Validity {
    /// How long in all; nothing for a certificate that ends before it begins.
    #[must_use]
    pub fn lifetime(&self) -> SignedDuration {
        SignedDuration::from_secs(self.seconds())
    }

    fn seconds(&self) -> i64 {
        (self.not_after.as_second() - self.not_before.as_second()).clamp(0, LONGEST)
    }
}

/// Turning points of one certificate, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// From here on a new one is asked for.
    pub renew_at: Timestamp,
    /// From here on people are warned.
    pub overdue_at: Timestamp,
}

/// Where a certificate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::IntoStaticStr)]
pub enum Standing {
    /// By this clock it begins in the future.
    NotYetValid,
    /// Nothing to do.
    Fresh,
    /// To be renewed.
    Due,
    /// To be renewed, and it should have been long ago.
    Overdue,
    /// Nobody accepts it any more. It can still be renewed.
    Expired,
}

impl Standing {
    /// Whether a new one is to be asked for.
    #[must_use]
    pub fn is_due(self) -> bool {
        self >= Self::Due
    }
}

/// The turning points of the certificate with this serial number, which belongs to this node.
#[must_use]
pub fn schedule(validity: Validity, renew_at: Percent, node: &str, serial: &str) -> Schedule {
    let lifetime = i128::from(validity.seconds());
    let chance = i128::from(chance(node, serial));
    // In 2^-64 hundredths of a second.
    let share = (lifetime * i128::from(renew_at.0)) << 64;
    let offset = (share - lifetime * i128::from(JITTER_PERCENT) * chance).div_euclid(100 << 64);
    let overdue = lifetime * i128::from(OVERDUE_PERCENT) / 100;
    Schedule { renew_at: after(validity.not_before, offset), overdue_at: after(validity.not_before, overdue) }
}

/// Where a certificate stands at this time.
#[must_use]
pub fn standing(schedule: &Schedule, validity: Validity, now: Timestamp) -> Standing {
    if now >= validity.not_after {
        Standing::Expired
    } else if now.as_second() < validity.not_before.as_second().saturating_sub(SKEW_SECONDS) {
        Standing::NotYetValid
    } else if now >= schedule.overdue_at {
        Standing::Overdue
    } else if now >= schedule.renew_at {
        Standing::Due
    } else {
        Standing::Fresh
    }
}

/// How long after a success no other renewal is asked for, unless a person asks: to a clock that is far ahead each new certificate is due at
/// once, and it must not renew in a loop. A quarter of the lifetime at most, so that very short ones are renewed in time.
#[must_use]
pub fn rest(validity: Validity) -> SignedDuration {
    let lifetime = validity.seconds();
    SignedDuration::from_secs((lifetime / 20).max(60).min(lifetime / 4))
}

/// A number that looks random and is always the same for the same certificate.
fn chance(node: &str, serial: &str) -> u64 {
    let digest = Sha256::digest(format!("{node}|{serial}"));
    digest.iter().take(8).fold(0, |number, octet| (number << 8) | u64::from(*octet))
}

fn after(begin: Timestamp, seconds: i128) -> Timestamp {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX).saturating_add(begin.as_second());
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    const DAY: i64 = 86_400;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn valid(begin: i64, end: i64) -> Validity {
        Validity { not_before: at(begin), not_after: at(end) }
    }

    #[test]
    fn the_times_of_one_certificate() {
        let validity = valid(0, 100 * DAY);
        let schedule = schedule(validity, Percent::DEFAULT, "node", "1");
        assert!(schedule.renew_at > at(56 * DAY) && schedule.renew_at <= at(66 * DAY), "{schedule:?}");
        assert_eq!(schedule.overdue_at, at(85 * DAY));
        let second = SignedDuration::from_secs(1);
        for (now, expected) in [
            (at(-61), Standing::NotYetValid),
            (at(-60), Standing::Fresh),
            (schedule.renew_at - second, Standing::Fresh),
            (schedule.renew_at, Standing::Due),
            (at(85 * DAY - 1), Standing::Due),
            (at(85 * DAY), Standing::Overdue),
            (at(100 * DAY - 1), Standing::Overdue),
            (at(100 * DAY), Standing::Expired),
            (at(1000 * DAY), Standing::Expired),
        ] {
            assert_eq!(standing(&schedule, validity, now), expected, "{now}");
            assert_eq!(expected.is_due(), now >= schedule.renew_at, "{now}");
        }
    }

    #[test]
    fn a_new_serial_number_draws_a_new_time_and_the_same_one_the_same() {
        let times: Vec<_> = ["1", "2", "1"].map(|serial| schedule(valid(0, 90 * DAY), Percent::DEFAULT, "node", serial)).into();
        assert_eq!(times[0], times[2]);
        assert_ne!(times[0].renew_at, times[1].renew_at);
    }

    #[test]
    fn a_thousand_certificates_that_end_together_are_renewed_apart() {
        let times = |lifetime: i64| {
            let one = |n| schedule(valid(0, lifetime), Percent::DEFAULT, &format!("node-{n}"), &format!("{}", 7 * n)).renew_at;
            let mut times: Vec<i64> = (0..1000).map(one).map(Timestamp::as_second).collect();
            times.sort_unstable();
            times
        };
        let long = times(90 * DAY);
        assert!(long[999] - long[0] > 17 * DAY / 2, "{} s", long[999] - long[0]);
        let hours = |begin: i64| long.iter().filter(|time| (begin..begin + 3600).contains(*time)).count();
        assert!(long.iter().all(|begin| hours(*begin) <= 20), "too many within an hour");
        let short = times(3600);
        assert!(short[999] - short[0] >= 350, "{} s", short[999] - short[0]);
        assert!(short.iter().all(|begin| short.iter().filter(|time| (*begin..begin + 10).contains(*time)).count() <= 60));
    }

    #[test]
    fn shares_are_parsed_strictly() {
        assert_eq!(Percent::parse("66%"), Some(Percent::DEFAULT));
        assert_eq!((Percent::parse("20%"), Percent::parse("80%")), (Percent::new(20), Percent::new(80)));
        for wrong in ["66", "19%", "81%", "%", "+66%", "6 6%", "-30%", "66.5%", "300%"] {
            assert_eq!(Percent::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_fast_clock_does_not_renew_in_a_loop() {
        let seconds = |lifetime| rest(valid(0, lifetime)).as_secs();
        assert_eq!(seconds(90 * DAY), 90 * DAY / 20);
        assert_eq!(seconds(600), 60);
        assert_eq!(seconds(20), 5);
        assert_eq!(seconds(-5), 0);
    }

    proptest! {
        #[test]
        fn renewal_is_within_the_lifetime(
            begin in -10_000_000_000_i64..10_000_000_000, lifetime in 0..=LONGEST / 10, percent in 20_u8..=80, serial: u64,
        ) {
            let validity = valid(begin, begin + lifetime);
            let schedule = schedule(validity, Percent::new(percent).unwrap(), "node", &serial.to_string());
            let offset = schedule.renew_at.as_second() - begin;
            prop_assert!(offset * 100 >= lifetime * i64::from(percent - 10) - 100, "{offset} of {lifetime}");
            prop_assert!(offset * 100 <= lifetime * i64::from(percent));
            prop_assert_eq!(schedule.renew_at.subsec_nanosecond(), 0);
            prop_assert!(schedule.renew_at <= schedule.overdue_at && schedule.overdue_at <= validity.not_after);
        }

        #[test]
        fn no_certificate_is_too_strange(begin in -300_000_000_000_i64..250_000_000_000, end in -300_000_000_000_i64..250_000_000_000) {
            let validity = valid(begin, end);
            let schedule = schedule(validity, Percent::DEFAULT, "", "");
            prop_assert_eq!(standing(&schedule, validity, Timestamp::MAX), Standing::Expired);
            prop_assert!(rest(validity) <= validity.lifetime());
        }
    }
}
