//! The decision for one frame: does it make an event?
//!
//! Pure: the frame, what is in force and what was seen go in, a verdict comes out.
//!
//! # Limitations
//! * A name that spells the address of one client is withheld from its first question by that client on. Where another client
//!   asked for it *before*, an event was made already: nothing in that question tells whose address the name holds. After the
//!   mark is forgotten (restart, full store) the order counts anew.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use strum::{EnumIter, IntoStaticStr};
use tapir_wire::dawg::DomainSet;
use tapir_wire::event::NewQname;

use crate::dns::{Message, Question};
use crate::dnstap::{CountedTypes, DnstapError, Response};
use crate::privacy;
use crate::seen::SeenNames;

/// Below this zone every name may make an event, list or no list: it is how operators test the loop through Core.
const LOOPTEST: [&[u8]; 3] = [b"looptest", b"dnstapir", b"se"];

/// What decides beside the frame itself.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// A configuration is in force, and it does not forbid to send.
    pub sending: bool,
    /// Well-known domains. Without a list only looptest names make events: every other name would look new.
    pub well_known: Option<Arc<DomainSet>>,
}

/// Why a frame makes no event. Label of the metric `tapir_edm_frames_without_event_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Reason {
    /// Not dnstap.
    Undecodable,
    /// dnstap without a message.
    NoMessage,
    /// Not a client's response.
    TypeNotCounted,
    /// The DNS message is broken.
    BadDns,
    /// The DNS message asks nothing.
    NoQuestion,
    /// Sending is switched off, or no configuration is there yet.
    NotSending,
    /// A well-known domain.
    WellKnown,
    /// No list of well-known domains, and not a looptest name.
    NoList,
    /// In a reverse zone or another zone that says something about the site only.
    SpecialUse,
    /// The name spells the asking client's address.
    ClientAddress,
    /// Reported before.
    Seen,
}

/// What to do with a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing more.
    NoEvent(Reason),
    /// The name spells its asker's address: no event, and the name has to be marked as seen under `key`, so that it makes none
    /// when somebody else asks for it either.
    Withheld {
        /// Lower-case name.
        key: String,
    },
    /// An event; its name has to be marked as seen under `key` once the event is queued.
    Event {
        /// The event.
        event: NewQname,
        /// Lower-case name.
        key: String,
    },
}

/// Decides about the payload of a data frame.
#[must_use]
pub fn judge(frame: Bytes, view: &View, seen: &SeenNames) -> Verdict {
    match verdict(frame, view, seen) {
        Ok(verdict) => verdict,
        Err(reason) => Verdict::NoEvent(reason),
    }
}

fn verdict(frame: Bytes, view: &View, seen: &SeenNames) -> Result<Verdict, Reason> {
    let response = Response::parse(frame, CountedTypes::default())?;
    let message = Message::parse(&response.message).map_err(|_| Reason::BadDns)?;
    let question = message.question.ok_or(Reason::NoQuestion)?;
    if !view.sending {
        return Err(Reason::NotSending);
    }
    let qname = question.name.presentation();
    let key = qname.to_ascii_lowercase();
    worth_reporting(&question, &key, view)?;
    if seen.contains(&key) {
        return Err(Reason::Seen);
    }
    if response.client.is_some_and(|client| privacy::embeds(question.name.labels(), client)) {
        return Ok(Verdict::Withheld { key });
    }
    let event = NewQname {
        flags: message.flags,
        qclass: question.class,
        qname,
        qtype: question.question_type,
        // Upstream's value for a sender that tells no time.
        timestamp: response.time.unwrap_or(Timestamp::UNIX_EPOCH),
    };
    Ok(Verdict::Event { event, key })
}

fn worth_reporting(question: &Question, key: &str, view: &View) -> Result<(), Reason> {
    match &view.well_known {
        Some(list) if list.lookup(key).is_some() => return Err(Reason::WellKnown),
        None if !is_looptest(question) => return Err(Reason::NoList),
        _ => {}
    }
    if privacy::is_special_use(question.name.labels()) { Err(Reason::SpecialUse) } else { Ok(()) }
}

fn is_looptest(question: &Question) -> bool {
    let labels: Vec<&[u8]> = question.name.labels().collect();
    labels.len() > LOOPTEST.len()
        && labels[labels.len() - LOOPTEST.len()..]
            .iter()
            .zip(LOOPTEST)
            .all(|(label, expected)| label.eq_ignore_ascii_case(expected))
}

impl From<DnstapError> for Reason {
    fn from(error: DnstapError) -> Self {
        match error {
            DnstapError::Undecodable => Self::Undecodable,
            DnstapError::NoMessage => Self::NoMessage,
            DnstapError::TypeNotCounted => Self::TypeNotCounted,
        }
    }
}

#[cfg(test)]
mod tests {
    use tapir_wire::dawg::Dawg;

    use super::*;
    use crate::dnstap::tests::client_response;
    use crate::vectors;

    fn list(words: &[&str]) -> Option<Arc<DomainSet>> {
        let mut words: Vec<&str> = words.to_vec();
        words.sort_unstable();
        let file = tapir_wire::dawg::compile(words).unwrap();
        Some(Arc::new(DomainSet::new(Dawg::from_bytes(file).unwrap())))
    }

    fn open() -> View {
        View { sending: true, well_known: list(&["example.com.", ".example.net."]) }
    }

    fn question(name: &str) -> Vec<u8> {
        let mut message = vec![0x12, 0x34, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.').filter(|label| !label.is_empty()) {
            message.push(u8::try_from(label.len()).unwrap());
            message.extend_from_slice(label.as_bytes());
        }
        message.extend_from_slice(&[0, 0, 1, 0, 1]);
        message
    }

    fn reason(name: &str, client: &str, view: &View) -> Option<Reason> {
        let frame = client_response(Some(client.parse().unwrap()), &question(name));
        match judge(frame, view, &SeenNames::new(10)) {
            Verdict::NoEvent(reason) => Some(reason),
            Verdict::Withheld { .. } => Some(Reason::ClientAddress),
            Verdict::Event { .. } => None,
        }
    }

    #[test]
    fn recorded_messages_make_the_recorded_events() {
        let vector = vectors::load("dns_messages.json");
        let view = View { sending: true, well_known: list(&["no.such.name."]) };
        let mut events = 0;
        for entry in vector["vectors"].as_array().unwrap() {
            let message = vectors::octets(&entry["message_hex"]);
            let verdict = judge(client_response(None, &message), &view, &SeenNames::new(10));
            match (&entry["new_qname_json"], verdict) {
                (serde_json::Value::String(expected), Verdict::Event { event, key }) => {
                    assert_eq!(event.to_json(), *expected, "{}", entry["desc"]);
                    assert_eq!(key, event.qname.to_lowercase());
                    events += 1;
                }
                (serde_json::Value::Null, Verdict::NoEvent(reason)) => {
                    let expected = if entry["unpack_ok"] == true { Reason::NoQuestion } else { Reason::BadDns };
                    assert_eq!(reason, expected, "{}", entry["desc"]);
                }
                (expected, verdict) => panic!("{}: {expected} {verdict:?}", entry["desc"]),
            }
        }
        assert!(events > 15);
    }

    #[test]
    fn well_known_names_make_no_event() {
        let check = |name, expected| assert_eq!(reason(name, "192.0.2.1", &open()), expected, "{name}");
        check("EXAMPLE.com", Some(Reason::WellKnown));
        check("www.example.net", Some(Reason::WellKnown));
        check("www.example.com", None);
        check("example.net", None);
    }

    #[test]
    fn without_a_list_only_looptest_names_make_events() {
        let view = View { sending: true, well_known: None };
        let check = |name, expected| assert_eq!(reason(name, "192.0.2.1", &view), expected, "{name}");
        check("x.from-edge.LOOPTEST.dnstapir.se", None);
        check("x.looptest.dnstapir.se", None);
        check("looptest.dnstapir.se", Some(Reason::NoList));
        check("xlooptest.dnstapir.se", Some(Reason::NoList));
        check("www.example.com", Some(Reason::NoList));
    }

    #[test]
    fn private_names_make_no_event() {
        let check = |name, client, expected| assert_eq!(reason(name, client, &open()), expected, "{name}");
        check("1.2.0.192.in-addr.arpa", "192.0.2.9", Some(Reason::SpecialUse));
        check("nas.local", "192.0.2.9", Some(Reason::SpecialUse));
        check("h-192-0-2-9.example", "192.0.2.9", Some(Reason::ClientAddress));
        check("h-192-0-2-9.example", "192.0.2.8", None);
    }

    #[test]
    fn a_withheld_name_is_withheld_from_everybody() {
        let mut seen = SeenNames::new(10);
        let asked = |name, client: &str| client_response(Some(client.parse().unwrap()), &question(name));
        let Verdict::Withheld { key } = judge(asked("H-192-0-2-9.example", "192.0.2.9"), &open(), &seen) else {
            panic!("not withheld")
        };
        seen.mark(&key);
        assert_eq!(judge(asked("h-192-0-2-9.example", "192.0.2.8"), &open(), &seen), Verdict::NoEvent(Reason::Seen));
    }

    #[test]
    fn nothing_is_reported_while_sending_is_off() {
        let view = View { sending: false, ..open() };
        assert_eq!(reason("www.example.com", "192.0.2.1", &view), Some(Reason::NotSending));
    }

    #[test]
    fn seen_names_are_compared_without_case() {
        let mut seen = SeenNames::new(10);
        let frame = || client_response(None, &question("WWW.example.com"));
        let Verdict::Event { key, .. } = judge(frame(), &open(), &seen) else { panic!("no event") };
        seen.mark(&key);
        assert_eq!(judge(frame(), &open(), &seen), Verdict::NoEvent(Reason::Seen));
        assert_eq!(judge(client_response(None, &question("www.example.COM")), &open(), &seen), Verdict::NoEvent(Reason::Seen));
    }
}
