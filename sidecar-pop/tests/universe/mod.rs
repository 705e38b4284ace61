//! Small random worlds: sources, a policy, and what follows from both by the plainest reading of the documentation.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod resolvers;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use tapir_pop::policy::{Action, Finding, Policy, Rule};
use tapir_pop::zone::emit::Emit;
use tapir_pop::zone::known::{Known, action, code};
use tapir_pop::zone::weigh::{Origin, Weigh};
use tapir_pop::zone::{LocalData, LocalIndex};
use tapir_table::{Code, Codes, Cursor, KeyBuf, Listed, Merge};
use tapir_wire::config::pop::{List, Match, Mode};

pub type Source = BTreeMap<KeyBuf, Known>;
pub type Zone = BTreeMap<KeyBuf, Codes>;

/// Everything that decides.
#[derive(Clone, Debug)]
pub struct Universe {
    pub weigh: Weigh,
    /// As many as the policy knows of.
    pub sources: Vec<Source>,
    /// Octets that a key may take.
    pub room: usize,
}

pub fn key(text: &str) -> KeyBuf {
    KeyBuf::from_text(text, 254).unwrap()
}

/// Few labels, so that names meet; one that sorts differently by length and by letters.
pub fn names() -> impl Strategy<Value = KeyBuf> {
    vec(prop_oneof![3 => Just("a"), 3 => Just("b"), 1 => Just("c"), 1 => Just("aa")], 1..6)
        .prop_map(|labels| key(&labels.join(".")))
}

pub fn actions() -> impl Strategy<Value = Action> {
    let all = [
        Action::Drop,
        Action::Nxdomain,
        Action::Nodata,
        Action::Local(LocalIndex(0)),
        Action::Local(LocalIndex(1)),
        Action::TcpOnly,
    ];
    prop_oneof![1 => Just(Action::Passthru), 4 => prop::sample::select(all.to_vec())]
}

fn tags() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0_u32), Just(1), Just(2), Just(3), Just(1024), Just(1025)]
}

/// What the source of this kind says of a name.
pub fn known(origin: Origin, observes: bool) -> BoxedStrategy<Known> {
    if observes {
        return tags().prop_map(Known::Observed).boxed();
    }
    if !origin.records {
        return Just(Known::Listed(Codes::LISTED)).boxed();
    }
    let some = || actions().prop_map(code);
    let none = || Just(Code::SILENT);
    let both = |own, below| Known::Listed(Codes::new(own, below));
    prop_oneof![
        2 => (some(), none()).prop_map(move |(own, below)| both(own, below)),
        2 => (some(), some()).prop_map(move |(own, below)| both(own, below)),
        1 => (none(), some()).prop_map(move |(own, below)| both(own, below)),
    ]
    .boxed()
}

fn origins() -> impl Strategy<Value = (Origin, bool)> {
    let class = prop_oneof![1 => Just(List::Allow), 2 => Just(List::Deny), 2 => Just(List::Doubt)];
    let matches = prop_oneof![Just(Match::Exact), Just(Match::Subtree)];
    // A list, a feed, observations.
    (class, matches, 0_u8..3, any::<bool>()).prop_map(|(list, r#match, kind, keeps_action)| match kind {
        0 => (Origin { list, r#match, records: false, keeps_action: false }, false),
        1 => (Origin { list, r#match: Match::Exact, records: true, keeps_action }, false),
        _ => (Origin { list: List::Doubt, r#match, records: false, keeps_action: false }, true),
    })
}

fn rules() -> impl Strategy<Value = Rule> {
    let conditions =
        (option::of(1_u32..4), option::weighted(0.2, 1_u32..4), option::weighted(0.2, 1_u32..3), option::of(1_u32..3));
    (conditions, actions()).prop_map(|((any_tags, all_tags, min_tags, min_sources), action)| Rule {
        name: String::new(),
        any_tags,
        all_tags,
        min_tags,
        min_sources,
        action,
    })
}

pub fn policies() -> impl Strategy<Value = (Policy, Mode)> {
    let mode = prop_oneof![5 => Just(Mode::Enforce), 1 => Just(Mode::Observe)];
    let deny = actions().prop_filter("would be no denial", |action| *action != Action::Passthru);
    (deny, vec(rules(), 0..4), mode).prop_map(|(deny, rules, mode)| {
        let address = |text: &str| LocalData::Addresses(vec![text.parse::<IpAddr>().unwrap()]);
        let locals = Arc::new([address("192.0.2.1"), address("2001:db8::1")]);
        (Policy { locals, ..Policy::new(deny, rules) }, mode)
    })
}

pub fn universes(names_each: usize) -> impl Strategy<Value = Universe> {
    let source = move |(origin, observes)| (Just((origin, observes)), btree_map(names(), known(origin, observes), 0..names_each));
    let sources = vec(origins().prop_flat_map(source), 1..5);
    let room = prop_oneof![6 => Just(245_usize), 1 => 4_usize..14];
    (sources, policies(), room).prop_map(|(sources, (policy, mode), room)| {
        let origins = sources.iter().map(|((origin, _), _)| *origin).collect();
        let sources = sources.into_iter().map(|(_, names)| names).collect();
        Universe { weigh: Weigh { policy, mode, origins }, sources, room }
    })
}

impl Universe {
    /// What is decided about a name.
    pub fn decide(&self, name: &KeyBuf) -> Option<Action> {
        let findings = self.weigh.origins.iter().zip(&self.sources).filter_map(|(origin, names)| finding(*origin, names, name));
        self.weigh.policy.decide(&findings.collect::<Vec<_>>()).published(self.weigh.mode)
    }

    /// All that the sources say.
    pub fn merged(&self) -> Merge<Listed<Known>> {
        let cursor = |names: &Source| Listed::new(names.iter().map(|(key, known)| (*key, *known)).collect()).unwrap();
        Merge::new(self.sources.iter().map(cursor).collect())
    }

    /// The whole zone.
    pub fn zone(&self) -> Zone {
        collected(Emit::new(&self.weigh, &mut self.merged(), self.room))
    }

    /// The names that are listed, those around them, and some below.
    pub fn questions(&self) -> BTreeSet<KeyBuf> {
        let listed: BTreeSet<KeyBuf> = self.sources.iter().flat_map(|names| names.keys().copied()).collect();
        let mut asked = BTreeSet::new();
        for name in &listed {
            for border in name.borders() {
                let above = name.truncated(border);
                asked.insert(above);
                for below in [&b"\x01a"[..], b"\x01b", b"\x02aa", b"\x01z", b"\x01z\x01a", b"\x01a\x01z", b"\x05other"] {
                    asked.insert(KeyBuf::from_key(&[above.as_bytes(), below].concat()).unwrap());
                }
            }
        }
        asked.retain(|name| name.len() <= self.room);
        asked
    }
}

/// What a source says of a name, by the book.
fn finding(origin: Origin, names: &Source, name: &KeyBuf) -> Option<Finding> {
    let subtree = origin.r#match == Match::Subtree;
    let path: Vec<_> = name.borders().map(|border| name.truncated(border)).collect();
    let observed = |known: &Known| match known {
        Known::Observed(tags) => Some(*tags),
        _ => None,
    };
    let covering = path.iter().filter(|above| subtree || *above == name);
    if let Some(tags) = covering.filter_map(|above| observed(names.get(above)?)).reduce(|all, tags| all | tags) {
        return Some(Finding::observed(origin.list, tags));
    }
    let asked = path.iter().rev().find_map(|above| {
        let Some(Known::Listed(codes)) = names.get(above) else { return None };
        let own = action(codes.own).filter(|_| above == name || subtree);
        let below = action(codes.below).filter(|_| above != name);
        below.or(own)
    })?;
    Some(if origin.records { Finding::recorded(origin.list, asked, origin.keeps_action) } else { Finding::listed(origin.list) })
}

/// Everything that a cursor has. Checks what it says about neighbours on the way.
pub fn collected(mut cursor: impl Cursor<Value = Codes>) -> Zone {
    let mut zone = Zone::new();
    let mut before: Option<KeyBuf> = None;
    while cursor.advance().unwrap() {
        if let Some(before) = before {
            assert!(before < *cursor.key(), "{before} {}", cursor.key());
            let shared = tapir_table::common_prefix(before.as_bytes(), cursor.key().as_bytes());
            assert_eq!(cursor.shared(), shared, "{before} {}", cursor.key());
        }
        assert_ne!(cursor.value(), Codes::SILENT, "{}", cursor.key());
        before = Some(*cursor.key());
        zone.insert(*cursor.key(), cursor.value());
    }
    assert!(!cursor.advance().unwrap(), "stays at the end");
    zone
}
