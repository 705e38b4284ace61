//! Where names come from.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::forms::is_default;

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
    /// Names of a deny list get the action of their own record in place of the policy's. Format 2.
    #[serde(default, skip_serializing_if = "is_default")]
    pub keep_action: bool,
}

impl Source {
    /// A source of no kind yet: an entry covers the name itself.
    #[must_use]
    pub fn new(name: impl Into<String>, list: List) -> Self {
        Self {
            name: name.into(),
            list,
            r#match: Match::Exact,
            core: None,
            inline: None,
            file: None,
            rpz: None,
            https: None,
            keep_action: false,
        }
    }

    /// Whether its entries are records with an action each.
    #[must_use]
    pub fn has_records(&self) -> bool {
        let format = self.file.as_ref().map(|file| file.format).or(self.https.as_ref().map(|https| https.format));
        self.rpz.is_some() || format == Some(Format::Rpz)
    }
}

/// Observations of DNS TAPIR Core over MQTT; topic and keys come with the node material.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CoreSource {
    /// Longest life of an observation, whatever Core says. Format 2.
    #[serde(default = "longest_ttl", skip_serializing_if = "is_longest_ttl")]
    pub max_ttl_seconds: u32,
    /// Topics that carry it; where none is said, the one that comes with the node material. Format 2, as everything below.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topics: Vec<String>,
    /// What Core calls the list; messages for another one are refused.
    #[serde(default = "core_list", skip_serializing_if = "is_core_list")]
    pub list_name: String,
    /// Messages that were signed longer ago are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age_seconds: Option<u32>,
    /// Servers that tell a POP which starts what was observed before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<Bootstrap>,
}

impl CoreSource {
    /// Thirty days: Core's observations live hours to days, and this bounds what one mistaken message can do.
    pub const LONGEST_TTL_SECONDS: u32 = 30 * 24 * 3600;
    /// What Core calls its list today.
    pub const LIST_NAME: &str = "dns-tapir";
}

impl Default for CoreSource {
    fn default() -> Self {
        Self {
            max_ttl_seconds: Self::LONGEST_TTL_SECONDS,
            topics: Vec::new(),
            list_name: Self::LIST_NAME.to_owned(),
            max_age_seconds: None,
            bootstrap: None,
        }
    }
}

/// Servers that export what they have observed, as upstream's POP does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bootstrap {
    /// Asked in this order until one answers.
    pub servers: Vec<SocketAddr>,
    /// Where their interface is, with `%s` for the server; `https://%s/api/v1` where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// File with the key that they ask for; it lies beside `pop.yaml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<String>,
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileSource {
    /// Name of the file, beside `pop.yaml`; or its whole path.
    pub path: String,
    /// How it is written.
    #[serde(default)]
    pub format: Format,
    /// The column that holds the name, from 1, with `format: Csv`; the second where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// Whether the first line is a heading, with `format: Csv`; it is where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<bool>,
    /// Name of the zone, with `format: Rpz`; that of its SOA where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

/// A response policy zone of somebody else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Not more often than this, whatever the zone says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_refresh_seconds: Option<u32>,
    /// Not less often than this, whatever the zone says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_refresh_seconds: Option<u32>,
    /// What becomes of records that answer with data.
    #[serde(default, skip_serializing_if = "is_default")]
    pub local_data: LocalData,
}

/// Records of a feed that answer with data of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LocalData {
    /// They count as what they are.
    #[default]
    Keep,
    /// They are left out, and counted.
    Drop,
}

/// A file on a web server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// A signature in place of a hash: the list may change, who made it may not. Format 2, as everything below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
    /// File with the certificates that the server's is checked against; it lies beside `pop.yaml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// The column that holds the name, from 1, with `format: Csv`; the second where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// Whether the first line is a heading, with `format: Csv`; it is where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<bool>,
    /// Name of the zone, with `format: Rpz`; that of its SOA where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

/// An Ed25519 signature (RFC 8032) over the file, in a file of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Signature {
    /// File with the public key; it lies beside `pop.yaml`.
    pub public_key_file: String,
    /// Where the signature is; the list's URL with `.sig` where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

const fn longest_ttl() -> u32 {
    CoreSource::LONGEST_TTL_SECONDS
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_longest_ttl(seconds: &u32) -> bool {
    *seconds == CoreSource::LONGEST_TTL_SECONDS
}

fn core_list() -> String {
    CoreSource::LIST_NAME.to_owned()
}

fn is_core_list(name: &str) -> bool {
    name == CoreSource::LIST_NAME
}
