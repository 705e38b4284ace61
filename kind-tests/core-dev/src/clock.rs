//! Where "now" comes from: the system's clock, shifted by a setting, or a clock that a test sets.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};

/// A clock that can be shared; clones tell the same time.
#[derive(Clone)]
pub struct Clock {
    source: Source,
}

#[derive(Clone)]
enum Source {
    /// The system's clock plus a constant, so that a client with a wrong clock can be played from Core's side.
    System { offset: SignedDuration },
    /// Milliseconds since 1970 that only tests move.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The system's clock, `offset_seconds` ahead of it.
    #[must_use]
    pub fn system(offset_seconds: i64) -> Self {
        Self { source: Source::System { offset: SignedDuration::from_secs(offset_seconds) } }
    }

    /// A clock that stands still at `now` until [`Clock::set`] moves it.
    #[must_use]
    pub fn manual(now: Timestamp) -> Self {
        Self { source: Source::Manual(Arc::new(AtomicI64::new(now.as_millisecond()))) }
    }

    /// Moves a manual clock; the system's clock cannot be moved and stays.
    pub fn set(&self, now: Timestamp) {
        if let Source::Manual(milliseconds) = &self.source {
            milliseconds.store(now.as_millisecond(), Ordering::SeqCst);
        }
    }

    /// The present instant.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.source {
            Source::System { offset } => Timestamp::now().saturating_add(*offset).unwrap_or(Timestamp::MAX),
            Source::Manual(milliseconds) => {
                Timestamp::from_millisecond(milliseconds.load(Ordering::SeqCst)).unwrap_or(Timestamp::UNIX_EPOCH)
            }
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Clock({})", self.now())
    }
}

impl rustls::time_provider::TimeProvider for Clock {
    fn current_time(&self) -> Option<rustls_pki_types::UnixTime> {
        let seconds = u64::try_from(self.now().as_second()).ok()?;
        Some(rustls_pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)))
    }
}

/// Reads an RFC 3339 date-time, and nothing that merely resembles one: seconds and zone are required.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let digits = |range: std::ops::Range<usize>| bytes.get(range).is_some_and(|part| part.iter().all(u8::is_ascii_digit));
    let at = |index: usize, allowed: &[u8]| bytes.get(index).is_some_and(|byte| allowed.contains(byte));
    let date = digits(0..4) && at(4, b"-") && digits(5..7) && at(7, b"-") && digits(8..10) && at(10, b"Tt");
    let time = digits(11..13) && at(13, b":") && digits(14..16) && at(16, b":") && digits(17..19);
    if !date || !time {
        return None;
    }
    let rest = bytes.get(19..)?;
    let fraction = match rest.first() {
        Some(b'.') => 1 + rest.iter().skip(1).take_while(|byte| byte.is_ascii_digit()).count(),
        _ => 0,
    };
    // Go writes nanoseconds; more digits than nine are legal in RFC 3339 section 5.6 and say nothing more.
    if fraction == 1 {
        return None;
    }
    let zone = rest.get(fraction..)?;
    let zone_is_valid = match zone {
        b"Z" | b"z" => true,
        [b'+' | b'-', h1, h2, b':', m1, m2] => [h1, h2, m1, m2].iter().all(|byte| byte.is_ascii_digit()),
        _ => false,
    };
    if !zone_is_valid {
        return None;
    }
    let kept_fraction = rest.get(..fraction.min(10))?;
    let normal = [bytes.get(..19)?, kept_fraction, zone].concat();
    String::from_utf8(normal).ok()?.to_ascii_uppercase().parse().ok()
}

/// `2026-11-21T00:24:12Z`
#[must_use]
pub fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `2026-11-21T00:24:12.155000Z`, without a fraction when it is zero, as Python prints a time stored in milliseconds.
#[must_use]
pub fn stored_milliseconds(time: Timestamp) -> String {
    let millisecond = time.as_millisecond().rem_euclid(1000);
    if millisecond == 0 { seconds(time) } else { format!("{}.{millisecond:03}000Z", time.strftime("%Y-%m-%dT%H:%M:%S")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_rfc3339_times_are_read() {
        for good in [
            "2026-11-21T00:24:14.123456789Z",
            "2026-11-21T00:24:14+01:00",
            "2026-11-21t00:24:14.083371+00:00",
            "2026-11-21T00:24:14.1234567891Z",
        ] {
            assert!(parse_rfc3339(good).is_some(), "{good}");
        }
        for bad in [
            "2026-11-21T00:24:14",
            "2026-11-21",
            "2026-11-21 00:24:14Z",
            "2026-11-21T00:24Z",
            "2026-11-21T00:24:14.Z",
            "2026-13-21T00:24:14Z",
            "2026-11-21T00:24:14Z[UTC]",
            "1795220656",
            "",
            "2026-11-21T00:24:14+0100",
        ] {
            assert!(parse_rfc3339(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn stored_times_print_as_the_service_prints_them() {
        let time = |text: &str| stored_milliseconds(parse_rfc3339(text).unwrap());
        assert_eq!(time("2026-11-21T00:24:12.155999Z"), "2026-11-21T00:24:12.155000Z");
        assert_eq!(time("2026-11-21T00:24:12Z"), "2026-11-21T00:24:12Z");
    }
}
