//! The header `Aggregate-Interval`: ISO 8601, start with zone and either a duration or an end.

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};

use crate::clock::parse_rfc3339;

/// A period of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// When it begins.
    pub start: Timestamp,
    /// How long it is.
    pub duration: SignedDuration,
}

/// The text is no interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the interval is malformed")]
pub struct MalformedInterval;

/// Reads the header; empty and zero intervals are none.
///
/// # Errors
/// When it is neither empty nor an interval.
pub fn parse(text: &str) -> Result<Option<Interval>, MalformedInterval> {
    if text.is_empty() {
        return Ok(None);
    }
    let (start, rest) = text.split_once('/').ok_or(MalformedInterval)?;
    let start = parse_rfc3339(start).ok_or(MalformedInterval)?;
    let duration = if rest.starts_with('P') {
        let span: Span = rest.parse().map_err(|_| MalformedInterval)?;
        span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| MalformedInterval)?
    } else {
        parse_rfc3339(rest).ok_or(MalformedInterval)?.duration_since(start)
    };
    if duration.is_negative() {
        return Err(MalformedInterval);
    }
    Ok((!duration.is_zero()).then_some(Interval { start, duration }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_that_edges_send() {
        let check = |text: &str, expected: Option<f64>| {
            assert_eq!(parse(text).unwrap().map(|interval| interval.duration.as_secs_f64()), expected, "{text}")
        };
        check("2026-11-20T23:57:00+01:00/PT1M", Some(60.0));
        check("2026-11-20T23:57:00Z/PT1H2M3S", Some(3723.0));
        check("2026-11-20T23:57:00Z/PT0.5S", Some(0.5));
        check("2026-11-20T23:57:00Z/2026-11-20T23:58:00Z", Some(60.0));
        check("2026-11-20T23:57:00Z/PT0S", None);
        check("", None);
    }

    #[test]
    fn what_is_no_interval_is_refused() {
        for text in [
            "x",
            "2026-11-20T23:57:00Z",
            "2026-11-20T23:57:00/PT1M",
            "2026-11-20T23:57:00Z/",
            "2026-11-20T23:57:00Z/1M",
            "2026-11-20T23:57:00Z/P1Y",
            "2026-11-20T23:58:00Z/2026-11-20T23:57:00Z",
            "/PT1M",
        ] {
            assert_eq!(parse(text), Err(MalformedInterval), "{text}");
        }
    }
}
