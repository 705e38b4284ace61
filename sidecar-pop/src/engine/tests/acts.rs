//! What may happen, and how it is thought up.

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use tapir_table::{Codes, KeyBuf, Palette};

use crate::setup::{NoFiles, Setup};

/// Sets of local data that the zone has room for: fewer than there are, so that places are used again and again.
pub(super) const ROOM: u16 = 6;
/// Sets of local data of a feed.
pub(super) const SETS: u8 = 11;
/// How long history may be.
pub(super) const VERSIONS: usize = 40;

/// A configuration of a few words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Config {
    pub(super) deny: Vec<String>,
    pub(super) allow: Vec<String>,
    pub(super) subtree: bool,
    pub(super) core_subtree: bool,
    pub(super) feed: bool,
    pub(super) redirect: u8,
    pub(super) observe: bool,
    pub(super) ttl: u32,
}

impl Config {
    pub(super) fn text(&self, folder: &Path) -> String {
        let names = |names: &[String]| names.join(", ");
        let r#match = |subtree: bool| if subtree { "Subtree" } else { "Exact" };
        let feed = "- {name: feed, list: Deny, keepAction: true, rpz: {primaries: ['192.0.2.1:53'], zone: feed.example.}}\n";
        let action = match self.redirect {
            0 => "{action: NXDOMAIN}".to_owned(),
            number => format!("{{action: Redirect, redirect: {{addresses: [192.0.2.{number}]}}}}"),
        };
        format!(
            "format: 2\ndataDir: {}\nrecordTtlSeconds: {}\nmode: {}\nsources:\n- {{name: deny, list: Deny, match: {}, inline: {{names: [{}]}}}}\n\
             - {{name: allow, list: Allow, match: {}, inline: {{names: [{}]}}}}\n{}- {{name: core, list: Doubt, match: {}, core: {{}}}}\n\
             deny: {action}\ndoubt: [{{name: one, anyTags: [globally_new], action: DROP}}]\njournal: {{serials: {VERSIONS}}}\n",
            folder.display(),
            self.ttl,
            if self.observe { "Observe" } else { "Enforce" },
            r#match(self.subtree),
            names(&self.deny),
            r#match(self.subtree),
            names(&self.allow),
            if self.feed { feed } else { "" },
            r#match(self.core_subtree),
        )
    }

    pub(super) fn setup(&self, folder: &Path) -> Arc<Setup> {
        Arc::new(Setup::parse(&self.text(folder), &mut NoFiles).unwrap().0)
    }
}

#[derive(Clone, Debug)]
pub(super) enum Act {
    Observe(String, u32, u32),
    Remove(String),
    /// The clock goes on, or is set.
    Time(i64),
    Config(Config),
    /// The feed's whole content, or changes of it: own and below of each.
    Whole(Vec<(String, u8, u8)>),
    Changes(Vec<(String, u8, u8)>),
    Expired,
    Publish,
    /// The builder gets its next work.
    Start,
    /// The builder's work is done and taken.
    Finish,
    Merge,
    Condense,
    Rebuild,
    Kill,
    PowerLoss(u8),
    /// Somebody removes the newest file of the log while it is down.
    Lost,
    End,
    /// The process ends behind so many more writes.
    Crash(u8),
}

pub(super) fn name() -> impl Strategy<Value = String> {
    let label = prop_oneof![3 => Just("a"), 3 => Just("b"), 1 => Just("c"), 1 => Just("aa")];
    prop::collection::vec(label, 1..5).prop_map(|labels| labels.join("."))
}

pub(super) fn config() -> impl Strategy<Value = Config> {
    let names = || prop::collection::vec(name(), 1..4);
    let rare = || prop::bool::weighted(0.2);
    (names(), names(), any::<bool>(), any::<bool>(), prop::bool::weighted(0.7), 0_u8..3, rare(), rare()).prop_map(
        |(deny, allow, subtree, core_subtree, feed, redirect, observe, other)| Config {
            deny,
            allow,
            subtree,
            core_subtree,
            feed,
            redirect,
            observe,
            ttl: if other { 60 } else { 3600 },
        },
    )
}

pub(super) fn records() -> impl Strategy<Value = Vec<(String, u8, u8)>> {
    prop::collection::vec((name(), 0_u8..16, 0_u8..16), 0..5)
}

pub(super) fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        16 => (name(), 1_u32..60, 0_u32..4).prop_map(|(name, ttl, tags)| Act::Observe(name, ttl, tags)),
        3 => name().prop_map(Act::Remove),
        8 => (1_i64..8_000).prop_map(Act::Time),
        2 => (-30_000_i64..0).prop_map(Act::Time),
        3 => config().prop_map(Act::Config),
        3 => records().prop_map(Act::Whole),
        4 => records().prop_map(Act::Changes),
        1 => Just(Act::Expired),
        12 => Just(Act::Publish),
        8 => Just(Act::Start),
        8 => Just(Act::Finish),
        3 => Just(Act::Merge),
        2 => Just(Act::Condense),
        2 => Just(Act::Rebuild),
        3 => Just(Act::Kill),
        2 => (0_u8..4).prop_map(Act::PowerLoss),
        1 => Just(Act::Lost),
        2 => Just(Act::End),
        4 => (0_u8..12).prop_map(Act::Crash),
    ]
}

/// A feed's local data: each index is an address.
pub(super) fn feed_palette(sets: u8) -> Palette {
    let mut palette = Palette::default();
    for last in 0..sets {
        palette.intern(tapir_table::RecordSet::new(vec![(1, vec![198, 51, 100, last])]).unwrap()).unwrap();
    }
    palette
}

pub(super) fn feed_codes(own: u8, below: u8) -> Codes {
    let code = |number: u8| match number {
        0..=2 => tapir_table::Code::set(number.into()).unwrap(),
        8.. => tapir_table::Code::set(u16::from(number) - 5).unwrap(),
        3 => tapir_table::Code::PASSTHRU,
        4 => tapir_table::Code::DROP,
        5 => tapir_table::Code::NXDOMAIN,
        _ => tapir_table::Code::SILENT,
    };
    Codes::new(code(own), code(below))
}

pub(super) fn key(text: &str) -> KeyBuf {
    KeyBuf::from_text(text, 245).unwrap()
}
