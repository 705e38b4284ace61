//! What must hold for every zone: it answers as the decision function does, in every kind of resolver; new content means a new
//! serial and the other way round; a transfer is the snapshot; no bytes from outside break anything.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use common::{ACTIONS, ask, decode_transfer, locals, name, request, rule, snapshot, zone};
use hickory_proto::rr::RecordType;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use tapir_pop::dns::answer::{Transport, answer};
use tapir_pop::dns::transfer::MESSAGE_LIMIT;
use tapir_pop::names::self_and_ancestors;
use tapir_pop::policy::{Action, Policy};
use tapir_pop::sources::{CoreSource, Knowledge, NameList, Observations, Rules, Scope};
use tapir_pop::state::serial::Serials;
use tapir_pop::zone::build::build;
use tapir_pop::zone::{Content, Fingerprint, Serial};
use tapir_wire::config::pop::{List, Match, Mode};
use tapir_wire::name::Name;
use tapir_wire::observation::Entry;

const NOW: Timestamp = Timestamp::constant(1_795_000_000, 0);

/// A failing case is printed whole and belongs into a test of its own; no file is kept.
fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

/// Few labels, so that names meet.
fn names() -> impl Strategy<Value = String> {
    proptest::collection::vec(prop_oneof![Just("a"), Just("b"), Just("c")], 1..5).prop_map(|labels| labels.join("."))
}

fn lists() -> impl Strategy<Value = Vec<NameList>> {
    let class = prop_oneof![Just(List::Allow), Just(List::Deny), Just(List::Doubt)];
    let matches = prop_oneof![Just(Match::Exact), Just(Match::Subtree)];
    let list = (class, matches, proptest::collection::vec(names(), 0..4));
    proptest::collection::vec(list, 0..5).prop_map(|lists| {
        let list = |(index, (class, matches, names)): (usize, (List, Match, Vec<String>))| {
            NameList::new(&format!("list{index}"), class, matches, &zone(), &names)
        };
        lists.into_iter().enumerate().map(list).collect()
    })
}

fn rules() -> impl Strategy<Value = Rules> {
    let core = prop_oneof![Just(Match::Exact), Just(Match::Subtree)]
        .prop_map(|r#match| CoreSource { r#match, ..CoreSource::new("core") });
    let mode = prop_oneof![4 => Just(Mode::Enforce), 1 => Just(Mode::Observe)];
    (lists(), proptest::option::of(core), mode).prop_map(|(lists, core, mode)| {
        let rules =
            vec![rule(Some(1), None, Action::Drop), rule(Some(2), None, Action::Passthru), rule(None, Some(2), ACTIONS[3])];
        let policy = Policy { locals: locals(), ..Policy::new(Action::Nxdomain, rules) };
        Rules { mode, policy, lists, core }
    })
}

fn observations() -> impl Strategy<Value = Vec<(String, u32)>> {
    proptest::collection::vec((names(), 0_u32..4), 0..5)
}

fn store(observed: &[(String, u32)]) -> Observations {
    let mut store = Observations::default();
    for (text, tag_mask) in observed {
        let entry = Entry { name: name(text), time_added: NOW, ttl: 60, tag_mask: *tag_mask };
        store.add(&entry, NOW).unwrap();
    }
    store
}

/// A resolver that takes the wildcard of the nearest ancestor that has one.
fn nearest_wildcard(zone: &Content, qname: &Name) -> Option<Action> {
    let wildcard = |name: Name| zone.records.get(&common::name(&format!("*.{name}"))).copied();
    zone.records.get(qname).copied().or_else(|| self_and_ancestors(qname).skip(1).find_map(wildcard))
}

/// A resolver that does as RFC 4592 says: the wildcard of the closest encloser, which may be an empty non-terminal, or nothing.
fn closest_encloser(zone: &Content, qname: &Name) -> Option<Action> {
    let nodes: HashSet<Name> = zone.records.keys().flat_map(self_and_ancestors).collect();
    if nodes.contains(qname) {
        return zone.records.get(qname).copied();
    }
    let encloser = self_and_ancestors(qname).skip(1).find(|name| nodes.contains(name))?;
    zone.records.get(&common::name(&format!("*.{encloser}"))).copied()
}

/// `rpz-passthru.` and silence are the same to who asks the resolver.
fn effective(action: Option<Action>) -> Option<Action> {
    action.filter(|action| *action != Action::Passthru)
}

/// Every name of up to five labels is too much; those listed, those around them, and some below.
fn questions(rules: &Rules, observed: &[(String, u32)]) -> HashSet<Name> {
    let mut asked = HashSet::new();
    let listed = rules.lists.iter().flat_map(NameList::names).cloned().chain(observed.iter().map(|(text, _)| name(text)));
    for listed in listed {
        for around in self_and_ancestors(&listed) {
            for label in ["a", "b", "x", "x.a", "x.y"] {
                asked.insert(name(&format!("{label}.{around}")));
            }
            asked.insert(around);
        }
    }
    asked
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn every_resolver_does_what_was_decided(rules in rules(), observed in observations()) {
        let store = store(&observed);
        let knowledge = Knowledge { rules: &rules, observations: &store };
        let zone = build(&zone(), &knowledge);
        for question in questions(&rules, &observed) {
            let decided = effective(knowledge.effect(&question, Scope::Itself));
            prop_assert_eq!(effective(nearest_wildcard(&zone, &question)), decided, "{} in {:?}", &question, &zone.records);
            prop_assert_eq!(effective(closest_encloser(&zone, &question)), decided, "{} in {:?}", &question, &zone.records);
        }
    }

    #[test]
    fn allowed_names_are_never_touched(rules in rules(), observed in observations()) {
        let store = store(&observed);
        let zone = build(&zone(), &Knowledge { rules: &rules, observations: &store });
        for list in rules.lists.iter().filter(|list| list.list == List::Allow) {
            for allowed in list.names() {
                let below = name(&format!("x.y.{allowed}"));
                let covered = if list.r#match == Match::Subtree { vec![allowed.clone(), below] } else { vec![allowed.clone()] };
                for question in covered {
                    prop_assert_eq!(effective(nearest_wildcard(&zone, &question)), None);
                    prop_assert_eq!(effective(closest_encloser(&zone, &question)), None);
                }
            }
        }
    }

    #[test]
    fn without_subtrees_only_what_is_acted_on_is_in_the_zone(rules in rules(), observed in observations()) {
        let mut rules = rules;
        rules.core = rules.core.map(|core| CoreSource { r#match: Match::Exact, ..core });
        rules.lists.iter_mut().for_each(|list| list.r#match = Match::Exact);
        let store = store(&observed);
        let knowledge = Knowledge { rules: &rules, observations: &store };
        for (owner, action) in build(&zone(), &knowledge).records {
            prop_assert_eq!(knowledge.effect(&owner, Scope::Itself), Some(action));
            prop_assert!(action != Action::Passthru || rules.mode == Mode::Observe);
        }
    }

    #[test]
    fn a_transfer_is_the_snapshot(
        owners in proptest::collection::btree_map("[a-z0-9*_-]{1,20}(\\.[a-z0-9_-]{1,63}){0,2}", 0_usize..ACTIONS.len(), 0..60),
        limit in 600_usize..3000,
        serial: u32,
    ) {
        let records: BTreeMap<Name, Action> = owners.into_iter().map(|(owner, action)| (name(&owner), ACTIONS[action])).collect();
        let zone = snapshot(serial, records.clone());
        let request = request("dnstapir.", RecordType::AXFR).to_vec().unwrap();
        for limit in [limit, MESSAGE_LIMIT] {
            let messages = ask(&request, Transport::Tcp, &zone, limit);
            prop_assert!(messages.iter().all(|message| message.len() <= limit.max(tapir_pop::dns::wire::SMALLEST_LIMIT)));
            prop_assert_eq!(decode_transfer(&messages), (serial, records.clone()));
        }
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

proptest! {
    // Each case waits for the disk many times.
    #![proptest_config(config(24))]

    /// Contents come and go in any order, the clock steps, the process starts anew.
    #[test]
    fn new_content_means_a_new_serial_and_the_other_way_round(
        history in proptest::collection::vec((0_u8..4, -30_i64..60, proptest::bool::weighted(0.2)), 1..60)
    ) {
        let directory = tempfile::tempdir().unwrap();
        let mut serials = Serials::open(directory.path()).0;
        let (mut now, mut last): (Timestamp, Option<(Serial, u8)>) = (NOW, None);
        let mut used = HashMap::new();
        for (content, step, restart) in history {
            now = now.checked_add(SignedDuration::from_millis(step * 50)).unwrap();
            if restart {
                serials = Serials::open(directory.path()).0;
            }
            let (serial, error) = serials.of(Fingerprint(content.to_string()), now);
            prop_assert!(error.is_none());
            prop_assert_eq!(*used.entry(serial.0).or_insert(content), content, "a number stands for one content");
            if let Some((before, old)) = last {
                prop_assert_eq!(before == serial, old == content);
                prop_assert!(before == serial || serial.is_after(before));
            }
            last = Some((serial, content));
        }
    }
}

fn answer_everywhere(bytes: &[u8], zone: &Arc<tapir_pop::zone::Snapshot>) {
    for transport in [Transport::Udp, Transport::Tcp] {
        for message in ask(bytes, transport, zone, MESSAGE_LIMIT) {
            assert!(message.len() >= 12);
            assert_eq!(message[..2], bytes[..2], "the id comes back");
        }
        let _ = answer(bytes, transport, None);
    }
}

#[test]
fn messages_have_at_most_65535_octets_however_long_the_names() {
    let long = |index: u32| name(&format!("{index:063}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(50)));
    let records: BTreeMap<_, _> = (0..2000).map(|index| (long(index), Action::Nxdomain)).collect();
    let request = request("dnstapir.", RecordType::AXFR).to_vec().unwrap();
    let messages = ask(&request, Transport::Tcp, &snapshot(1, records.clone()), MESSAGE_LIMIT);
    assert!(messages.len() > 5 && messages.iter().all(|message| message.len() <= MESSAGE_LIMIT));
    assert_eq!(decode_transfer(&messages).1, records);
}
