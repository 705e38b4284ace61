//! `pop.yaml`: a TapirPolicy as POP sees it, and where the zone is served.

mod access;
mod action;
mod check;
mod format;
mod forms;
mod key_names;
mod output;
mod read;
mod service;
mod source;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::node::paths;
pub use access::{Access, Client, Network};
pub use action::{Action, Deny, DenyAction, Redirect};
use forms::is_default;
pub use output::{Journal, Limits, NotifyTarget, Soa, ZoneFile};
pub use service::{Admin, Api, GlobalConfig, Peers, Telemetry};
pub use source::{
    Bootstrap, CoreSource, FileSource, Format, HttpsSource, InlineSource, List, LocalData, Match, RpzSource, Signature, Source,
};

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
    /// Where the zone is served, UDP and TCP. Several: format 2.
    #[serde(default = "default_listen", with = "forms::one_or_many")]
    pub listen: Vec<SocketAddr>,
    /// Where `/livez`, `/readyz`, `/metrics` and `/status` are served.
    #[serde(default = "default_http_listen")]
    pub http_listen: SocketAddr,
    /// Folder of everything that POP keeps.
    #[serde(default = "default_data_dir")]
    pub data_dir: PathBuf,
    /// Resolvers that are told of a new serial.
    #[serde(default)]
    pub notify: Vec<NotifyTarget>,
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
    /// What the zone says of itself. Format 2, as everything below.
    #[serde(default, skip_serializing_if = "is_default")]
    pub soa: Soa,
    /// Who may ask for the zone.
    #[serde(default, skip_serializing_if = "is_default")]
    pub access: Access,
    /// The zone as a file, for resolvers that transfer none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone_file: Option<ZoneFile>,
    /// While changes stream in, one serial each so often; the first change after a pause is published at once.
    #[serde(default = "default_publish_interval", skip_serializing_if = "is_default_publish_interval")]
    pub publish_interval_milliseconds: u32,
    /// How far back a resolver may lie and still be told differences only.
    #[serde(default, skip_serializing_if = "is_default")]
    pub journal: Journal,
    /// What may be held at most.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: Limits,
    /// The edge's other POPs, which tell one that starts what Core told them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peers: Option<Peers>,
    /// Settings that Core sends.
    #[serde(default, skip_serializing_if = "is_default")]
    pub global_config: GlobalConfig,
    /// Counters and events to Core.
    #[serde(default, skip_serializing_if = "is_default")]
    pub telemetry: Telemetry,
    /// For `tapir-pop ctl`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub admin: Admin,
    /// What upstream's tool talks to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<Api>,
}

impl PopConfig {
    /// The newest version that this build fully knows.
    pub const FORMAT: u32 = 2;
    /// Lifetime of the records of the policy where nothing is said: upstream's, and resolvers' policy engines do not look at it.
    pub const RECORD_TTL_SECONDS: u32 = 3600;
    /// See [`Self::publish_interval_milliseconds`]: ten serials a second at most.
    pub const PUBLISH_INTERVAL_MILLISECONDS: u32 = 100;
    /// Sources that one policy may have.
    pub const MOST_SOURCES: usize = 256;
    /// Doubt rules that one policy may have: which of them fired is one word.
    pub const MOST_RULES: usize = 64;
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
fn default_listen() -> Vec<SocketAddr> {
    vec![paths::RPZ_LISTEN.parse().expect("RPZ_LISTEN is a socket address")]
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

const fn default_publish_interval() -> u32 {
    PopConfig::PUBLISH_INTERVAL_MILLISECONDS
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_default_publish_interval(milliseconds: &u32) -> bool {
    *milliseconds == PopConfig::PUBLISH_INTERVAL_MILLISECONDS
}
