//! Sources as the configuration has them, and lists that come with it.

pub mod entry;
pub mod fetch;
pub mod file;
pub mod list;

use jiff::SignedDuration;
use tapir_wire::config::pop::{self, Match, Mode};

use crate::knowledge::observations::LONGEST_TTL;
use crate::policy::Policy;
pub use list::{ListText, Text};

/// A source that observations of Core go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreSource {
    /// Its name in the policy.
    pub name: String,
    /// What an observation covers.
    pub r#match: Match,
    /// Longest life of an observation.
    pub max_ttl: SignedDuration,
    /// Topics that carry it; none: the one that comes with the node material.
    pub topics: Vec<String>,
    /// What Core calls the list.
    pub list_name: String,
    /// Messages that were made longer ago are refused.
    pub max_age: Option<SignedDuration>,
}

impl CoreSource {
    /// Observations that cover the name itself and live as long as may be.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            r#match: Match::Exact,
            max_ttl: LONGEST_TTL,
            topics: Vec::new(),
            list_name: pop::CoreSource::LIST_NAME.to_owned(),
            max_age: None,
        }
    }
}

/// A policy with its lists: everything that came with the configuration and decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whether matches are acted on.
    pub mode: Mode,
    /// Actions and rules.
    pub policy: Policy,
    /// Lists that came with the configuration.
    pub lists: Vec<ListText>,
    /// Where Core's observations count.
    pub cores: Vec<CoreSource>,
}
