//! Where names come from.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tapir_wire::config::pop;

use crate::api::references::{ConfigMapKey, TsigKey};
use crate::api::schema::DNS_LABEL;

/// A DNS name in presentation format, with or without its final dot; not the root, which would block everything.
const DOMAIN: &str = r"^[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?$";
/// Data that could not be fetched again is dropped after so long: a week bears a failure over holidays.
const KEEP_SECONDS: u32 = 7 * 24 * 3600;
const REFRESH_SECONDS: u32 = 3600;
/// Thirty days, beyond which an observation says nothing of a name any more.
const MAX_TTL_SECONDS: u32 = 30 * 24 * 3600;

/// Class of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum List {
    /// Never blocked.
    Allow,
    /// Always blocked.
    Deny,
    /// Blocked when a rule in `spec.doubt` says so.
    Doubt,
}

/// What an entry of a list covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Match {
    /// The name itself.
    #[default]
    Exact,
    /// The name and everything below it.
    Subtree,
}

/// How a list is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema, strum::EnumIter)]
pub enum Format {
    /// A name a line; `#` begins a comment.
    #[default]
    Domains,
    /// As `/etc/hosts`: an address, then names.
    Hosts,
    /// A name in the first column.
    Csv,
    /// A compiled set of names.
    Dawg,
    /// A zone file of a response policy zone.
    Rpz,
}

/// One list of names.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "[has(self.core), has(self.inline), has(self.configMapRef), has(self.rpz), has(self.https)].filter(kind, kind).size() == 1",
    "a source needs exactly one of core, inline, configMapRef, rpz and https: give core: {} for observations of DNS TAPIR Core"
), validation = (
    "!has(self.core) || self.list == 'Doubt'",
    "a source with core must have list: Doubt: observations are no verdicts, the rules of spec.doubt decide on them"
), validation = (
    "self.format == 'Domains' || has(self.configMapRef) || has(self.https)",
    "format is for configMapRef and https only: leave it out"
), validation = (
    "self.format != 'Dawg' || self.list == 'Allow'",
    "a DAWG is looked up and not listed: it can allow, and neither deny nor doubt; use another format or list: Allow"
))]
pub struct Source {
    /// Unique name, shown where the source decided.
    #[schemars(length(min = 1, max = 63), regex(pattern = DNS_LABEL))]
    pub name: String,
    /// Class of the list.
    pub list: List,
    /// What an entry covers.
    #[serde(default)]
    pub r#match: Match,
    /// How the list is written.
    #[serde(default)]
    pub format: Format,
    /// Observations of DNS TAPIR Core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core: Option<CoreSource>,
    /// Names that stand here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inline: Option<InlineSource>,
    /// A list in a ConfigMap of the same namespace. All lists of a policy together are bounded by the size of a ConfigMap, 1 MiB;
    /// larger ones come by HTTPS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<ConfigMapKey>,
    /// A response policy zone, by zone transfer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpz: Option<RpzSource>,
    /// A list, by HTTPS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub https: Option<HttpsSource>,
}

/// Observations of DNS TAPIR Core; address, topic and keys come with the node's enrolment.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CoreSource {
    /// An observation is believed no longer than this, whatever it says itself.
    #[serde(default = "default_max_ttl")]
    #[schemars(range(min = 60, max = 2_592_000))]
    pub max_ttl_seconds: u32,
}

/// Names that stand in the resource itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct InlineSource {
    /// DNS names.
    #[schemars(length(min = 1, max = 1000), inner(length(min = 1, max = 254), regex(pattern = DOMAIN)))]
    pub names: Vec<String>,
}

/// A response policy zone, by AXFR or IXFR.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "!has(self.refreshSeconds) || !has(self.keepSeconds) || self.keepSeconds >= self.refreshSeconds",
    "keepSeconds is less than refreshSeconds: data would be dropped before it could be fetched again"
))]
pub struct RpzSource {
    /// Address and port of the server.
    #[schemars(length(min = 9, max = 53))]
    #[x_kube(validation = (
        r"self.matches(r'^(\[[0-9a-fA-F:.]+\]|[0-9.]+):([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$') && isIP(self.startsWith('[') ? self.split(']')[0].substring(1) : self.split(':')[0])",
        "rpz.primary is no address with port: write 192.0.2.1:53 or [2001:db8::1]:53"
    ))]
    pub primary: String,
    /// Name of the zone, with its final dot.
    #[schemars(length(min = 2, max = 254), regex(pattern = r"^([a-zA-Z0-9_]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?\.)+$"))]
    pub zone: String,
    /// Key that the transfer is signed with (RFC 8945).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tsig_secret_ref: Option<TsigKey>,
    /// How long what was fetched is used when it cannot be fetched again. Default: what the zone itself says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 2_592_000))]
    pub keep_seconds: Option<u32>,
    /// How often the serial is asked for. Default: what the zone itself says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 30, max = 604_800))]
    pub refresh_seconds: Option<u32>,
}

/// A list, by HTTPS.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "self.keepSeconds >= self.refreshSeconds",
    "keepSeconds is less than refreshSeconds: data would be dropped before it could be fetched again"
))]
pub struct HttpsSource {
    /// Where it is fetched.
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = ("isURL(self) && url(self).getScheme() == 'https'", "https.url is no https URL"))]
    pub url: String,
    /// SHA-256 of the content, in lower-case hexadecimal digits; anything else is refused then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = "^[0-9a-f]{64}$"))]
    pub sha256: Option<String>,
    /// How often it is asked for.
    #[serde(default = "default_refresh")]
    #[schemars(range(min = 30, max = 604_800))]
    pub refresh_seconds: u32,
    /// How long what was fetched is used when it cannot be fetched again.
    #[serde(default = "default_keep")]
    #[schemars(range(min = 60, max = 2_592_000))]
    pub keep_seconds: u32,
}

impl Default for CoreSource {
    fn default() -> Self {
        Self { max_ttl_seconds: default_max_ttl() }
    }
}

impl From<List> for pop::List {
    fn from(list: List) -> Self {
        match list {
            List::Allow => Self::Allow,
            List::Deny => Self::Deny,
            List::Doubt => Self::Doubt,
        }
    }
}

impl From<Match> for pop::Match {
    fn from(value: Match) -> Self {
        match value {
            Match::Exact => Self::Exact,
            Match::Subtree => Self::Subtree,
        }
    }
}

const fn default_max_ttl() -> u32 {
    MAX_TTL_SECONDS
}

const fn default_keep() -> u32 {
    KEEP_SECONDS
}

const fn default_refresh() -> u32 {
    REFRESH_SECONDS
}
