//! Where names come from.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

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
    /// Names in a file beside this one. Format 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileSource>,
    /// A response policy zone that is transferred. Format 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpz: Option<RpzSource>,
    /// A file that is fetched. Format 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub https: Option<HttpsSource>,
}

impl Source {
    /// A source of no kind yet: an entry covers the name itself.
    #[must_use]
    pub fn new(name: impl Into<String>, list: List) -> Self {
        Self { name: name.into(), list, r#match: Match::Exact, core: None, inline: None, file: None, rpz: None, https: None }
    }
}

/// Observations of DNS TAPIR Core over MQTT; topic and keys come with the node material.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CoreSource {
    /// Longest life of an observation, whatever Core says. Format 2.
    #[serde(default = "longest_ttl", skip_serializing_if = "is_longest_ttl")]
    pub max_ttl_seconds: u32,
}

impl CoreSource {
    /// Thirty days: Core's observations live hours to days, and this bounds what one mistaken message can do.
    pub const LONGEST_TTL_SECONDS: u32 = 30 * 24 * 3600;
}

impl Default for CoreSource {
    fn default() -> Self {
        Self { max_ttl_seconds: Self::LONGEST_TTL_SECONDS }
    }
}

/// Names that stand in the configuration itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InlineSource {
    /// DNS names.
    pub names: Vec<String>,
}

/// How a list is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// One name a line.
    #[default]
    Domains,
    /// As `/etc/hosts`: an address, then names.
    Hosts,
    /// Comma separated values.
    Csv,
    /// A compiled list that is looked up and not listed.
    Dawg,
    /// Zone file of a response policy zone.
    Rpz,
}

/// Names in a file of the configuration's folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileSource {
    /// Name of the file; it lies beside `pop.yaml`.
    pub path: String,
    /// How it is written.
    #[serde(default)]
    pub format: Format,
}

/// A response policy zone of somebody else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RpzSource {
    /// Servers that it is transferred from, in this order.
    pub primaries: Vec<SocketAddr>,
    /// Name of the zone.
    pub zone: String,
    /// File with the TSIG key ([`crate::tsig::TsigKey::parse`]); it lies beside `pop.yaml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tsig_key_file: Option<String>,
    /// How often the primary is asked, in place of what the zone says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_seconds: Option<u32>,
    /// How long the last copy counts while no primary answers, in place of what the zone says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_seconds: Option<u32>,
}

/// A file on a web server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpsSource {
    /// Where it is.
    pub url: String,
    /// How it is written.
    #[serde(default)]
    pub format: Format,
    /// SHA-256 of the file, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// How often it is asked for.
    pub refresh_seconds: u32,
    /// How long the last copy counts while it cannot be fetched.
    pub keep_seconds: u32,
}

const fn longest_ttl() -> u32 {
    CoreSource::LONGEST_TTL_SECONDS
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_longest_ttl(seconds: &u32) -> bool {
    *seconds == CoreSource::LONGEST_TTL_SECONDS
}
