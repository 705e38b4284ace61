//! What is an event, and in which words.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use tapir_runtime::telemetry::{Parts, State, Watch};
use tapir_wire::node::Renewal;
use tapir_wire::status::IdentityStatus;

use super::{Seen, parts};
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
