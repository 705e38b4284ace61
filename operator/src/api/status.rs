//! Status of a `TapirEdge`.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::injection::Injection;

/// What the operator knows of an edge.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TapirEdgeStatus {
    /// The generation that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, `Enrolled`, `CertificateValid`, `PolicyAccepted`, `Injected`, `CoreConnected`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "super::schema::conditions")]
    pub conditions: Vec<Condition>,
    /// The node at Core; absent until it is enrolled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeStatus>,
    /// The policy that `PolicyAccepted` speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyStatus>,
    /// Exactly what a new Pod gets. The admission policy copies it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub injection: Option<Injection>,
    /// The Pods that carry the label of this edge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<PodsStatus>,
}

/// The node at Core.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct NodeStatus {
    /// Its name.
    #[schemars(length(min = 1, max = 255))]
    pub name: String,
    /// Its certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateStatus>,
}

/// The certificate in force.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateStatus {
    /// Serial number, decimal.
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[0-9]+$"))]
    pub serial: String,
    /// End of its validity.
    #[schemars(schema_with = "timestamp")]
    pub not_after: Timestamp,
}

/// The policy that POP is to work by.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// Name of the TapirPolicy.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// Revision of POP's configuration that was made from it, as POP reports it; absent when none could be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub revision: Option<String>,
}

/// Counts of the Pods that carry the label.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct PodsStatus {
    /// Pods with the label that are not ending.
    #[schemars(range(min = 0))]
    pub matched: i32,
    /// Of these, Pods that have the sidecars.
    #[schemars(range(min = 0))]
    pub injected: i32,
    /// Of these, Pods that have the revision in `status.injection`.
    #[schemars(range(min = 0))]
    pub current: i32,
}

fn timestamp(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "date-time"})
}
