//! From what is seen to events: each once, with an identifier.

use std::collections::BTreeMap;

use aws_lc_rs::rand;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use tapir_wire::status::EventStatus;

use super::parts::{CERTIFICATE, Parts, State};

/// What is remembered of a part.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    pub(crate) state: State,
    pub(crate) message: String,
    /// Since it was last well.
    pub(crate) failures: u64,
    pub(crate) warnings: u64,
    pub(crate) last_failure: Option<Timestamp>,
    pub(crate) last_warning: Option<Timestamp>,
    pub(crate) last_success: Option<Timestamp>,
}

/// What was seen so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    pub(crate) rows: BTreeMap<&'static str, Row>,
    pub(crate) failures: u64,
    pub(crate) last_failure: Option<Timestamp>,
}

impl Watch {
    /// Events that follow from what is seen now: parts that are worse than they were, or badly off in another way than before. `node` is who has the
    /// certificate.
    pub(crate) fn look(&mut self, parts: &Parts, node: &str, now: Timestamp) -> Vec<EventStatus> {
        let mut events = Vec::new();
        for (&part, (state, message)) in parts {
            let row = self.rows.entry(part).or_default();
            let worse = *state > row.state || (*state == row.state && *state != State::Ok && *message != row.message);
            (row.state, row.message) = (*state, message.clone());
            match state {
                State::Ok => {
                    (row.failures, row.warnings) = (0, 0);
                    row.last_success = Some(now);
                }
                State::Warn if worse => (row.warnings, row.last_warning) = (row.warnings + 1, Some(now)),
                State::Fail if worse => {
                    (row.failures, row.last_failure) = (row.failures + 1, Some(now));
                    (self.failures, self.last_failure) = (self.failures + 1, Some(now));
                }
                State::Warn | State::Fail => {}
            }
            if worse {
                events.push(raise(part, *state, message, node, now));
            }
        }
        events
    }
}

/// Writes it to the log, under the identifier that it has everywhere.
fn raise(component: &'static str, state: State, message: &str, node: &str, time: Timestamp) -> EventStatus {
    // One renewal that did not happen is one event, however often this POP is started meanwhile. Its text has serial and time in it.
    let id = if component == CERTIFICATE { identifier_of(&[node, component, message]) } else { identifier() };
    match state {
        State::Fail => tracing::error!(event = id, component, "{message}"),
        State::Ok | State::Warn => tracing::warn!(event = id, component, "{message}"),
    }
    EventStatus { id, time, component: component.to_owned(), message: message.to_owned() }
}

/// A random UUID (RFC 9562 section 5.4).
fn identifier() -> String {
    let mut octets = [0_u8; 16];
    // Without random numbers the time would have to do; it tells apart what one POP says.
    if rand::fill(&mut octets).is_err() {
        octets = Timestamp::now().as_nanosecond().to_be_bytes();
    }
    uuid(octets, 4)
}

/// The one UUID of these words (RFC 9562 section 5.8: of SHA-256).
fn identifier_of(words: &[&str]) -> String {
    let mut hash = Sha256::new();
    for word in words {
        hash.update(word);
        hash.update([0]);
    }
    uuid(hash.finalize().first_chunk().copied().unwrap_or_default(), 8)
}

fn uuid(octets: [u8; 16], version: u128) -> String {
    let number = (u128::from_be_bytes(octets) & !(0xf << 76) & !(0x3 << 62)) | (version << 76) | (2 << 62);
    let hex = format!("{number:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::SignedDuration;
    use tapir_wire::node::Renewal;
    use tapir_wire::status::IdentityStatus;

    use super::super::parts::{Seen, parts};
    use super::*;
    use crate::status::{Telemetry, Trouble};

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_second(1_795_219_200).unwrap() + SignedDuration::from_mins(minutes)
    }

    fn renewed(serial: &str) -> IdentityStatus {
        IdentityStatus { node: "edge.example".to_owned(), certificate_serial: serial.to_owned(), not_after: at(100) }
    }

    /// What is said when this is looked at.
    fn look(watch: &mut Watch, identity: IdentityStatus, renewal: Option<Renewal>, now: Timestamp) -> Vec<String> {
        let telemetry = Telemetry::new(None, None);
        telemetry.identity_read(Some(identity), None);
        let document = telemetry.document();
        let seen = Seen {
            document: &document,
            core_sources: &[],
            at_fault: &BTreeMap::new(),
            troubles: &BTreeMap::new(),
            renewal,
            gave_up: false,
            now,
        };
        watch
            .look(&parts(&seen), "edge.example", now)
            .into_iter()
            .map(|event| format!("{}: {}", event.component, event.message))
            .collect()
    }

    /// A process that is started anew knows nothing of the one before.
    #[test]
    fn one_renewal_that_did_not_happen_has_one_identifier_in_each_process() {
        let late = |serial: &str, hour: u32| format!("certificate {serial} should have been renewed by 2026-11-21T{hour}:00:00Z");
        let id = |component, node, message: String| {
            let seen = Parts::from([(component, (State::Warn, message))]);
            Watch::default().look(&seen, node, at(1)).remove(0).id
        };
        let first = id("cert-status", "edge.example", late("1", 10));
        assert_eq!((id("cert-status", "edge.example", late("1", 10)), first.len(), &first[14..15]), (first.clone(), 36, "8"));
        assert!("89ab".contains(&first[19..20]), "{first}");
        let others = [("other.example", "1", 10), ("edge.example", "2", 10), ("edge.example", "1", 11)];
        assert!(others.iter().all(|(node, serial, hour)| id("cert-status", node, late(serial, *hour)) != first));
        assert_ne!(id("rpz", "edge.example", late("1", 10)), id("rpz", "edge.example", late("1", 10)));
    }

    #[test]
    fn the_renewal_that_did_not_happen_is_told_once_and_again_for_the_next_certificate() {
        let (mut watch, renewal) = (Watch::default(), Some(Renewal { due: at(60), overdue: at(80) }));
        assert!(look(&mut watch, renewed("1"), renewal, at(79)).is_empty());
        let told = look(&mut watch, renewed("1"), renewal, at(80));
        assert!(told.len() == 1 && told[0].starts_with("cert-status: certificate 1 should have been renewed by"), "{told:?}");
        assert!(look(&mut watch, renewed("1"), renewal, at(81)).is_empty());
        // Its end is worse.
        assert!(look(&mut watch, renewed("1"), renewal, at(100))[0].starts_with("cert-status: certificate 1 ended at"));
        assert_eq!((watch.rows["cert-status"].failures, watch.rows["cert-status"].warnings), (1, 1));
        let next = IdentityStatus { not_after: at(200), ..renewed("2") };
        let later = Some(Renewal { due: at(160), overdue: at(180) });
        assert!(look(&mut watch, next.clone(), later, at(101)).is_empty());
        assert_eq!(watch.rows["cert-status"].failures, 0);
        assert_eq!(look(&mut watch, next, later, at(181)).len(), 1);
        // Where nobody says when: a week before the end.
        let mut alone = Watch::default();
        assert_eq!(look(&mut alone, renewed("1"), None, at(1)).len(), 1);
    }

    #[test]
    fn identifiers_are_uuids_and_differ() {
        let (one, other) = (identifier(), identifier());
        assert_ne!(one, other);
        let parts: Vec<_> = one.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12], "{one}");
        assert_eq!(&one[14..15], "4", "{one}");
        assert!("89ab".contains(&one[19..20]), "{one}");
    }

    #[test]
    fn what_is_wrong_is_told_without_paths_and_addresses() {
        let telemetry = Telemetry::new(None, None);
        let document = telemetry.document();
        let troubles = BTreeMap::from([
            (Trouble::Unserved, "access: keys/x is missing".to_owned()),
            (Trouble::Listen, "cannot bind the address of the zone, 192.0.2.1:53".to_owned()),
        ]);
        let seen = Seen {
            document: &document,
            core_sources: &[],
            at_fault: &BTreeMap::new(),
            troubles: &troubles,
            renewal: None,
            gave_up: true,
            now: at(0),
        };
        let mut watch = Watch::default();
        let told: Vec<_> = watch.look(&parts(&seen), "edge.example", at(0)).into_iter().map(|event| event.message).collect();
        assert_eq!(told, ["a resolver does not acknowledge what it is told", "the zone is not served at one of its addresses"]);
        assert_eq!((watch.failures, watch.rows["rpz"].state), (1, State::Fail));
    }
}
