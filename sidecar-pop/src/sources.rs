//! Everything that is known, by source.

pub mod entry;
pub mod file;
pub mod list;
pub mod observations;

use jiff::SignedDuration;
use tapir_wire::config::pop::{List, Match, Mode};
use tapir_wire::name::Name;
use tapir_wire::tags::Tag;

use crate::names::self_and_ancestors;
use crate::policy::{Action, Decision, Evidence, Policy};
pub use list::NameList;
pub use observations::Observations;

/// Which answer is asked for: that of the name itself, or that of names below it which stand on no list themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The name.
    Itself,
    /// Any name below it.
    Below,
}

/// The source that observations of Core go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreSource {
    /// Its name in the policy.
    pub name: String,
    /// What an observation covers.
    pub r#match: Match,
    /// Longest life of an observation.
    pub max_ttl: SignedDuration,
}

impl CoreSource {
    /// Observations that cover the name itself and live as long as may be.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), r#match: Match::Exact, max_ttl: observations::LONGEST_TTL }
    }
}

/// A policy with its lists: everything that came with the configuration and decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whether matches are acted on.
    pub mode: Mode,
    /// Actions and rules.
    pub policy: Policy,
    /// Lists of names.
    pub lists: Vec<NameList>,
    /// Where Core's observations count, if they do.
    pub core: Option<CoreSource>,
}

/// Everything that is known at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Knowledge<'a> {
    /// From the configuration.
    pub rules: &'a Rules,
    /// From Core.
    pub observations: &'a Observations,
}

impl<'a> Knowledge<'a> {
    /// What happens to a name, and why.
    #[must_use]
    pub fn decide(&self, name: &Name) -> Decision {
        self.rules.policy.decide(&self.evidence(name, Scope::Itself))
    }

    /// What the zone must do to the name, or to those below it; in Observe mode every match is only logged.
    #[must_use]
    pub fn effect(&self, name: &Name, scope: Scope) -> Option<Action> {
        let effect = self.rules.policy.decide(&self.evidence(name, scope)).effect()?;
        Some(match self.rules.mode {
            Mode::Enforce => effect,
            Mode::Observe => Action::Passthru,
        })
    }

    /// Whether anything but an allow list covers whole subtrees.
    #[must_use]
    pub fn blocks_subtrees(&self) -> bool {
        let subtree = |list: &&NameList| list.list != List::Allow && list.r#match == Match::Subtree;
        self.rules.lists.iter().any(|list| subtree(&list)) || self.core().is_some_and(|core| core.r#match == Match::Subtree)
    }

    /// Every name of deny and doubt lists, several times where it is on several.
    pub fn suspects(&self) -> impl Iterator<Item = &'a Name> {
        let lists = self.rules.lists.iter().filter(|list| list.list != List::Allow).flat_map(NameList::names);
        let observed = self.core().into_iter().flat_map(|_| self.observations.live()).map(|(name, _)| name);
        lists.chain(observed)
    }

    /// Every name of allow lists.
    pub fn allowed(&self) -> impl Iterator<Item = &'a Name> {
        self.rules.lists.iter().filter(|list| list.list == List::Allow).flat_map(NameList::names)
    }

    fn core(&self) -> Option<&'a CoreSource> {
        self.rules.core.as_ref()
    }

    fn evidence(&self, name: &Name, scope: Scope) -> Evidence {
        let mut evidence = Evidence::default();
        for list in self.rules.lists.iter().filter(|list| list.covers(name, scope)) {
            match list.list {
                List::Allow => evidence.allowed = true,
                List::Deny => evidence.denied = true,
                List::Doubt => {
                    evidence.doubted = true;
                    evidence.doubt_sources += 1;
                }
            }
        }
        if let Some(tags) = self.observed(name, scope) {
            evidence.doubted = true;
            evidence.tags = tags;
            // Neither tags at all nor only that of the loop test is a finding about the name; no tags is what upstream counts.
            evidence.doubt_sources += u32::from(tags != Tag::LOOPTEST.mask());
        }
        evidence
    }

    /// Tags of all observations that cover the name.
    fn observed(&self, name: &Name, scope: Scope) -> Option<u32> {
        match (self.core()?.r#match, scope) {
            (Match::Exact, Scope::Itself) => self.observations.tags(name),
            (Match::Exact, Scope::Below) => None,
            (Match::Subtree, _) => {
                self_and_ancestors(name).filter_map(|name| self.observations.tags(&name)).reduce(|all, tags| all | tags)
            }
        }
    }
}
