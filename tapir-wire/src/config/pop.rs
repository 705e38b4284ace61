//! `pop.yaml`: a TapirPolicy as POP sees it, and where the zone is served.

mod action;
mod check;
mod format;
mod read;
mod source;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::node::paths;
pub use action::{Action, Deny, DenyAction, Redirect};
pub use source::{CoreSource, FileSource, Format, HttpsSource, InlineSource, List, Match, RpzSource, Source};

/// Configuration of POP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PopConfig {
    /// Version of this file, [`PopConfig::FORMAT`] at most; [`PopConfig::to_yaml`] writes [`PopConfig::needed_format`].
    pub format: u32,
    /// Opaque mark of who rendered what; comes back in `/status`.
    #[serde(default)]
    pub revision: String,
    /// The edge was offboarded: no connection to Core; local lists are served on.
    #[serde(default)]
    pub disabled: bool,
    /// Whether matches are acted on or only logged by the resolver.
    #[serde(default)]
    pub mode: Mode,
    /// Name of the response policy zone.
    #[serde(default = "default_zone")]
    pub zone: String,
    /// Where the zone is served, UDP and TCP.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// Where `/livez`, `/readyz`, `/metrics` and `/status` are served.
    #[serde(default = "default_http_listen")]
    pub http_listen: SocketAddr,
    /// Folder of everything that POP keeps.
    #[serde(default = "default_data_dir")]
    pub data_dir: PathBuf,
    /// Resolvers that are told of a new serial.
    #[serde(default)]
    pub notify: Vec<SocketAddr>,
    /// Where names come from.
    #[serde(default)]
    pub sources: Vec<Source>,
    /// What happens to names on deny lists.
    #[serde(default)]
    pub deny: Deny,
    /// What happens to names on doubt lists: all rules are evaluated, the most restrictive action wins.
    #[serde(default)]
    pub doubt: Vec<DoubtRule>,
    /// Lifetime of the records of the policy, in seconds. Format 2.
    #[serde(default = "default_record_ttl", skip_serializing_if = "is_default_record_ttl")]
    pub record_ttl_seconds: u32,
}

impl PopConfig {
    /// The newest version that this build fully knows.
    pub const FORMAT: u32 = 2;
    /// Lifetime of the records of the policy where nothing is said: upstream's, and resolvers' policy engines do not look at it.
    pub const RECORD_TTL_SECONDS: u32 = 3600;
}

/// Whether the policy is in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Matches get the policy's action.
    #[default]
    Enforce,
    /// Every match is published as `rpz-passthru.`: resolvers log, nothing is blocked.
    Observe,
}

/// One rule for names on doubt lists. Every condition that is given must hold; at least one must be given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DoubtRule {
    /// Unique name, shown where the rule decided.
    pub name: String,
    /// At least one of these tags (`globally_new`, `newly_registered`, `registry_investigation`, `looptest`, `bit0` to `bit31`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub any_tags: Vec<String>,
    /// All of these tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub all_tags: Vec<String>,
    /// At least so many tags. `looptest` does not count here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_tags: Option<u32>,
    /// On at least so many doubt lists. A list that has the name for a loop test alone does not count. Format 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_sources: Option<u32>,
    /// The action when the rule fires.
    pub action: Action,
    /// Where to, with `action: Redirect`. Format 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect: Option<Redirect>,
}

fn default_zone() -> String {
    "dnstapir.".to_owned()
}

#[expect(clippy::expect_used, reason = "a constant of this crate, parsed by a test")]
fn default_listen() -> SocketAddr {
    paths::RPZ_LISTEN.parse().expect("RPZ_LISTEN is a socket address")
}

fn default_http_listen() -> SocketAddr {
    SocketAddr::from(([0u16; 8], paths::POP_HTTP_PORT))
}

fn default_data_dir() -> PathBuf {
    paths::POP_STATE_DIRECTORY.into()
}

const fn default_record_ttl() -> u32 {
    PopConfig::RECORD_TTL_SECONDS
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_default_record_ttl(seconds: &u32) -> bool {
    *seconds == PopConfig::RECORD_TTL_SECONDS
}
