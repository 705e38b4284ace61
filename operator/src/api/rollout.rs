//! How running Pods get new sidecars: what is asked for, and how far it is.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::injection::Images;
use super::schema::timestamp;

/// How running Pods get new sidecars.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct RolloutSpec {
    /// By which means.
    #[serde(default)]
    pub strategy: Strategy,
    /// Ends the step that is under way and begins no other.
    #[serde(default)]
    pub paused: bool,
}

/// By which means running Pods get new sidecars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Strategy {
    /// The images of a running Pod are changed, one Pod at a time, beside another Ready one; the resolver goes on. A Pod whose
    /// structure differs keeps it until it is restarted. Pods without sidecars are replaced.
    #[default]
    InPlace,
    /// Never by the operator: a Pod gets them when it is created anew.
    OnRestart,
    /// Pods are evicted, one at a time, beside another Ready one, within their budgets, and created anew by their controller.
    Evict,
}

/// How far a rollout is. Written before a Pod is changed, so that another operator goes on where this one ended.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    /// Where it stands.
    pub phase: Phase,
    /// Why it stands there, as `LonePod`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 64))]
    pub reason: String,
    /// The same in words, with the remedy.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
    /// The images that Pods are to run.
    pub target: Images,
    /// The images before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Images>,
    /// The Pod that is being changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<RollingPod>,
    /// Since when all Pods run the images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "timestamp")]
    pub soaked_since: Option<Timestamp>,
}

/// Where a rollout stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema, strum::IntoStaticStr, strum::EnumIter)]
pub enum Phase {
    /// All Pods run the images.
    Current,
    /// Something must come first.
    Waiting,
    /// A Pod is being changed.
    Rolling,
    /// `spec.rollout.paused` is set.
    Paused,
    /// A Pod did not bear the new images and was put back. Other images or another value of the annotation
    /// `dnstapir.se/reconcile-now` begin anew.
    Halted,
}

/// The Pod that is being changed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RollingPod {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its UID.
    #[schemars(length(min = 1, max = 64))]
    pub uid: String,
    /// Since when.
    #[schemars(schema_with = "timestamp")]
    pub since: Timestamp,
    /// Its images before.
    pub from: Images,
    /// Ids of its sidecars' containers before, in the order of their names: a container that still has its id was not restarted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4), inner(length(max = 256)))]
    pub container_ids: Vec<String>,
    /// It was Ready before. One that was not proves nothing against the images when it still is not.
    #[serde(default)]
    pub ready: bool,
    /// Its sidecars answered before, so they have to again.
    #[serde(default)]
    pub answered: bool,
    /// The images before are being put back.
    #[serde(default)]
    pub way_back: bool,
}
