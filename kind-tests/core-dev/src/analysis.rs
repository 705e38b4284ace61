//! What the analysts and the observation encoder make of events, as a state machine without clock or network: loop test from
//! edge, ticker and globally-new.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use crate::clock::parse_rfc3339;
use crate::events::Event;
use crate::observations::Observed;

/// Bits of observations.
pub const GLOBALLY_NEW: u32 = 1;
/// Bit of the loop test.
pub const LOOPTEST: u32 = 1024;

/// Names kept at most, in each of the two stores; what comes above is answered as if it had been forgotten, and said.
const KEPT_NAMES: usize = 1_000_000;

/// What an operator configures.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Normalised names with this end come back.
    pub looptest_suffix: String,
    /// Names that never count as globally new.
    pub ignored_suffixes: Vec<String>,
    /// Seconds.
    pub looptest_ttl: u32,
    /// Seconds.
    pub globally_new_ttl: u32,
    /// Seconds that the encoder adds.
    pub ttl_margin: u32,
}

impl Default for Settings {
    /// The lifetimes that the recorded messages show (67 and 3607 with a margin of 7).
    fn default() -> Self {
        Self {
            looptest_suffix: ".from-edge.looptest.dnstapir.se.".into(),
            ignored_suffixes: vec![".looptest.dnstapir.se.".into()],
            looptest_ttl: 60,
            globally_new_ttl: 3600,
            ttl_margin: 7,
        }
    }
}

/// The stores of the analysts.
#[derive(Debug, Default)]
pub struct Analysis {
    settings: Settings,
    /// Normalised name -> thumbprints of those who reported it.
    seen: BTreeMap<String, BTreeSet<String>>,
    /// Normalised name -> observation bit -> end.
    observations: BTreeMap<String, BTreeMap<u32, Timestamp>>,
}

/// The analysts decode strictly: unknown members and odd types make them discard what the bridge let pass.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the members exist to be refused when they have another type")]
struct NewQname {
    r#type: String,
    version: i64,
    qname: String,
    timestamp: Option<String>,
    flags: Option<i64>,
    qtype: Option<i64>,
    qclass: Option<i64>,
    rdlength: Option<i64>,
    message_id: Option<String>,
    initiator: Option<String>,
}

/// Why the analysts discarded an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Discarded {
    /// Unknown member or wrong type.
    #[error("the event does not decode: {0}")]
    Decode(String),
    /// Not RFC 3339.
    #[error("the event's timestamp is not RFC 3339")]
    Timestamp,
}

impl Analysis {
    /// Empty stores.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// Takes an event in; gives the observation message that follows, if any.
    ///
    /// # Errors
    /// When the analysts discard the event.
    pub fn event(&mut self, event: &Event, now: Timestamp) -> Result<Option<Observed>, Discarded> {
        let decoded: NewQname = serde_json::from_slice(&event.payload).map_err(|error| Discarded::Decode(error.to_string()))?;
        if decoded.timestamp.is_some_and(|timestamp| parse_rfc3339(&timestamp).is_none()) {
            return Err(Discarded::Timestamp);
        }
        let name = normalise(&decoded.qname);
        let mut bits = Vec::new();
        if name.ends_with(&self.settings.looptest_suffix) {
            bits.push((LOOPTEST, self.settings.looptest_ttl));
        }
        if !self.settings.ignored_suffixes.iter().any(|suffix| name.ends_with(suffix)) && self.is_new(&name, &event.thumbprint) {
            bits.push((GLOBALLY_NEW, self.settings.globally_new_ttl));
        }
        Ok(if bits.is_empty() { None } else { self.observe(&name, &bits, now) })
    }

    /// The loop test that needs no event.
    pub fn tick(&mut self, now: Timestamp) -> Option<Observed> {
        let name = format!("epoch-{}.ticker.looptest.dnstapir.se.", now.as_second());
        let ttl = self.settings.looptest_ttl;
        self.observe(&name, &[(LOOPTEST, ttl)], now)
    }

    fn is_new(&mut self, name: &str, thumbprint: &str) -> bool {
        if !is_storable(name) {
            return false;
        }
        if let Some(reporters) = self.seen.get_mut(name) {
            reporters.insert(thumbprint.to_owned());
            return false;
        }
        if self.seen.len() >= KEPT_NAMES {
            tracing::warn!("Store of seen names is full and was emptied");
            self.seen.clear();
        }
        self.seen.insert(name.to_owned(), BTreeSet::from([thumbprint.to_owned()]));
        true
    }

    /// Sets observations on a name and encodes all that stand on it.
    pub fn observe(&mut self, name: &str, bits: &[(u32, u32)], now: Timestamp) -> Option<Observed> {
        if !is_storable(name) {
            return None;
        }
        if self.observations.len() >= KEPT_NAMES {
            self.observations.retain(|_, standing| standing.values().any(|end| *end > now));
            if self.observations.len() >= KEPT_NAMES {
                tracing::warn!("Store of observations is full and was emptied");
                self.observations.clear();
            }
        }
        let standing = self.observations.entry(name.to_owned()).or_default();
        for (bit, ttl) in bits {
            standing.insert(*bit, now.saturating_add(SignedDuration::from_secs(i64::from(*ttl))).unwrap_or(Timestamp::MAX));
        }
        standing.retain(|_, end| *end > now);
        let remaining = standing.values().map(|end| end.duration_since(now)).min()?;
        let rounded = u64::try_from(remaining.checked_add(SignedDuration::from_millis(500))?.as_secs()).ok()?;
        Some(Observed {
            name: name.trim_end_matches('.').to_owned(),
            ttl: rounded + u64::from(self.settings.ttl_margin),
            tag_mask: standing.keys().fold(0, |mask, bit| mask | bit),
        })
    }

    /// How many nodes reported a name.
    #[must_use]
    pub fn reporters(&self, name: &str) -> usize {
        self.seen.get(&normalise(name)).map_or(0, BTreeSet::len)
    }
}

fn normalise(name: &str) -> String {
    format!("{}.", name.trim().to_lowercase().trim_matches(['.', '*']))
}

/// Observations are keys of a NATS store, whose alphabet is narrow.
fn is_storable(name: &str) -> bool {
    let labels = name.trim_end_matches('.');
    !labels.is_empty()
        && !labels.contains("..")
        && labels.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_/=.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-21T00:24:17Z";

    fn now() -> Timestamp {
        NOW.parse().unwrap()
    }

    fn event(payload: &str, thumbprint: &str) -> Event {
        Event { key_id: "a".into(), thumbprint: thumbprint.into(), payload: payload.as_bytes().to_vec() }
    }

    fn of(qname: &str, thumbprint: &str) -> Event {
        event(
            &format!(
                r#"{{"flags":33152,"qclass":1,"qname":"{qname}","qtype":1,"timestamp":"{NOW}","type":"new_qname","version":0}}"#
            ),
            thumbprint,
        )
    }

    fn observed(name: &str, ttl: u64, tag_mask: u32) -> Option<Observed> {
        Some(Observed { name: name.into(), ttl, tag_mask })
    }

    #[test]
    fn looptest_names_come_back_in_lower_case_without_final_dot_at_every_event() {
        let mut analysis = Analysis::new(Settings::default());
        for _ in 0..2 {
            let answer = analysis.event(&of("Vector-1.from-edge.looptest.dnstapir.se.", "t"), now());
            assert_eq!(answer, Ok(observed("vector-1.from-edge.looptest.dnstapir.se", 67, LOOPTEST)));
        }
        assert_eq!(analysis.event(&of("from-edge.looptest.dnstapir.se.", "t"), now()), Ok(None));
    }

    #[test]
    fn a_name_is_globally_new_once_whoever_reports_it() {
        let mut analysis = Analysis::new(Settings::default());
        assert_eq!(analysis.event(&of("www.example.org.", "t"), now()), Ok(observed("www.example.org", 3607, GLOBALLY_NEW)));
        assert_eq!(analysis.event(&of("WWW.example.org.", "u"), now()), Ok(None));
        assert_eq!(analysis.reporters("www.example.org"), 2);
        assert_eq!(analysis.event(&of("example.org.", "t"), now()), Ok(observed("example.org", 3607, GLOBALLY_NEW)));
    }

    #[test]
    fn bits_are_joined_and_the_smallest_remaining_time_counts() {
        let settings = Settings { ignored_suffixes: vec![], ..Settings::default() };
        let mut analysis = Analysis::new(settings);
        let name = "x.from-edge.looptest.dnstapir.se";
        assert_eq!(analysis.event(&of(name, "t"), now()), Ok(observed(name, 67, 1025)));
        let later = now() + SignedDuration::from_secs(61);
        assert_eq!(analysis.observe(&format!("{name}."), &[(4, 5000)], later), observed(name, 3539 + 7, 5));
    }

    #[test]
    fn names_that_the_store_cannot_hold_get_no_observation() {
        let mut analysis = Analysis::new(Settings::default());
        for name in ["a\\\\032b.example.", "a,b.example.", "."] {
            assert_eq!(analysis.event(&of(name, "t"), now()), Ok(None), "{name}");
        }
    }

    #[test]
    fn strict_decoding_discards_what_the_schema_lets_pass() {
        let mut analysis = Analysis::new(Settings::default());
        let mut check = |payload: &str, discarded: bool| {
            assert_eq!(analysis.event(&event(payload, "t"), now()).is_err(), discarded, "{payload}")
        };
        check(r#"{"type":"new_qname","version":0,"qname":"a.example."}"#, false);
        check(r#"{"type":"new_qname","version":0.0,"qname":"b.example."}"#, true);
        check(r#"{"type":"new_qname","version":0,"qname":"c.example.","client":"192.0.2.1"}"#, true);
        check(r#"{"type":"new_qname","version":0,"qname":"d.example.","timestamp":"2026-11-21 00:24:17"}"#, true);
        check(
            r#"{"type":"new_qname","version":0,"qname":"e.example.","initiator":"client","rdlength":1,"message_id":"x"}"#,
            false,
        );
    }

    #[test]
    fn ticker_names_carry_the_time() {
        let mut analysis = Analysis::new(Settings::default());
        assert_eq!(analysis.tick(now()), observed("epoch-1795220657.ticker.looptest.dnstapir.se", 67, LOOPTEST));
    }
}
