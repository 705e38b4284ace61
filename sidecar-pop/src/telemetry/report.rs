//! In which form Core is told.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};
use tapir_runtime::telemetry::{Parts, State, Teller as _, Watch, counters, report};

use super::{SHOWN, Seen, parts};
use crate::status::Telemetry;

/// What upstream writes for never.
const NEVER: &str = "0001-01-01T00:00:00Z";

fn kind(value: &Value) -> std::mem::Discriminant<Value> {
    std::mem::discriminant(value)
}

/// Whoever reads what upstream tells reads this too.
#[test]
fn what_upstream_tells_is_told_in_the_same_form() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tapir-wire/vectors/pop/mqtt/status-update.json");
    let vector: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let telemetry = Telemetry::new(None, None);
    let known = vector["known_components"].as_array().unwrap();
    let states = [("fail", State::Fail), ("warn", State::Warn), ("ok", State::Ok)];
    for (name, state) in states {
        let mut watched = Watch::default();
        let document = telemetry.document();
        let (now, troubles) = (Timestamp::UNIX_EPOCH, BTreeMap::new());
        let seen = Seen {
            document: &document,
            core_sources: &[],
            at_fault: &BTreeMap::new(),
            troubles: &troubles,
            renewal: None,
            gave_up: false,
            now,
        };
        let mut seen = parts(&seen);
        assert!(seen.keys().all(|name| known.iter().any(|known| known == name)), "{seen:?}");
        seen.insert("main-boot", (state, String::new()));
        watched.look(&seen, "edge.example", now);
        let told = report(&*telemetry, &watched, "random-popper");
        let (theirs, part) = (&vector["payload"], "/ComponentStatus/main-boot");
        assert_eq!(told.pointer(part).unwrap()["Status"], vector["status_values"][name], "{name}");
        for (theirs, ours) in [(theirs, &told), (theirs.pointer(part).unwrap(), told.pointer(part).unwrap())] {
            for (member, value) in theirs.as_object().unwrap() {
                assert_eq!(ours.get(member).map(kind), Some(kind(value)), "{member}");
            }
        }
        assert_eq!(told["LastFailure"] == vector["payload"]["LastFailure"], state != State::Fail, "the zero of its language");
    }
}

#[test]
fn names_and_addresses_of_the_configuration_are_not_told() {
    let exposition = r#"# TYPE tapir_pop_notifies counter
tapir_pop_notifies_total{target="192.0.2.1:53",outcome="sent"} 2
tapir_pop_notifies_total{target="192.0.2.2:53",outcome="sent"} 3
tapir_pop_notifies_total{target="192.0.2.2:53",outcome="given_up"} 1
tapir_pop_policy_decisions_total{list="Doubt",rule="a \",list=\"b",occasion="all"} 5
tapir_pop_policy_decisions_total{list="Doubt",rule="c",occasion="all"} 6
tapir_pop_source_names{source="own",list="Allow"} 7
tapir_pop_unplaced_names{source="own"} 2
tapir_pop_unplaced_names{source="other"} 0
tapir_pop_build_info{version="1"} 1
tapir_pop_lag_bucket{le="1.0"} 1
tapir_pop_lag_sum 0.5
tapir_pop_zone_serial 9
# EOF"#;
    let expected = json!({
        "notifies_total{outcome=sent}": 5,
        "notifies_total{outcome=given_up}": 1,
        "policy_decisions_total{list=Doubt,occasion=all}": 11,
        "unplaced_names": 2,
        "zone_serial": 9,
    });
    assert_eq!(Value::Object(counters(exposition, &SHOWN)), expected);
}

#[test]
fn members_are_upstreams() {
    let telemetry = Telemetry::new(None, None);
    telemetry.metrics.query("udp");
    let now: Timestamp = "2026-11-21T00:00:00Z".parse().unwrap();
    let mut watched = Watch::default();
    let seen = Parts::from([("rpz", (State::Fail, "broken".to_owned())), ("main-boot", (State::Ok, "up".to_owned()))]);
    for event in watched.look(&seen, "edge.example", now) {
        telemetry.happened(event);
    }
    let told = report(&*telemetry, &watched, "edge.example-abc");
    let members: Vec<_> = told.as_object().unwrap().keys().collect();
    assert_eq!(members, ["Function", "FunctionID", "ComponentStatus", "NumFailures", "LastFailure", "Events", "Counters"]);
    let rpz = told["ComponentStatus"]["rpz"].as_object().unwrap();
    assert_eq!(
        rpz.keys().collect::<Vec<_>>(),
        [
            "Component",
            "Status",
            "ErrorMsg",
            "WarningMsg",
            "Msg",
            "NumFails",
            "NumWarnings",
            "LastFail",
            "LastWarn",
            "LastSuccess"
        ]
    );
    assert_eq!(
        (rpz["Status"].as_i64(), rpz["ErrorMsg"].as_str(), rpz["LastSuccess"].as_str()),
        (Some(0), Some("broken"), Some(NEVER))
    );
    assert_eq!(told["ComponentStatus"]["main-boot"]["Status"], 2);
    assert_eq!(told["Events"].as_array().unwrap().len(), 1);
    assert_eq!(told["Counters"]["dns_queries_total{transport=udp}"], 1);
    assert!(told["Counters"].as_object().unwrap().keys().all(|name| !name.contains("commit")));
}
