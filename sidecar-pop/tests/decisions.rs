//! The decision table of upstream's policy processor, recorded as data: `tapir-wire/vectors/pop/policy/decision-table.json`.
//!
//! Rows `u*` and `d*` hold as they stand, rows `x*` as `intended`. Departures, each on purpose:
//! * `d17`: a loop test counts for nothing unless a rule names it.
//! * `d3` holds for another reason: `*.example.` as an entry of an exact list is refused and not taken literally.
//! * `x1` cannot be said here: an allow list has no action.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use tapir_pop::knowledge::Sighting;
use tapir_pop::knowledge::listings::Knowledge;
use tapir_pop::names::ZoneName;
use tapir_pop::policy::explain::{Binding, Explanation, Question};
use tapir_pop::policy::{Action, Finding, Policy, Rule, Stage};
use tapir_pop::sources::Text;
use tapir_pop::zone::LocalIndex;
use tapir_pop::zone::emit::Emit;
use tapir_pop::zone::judge::Source as _;
use tapir_pop::zone::known::{Known, code};
use tapir_pop::zone::source::{AnySource, Kept};
use tapir_pop::zone::weigh::{Origin, Weigh};
use tapir_table::{Code, Codes, Cursor as _, KeyBuf, Merge, Tree};
use tapir_wire::config::pop::{List, Match, Mode};
use tapir_wire::name::Name;

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

/// One source as the table has it: names with their tags, of observations.
struct Listed {
    binding: Binding,
    names: BTreeMap<KeyBuf, Option<u32>>,
}

fn listed(list: &Value) -> Listed {
    let zone = ZoneName::new(Name::parse("dnstapir.").unwrap()).unwrap();
    let source = list["source"].as_str().unwrap();
    let class = match list["class"].as_str().unwrap() {
        "allowlist" => List::Allow,
        "denylist" => List::Deny,
        _ => List::Doubt,
    };
    let entries = list["names"].as_array().unwrap();
    let names = if source == "dns-tapir" {
        let tagged = |entry: &Value| {
            let key = KeyBuf::from_text(entry["name"].as_str().unwrap(), zone.room()).unwrap();
            (key, Some(u32::try_from(entry["tag_mask"].as_u64().unwrap()).unwrap()))
        };
        entries.iter().map(tagged).collect()
    } else {
        let mut names = BTreeMap::new();
        let texts = entries.iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect();
        Text::Names(texts).each(&zone, |_, entry| names.extend(entry.ok().map(|key| (key, None))));
        names
    };
    let binding = Binding { source: source.to_owned(), list: class, r#match: Match::Exact, records: false, keeps_action: false };
    Listed { binding, names }
}

fn source(listed: &Listed) -> AnySource {
    if listed.names.values().any(Option::is_some) {
        let mut live = Tree::new();
        for (key, tags) in &listed.names {
            live.insert(key, Sighting { tags: tags.unwrap(), expires: 1, ..Sighting::default() });
        }
        return AnySource::observed(&live);
    }
    let mut kept = Kept::nothing(Arc::new(Known::Listed));
    listed.names.keys().for_each(|key| _ = kept.changes.insert(key, Codes::LISTED));
    AnySource::List(kept)
}

/// Who asks why is told what the zone does.
fn explain(policy: &Policy, lists: &[Listed], name: &Name) -> Explanation {
    let bindings: Vec<Binding> = lists.iter().map(|list| list.binding.clone()).collect();
    let of = |list: &Listed| (Arc::from(list.binding.source.as_str()), source(list), list.binding.list, false);
    let knowledge = Knowledge::new(lists.iter().map(of));
    Question { policy, mode: Mode::Enforce, bindings: &bindings }.explain(name, &knowledge.listings(name).unwrap())
}

/// What the zone says of the name.
fn emitted(policy: &Policy, lists: &[Listed], key: &KeyBuf) -> Code {
    let origin = |list: &Listed| Origin { list: list.binding.list, r#match: Match::Exact, records: false, keeps_action: false };
    let weigh = Weigh { policy: policy.clone(), mode: Mode::Enforce, origins: lists.iter().map(origin).collect() };
    let mut names = Merge::new(lists.iter().map(|list| source(list).cursor()).collect());
    let mut zone = Emit::new(&weigh, &mut names, 245);
    while zone.advance().unwrap() {
        if zone.key() == key {
            return zone.value().own;
        }
    }
    Code::SILENT
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
        let policy = policy(&row["policy"]);
        let lists: Vec<Listed> = row["lists"].as_array().unwrap().iter().map(listed).collect();
        let query = Name::parse(row["query"].as_str().unwrap()).unwrap();
        let key = KeyBuf::from_wire(&query.to_wire(), 245).unwrap();
        let finding = |list: &Listed| {
            let tags = list.names.get(&key)?;
            Some(tags.map_or(Finding::listed(list.binding.list), |tags| Finding::observed(list.binding.list, tags)))
        };
        let decision = policy.decide(&lists.iter().filter_map(finding).collect::<Vec<_>>());
        assert_eq!(emitted(&policy, &lists, &key), decision.published(Mode::Enforce).map_or(Code::SILENT, code), "{id}");
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
            let names: Vec<_> = decision.fired.iter().map(|index| policy.rules[index].name.as_str()).collect();
            assert_eq!(names, fired.iter().map(|name| name.as_str().unwrap()).collect::<Vec<_>>(), "{id}");
        }
        let explained = explain(&policy, &lists, &query);
        assert_eq!((explained.stage, explained.action), (decision.stage, decision.action.to_string()), "{id}");
        let holding = explained.rules.iter().filter(|rule| rule.holds).count();
        assert!(stage != Stage::Doubt || holding == decision.fired.len(), "{id}");
        if id.starts_with("d10-") {
            assert_eq!(decision.winner, Some(0), "{id}: of equal severity the first is named");
        }
    }
    assert_eq!(checked, 32);
}
