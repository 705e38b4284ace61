//! `TapirPolicy`: where names come from and what happens to them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tapir_wire::config::pop;

/// `globally_new` and its kin, or the number of the bit.
const TAG: &str = "^(globally_new|newly_registered|registry_investigation|looptest|bit([0-9]|[12][0-9]|3[01]))$";
/// A DNS name in presentation format, with or without its final dot; not the root, which would block everything.
const DOMAIN: &str = r"^[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?$";

/// Decides what the resolvers of the edges that refer to it block.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[kube(
    group = "dnstapir.se",
    version = "v1alpha1",
    kind = "TapirPolicy",
    plural = "tapirpolicies",
    shortname = "tpol",
    category = "tapir",
    namespaced,
    status = "TapirPolicyStatus",
    derive = "PartialEq",
    doc = "Decides what the resolvers of the edges that refer to it block.",
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(name = "Accepted", type_ = "string", json_path = ".status.conditions[?(@.type==\"Accepted\")].status"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Used by", type_ = "string", json_path = ".status.usedBy", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct TapirPolicySpec {
    /// Whether matches are acted on, or published as `rpz-passthru` so that resolvers log them and nothing is blocked.
    #[serde(default)]
    pub mode: Mode,
    /// Where names come from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["name".to_owned()]),
        validation = (
            "self.filter(source, has(source.core)).size() <= 1",
            "spec.sources holds more than one source with core: DNS TAPIR Core sends one stream of observations, keep one of them"
        )
    )]
    pub sources: Vec<Source>,
    /// What happens to names on deny lists.
    #[serde(default)]
    pub deny: Deny,
    /// What happens to names on doubt lists. All rules are evaluated, the most restrictive action wins
    /// (DROP, NXDOMAIN, NODATA, TCP-ONLY, PASSTHRU).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_owned()]))]
    pub doubt: Vec<DoubtRule>,
}

/// Whether the policy is in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Mode {
    /// Matches get the policy's action.
    #[default]
    Enforce,
    /// Nothing is blocked, resolvers log what would have been.
    Observe,
}

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

/// One list of names.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "has(self.core) != has(self.inline)",
    "a source needs exactly one of core and inline: give core: {} for observations of DNS TAPIR Core, or inline.names"
), validation = (
    "!has(self.core) || self.list == 'Doubt'",
    "a source with core must have list: Doubt: observations are no verdicts, the rules of spec.doubt decide on them"
))]
pub struct Source {
    /// Unique name, shown where the source decided.
    #[schemars(length(min = 1, max = 63), regex(pattern = super::schema::DNS_LABEL))]
    pub name: String,
    /// Class of the list.
    pub list: List,
    /// What an entry covers.
    #[serde(default)]
    pub r#match: Match,
    /// Observations of DNS TAPIR Core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub core: Option<CoreSource>,
    /// Names that stand here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inline: Option<InlineSource>,
}

/// Observations of DNS TAPIR Core; address, topic and keys come with the node's enrolment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct CoreSource {}

/// Names that stand in the resource itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct InlineSource {
    /// DNS names.
    #[schemars(length(min = 1, max = 1000), inner(length(min = 1, max = 254), regex(pattern = DOMAIN)))]
    pub names: Vec<String>,
}

/// What happens to names on deny lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct Deny {
    /// The action.
    #[serde(default)]
    pub action: DenyAction,
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
}

/// One rule for names on doubt lists. Every condition that is given must hold.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "has(self.anyTags) || has(self.allTags) || has(self.minTags)",
    "a doubt rule without a condition would match every name: give at least one of anyTags, allTags and minTags"
))]
pub struct DoubtRule {
    /// Unique name, shown where the rule decided.
    #[schemars(length(min = 1, max = 63), regex(pattern = super::schema::DNS_LABEL))]
    pub name: String,
    /// At least one of these tags: `globally_new`, `newly_registered`, `registry_investigation`, `looptest`, `bit0` to `bit31`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 36), inner(length(max = 32), regex(pattern = TAG)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub any_tags: Vec<String>,
    /// All of these tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 36), inner(length(max = 32), regex(pattern = TAG)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub all_tags: Vec<String>,
    /// At least so many tags. `looptest` does not count here, so 31 are all there can be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 31))]
    pub min_tags: Option<u32>,
    /// What happens when the rule fires.
    pub action: Action,
}

/// What the operator knows of a policy.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TapirPolicyStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Accepted`, `Ready`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "super::schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Names of the TapirEdges of this namespace that refer to it, sorted; the first thousand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), inner(length(max = 63)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub used_by: Vec<String>,
}

impl From<Mode> for pop::Mode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Enforce => Self::Enforce,
            Mode::Observe => Self::Observe,
        }
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

impl From<DenyAction> for pop::DenyAction {
    fn from(action: DenyAction) -> Self {
        match action {
            DenyAction::Nxdomain => Self::Nxdomain,
            DenyAction::Nodata => Self::Nodata,
            DenyAction::Drop => Self::Drop,
            DenyAction::TcpOnly => Self::TcpOnly,
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
        }
    }
}
