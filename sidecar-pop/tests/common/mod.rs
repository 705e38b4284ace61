//! Building blocks of the tests.
#![allow(dead_code, reason = "each test file uses its part")]

#[allow(clippy::duplicate_mod, reason = "some tests have it by itself")]
mod versions;

use std::collections::BTreeMap;
use std::sync::Arc;

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name as HickoryName, RData, RecordType};
use tapir_pop::dns::answer::{Answer, Transport, answer};
use tapir_pop::dns::records::WireName;
use tapir_pop::dns::zone::Apex;
use tapir_pop::names::ZoneName;
use tapir_pop::policy::{Action, Rule};
use tapir_pop::state::zone_log::Past;
use tapir_pop::zone::known::code;
use tapir_pop::zone::layers::Layers;
use tapir_pop::zone::tally::Tally;
use tapir_pop::zone::{LocalData, LocalIndex, Serial, Size, Snapshot};
use tapir_table::{Codes, KeyBuf, Palette, TableFile, TableWriter};
use tapir_wire::config::pop::PopConfig;
use tapir_wire::name::Name;
pub(crate) use versions::messages;

/// With an alias and with addresses.
pub(crate) const ACTIONS: [Action; 7] = [
    Action::Passthru,
    Action::TcpOnly,
    Action::Local(LocalIndex(0)),
    Action::Local(LocalIndex(1)),
    Action::Nodata,
    Action::Nxdomain,
    Action::Drop,
];

/// What the redirects among [`ACTIONS`] answer with.
pub(crate) fn locals() -> Arc<[LocalData]> {
    let addresses = ["192.0.2.1", "192.0.2.2", "2001:db8::1"].map(|address| address.parse().unwrap());
    Arc::new([LocalData::Name(name("garden.example")), LocalData::Addresses(addresses.to_vec())])
}

/// The records of an action as text.
fn texts(action: Action) -> Vec<String> {
    let texts: &[&str] = match action {
        Action::Passthru => &["rpz-passthru."],
        Action::TcpOnly => &["rpz-tcp-only."],
        Action::Local(LocalIndex(0)) => &["garden.example."],
        Action::Local(_) => &["192.0.2.1", "192.0.2.2", "2001:db8::1"],
        Action::Nodata => &["*."],
        Action::Nxdomain => &["."],
        Action::Drop => &["rpz-drop."],
    };
    texts.iter().map(|text| (*text).to_owned()).collect()
}

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
    snapshot_with(serial, records, PopConfig::RECORD_TTL_SECONDS)
}

pub(crate) fn snapshot_with(serial: u32, records: impl IntoIterator<Item = (Name, Action)>, record_ttl: u32) -> Arc<Snapshot> {
    let mut nodes: BTreeMap<KeyBuf, Codes> = BTreeMap::new();
    for (owner, action) in records {
        let wire = owner.to_wire();
        let (wire, below) = wire.strip_prefix(b"\x01*").map_or((wire.as_slice(), false), |parent| (parent, true));
        let codes = nodes.entry(KeyBuf::from_wire(wire, 254).unwrap()).or_default();
        *(if below { &mut codes.below } else { &mut codes.own }) = code(action);
    }
    let mut palette = Palette::default();
    for local in locals().iter() {
        palette.intern(local.records().unwrap()).unwrap();
    }
    let mut writer = TableWriter::new(Vec::new()).unwrap();
    nodes.iter().for_each(|(key, codes)| writer.push(key, *codes).unwrap());
    let table = TableFile::from_memory(writer.finish(serial, &palette).unwrap().0).unwrap();
    let layers = Layers::new(Arc::new(table));
    let size = Size::of(&layers.base, Tally::of(&layers.base).unwrap());
    let apex = Apex::new(WireName::from(zone().name()), record_ttl);
    Arc::new(Snapshot::new(Serial(serial), Arc::new(apex), Arc::new(palette), (layers, size), Past::default()))
}

pub(crate) fn request(qname: &str, kind: RecordType) -> Message {
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(HickoryName::from_ascii(qname).unwrap(), kind));
    message
}

/// The answer as one or several messages, still encoded.
pub(crate) fn ask(request: &[u8], transport: Transport, snapshot: &Arc<Snapshot>) -> Vec<Vec<u8>> {
    match answer(request, transport, Some(snapshot)) {
        Answer::None => Vec::new(),
        Answer::Message(message) => vec![message],
        Answer::Transfer(transfer) => {
            let mut outgoing = transfer.begin(None).unwrap();
            messages(|window| outgoing.fill(window).unwrap())
        }
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
    let mut owners: BTreeMap<Name, Vec<String>> = BTreeMap::new();
    for record in &records[1..records.len() - 1] {
        let text = match &record.data {
            RData::CNAME(cname) => cname.0.to_ascii(),
            RData::A(address) => address.to_string(),
            RData::AAAA(address) => address.to_string(),
            RData::NS(_) => continue,
            other => panic!("{other:?} in the zone"),
        };
        assert_eq!(record.ttl, PopConfig::RECORD_TTL_SECONDS);
        let owner = record.name.to_ascii();
        owners.entry(name(owner.strip_suffix("dnstapir.").unwrap())).or_default().push(text);
    }
    // All records of one owner are those of one action.
    let action = |found: &Vec<String>| ACTIONS.into_iter().find(|action| texts(*action) == *found).unwrap();
    (serial(records.first()), owners.iter().map(|(owner, found)| (owner.clone(), action(found))).collect())
}
