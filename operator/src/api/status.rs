//! Status of a `TapirEdge`.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::injection::Injection;
use super::rollout::RolloutStatus;
use super::schema::timestamp;

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
    /// Since when the API server has something to copy: Pods created before were created too early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "timestamp")]
    pub injection_since: Option<Timestamp>,
    /// The Pods that carry the label of this edge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<PodsStatus>,
    /// How far the images of the sidecars are in running Pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutStatus>,
    /// Values of annotations that were acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handled: Option<Handled>,
}

/// Values of annotations that were acted on, so that each value acts once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Handled {
    /// Of `dnstapir.se/reconcile-now`; its first 63 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub reconcile_now: Option<String>,
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
    /// When it is renewed, in whole seconds; absent until that was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "timestamp")]
    pub renew_at: Option<Timestamp>,
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
    /// Of these, Pods that have the structure in `status.injection`: all but the images.
    #[schemars(range(min = 0))]
    pub current: i32,
    /// Of the injected ones, Pods that run the images that they are to run.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub updated: i32,
}
