//! The zone as it is emitted and changed, in cases that can be read.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod universe;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use tapir_pop::policy::{Action, Policy};
use tapir_pop::zone::known::Known;
use tapir_pop::zone::layers::Layers;
use tapir_pop::zone::source::Kept;
use tapir_pop::zone::touch::{Touch, TouchError, Touched};
use tapir_pop::zone::weigh::{Origin, Weigh};
use tapir_table::{Code, Codes, KeyBuf, Palette, TableFile, TableWriter, Tree};
use tapir_wire::config::pop::{List, Match, Mode};
use universe::resolvers::{MODELS, Model, Resolvers};
use universe::{Source, Universe, Zone, collected, key};

const DENY: Origin = Origin { list: List::Deny, r#match: Match::Exact, records: false, keeps_action: false };
const DENY_BELOW: Origin = Origin { r#match: Match::Subtree, ..DENY };
const ALLOW: Origin = Origin { list: List::Allow, ..DENY };
const ALLOW_BELOW: Origin = Origin { r#match: Match::Subtree, ..ALLOW };
const FEED: Origin = Origin { records: true, keeps_action: true, ..DENY };

fn universe(sources: &[(Origin, &[&str])]) -> Universe {
    let listed = |names: &[&str]| names.iter().map(|name| (key(name), Known::Listed(Codes::LISTED))).collect();
    Universe {
        weigh: Weigh {
            policy: Policy::new(Action::Nxdomain, vec![]),
            mode: Mode::Enforce,
            origins: sources.iter().map(|(origin, _)| *origin).collect(),
        },
        sources: sources.iter().map(|(_, names)| listed(names)).collect(),
        room: 245,
    }
}

/// A line a name: what is said of it, and of what is below it.
fn text(zone: &Zone) -> String {
    let word = |code: Code| match code {
        Code::SILENT => "-",
        Code::PASSTHRU => "pass",
        Code::NXDOMAIN => "block",
        Code::DROP => "drop",
        _ => "?",
    };
    zone.iter().fold(String::new(), |mut text, (key, codes)| {
        writeln!(text, "{key} {} {}", word(codes.own), word(codes.below)).unwrap();
        text
    })
}

#[test]
fn an_allowed_name_below_a_blocked_one() {
    let universe = universe(&[(DENY_BELOW, &["b.example"]), (ALLOW, &["x.a.b.example", "elsewhere.example"])]);
    let expected = "b.example. block block\na.b.example. block block\nx.a.b.example. pass block\n";
    assert_eq!(text(&universe.zone()), expected);
}

#[test]
fn what_is_blocked_anyway_is_not_repeated() {
    let universe = universe(&[(DENY_BELOW, &["example"]), (DENY, &["a.example", "x.y.example", "other"])]);
    assert_eq!(text(&universe.zone()), "other. block -\nexample. block block\n");
}

/// Below a subtree that is exempt nothing has to be spelled out: silence means silence again.
#[test]
fn blocked_again_below_what_is_exempt() {
    let mut universe = universe(&[(DENY_BELOW, &["example"]), (FEED, &[])]);
    let said = |own, below| Known::Listed(Codes::new(own, below));
    universe.sources[1] = Source::from([
        (key("a.example"), said(Code::PASSTHRU, Code::PASSTHRU)),
        (key("x.y.z.a.example"), said(Code::DROP, Code::SILENT)),
        (key("v.w.a.example"), said(Code::SILENT, Code::DROP)),
    ]);
    // Two deny lists: the policy's action and the feed's. The stricter one wins.
    let expected = "example. block block\na.example. pass pass\nv.w.a.example. - drop\nx.y.z.a.example. drop -\n";
    assert_eq!(text(&universe.zone()), expected);
}

#[test]
fn only_logged_nothing_is_exempt() {
    let mut universe = universe(&[(DENY_BELOW, &["example"]), (ALLOW_BELOW, &["a.example"]), (DENY, &["b.example", "other"])]);
    universe.weigh.mode = Mode::Observe;
    assert_eq!(text(&universe.zone()), "other. pass -\nexample. pass pass\n");
}

/// The same below something exempt, which is nothing that had to be said.
#[test]
fn only_logged_again_below_what_is_exempt() {
    let mut universe = universe(&[(DENY_BELOW, &["example"]), (FEED, &[])]);
    universe.weigh.mode = Mode::Observe;
    let said = |own, below| Known::Listed(Codes::new(own, below));
    universe.sources[1] =
        Source::from([(key("a.example"), said(Code::DROP, Code::PASSTHRU)), (key("b.a.example"), said(Code::DROP, Code::DROP))]);
    assert_eq!(text(&universe.zone()), "example. pass pass\n");
}

/// Of two feeds that redirect, the first one counts, wherever on the way down the two are met.
#[test]
fn two_redirects() {
    let mut universe = universe(&[(FEED, &[]), (FEED, &[])]);
    let (one, other) = (Code::set(1).unwrap(), Code::set(0).unwrap());
    let said = |own, below| Known::Listed(Codes::new(own, below));
    universe.sources[0] = Source::from([(key("a.b"), said(one, one))]);
    universe.sources[1] = Source::from([(key("b"), said(other, other)), (key("x.a.b"), said(other, Code::SILENT))]);
    let expected = [(key("b"), Codes::new(other, other)), (key("a.b"), Codes::new(one, one))];
    assert_eq!(universe.zone(), Zone::from(expected));
}

/// Refused where they come in; should one get through, the zone is valid all the same.
#[test]
fn names_that_are_no_owners() {
    let other = ["*.b", "x.*.b", "*", "x.rpz-ip", "rpz-nsdname", "32.1.2.0.192.rpz-client-ip", "ns.rpz-nsip"];
    let fine = ["b", "x*.b", "rpz-ip.b", "rpz-ipx", "**.b"];
    let all = [&other[..], &fine].concat();
    for origin in [DENY, DENY_BELOW] {
        let zone = universe(&[(origin, &all), (ALLOW, &["a.x.*.b", "y.rpz-ip"])]).zone();
        let expected = if origin == DENY { &fine[..] } else { &["b", "rpz-ipx"] };
        assert_eq!(zone.keys().copied().collect::<BTreeSet<_>>(), expected.iter().map(|name| key(name)).collect());
    }
}

/// As deep as a name can be: every name between is spelled out, and the one whose wildcard does not fit has none.
#[test]
fn the_longest_names() {
    let deepest = ["a"; 122].join(".");
    let universe = universe(&[(DENY_BELOW, &["a"]), (ALLOW, &[&deepest])]);
    let zone = universe.zone();
    assert_eq!(zone.len(), 122);
    let longest = zone.keys().next_back().unwrap();
    assert_eq!(longest.len(), 244);
    assert_eq!(zone[longest], Codes::new(Code::PASSTHRU, Code::SILENT));
    assert!(
        zone.iter().filter(|(key, _)| *key != longest).all(|(_, codes)| *codes == Codes::new(Code::NXDOMAIN, Code::NXDOMAIN))
    );
    let (label, other) = ("l".repeat(63), "m".repeat(63));
    let long = format!("{label}.{other}.{label}.example");
    let universe = self::universe(&[(DENY_BELOW, &["example"]), (ALLOW, &[&long])]);
    let resolvers = universe.zone();
    let resolvers = Resolvers::new(&resolvers);
    for model in MODELS {
        assert_eq!(resolvers.ask(model, &key(&long)), Code::PASSTHRU);
        assert_eq!(resolvers.ask(model, &key(&format!("{label}.{label}.example"))), Code::NXDOMAIN);
    }
}

/// What no zone can cure: a wildcard whose name is not there itself covers in unbound only what sorts behind the asterisk, which
/// leaves out labels of one octet before it, which hardly occur.
#[test]
fn unbound_and_a_wildcard_alone() {
    let mut universe = universe(&[(FEED, &[])]);
    universe.sources[0] = Source::from([(key("b"), Known::Listed(Codes::new(Code::SILENT, Code::DROP)))]);
    let zone = universe.zone();
    assert_eq!(text(&zone), "b. - drop\n");
    let resolvers = Resolvers::new(&zone);
    for (name, missed) in [("a.b", false), ("x.y.b", false), ("+.b", false), ("!.b", true), ("%.b", true), ("x.!.b", true)] {
        for model in MODELS {
            let misses = missed && matches!(model, Model::Predecessor | Model::CanonicalPredecessor);
            let expected = if misses { Code::SILENT } else { Code::DROP };
            assert_eq!(resolvers.ask(model, &key(name)), expected, "{name} {model:?}");
        }
    }
}

#[test]
fn too_many_names_are_not_changed_in_place() {
    // What is in the zone and is to go; what is not and is to come.
    check_too_many(DENY, "a. block block\n", 1);
    check_too_many(ALLOW, "a. block block\nn0.a. pass block\n", 101);
}

fn check_too_many(origin: Origin, begins: &str, nodes: usize) {
    let names: Vec<String> = (0..100).map(|number| format!("n{number}.a")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut universe = universe(&[(DENY_BELOW, &[]), (origin, &names)]);
    let zone = universe.zone();
    let mut writer = TableWriter::new(Vec::new()).unwrap();
    zone.iter().for_each(|(key, codes)| writer.push(key, *codes).unwrap());
    let base = TableFile::from_memory(writer.finish(1, &Palette::default()).unwrap().0).unwrap();
    let layers = Layers::new(Arc::new(base));
    // All of `a.` is blocked from now on.
    universe.sources[0].insert(key("a"), Known::Listed(Codes::LISTED));
    let kept = |names: &Source| {
        let mut changes = Tree::new();
        for (key, known) in names {
            changes.insert(key, *known);
        }
        Kept { table: None, changes, known: std::sync::Arc::new(|known| known) }
    };
    let sources: Vec<Kept<Known>> = universe.sources.iter().map(kept).collect();
    let touched = [Touched { key: key("a"), reaches: true }];
    for budget in [0, 1, 2, 50, 100, 101, 150] {
        let mut touch = Touch::new(&universe.weigh, &sources, universe.room, &layers, budget);
        assert!(matches!(touch.touch(touched), Err(TouchError::TooMany)), "{budget}");
        assert_eq!(collected(layers.cursor()), zone);
    }
    let mut touch = Touch::new(&universe.weigh, &sources, universe.room, &layers, 1000);
    touch.touch(touched).unwrap();
    let changed = touch.finish();
    let zone = collected(changed.layers.cursor());
    assert!(text(&zone).starts_with(begins) && zone.len() == nodes);
    let mut count = 0;
    changed.each(|_: &KeyBuf, _| count += 1).unwrap();
    assert_eq!(count, 101);
}
