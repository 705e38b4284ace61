//! `pop.yaml`: a TapirPolicy as POP sees it, and where the zone is served.

mod check;
mod read;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::node::paths;

/// Configuration of POP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PopConfig {
    /// Version of this file, [`PopConfig::FORMAT`].
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
}

impl PopConfig {
    /// The version that this build writes and fully knows.
    pub const FORMAT: u32 = 1;
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

/// Class of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum List {
    /// Never blocked.
    Allow,
    /// Always blocked.
    Deny,
    /// Blocked when a doubt rule says so.
    Doubt,
}

/// What an entry of a list covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Match {
    /// The name itself.
    #[default]
    Exact,
    /// The name and everything below it.
    Subtree,
}

/// One list of names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// Unique name.
    pub name: String,
    /// Class.
    pub list: List,
    /// What an entry covers.
    #[serde(default)]
    pub r#match: Match,
    /// Observations of DNS TAPIR Core. Exactly one of the kinds is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core: Option<CoreSource>,
    /// Names that stand in this file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inline: Option<InlineSource>,
}

/// Observations of DNS TAPIR Core over MQTT; topic and keys come with the node material.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CoreSource {}

/// Names that stand in the configuration itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InlineSource {
    /// DNS names.
    pub names: Vec<String>,
}

/// What the resolver does with a matching name. The order is that of restriction, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Action {
    /// Answered as usual: nothing is published for the name, so that a rule with this action exempts nobody from a stricter one.
    #[serde(rename = "PASSTHRU")]
    Passthru,
    /// Answered over TCP only (`rpz-tcp-only.`).
    #[serde(rename = "TCP-ONLY")]
    TcpOnly,
    /// The name exists, the type does not (`*.`).
    #[serde(rename = "NODATA")]
    Nodata,
    /// The name does not exist (`.`).
    #[serde(rename = "NXDOMAIN")]
    Nxdomain,
    /// No answer at all (`rpz-drop.`).
    #[serde(rename = "DROP")]
    Drop,
}

/// Action for deny lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deny {
    /// The action.
    pub action: Action,
}

impl Default for Deny {
    fn default() -> Self {
        Self { action: Action::Nxdomain }
    }
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
    /// The action when the rule fires.
    pub action: Action,
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
