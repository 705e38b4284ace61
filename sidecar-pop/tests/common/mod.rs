//! Building blocks of the tests.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::sync::Arc;

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name as WireName, RData, RecordType};
use tapir_pop::dns::answer::{Answer, Transport, answer};
use tapir_pop::names::ZoneName;
use tapir_pop::policy::Rule;
use tapir_pop::zone::{Content, Serial, Snapshot, target};
use tapir_wire::config::pop::Action;
use tapir_wire::name::Name;

pub(crate) const ACTIONS: [Action; 5] = [Action::Passthru, Action::TcpOnly, Action::Nodata, Action::Nxdomain, Action::Drop];

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

pub(crate) fn zone() -> ZoneName {
    ZoneName::new(name("dnstapir.")).unwrap()
}

pub(crate) fn rule(any_tags: Option<u32>, min_sources: Option<u32>, action: Action) -> Rule {
    Rule { name: String::new(), any_tags, all_tags: None, min_tags: None, min_sources, action }
}

pub(crate) fn snapshot(serial: u32, records: impl IntoIterator<Item = (Name, Action)>) -> Arc<Snapshot> {
    Arc::new(Snapshot { serial: Serial(serial), content: Content { zone: zone(), records: records.into_iter().collect() } })
}

pub(crate) fn request(qname: &str, kind: RecordType) -> Message {
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(WireName::from_ascii(qname).unwrap(), kind));
    message
}

/// The answer as one or several messages, still encoded.
pub(crate) fn ask(request: &[u8], transport: Transport, snapshot: &Arc<Snapshot>, limit: usize) -> Vec<Vec<u8>> {
    match answer(request, transport, Some(snapshot)) {
        Answer::None => Vec::new(),
        Answer::Message(message) => vec![message],
        Answer::Transfer(transfer) => transfer.messages(limit).collect(),
    }
}

/// Reads a transfer with another implementation of DNS messages than the one that wrote it.
pub(crate) fn decode_transfer(messages: &[Vec<u8>]) -> (u32, BTreeMap<Name, Action>) {
    let records: Vec<_> = messages.iter().flat_map(|message| Message::from_vec(message).unwrap().answers).collect();
    let serial = |at: Option<&hickory_proto::rr::Record>| match at.map(|record| &record.data) {
        Some(RData::SOA(soa)) => soa.serial,
        other => panic!("a transfer begins and ends with the SOA, not {other:?}"),
    };
    assert_eq!(serial(records.first()), serial(records.last()));
    let mut owners = BTreeMap::new();
    for record in &records[1..records.len() - 1] {
        match &record.data {
            RData::CNAME(cname) => {
                let owner = record.name.to_ascii();
                let owner = owner.strip_suffix("dnstapir.").unwrap();
                let text = cname.0.to_ascii();
                let action = ACTIONS.into_iter().find(|action| target(*action) == text).unwrap();
                assert!(owners.insert(name(owner), action).is_none(), "one record an owner");
            }
            RData::NS(_) => {}
            other => panic!("{other:?} in the zone"),
        }
    }
    (serial(records.first()), owners)
}
