//! What happens to names.

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use tapir_wire::config::pop;

use crate::api::schema::DNS_LABEL;

/// `globally_new` and its kin, or the number of the bit.
const TAG: &str = "^(globally_new|newly_registered|registry_investigation|looptest|bit([0-9]|[12][0-9]|3[01]))$";
const TAG_MESSAGE: &str = "no tag: use globally_new, newly_registered, registry_investigation, looptest or bit0 to bit31 (names of the old policy processor are translated by its converter)";

/// What happens to names on deny lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[x_kube(validation = ("(self.action == 'Redirect') == has(self.redirect)", "redirect and action: Redirect belong together: give both or neither"))]
pub struct Deny {
    /// The action.
    #[serde(default)]
    pub action: DenyAction,
    /// Where the name is redirected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect: Option<Redirect>,
}

/// Actions that deny. `PASSTHRU` is not among them: a deny list that lets everything pass is a mistake, use mode `Observe`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum DenyAction {
    /// The name does not exist.
    #[default]
    #[serde(rename = "NXDOMAIN")]
    Nxdomain,
    /// The name exists, the type does not.
    #[serde(rename = "NODATA")]
    Nodata,
    /// No answer at all.
    #[serde(rename = "DROP")]
    Drop,
    /// Answered over TCP only.
    #[serde(rename = "TCP-ONLY")]
    TcpOnly,
    /// Answered with what `redirect` says.
    Redirect,
    /// What the record of the source says; NXDOMAIN for sources that carry no actions.
    Source,
}

/// What a doubt rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Action {
    /// The name does not exist.
    #[serde(rename = "NXDOMAIN")]
    Nxdomain,
    /// The name exists, the type does not.
    #[serde(rename = "NODATA")]
    Nodata,
    /// No answer at all.
    #[serde(rename = "DROP")]
    Drop,
    /// Answered as usual, and logged.
    #[serde(rename = "PASSTHRU")]
    Passthru,
    /// Answered over TCP only.
    #[serde(rename = "TCP-ONLY")]
    TcpOnly,
    /// Answered with what `redirect` says.
    Redirect,
}

/// What a redirected name is answered with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[x_kube(validation = (
    "has(self.name) != (has(self.addresses) && self.addresses.size() > 0)",
    "give exactly one of redirect.name and redirect.addresses"
), validation = (
    "!has(self.addresses) || self.addresses.all(address, isIP(address))",
    "redirect.addresses holds what is no IP address: write such as 192.0.2.1 or 2001:db8::1"
))]
pub struct Redirect {
    /// A name, with its final dot: the answer is a CNAME.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 254), regex(pattern = r"^([a-zA-Z0-9_]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?\.)+$"))]
    pub name: Option<String>,
    /// Addresses: the answer holds those of the type that is asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 2, max = 45)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub addresses: Vec<String>,
}

/// One rule for names on doubt lists. Every condition that is given must hold.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "has(self.anyTags) || has(self.allTags) || has(self.minTags) || has(self.minSources)",
    "a doubt rule without a condition would match every name: give at least one of anyTags, allTags, minTags and minSources"
), validation = (
    "!has(self.minSources) || has(self.anyTags) || has(self.allTags) || has(self.minTags) || self.minSources >= 2",
    "minSources: 1 alone would match every name of every doubt list: use 2 or more, or add a condition on tags"
), validation = (
    "(self.action == 'Redirect') == has(self.redirect)",
    "redirect and action: Redirect belong together: give both or neither"
))]
pub struct DoubtRule {
    /// Unique name, shown where the rule decided.
    #[schemars(length(min = 1, max = 63), regex(pattern = DNS_LABEL))]
    pub name: String,
    /// At least one of these tags: `globally_new`, `newly_registered`, `registry_investigation`, `looptest`, `bit0` to `bit31`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "any_tags")]
    pub any_tags: Vec<String>,
    /// All of these tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "all_tags")]
    pub all_tags: Vec<String>,
    /// At least so many tags. `looptest` does not count here, so 31 are all there can be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 31))]
    pub min_tags: Option<u32>,
    /// On the lists of at least so many doubt sources. An observation that carries only `looptest` does not count here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 32))]
    pub min_sources: Option<u32>,
    /// What happens when the rule fires.
    pub action: Action,
    /// Where the name is redirected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect: Option<Redirect>,
}

impl From<DenyAction> for pop::DenyAction {
    fn from(action: DenyAction) -> Self {
        match action {
            DenyAction::Nxdomain => Self::Nxdomain,
            DenyAction::Nodata => Self::Nodata,
            DenyAction::Drop => Self::Drop,
            DenyAction::TcpOnly => Self::TcpOnly,
            DenyAction::Redirect => Self::Redirect,
            DenyAction::Source => Self::Source,
        }
    }
}

impl From<Action> for pop::Action {
    fn from(action: Action) -> Self {
        match action {
            Action::Nxdomain => Self::Nxdomain,
            Action::Nodata => Self::Nodata,
            Action::Drop => Self::Drop,
            Action::Passthru => Self::Passthru,
            Action::TcpOnly => Self::TcpOnly,
            Action::Redirect => Self::Redirect,
        }
    }
}

/// Addresses that are none are left out; `acceptable` refuses them, and the API server did before.
impl From<&Redirect> for pop::Redirect {
    fn from(redirect: &Redirect) -> Self {
        let addresses = redirect.addresses.iter().filter_map(|address| address.parse().ok()).collect();
        Self { name: redirect.name.clone(), addresses }
    }
}

fn any_tags(_: &mut SchemaGenerator) -> Schema {
    tags(
        "At least one of these tags: `globally_new`, `newly_registered`, `registry_investigation`, `looptest`, `bit0` to `bit31`.",
    )
}

fn all_tags(_: &mut SchemaGenerator) -> Schema {
    tags("All of these tags.")
}

/// A rule in place of a pattern, because a pattern has no message that tells which tags there are.
fn tags(description: &str) -> Schema {
    json_schema!({
        "type": "array",
        "description": description,
        "minItems": 1,
        "maxItems": 36,
        "x-kubernetes-list-type": "set",
        "items": {
            "type": "string",
            "maxLength": 32,
            "x-kubernetes-validations": [{"rule": format!("self.matches('{TAG}')"), "message": TAG_MESSAGE}]
        }
    })
}
