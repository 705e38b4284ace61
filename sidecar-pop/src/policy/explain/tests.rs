use serde_json::json;

use super::*;
use crate::policy::{Rule, Stage};

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn binding(source: &str, list: List, r#match: Match) -> Binding {
    Binding { source: source.to_owned(), list, r#match, records: false, keeps_action: false }
}

fn listing(source: &str, entry: &str) -> Listing {
    Listing { source: source.to_owned(), entry: name(entry), below: false, record: None, tags: None, added: None, expires: None }
}

fn observed(source: &str, entry: &str, tags: u32, expires: i64) -> Listing {
    let expires = Some(Timestamp::from_second(expires).unwrap());
    Listing { tags: Some(tags), expires, ..listing(source, entry) }
}

fn policy() -> Policy {
    let rule = |name: &str, action| Rule {
        name: name.to_owned(),
        any_tags: None,
        all_tags: None,
        min_tags: None,
        min_sources: None,
        action,
    };
    let rules = vec![
        Rule { any_tags: Some(1), min_sources: Some(2), ..rule("new-and-doubted", Action::Drop) },
        Rule { min_tags: Some(1), ..rule("tagged", Action::Nodata) },
    ];
    Policy::new(Action::Nxdomain, rules)
}

fn bindings() -> Vec<Binding> {
    vec![
        binding("own", List::Allow, Match::Subtree),
        binding("blocky", List::Deny, Match::Exact),
        binding("dns-tapir", List::Doubt, Match::Exact),
        binding("feed", List::Doubt, Match::Subtree),
    ]
}

fn explain(text: &str, listings: &[Listing]) -> Explanation {
    Question { policy: &policy(), mode: Mode::Enforce, bindings: &bindings() }.explain(&name(text), listings)
}

#[test]
fn the_whole_story_of_a_doubted_name() {
    let told = explain("evil.example", &[observed("dns-tapir", "evil.example", 0b1001, 60), listing("unknown", "evil.example")]);
    let expected = json!({
        "name": "evil.example.",
        "mode": "Enforce",
        "stage": "Doubt",
        "action": "NODATA",
        "published": "NODATA",
        "decidedBy": ["tagged"],
        "until": "1970-01-01T00:01:00Z",
        "sources": [{
            "source": "dns-tapir", "list": "Doubt", "match": "Exact", "countsAs": "Doubt",
            "entries": [{
                "entry": "evil.example.", "covers": true, "tags": ["globally_new", "registry_investigation"],
                "expires": "1970-01-01T00:01:00Z",
            }],
        }],
        "rules": [
            {"rule": "new-and-doubted", "action": "DROP", "holds": false, "decides": false, "conditions": [
                {"condition": "anyTags", "wanted": "globally_new", "found": "globally_new, registry_investigation", "holds": true},
                {"condition": "minSources", "wanted": "2", "found": "1", "holds": false},
            ]},
            {"rule": "tagged", "action": "NODATA", "holds": true, "decides": true, "conditions": [
                {"condition": "minTags", "wanted": "1", "found": "2", "holds": true},
            ]},
        ],
        "unusedSources": ["unknown"],
    });
    assert_eq!(serde_json::to_value(told).unwrap(), expected);
}

#[test]
fn entries_above_count_where_the_source_covers_subtrees() {
    let told = explain("www.evil.example", &[observed("dns-tapir", "evil.example", 1, 60), listing("feed", "evil.example")]);
    let counts: Vec<_> = told.sources.iter().map(|source| (source.source.as_str(), source.counts_as)).collect();
    assert_eq!(counts, [("dns-tapir", None), ("feed", Some(List::Doubt))]);
    // What does not count neither decides nor ends anything.
    assert_eq!((told.until, told.action.as_str()), (None, "PASSTHRU"));
    assert!(told.rules.iter().all(|rule| !rule.holds));
}

#[test]
fn an_allow_list_is_named_with_what_it_overrules() {
    let told = explain("www.evil.example", &[listing("own", "example"), listing("blocky", "www.evil.example")]);
    assert_eq!((told.stage, told.decided_by, told.published), (Stage::Allow, vec!["own".to_owned()], None));
    assert_eq!(told.sources.len(), 2);
}

#[test]
fn the_nearest_record_of_a_feed_decides() {
    let keeps = [Binding { keeps_action: true, ..binding("feed", List::Deny, Match::Exact) }];
    let recorded = |entry, below, action| Listing { below, record: Some(action), ..listing("feed", entry) };
    let feed = [
        recorded("example", true, Action::Drop),
        recorded("evil.example", false, Action::Nodata),
        recorded("evil.example", true, Action::TcpOnly),
    ];
    let policy = policy();
    let question = Question { policy: &policy, mode: Mode::Enforce, bindings: &keeps };
    let action = |text| question.explain(&name(text), &feed).action;
    assert_eq!(
        ["example", "b.example", "evil.example", "a.evil.example"].map(action),
        ["PASSTHRU", "DROP", "NODATA", "TCP-ONLY"]
    );
}

#[test]
fn in_observe_mode_the_action_is_told_and_not_published() {
    let policy = policy();
    let question = Question { policy: &policy, mode: Mode::Observe, bindings: &bindings() };
    let told = question.explain(&name("evil.example"), &[listing("blocky", "evil.example")]);
    assert_eq!((told.action.as_str(), told.published.as_deref()), ("NXDOMAIN", Some("PASSTHRU")));
}
