//! From what is seen to events: each once, with an identifier.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use tapir_wire::status::EventStatus;

use super::{CERTIFICATE, Parts, State};

/// What is remembered of a part.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// How it is.
    pub state: State,
    /// What there is to say.
    pub message: String,
    /// Since it was last well.
    pub failures: u64,
    /// Likewise.
    pub warnings: u64,
    /// When it failed last.
    pub last_failure: Option<Timestamp>,
    /// When it was warned of last.
    pub last_warning: Option<Timestamp>,
    /// When it was last seen well.
    pub last_success: Option<Timestamp>,
}

/// What was seen so far.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    /// Each part.
    pub rows: BTreeMap<&'static str, Row>,
    /// Of all parts.
    pub failures: u64,
    /// The last of them.
    pub last_failure: Option<Timestamp>,
}

impl Watch {
    /// Events that follow from what is seen now: parts that are worse than they were, or badly off in another way than before. `node` is who has the
    /// certificate.
    pub fn look(&mut self, parts: &Parts, node: &str, now: Timestamp) -> Vec<EventStatus> {
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
    // One renewal that did not happen is one event, however often the program is started meanwhile. Its text has serial and time in it.
    let id = if component == CERTIFICATE { identifier_of(&[node, component, message]) } else { identifier() };
    match state {
        State::Fail => tracing::error!(event = id, component, "{message}"),
        State::Ok | State::Warn => tracing::warn!(event = id, component, "{message}"),
    }
    EventStatus { id, time, component: component.to_owned(), message: message.to_owned() }
}

/// A random UUID (RFC 9562 section 5.4).
fn identifier() -> String {
    uuid(rand::random(), 4)
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
    use super::*;

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
    fn a_part_that_becomes_worse_is_one_event_and_one_that_stays_as_it_is_none() {
        let (mut watch, now) = (Watch::default(), Timestamp::UNIX_EPOCH);
        let mut look = |state, message: &str| watch.look(&Parts::from([("rpz", (state, message.to_owned()))]), "", now).len();
        let seen = [
            (State::Ok, "", 0),
            (State::Warn, "a", 1),
            (State::Warn, "a", 0),
            (State::Warn, "b", 1),
            (State::Fail, "b", 1),
            (State::Warn, "b", 0),
            (State::Ok, "", 0),
            (State::Fail, "b", 1),
        ];
        for (state, message, events) in seen {
            assert_eq!(look(state, message), events, "{state:?} {message}");
        }
        assert_eq!((watch.failures, watch.rows["rpz"].failures), (2, 1));
    }
}
