//! What must hold for every zone: a transfer is the snapshot; no bytes from outside break anything.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{ACTIONS, ask, decode_transfer, name, request, snapshot};
use hickory_proto::rr::RecordType;
use proptest::prelude::*;
use tapir_pop::dns::answer::{Transport, answer};
use tapir_pop::dns::render::LIMIT;
use tapir_pop::policy::Action;
use tapir_wire::name::Name;

/// A failing case is printed whole and belongs into a test of its own; no file is kept.
fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn a_transfer_is_the_snapshot(
        owners in proptest::collection::btree_map("[a-z0-9*_-]{1,20}(\\.[a-z0-9_-]{1,63}){0,2}", 0_usize..ACTIONS.len(), 0..60),
        serial: u32,
    ) {
        // The name of the zone with an asterisk before it would be everything, and is no owner of ours.
        prop_assume!(!owners.contains_key("*"));
        let records: BTreeMap<Name, Action> = owners.into_iter().map(|(owner, action)| (name(&owner), ACTIONS[action])).collect();
        let zone = snapshot(serial, records.clone());
        let request = request("dnstapir.", RecordType::AXFR).to_vec().unwrap();
        let messages = ask(&request, Transport::Tcp, &zone);
        prop_assert!(messages.iter().all(|message| message.len() <= LIMIT));
        prop_assert_eq!(decode_transfer(&messages), (serial, records));
    }

    #[test]
    fn no_bytes_break_the_server(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let zone = snapshot(1, [(name("evil.example"), Action::Drop)]);
        answer_everywhere(&bytes, &zone);
    }

    /// Random bytes rarely get past the header; requests with some bytes changed do.
    #[test]
    fn no_changed_request_breaks_the_server(
        kind in prop_oneof![Just(RecordType::SOA), Just(RecordType::AXFR), Just(RecordType::IXFR), Just(RecordType::ANY), Just(RecordType::A)],
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let zone = snapshot(1, [(name("evil.example"), Action::Drop)]);
        let mut bytes = request("evil.example.dnstapir.", kind).to_vec().unwrap();
        bytes.extend(b"\x08dnstapir\0\0\x06\0\x01\0\0\0\0\0\x16\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        answer_everywhere(&bytes, &zone);
        bytes.truncate(cut.index(bytes.len()));
        answer_everywhere(&bytes, &zone);
    }
}

fn answer_everywhere(bytes: &[u8], zone: &Arc<tapir_pop::zone::Snapshot>) {
    for transport in [Transport::Udp, Transport::Tcp] {
        for message in ask(bytes, transport, zone) {
            assert!(message.len() >= 12);
            assert_eq!(message[..2], bytes[..2], "the id comes back");
        }
        let _ = answer::<tapir_pop::zone::Snapshot>(bytes, transport, None);
    }
}

#[test]
fn messages_are_bounded_however_long_the_names() {
    let long = |index: u32| name(&format!("{index:063}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(50)));
    let records: BTreeMap<_, _> = (0..2000).map(|index| (long(index), Action::Nxdomain)).collect();
    let request = request("dnstapir.", RecordType::AXFR).to_vec().unwrap();
    let messages = ask(&request, Transport::Tcp, &snapshot(1, records.clone()));
    assert!(messages.len() > 5 && messages.iter().all(|message| message.len() <= LIMIT));
    assert_eq!(decode_transfer(&messages).1, records);
}
