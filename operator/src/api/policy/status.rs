//! What the operator knows of a policy.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator knows of a policy.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct TapirPolicyStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Accepted`, `Ready`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::api::schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Names of the TapirEdges of this namespace that refer to it, sorted; the first thousand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), inner(length(max = 63)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub used_by: Vec<String>,
    /// Each source as the POP that has most trouble with it sees it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_owned()]))]
    pub sources: Vec<SourceState>,
}

/// One source.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceState {
    /// Its name.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// How it stands.
    pub state: Standing,
    /// Names in force. Of a source that changes by itself, rounded to two digits and looked at every few minutes.
    #[serde(default)]
    #[schemars(range(min = 0, max = 9_007_199_254_740_991_u64))]
    pub entries: u64,
    /// Entries that were refused; the others are in force.
    #[serde(default)]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub rejected: u32,
    /// The first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub rejected_lines: Vec<RejectedLine>,
    /// Why it is not `Ready`, and at which edge.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
}

/// How a source stands; the order is that of trouble, least first.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Deserialize,
    Serialize,
    JsonSchema,
    strum::IntoStaticStr,
    strum::EnumIter,
)]
pub enum Standing {
    /// In force.
    Ready,
    /// No POP that is asked works by this policy yet.
    Pending,
    /// No POP answers.
    Unknown,
    /// In force as it was before: it could not be fetched anew.
    Stale,
    /// Nothing of it is in force.
    Failed,
}

/// A line of a list that was refused. What stands in it is not repeated.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct RejectedLine {
    /// From 1.
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub line: u32,
    /// What is wrong with it.
    #[schemars(length(max = 128))]
    pub reason: String,
}
