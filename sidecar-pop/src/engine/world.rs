//! Everything that decides at one moment: the policy and what each of its sources says.

use std::collections::BTreeMap;
use std::sync::Arc;

use tapir_table::{Hit, Palette, ReadError};

use super::list::{Asking, List, Lost};
use crate::metrics::Deciding;
use crate::policy::{Action, Policy};
use crate::setup::Setup;
use crate::zone::judge::Judge as _;
use crate::zone::known::{Known, action};
use crate::zone::sets::Sets;
use crate::zone::source::AnySource;
use crate::zone::weigh::{Origin, Weigh};
use crate::zone::{LocalData, LocalIndex};

/// Policy and sources that belong together.
#[derive(Clone, Debug)]
pub(super) struct World {
    /// The configuration that it is made of.
    pub(super) setup: Arc<Setup>,
    /// Decides. Redirects are those of the zone's palette.
    pub(super) judge: Weigh,
    /// Counts what it decides, if that is wanted.
    pub(super) deciding: Deciding,
    /// In the order of the configuration.
    pub(super) sources: Vec<AnySource>,
    /// Their names.
    pub(super) names: Vec<Arc<str>>,
    /// Which whole of each it is.
    wholes: Vec<u64>,
    /// The zone's palette: begun with the world, so that nothing is in it that was in use before only.
    pub(super) sets: Sets,
    /// Sources whose local data had no room.
    lost: Vec<Lost>,
    /// What they are, while it is made into a zone.
    asking: Vec<Option<Asking>>,
    /// Redirects of the policy that had none.
    lost_redirects: usize,
}

/// What a source says.
#[derive(Debug)]
pub(super) enum Says<'a> {
    /// Not by means of local data.
    Plain(AnySource),
    /// A list.
    List(&'a List),
}

/// Local data that the zone has no room for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unplaced {
    /// Names of each source that are blocked in its place.
    pub(super) names: Vec<(Arc<str>, u64)>,
    /// Redirects of the policy.
    pub(super) redirects: usize,
}

impl World {
    /// What the configuration and its sources make, with a palette of its own that has room for so many sets.
    pub(super) fn new<'a>(setup: &Arc<Setup>, room: u16, of: impl Fn(&str) -> Says<'a>) -> Self {
        let origins = setup.bindings.iter().map(|binding| Origin {
            list: binding.list,
            r#match: binding.r#match,
            records: binding.records,
            keeps_action: binding.keeps_action,
        });
        let sets = Sets::of(Palette::with_room(room));
        // They come first: a redirect of the policy stands for as many names as there are.
        let (policy, lost_redirects) = with_palette(&setup.rules.policy, &sets);
        let judge = Weigh { policy, mode: setup.rules.mode, origins: origins.collect() };
        let names: Vec<Arc<str>> = setup.bindings.iter().map(|binding| Arc::from(binding.source.as_str())).collect();
        let lost: Vec<Lost> = names.iter().map(|_| Lost::default()).collect();
        let says: Vec<Says<'_>> = names.iter().map(|name| of(name)).collect();
        let wholes = says.iter().map(|says| if let Says::List(list) = says { list.whole } else { 0 }).collect();
        let asking = says.iter().map(|says| if let Says::List(list) = says { Some(list.asking()) } else { None }).collect();
        let sources = says
            .into_iter()
            .zip(&lost)
            .map(|(says, lost)| match says {
                Says::Plain(source) => source,
                Says::List(list) => list.source(&sets, lost),
            })
            .collect();
        let deciding = Deciding::default();
        Self { setup: Arc::clone(setup), judge, deciding, sources, names, wholes, sets, lost, asking, lost_redirects }
    }

    /// Local data that has no room in the zone that was made of it.
    pub(super) fn unplaced(&self) -> Result<Unplaced, ReadError> {
        let palette = self.sets.now();
        let mut names = Vec::new();
        for ((name, lost), asking) in self.names.iter().zip(&self.lost).zip(&self.asking) {
            if let Some(asking) = asking.as_ref().filter(|_| lost.is_so()) {
                names.push((Arc::clone(name), asking.without(&palette)?));
            }
        }
        Ok(Unplaced { names, redirects: self.lost_redirects })
    }

    /// It was made into a zone.
    pub(super) fn made(&mut self) {
        self.asking.clear();
    }

    /// How many sources have local data that had no room.
    #[must_use]
    pub(super) fn lost(&self) -> usize {
        self.lost.iter().filter(|lost| lost.is_so()).count()
    }

    /// Whether it has this whole of a source, so that changes of that fit.
    #[must_use]
    pub(super) fn fits(&self, name: &str, whole: u64) -> bool {
        self.names.iter().zip(&self.wholes).any(|(known, has)| **known == *name && *has == whole)
    }

    /// Goes over to what a source says by now; false where the configuration does not have it.
    pub(super) fn refresh(&mut self, name: &str, says: &Says<'_>) -> bool {
        let mut found = false;
        for ((known, slot), lost) in self.names.iter().zip(&mut self.sources).zip(&self.lost) {
            if **known == *name {
                *slot = match says {
                    Says::Plain(source) => source.clone(),
                    Says::List(list) => list.source(&self.sets, lost),
                };
                found = true;
            }
        }
        found
    }

    /// Whether an entry of a source, as it was or is, says something about names below it.
    #[must_use]
    pub(super) fn reaches(&self, name: &str, values: &[Known]) -> bool {
        let Some(index) = self.names.iter().position(|known| **known == *name) else { return false };
        values.iter().any(|value| self.judge.reaches(&[Hit { index, value: *value }]))
    }

    /// Octets that a key may take.
    #[must_use]
    pub(super) fn room(&self) -> usize {
        self.setup.zone.room()
    }
}

/// The same with redirects as indices of the palette, and how many have no room there. They say the least that is wrong.
fn with_palette(policy: &Policy, sets: &Sets) -> (Policy, usize) {
    let code = |local: &LocalData| local.records().ok().and_then(|set| sets.code(&set));
    let codes: BTreeMap<LocalIndex, Action> = policy
        .locals
        .iter()
        .zip(0_u16..)
        .filter_map(|(local, index)| Some((LocalIndex(index), code(local).and_then(action)?)))
        .collect();
    let lost = policy.locals.len() - codes.len();
    let of = |action: Action| match action {
        Action::Local(index) => codes.get(&index).copied().unwrap_or(Action::Nxdomain),
        other => other,
    };
    let mut policy = policy.clone();
    policy.deny = of(policy.deny);
    for rule in &mut policy.rules {
        rule.action = of(rule.action);
    }
    (policy, lost)
}
