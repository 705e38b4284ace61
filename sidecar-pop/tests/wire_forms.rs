//! Whole messages and single records as upstream's policy processor sends or takes them: `tapir-wire/vectors/pop/rpz`.
//!
//! Messages are compared decoded: ours are compressed. Departures, each on purpose:
//! * NOTIFY carries the SOA (`notify-out-recommended`); NOTIFY to us is answered NOTAUTH, since no source is configured that
//!   could be notified of (`notify-in-reply`).
//! * The apex answers for NS, and for types that it does not have with NODATA (`ns-query-answer`).
//! * IXFR of a current client is answered with one SOA (`ixfr-up-to-date-recommended`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::Arc;

use common::{ask, name, request, snapshot};
use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::{RData, RecordType};
use serde_json::Value;
use tapir_pop::dns::answer::{Answer, Transport, answer};
use tapir_pop::policy::Action;
use tapir_pop::zone::{LocalIndex, Snapshot};

fn vectors(file: &str) -> Value {
    let path = format!("{}/../tapir-wire/vectors/pop/rpz/{file}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn recorded(id: &str) -> Vec<u8> {
    let messages = vectors("messages.json");
    let found = messages["messages"].as_array().unwrap().iter().find(|message| message["id"] == id).unwrap().clone();
    hex::decode(found["hex"].as_str().unwrap()).unwrap()
}

fn one(request: &[u8], transport: Transport, snapshot: &Arc<Snapshot>) -> Message {
    let messages = ask(request, transport, snapshot);
    assert_eq!(messages.len(), 1);
    Message::from_vec(&messages[0]).unwrap()
}

fn same_as_recorded(request: &[u8], snapshot: &Arc<Snapshot>, id: &str) {
    for transport in [Transport::Udp, Transport::Tcp] {
        assert_eq!(one(request, transport, snapshot), Message::from_vec(&recorded(id)).unwrap(), "{id}");
    }
}

#[test]
fn answers_are_those_recorded() {
    let zone = snapshot(17, [(name("evil.example."), Action::Nxdomain)]);
    let query = |name: &str, kind| request(name, kind).to_vec().unwrap();
    same_as_recorded(&recorded("soa-query"), &zone, "soa-answer");
    same_as_recorded(&query("evil.example.dnstapir.", RecordType::CNAME), &zone, "cname-query-answer");
    same_as_recorded(&query("evil.example.dnstapir.", RecordType::A), &zone, "a-query-answer");
    same_as_recorded(&query("absent.dnstapir.", RecordType::A), &zone, "nxdomain-answer");
    same_as_recorded(&query("www.example.org.", RecordType::A), &zone, "refused-answer");
}

#[test]
fn transfers_are_those_recorded() {
    let expected = Message::from_vec(&recorded("axfr-empty-zone")).unwrap();
    let axfr = request("dnstapir.", RecordType::AXFR).to_vec().unwrap();
    assert_eq!(one(&axfr, Transport::Tcp, &snapshot(1, [])), expected);

    let ixfr = |serial: u8| {
        let mut bytes = recorded("ixfr-request");
        let at = bytes.len() - 17;
        bytes[at] = serial;
        bytes
    };
    let zone = snapshot(13, []);
    let current = Message::from_vec(&recorded("ixfr-up-to-date-recommended")).unwrap();
    assert_eq!(one(&ixfr(13), Transport::Tcp, &zone), current);
    for (serial, what) in [(12, "behind"), (14, "ahead")] {
        assert_eq!(one(&ixfr(serial), Transport::Tcp, &zone).answers.len(), 4, "the whole zone for a client that is {what}");
        assert_eq!(one(&ixfr(serial), Transport::Udp, &zone).answers.len(), 1, "the SOA over UDP");
    }
}

fn whole(zone: &Arc<Snapshot>) -> Vec<u8> {
    let axfr = request("dnstapir.", RecordType::AXFR).to_vec().unwrap();
    ask(&axfr, Transport::Tcp, zone).remove(0)
}

#[test]
fn records_have_the_recorded_bytes() {
    let encoding = vectors("encoding.json");
    let actions = [("NXDOMAIN", Action::Nxdomain), ("NODATA", Action::Nodata), ("DROP", Action::Drop)];
    for record in encoding["records"].as_array().unwrap() {
        let action = actions.iter().find(|(text, _)| record["action"] == *text).unwrap().1;
        let owner = name(record["name"].as_str().unwrap());
        // A message of its own for each record: the owner's zone part is compressed to where the zone's name stands.
        let wire = hex::decode(record["rr_wire_hex"].as_str().unwrap()).unwrap();
        let message = whole(&snapshot(17, [(owner.clone(), action)]));
        let labels = &owner.to_wire()[..owner.to_wire().len() - 1];
        let tail = &wire[labels.len() + 10..];
        let compressed = [labels, &[0xC0, 12], tail].concat();
        assert!(message.windows(compressed.len()).any(|window| window == compressed), "{record}");
    }
    let soa = hex::decode(encoding["soa"]["rr_wire_hex"].as_str().unwrap()).unwrap();
    let message = whole(&snapshot(17, []));
    assert!(message.windows(soa.len() - 10).any(|window| window == &soa[10..]), "behind the name of the zone");
    for server in encoding["ns"].as_array().unwrap() {
        let wire = hex::decode(server["rr_wire_hex"].as_str().unwrap()).unwrap();
        assert!(message.windows(wire.len() - 10).any(|window| window == &wire[10..]), "{server}");
    }
}

#[test]
fn what_does_not_concern_this_zone_is_turned_away() {
    let zone = snapshot(1, [(name("evil.example."), Action::Nxdomain)]);
    let code = |message: &Message, transport| one(&message.to_vec().unwrap(), transport, &zone).metadata.response_code;
    let ask = |name: &str, kind| code(&request(name, kind), Transport::Udp);
    assert_eq!(ask("foodnstapir.", RecordType::SOA), ResponseCode::Refused, "suffixes end at label borders");
    assert_eq!(ask("DnStApIr.", RecordType::SOA), ResponseCode::NoError, "case does not matter");
    assert_eq!(ask("eViL.eXaMpLe.dNsTaPiR.", RecordType::CNAME), ResponseCode::NoError);
    assert_eq!(ask(".", RecordType::SOA), ResponseCode::Refused);
    assert_eq!(code(&request("example.dnstapir.", RecordType::AXFR), Transport::Tcp), ResponseCode::NotAuth);

    assert_eq!(one(&recorded("notify-in"), Transport::Udp, &zone).metadata.response_code, ResponseCode::NotAuth);
    let mut update = request("dnstapir.", RecordType::SOA);
    update.metadata.op_code = OpCode::Status;
    assert_eq!(code(&update, Transport::Tcp), ResponseCode::NotImp);
    let mut two = request("dnstapir.", RecordType::SOA);
    let again = two.queries[0].clone();
    two.add_query(again);
    assert_eq!(code(&two, Transport::Tcp), ResponseCode::FormErr);
    assert_eq!(common::ask(&recorded("soa-answer"), Transport::Udp, &zone), Vec::<Vec<u8>>::new(), "responses are not answered");
}

#[test]
fn redirects_are_an_alias_or_addresses_and_have_the_lifetime_of_the_policy() {
    let [alias, addresses] = [0, 1].map(|index| Action::Local(LocalIndex(index)));
    let zone = common::snapshot_with(1, [(name("alias"), alias), (name("addresses"), addresses)], 30);
    let ask = |name: &str, kind| {
        let answer = one(&request(name, kind).to_vec().unwrap(), Transport::Udp, &zone);
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
        let texts = answer.answers.iter().map(|record| (record.ttl, record.data.to_string()));
        texts.collect::<Vec<_>>()
    };
    let records = |texts: &[&str]| texts.iter().map(|text| (30, (*text).to_owned())).collect::<Vec<_>>();
    assert_eq!(ask("alias.dnstapir.", RecordType::CNAME), records(&["garden.example."]));
    assert_eq!(ask("alias.dnstapir.", RecordType::A), []);
    assert_eq!(ask("addresses.dnstapir.", RecordType::A), records(&["192.0.2.1", "192.0.2.2"]));
    assert_eq!(ask("addresses.dnstapir.", RecordType::AAAA), records(&["2001:db8::1"]));
    assert_eq!(ask("addresses.dnstapir.", RecordType::CNAME), []);
    assert_eq!(ask("addresses.dnstapir.", RecordType::ANY), records(&["192.0.2.1", "192.0.2.2", "2001:db8::1"]));

    let axfr = request("dnstapir.", RecordType::AXFR).to_vec().unwrap();
    let transfer = one(&axfr, Transport::Tcp, &zone);
    let policy: Vec<_> =
        transfer.answers.iter().filter(|record| record.ttl == 30).map(|record| record.data.to_string()).collect();
    // In the order of the tree: shorter labels first.
    assert_eq!(policy, ["garden.example.", "192.0.2.1", "192.0.2.2", "2001:db8::1"]);
}

#[test]
fn udp_carries_no_transfer_and_knows_edns() {
    let zone = snapshot(1, []);
    let axfr = one(&request("dnstapir.", RecordType::AXFR).to_vec().unwrap(), Transport::Udp, &zone);
    assert!(axfr.metadata.truncation && axfr.answers.is_empty());
    let mut edns = request("dnstapir.", RecordType::SOA);
    edns.set_edns(hickory_proto::op::Edns::new());
    let answered = one(&edns.to_vec().unwrap(), Transport::Udp, &zone);
    assert!(answered.edns.is_some());
    assert!(matches!(answered.answers[0].data, RData::SOA(_)));
}

#[test]
fn before_the_first_version_nothing_is_said_about_the_zone() {
    let bytes = request("dnstapir.", RecordType::AXFR).to_vec().unwrap();
    let Answer::Message(message) = answer::<Snapshot>(&bytes, Transport::Tcp, None) else { panic!("an answer was due") };
    assert_eq!(Message::from_vec(&message).unwrap().metadata.response_code, ResponseCode::ServFail);
}
