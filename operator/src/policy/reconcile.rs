//! One reconcile of one policy.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::{Resource as _, ResourceExt};
use serde_json::json;

use super::accept::acceptable;
use crate::api::{FIELD_MANAGER, TapirEdge, TapirPolicy, TapirPolicyStatus};
use crate::conditions::{Draft, Truth, merge};
use crate::edge::{Context, publish};

/// `status.usedBy` is bounded by the schema.
const MOST_USERS: usize = 1000;

/// Why a reconcile of a policy ended early.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
pub enum PolicyError {
    #[error("listing the edges of the namespace: {0}")]
    ListEdges(#[source] kube::Error),
    #[error("writing the status: {0}")]
    UpdateStatus(#[source] kube::Error),
    #[error("the policy is malformed: {0}")]
    Malformed(String),
}

/// Brings the status of one policy to where it should be.
///
/// # Errors
/// See [`PolicyError`].
pub async fn reconcile(policy: Arc<DeserializeGuard<TapirPolicy>>, context: Arc<Context>) -> Result<Action, PolicyError> {
    let policy = policy.0.as_ref().map_err(|invalid| PolicyError::Malformed(invalid.error.clone()))?;
    if policy.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    let namespace = policy.namespace().unwrap_or_default();
    let edges: Api<DeserializeGuard<TapirEdge>> = Api::namespaced(context.client.clone(), &namespace);
    let edges = edges.list(&ListParams::default()).await.map_err(PolicyError::ListEdges)?;
    let mut users: Vec<TapirEdge> =
        edges.items.into_iter().filter_map(|guard| guard.0.ok()).filter(|edge| uses(edge, &policy.name_any())).collect();
    users.sort_by_key(ResourceExt::name_any);

    let drafts = vec![accepted(policy), ready(policy, &users)];
    let before = policy.status.clone().unwrap_or_default();
    let (conditions, transitions) = merge(&before.conditions, drafts, policy.metadata.generation, Timestamp::now());
    let wanted = TapirPolicyStatus {
        observed_generation: policy.metadata.generation,
        conditions,
        sources: before.sources.clone(),
        used_by: users.iter().take(MOST_USERS).map(ResourceExt::name_any).collect(),
    };
    if policy.status.as_ref() != Some(&wanted) {
        let api: Api<TapirPolicy> = Api::namespaced(context.client.clone(), &namespace);
        let document = json!({
            "apiVersion": TapirPolicy::api_version(&()),
            "kind": TapirPolicy::kind(&()),
            "metadata": {"name": policy.name_any(), "uid": policy.uid()},
            "status": wanted,
        });
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        api.patch_status(&policy.name_any(), &parameters, &Patch::Apply(document)).await.map_err(PolicyError::UpdateStatus)?;
        publish(&context.recorder, policy, &transitions).await;
    }
    Ok(Action::requeue(Duration::from_mins(10)))
}

/// Whether an edge refers to a policy and is not on its way out.
pub(crate) fn uses(edge: &TapirEdge, policy: &str) -> bool {
    let pop = &edge.spec.pop;
    edge.metadata.deletion_timestamp.is_none()
        && pop.enabled
        && pop.policy_ref.as_ref().is_some_and(|reference| reference.name == policy)
}

fn accepted(policy: &TapirPolicy) -> Draft {
    match acceptable(&policy.spec) {
        Ok(()) => Draft::new("Accepted", Truth::True, "Accepted", "the policy can be rendered"),
        Err(why) => Draft::new("Accepted", Truth::False, "Invalid", why),
    }
}

/// In force at every edge that uses it, as it is now: what an edge says of an older generation, or of another policy, is no news of this one.
fn ready(policy: &TapirPolicy, users: &[TapirEdge]) -> Draft {
    let draft = |truth, reason: &str, message: String| Draft::new("Ready", truth, reason, message);
    if users.is_empty() {
        return draft(Truth::Unknown, "Unused", "no TapirEdge of this namespace refers to it".to_owned());
    }
    let standing = users.iter().map(|edge| (edge, standing(policy, edge)));
    match standing.filter(|(_, standing)| standing.0 != Truth::True).max_by_key(|(_, standing)| standing.0 == Truth::False) {
        Some((edge, (Truth::False, _))) => draft(
            Truth::False,
            "RefusedByEdge",
            format!("TapirEdge {} says why in its condition PolicyAccepted", edge.name_any()),
        ),
        Some((edge, (_, message))) => draft(Truth::Unknown, "Pending", format!("TapirEdge {}: {message}", edge.name_any())),
        None => draft(Truth::True, "Ready", format!("in force at {} TapirEdges", users.len())),
    }
}

/// What an edge says of this generation of this policy.
fn standing(policy: &TapirPolicy, edge: &TapirEdge) -> (Truth, String) {
    let status = edge.status.as_ref();
    let speaks_of = status.and_then(|status| status.policy.as_ref());
    let condition = status.and_then(|status| status.conditions.iter().find(|condition| condition.type_ == "PolicyAccepted"));
    let current =
        speaks_of.is_some_and(|spoken| spoken.name == policy.name_any() && spoken.generation == policy.metadata.generation);
    match condition.filter(|_| current) {
        None => (Truth::Unknown, "has not taken it up yet, as it is now".to_owned()),
        Some(condition) if condition.status == "True" => (Truth::True, String::new()),
        Some(condition) if condition.status == "False" => (Truth::False, String::new()),
        Some(condition) => (Truth::Unknown, condition.message.clone()),
    }
}
