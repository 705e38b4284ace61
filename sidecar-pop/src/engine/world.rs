//! Everything that decides at one moment: the policy and what each of its sources says.

use std::collections::BTreeMap;
use std::sync::Arc;

use tapir_table::{Hit, Palette};

use crate::metrics::Deciding;
use crate::policy::{Action, Policy};
use crate::setup::Setup;
use crate::zone::judge::Judge as _;
use crate::zone::known::{Known, action};
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
}

impl World {
    /// What the configuration and its sources make. `of` gives what a source says; the palette gains what redirects need.
    pub(super) fn new(setup: &Arc<Setup>, palette: &mut Palette, mut of: impl FnMut(&str) -> (AnySource, u64)) -> Self {
        let origins = setup.bindings.iter().map(|binding| Origin {
            list: binding.list,
            r#match: binding.r#match,
            records: binding.records,
            keeps_action: binding.keeps_action,
        });
        let judge =
            Weigh { policy: with_palette(&setup.rules.policy, palette), mode: setup.rules.mode, origins: origins.collect() };
        let names: Vec<Arc<str>> = setup.bindings.iter().map(|binding| Arc::from(binding.source.as_str())).collect();
        let (sources, wholes) = names.iter().map(|name| of(name)).unzip();
        Self { setup: Arc::clone(setup), judge, deciding: Deciding::default(), sources, names, wholes }
    }

    /// Whether it has this whole of a source, so that changes of that fit.
    #[must_use]
    pub(super) fn fits(&self, name: &str, whole: u64) -> bool {
        self.names.iter().zip(&self.wholes).any(|(known, has)| **known == *name && *has == whole)
    }

    /// Goes over to what a source says by now; false where the configuration does not have it.
    pub(super) fn refresh(&mut self, name: &str, source: &AnySource) -> bool {
        let mut found = false;
        for (known, slot) in self.names.iter().zip(&mut self.sources) {
            if **known == *name {
                *slot = source.clone();
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

/// The same with redirects as indices of the palette. Where that is full, they say the least that is wrong.
fn with_palette(policy: &Policy, palette: &mut Palette) -> Policy {
    let code = |local: &LocalData, palette: &mut Palette| local.records().and_then(|set| palette.intern(set)).ok();
    let codes: BTreeMap<LocalIndex, Action> = policy
        .locals
        .iter()
        .zip(0_u16..)
        .map(|(local, index)| (LocalIndex(index), code(local, palette).and_then(action).unwrap_or(Action::Nxdomain)))
        .collect();
    let of = |action: Action| match action {
        Action::Local(index) => codes.get(&index).copied().unwrap_or(Action::Nxdomain),
        other => other,
    };
    let mut policy = policy.clone();
    policy.deny = of(policy.deny);
    for rule in &mut policy.rules {
        rule.action = of(rule.action);
    }
    policy
}
