//! The decision for one candidate, on the thread of its connection.

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::registry::Registry;
use tapir_wire::event::NewQname;

use super::publisher::{Broker, Publisher};
use super::{Candidate, Counters, Outcome, Settings};
use crate::decode::Time;
use crate::memory::Budget;
use crate::names::{Presentation, WireName};
use crate::privacy;
use crate::queue::{EventQueue, Pushed, Queued};
use crate::seen::SeenNames;

/// Below this zone every name may make an event, list or no list: it is how operators test the loop through Core.
const LOOPTEST: [&[u8]; 3] = [b"looptest", b"dnstapir", b"se"];

/// Where candidates are offered. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Events {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    queue: Arc<EventQueue>,
    counters: Counters,
}

#[derive(Debug)]
struct State {
    settings: Settings,
    seen: SeenNames,
    text: Presentation,
}

/// What is held at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Events that wait, those on their way included.
    pub events: u64,
    /// Names remembered as seen.
    pub seen_names: u64,
}

impl Events {
    /// With what is kept in `folder`. Nothing that is wrong there ends the process; it is told, and events go on without.
    #[must_use]
    pub fn open(folder: &Path, settings: Settings, budget: &Arc<Budget>) -> Self {
        let _ = (folder, budget);
        let state =
            State { seen: SeenNames::new(settings.seen_names), settings: Settings::default(), text: Presentation::default() };
        let inner = Inner { state: Mutex::new(state), queue: Arc::new(EventQueue::new(1)), counters: Counters::default() };
        let events = Self { inner: Arc::new(inner) };
        events.configure(settings);
        events
    }

    /// Decides, and counts what was decided. Never waits for disk or network.
    pub fn offer(&self, candidate: &Candidate<'_>) -> Outcome {
        let outcome = self.decide(candidate);
        self.inner.counters.count(outcome, 1);
        outcome
    }

    /// Takes other settings into force. Events of somebody who must not send any more are forgotten.
    pub fn configure(&self, settings: Settings) {
        let mut state = self.state();
        let (queue, counters) = (&self.inner.queue, &self.inner.counters);
        if settings.sending {
            counters.displaced.inc_by(queue.open(settings.waiting_events) as u64);
        } else {
            counters.disabled.inc_by(queue.close() as u64);
        }
        state.seen.set_capacity(settings.seen_names);
        state.settings = settings;
    }

    /// The way out, for one task.
    #[must_use]
    pub fn publisher(&self, broker: Broker) -> Publisher {
        Publisher { queue: Arc::clone(&self.inner.queue), counters: self.inner.counters.clone(), broker }
    }

    /// What is held at this moment.
    #[must_use]
    pub fn held(&self) -> Held {
        Held { events: self.inner.queue.len() as u64, seen_names: self.state().seen.len() as u64 }
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.inner.counters
    }

    /// Registers everything that is counted.
    pub fn register(&self, registry: &mut Registry) {
        self.inner.counters.register(registry);
    }

    /// The end: what is not on disk yet is brought there. False when the disk did not take it in time.
    #[must_use]
    pub fn finish(&self, patience: Duration) -> bool {
        let _ = patience;
        true
    }

    fn decide(&self, candidate: &Candidate<'_>) -> Outcome {
        let mut state = self.state();
        let State { settings, seen, text } = &mut *state;
        if !settings.sending {
            return Outcome::NotSending;
        }
        if !candidate.has_list && !is_looptest(candidate.key.name()) {
            return Outcome::NoList;
        }
        if privacy::is_special_use(candidate.name.labels()) {
            return Outcome::SpecialUse;
        }
        for key in self.inner.queue.take_forgotten() {
            seen.unmark(&key);
        }
        let key = text.read(candidate.key.name()).to_owned();
        if seen.contains(&key) {
            return Outcome::Seen;
        }
        let counters = &self.inner.counters;
        if client_ip(candidate.client).is_some_and(|client| privacy::embeds(candidate.name.labels(), client)) {
            counters.seen_forgotten.inc_by(seen.mark(&key) as u64);
            return Outcome::ClientAddress;
        }
        let event = NewQname {
            flags: candidate.flags,
            qclass: candidate.qclass,
            qname: text.read(candidate.name).to_owned(),
            qtype: candidate.qtype,
            timestamp: candidate.time.and_then(Time::timestamp).unwrap_or(Timestamp::UNIX_EPOCH),
        };
        let pushed = self.inner.queue.push(Queued { event, key: key.clone() });
        if pushed == Pushed::Closed {
            return Outcome::NotSending;
        }
        counters.seen_forgotten.inc_by(seen.mark(&key) as u64);
        if let Pushed::Displaced(lost) = pushed {
            seen.unmark(&lost.key);
            counters.displaced.inc();
        }
        counters.seen_names.set(i64::try_from(seen.len()).unwrap_or(i64::MAX));
        Outcome::Queued
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn client_ip(octets: &[u8]) -> Option<IpAddr> {
    match *octets {
        [a, b, c, d] => Some(IpAddr::from([a, b, c, d])),
        _ => <[u8; 16]>::try_from(octets).ok().map(IpAddr::from),
    }
}

/// The key is one of a name below the zone.
fn is_looptest(key: WireName<'_>) -> bool {
    let above = key.label_count().saturating_sub(LOOPTEST.len());
    above > 0 && key.labels().skip(above).eq(LOOPTEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Query, Room};
    use crate::names::Key;
    use crate::vectors;

    fn events() -> Events {
        let folder = tempfile::tempdir().unwrap();
        Events::open(folder.path(), Settings { sending: true, ..Settings::default() }, &Budget::new(1 << 20))
    }

    fn wire(name: &str) -> Vec<u8> {
        let mut wire = Vec::new();
        for label in name.split('.').filter(|label| !label.is_empty()) {
            wire.push(u8::try_from(label.len()).unwrap());
            wire.extend_from_slice(label.as_bytes());
        }
        wire.push(0);
        wire
    }

    fn offer(events: &Events, name: &str, client: &str, has_list: bool) -> Outcome {
        let (wire, mut key) = (wire(name), Key::default());
        let name = WireName::from_octets(&wire).unwrap();
        key.read(name);
        let client: IpAddr = client.parse().unwrap();
        let octets = match client {
            IpAddr::V4(client) => client.octets().to_vec(),
            IpAddr::V6(client) => client.octets().to_vec(),
        };
        events.offer(&Candidate { name, key: &key, qtype: 1, qclass: 1, flags: 0x8180, time: None, client: &octets, has_list })
    }

    #[test]
    fn recorded_messages_make_the_recorded_events() {
        let vector = vectors::load("dns_messages.json");
        let (mut made, asked) = (0, "2026-05-28T12:13:14Z".parse::<Timestamp>().unwrap());
        for entry in vector["vectors"].as_array().unwrap() {
            let (message, mut room, mut key) = (vectors::octets(&entry["message_hex"]), Room::default(), Key::default());
            let Some(question) = Query::read(&message, &mut room).ok().and_then(|query| Some((query.question?, query.flags)))
            else {
                assert_eq!(entry["new_qname_json"], serde_json::Value::Null, "{}", entry["desc"]);
                continue;
            };
            let (question, flags) = question;
            key.read(question.name);
            let events = events();
            let candidate = Candidate {
                name: question.name,
                key: &key,
                qtype: question.question_type,
                qclass: question.class,
                flags,
                time: Some(Time { seconds: asked.as_second(), nanoseconds: 15 }),
                client: &[],
                has_list: true,
            };
            assert_eq!(events.offer(&candidate), Outcome::Queued, "{}", entry["desc"]);
            let (_, event) = events.inner.queue.take().unwrap();
            assert_eq!(event.to_json(), entry["new_qname_json"].as_str().unwrap(), "{}", entry["desc"]);
            made += 1;
        }
        assert!(made > 15);
    }

    #[test]
    fn without_a_list_only_looptest_names_make_events() {
        let events = events();
        let check = |name, expected| assert_eq!(offer(&events, name, "192.0.2.1", false), expected, "{name}");
        check("x.from-edge.LOOPTEST.dnstapir.se", Outcome::Queued);
        check("x.looptest.dnstapir.se", Outcome::Queued);
        check("looptest.dnstapir.se", Outcome::NoList);
        check("xlooptest.dnstapir.se", Outcome::NoList);
        check("www.example.com", Outcome::NoList);
    }

    #[test]
    fn private_names_make_no_event() {
        let events = events();
        let check = |name, client, expected| assert_eq!(offer(&events, name, client, true), expected, "{name}");
        check("1.2.0.192.in-addr.arpa", "192.0.2.9", Outcome::SpecialUse);
        check("nas.local", "192.0.2.9", Outcome::SpecialUse);
        check("H-192-0-2-9.example", "192.0.2.9", Outcome::ClientAddress);
        check("h-192-0-2-9.example", "192.0.2.8", Outcome::Seen);
        check("h-192-0-2-9.example.org", "192.0.2.8", Outcome::Queued);
        check("h-192-0-2-9.example.net", "::ffff:192.0.2.9", Outcome::ClientAddress);
    }

    #[test]
    fn a_name_makes_one_event_whatever_its_case() {
        let events = events();
        assert_eq!(offer(&events, "WWW.example.com", "192.0.2.1", true), Outcome::Queued);
        assert_eq!(offer(&events, "www.example.COM", "192.0.2.1", true), Outcome::Seen);
        assert_eq!(events.held(), Held { events: 1, seen_names: 1 });
        assert_eq!(events.counters().counted(Outcome::Seen), 1);
    }

    #[test]
    fn whoever_must_not_send_forgets() {
        let events = events();
        offer(&events, "www.example.com", "192.0.2.1", true);
        events.configure(Settings::default());
        assert_eq!((events.held().events, events.counters().disabled.get()), (0, 1));
        assert_eq!(offer(&events, "www.example.com", "192.0.2.1", true), Outcome::NotSending);
        events.configure(Settings { sending: true, ..Settings::default() });
        assert_eq!(offer(&events, "www.example.com", "192.0.2.1", true), Outcome::Queued);
    }
}
