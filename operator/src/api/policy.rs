//! `TapirPolicy`: where names come from and what happens to them.

mod action;
mod source;
mod status;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tapir_wire::config::pop;

pub use action::{Action, Deny, DenyAction, DoubtRule, Redirect};
pub use source::{CoreSource, Format, HttpsSource, InlineSource, List, Match, RpzSource, Source};
pub use status::{RejectedLine, SourceState, Standing, TapirPolicyStatus};

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
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Used by", type_ = "string", json_path = ".status.usedBy", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = (
    "!has(self.doubt) || self.doubt.all(rule, !has(rule.minSources) || \
     rule.minSources <= (has(self.sources) ? self.sources.filter(source, source.list == 'Doubt').size() : 0))",
    "a rule of spec.doubt has more minSources than there are sources with list: Doubt: it could never fire"
), validation = (
    "self.deny.action != 'Source' || \
     (has(self.sources) && self.sources.exists(source, source.list == 'Deny' && (has(source.rpz) || source.format == 'Rpz')))",
    "spec.deny.action is Source and no source with list: Deny carries actions: add one with rpz, or choose an action"
))]
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
    /// (DROP, NXDOMAIN, NODATA, Redirect, TCP-ONLY, PASSTHRU).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_owned()]))]
    pub doubt: Vec<DoubtRule>,
    /// TTL of the records in the response policy zone.
    #[serde(default = "default_record_ttl")]
    #[schemars(range(min = 1, max = 86_400))]
    pub record_ttl_seconds: u32,
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

impl From<Mode> for pop::Mode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Enforce => Self::Enforce,
            Mode::Observe => Self::Observe,
        }
    }
}

const fn default_record_ttl() -> u32 {
    3600
}
