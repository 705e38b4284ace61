//! The decision table of upstream's policy processor, recorded as data: `tapir-wire/vectors/pop/policy/decision-table.json`.
//!
//! Rows `u*` and `d*` hold as they stand, rows `x*` as `intended`. Departures, each on purpose:
//! * `d17`: a loop test counts for nothing unless a rule names it.
//! * `d3` holds for another reason: `*.example.` as an entry of an exact list is refused and not taken literally.
//! * `x1` cannot be said here: an allow list has no action.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use jiff::Timestamp;
use serde_json::Value;
use tapir_pop::names::ZoneName;
use tapir_pop::policy::{Action, Policy, Rule, Stage};
use tapir_pop::sources::{CoreSource, Knowledge, NameList, Observations, Rules};
use tapir_pop::zone::LocalIndex;
use tapir_wire::config::pop::{List, Match, Mode};
use tapir_wire::name::Name;
use tapir_wire::observation::Entry;

const NOW: Timestamp = Timestamp::constant(1_795_000_000, 0);
/// Bits of the tag names in the table, which are upstream's old ones.
const OLD_TAGS: [(&str, u32); 2] = [("badip", 1 << 2), ("likelymalware", 1 << 4)];

fn action(text: &str) -> Action {
    match text {
        "DROP" => Action::Drop,
        "NXDOMAIN" => Action::Nxdomain,
        "NODATA" => Action::Nodata,
        "REDIRECT" => Action::Local(LocalIndex(0)),
        "PASSTHRU" | "ALLOWLIST" => Action::Passthru,
        other => panic!("action {other}"),
    }
}

fn policy(value: &Value) -> Policy {
    let act = |path: &str| action(value.pointer(path).unwrap().as_str().unwrap());
    let limit = |path: &str| u32::try_from(value.pointer(path).unwrap().as_u64().unwrap()).unwrap();
    let tags = value.pointer("/doubtlist/denytapir/tags").unwrap().as_array().unwrap();
    let bit = |tag: &Value| OLD_TAGS.iter().find(|(name, _)| Some(*name) == tag.as_str()).unwrap().1;
    let mask = tags.iter().map(bit).fold(0, |mask, bit| mask | bit);
    let rule = |name: &str, path: &str| Rule {
        name: name.to_owned(),
        any_tags: None,
        all_tags: None,
        min_tags: None,
        min_sources: None,
        action: act(path),
    };
    let rules = vec![
        Rule { min_sources: Some(limit("/doubtlist/numsources/limit")), ..rule("numsources", "/doubtlist/numsources/action") },
        Rule { min_tags: Some(limit("/doubtlist/numtapirtags/limit")), ..rule("numtapirtags", "/doubtlist/numtapirtags/action") },
        Rule { any_tags: (mask != 0).then_some(mask), ..rule("denytapir", "/doubtlist/denytapir/action") },
    ];
    Policy::new(act("/denylist/action"), rules)
}

fn knowledge(row: &Value) -> (Rules, Observations) {
    let zone = ZoneName::new(Name::parse("dnstapir.").unwrap()).unwrap();
    let mut observations = Observations::default();
    let (mut lists, mut core) = (Vec::new(), None);
    for list in row["lists"].as_array().unwrap() {
        let source = list["source"].as_str().unwrap();
        let entries = list["names"].as_array().unwrap();
        let class = match list["class"].as_str().unwrap() {
            "allowlist" => List::Allow,
            "denylist" => List::Deny,
            _ => List::Doubt,
        };
        if source == "dns-tapir" {
            core = Some(CoreSource::new(source));
            for entry in entries {
                let name = Name::parse(entry["name"].as_str().unwrap()).unwrap();
                let tag_mask = u32::try_from(entry["tag_mask"].as_u64().unwrap()).unwrap();
                observations.add(&Entry { name, time_added: NOW, ttl: 60, tag_mask }, NOW).unwrap();
            }
        } else {
            let names: Vec<String> = entries.iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect();
            lists.push(NameList::new(source, class, Match::Exact, &zone, &names));
        }
    }
    (Rules { mode: Mode::Enforce, policy: policy(&row["policy"]), lists, core }, observations)
}

#[test]
fn every_row_is_decided_as_recorded() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tapir-wire/vectors/pop/policy/decision-table.json");
    let table: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut checked = 0;
    for row in table["rows"].as_array().unwrap() {
        let id = row["id"].as_str().unwrap();
        if id.starts_with("x1-") {
            continue;
        }
        let (rules, observations) = knowledge(row);
        let query = Name::parse(row["query"].as_str().unwrap()).unwrap();
        let decision = Knowledge { rules: &rules, observations: &observations }.decide(&query);
        let expected = row.get("intended").unwrap_or(&row["expect"]);
        checked += 1;
        if id.starts_with("d17-") {
            assert_eq!((decision.effect(), decision.fired.len()), (None, 0), "{id}");
            continue;
        }
        assert_eq!(decision.action, action(expected["action"].as_str().unwrap()), "{id}");
        let stage = match expected["stage"].as_str().unwrap() {
            "allowlist" => Stage::Allow,
            "denylist" => Stage::Deny,
            "doubtlist" => Stage::Doubt,
            _ => Stage::None,
        };
        assert_eq!(decision.stage, stage, "{id}");
        if let Some(emitted) = expected.get("emitted").and_then(Value::as_bool) {
            assert_eq!(decision.effect().is_some(), emitted, "{id}");
        }
        if let Some(fired) = expected.get("fired").and_then(Value::as_array) {
            let names: Vec<_> = decision.fired.iter().map(|index| rules.policy.rules[*index].name.as_str()).collect();
            assert_eq!(names, fired.iter().map(|name| name.as_str().unwrap()).collect::<Vec<_>>(), "{id}");
        }
        if id.starts_with("d10-") {
            assert_eq!(decision.winner, Some(0), "{id}: of equal severity the first is named");
        }
    }
    assert_eq!(checked, 32);
}
