//! What a reconcile says: the conditions and the rest of the status, also of a round in which something failed.

use jiff::Timestamp;
use kube::api::Api;

use super::enrolled;
use super::error::{EdgeError, Said};
use super::in_force::{self, Before};
use super::pods_round::{PodsRound, counts, injected};
use super::reconcile::Context;
use super::render::Rendered;
use super::{core_link, status};
use crate::api::status::{CertificateStatus, NodeStatus};
use crate::api::{TapirEdge, TapirEdgeStatus};
use crate::conditions::{Draft, Truth, merge, summary};
use crate::identity::board::IdentityView;
use crate::sidecars::{Component, EdgeKey};

/// Writes the status after a round that came to its end.
///
/// # Errors
/// When the API server refuses.
pub(super) async fn report(
    context: &Context,
    key: &EdgeKey,
    edge: &TapirEdge,
    rendered: &Rendered,
    identity: Option<&IdentityView>,
    pods: &Result<PodsRound, EdgeError>,
    failures: &[EdgeError],
) -> Result<(), EdgeError> {
    let before = edge.status.clone().unwrap_or_default();
    let revisions = [&rendered.edm, &rendered.pop].map(|map| map.as_ref().and_then(crate::build::config::revision_of));
    let targets = pods.as_ref().map(|pods| core_link::targets(&pods.found)).unwrap_or_default();
    if pods.is_ok() {
        context.board.expect(key, targets.clone(), revisions.clone());
    }
    let last = core_link::last(&context.board, key, &targets);
    let [edm_revision, pop_revision] = &revisions;
    let policy = match (core_link::refused_configuration(&last, Component::Pop, pop_revision.as_deref()), pop_revision, pods) {
        _ if rendered.policy.truth != Truth::True => rendered.policy.clone().steady(&before.conditions),
        (Some(refused), ..) => Draft::new("PolicyAccepted", Truth::False, "RefusedByPop", refused),
        (None, Some(revision), Ok(pods)) => {
            let reports = in_force::reports(&context.board, key, &targets, &pods.found, Timestamp::now());
            let condition = before.conditions.iter().find(|condition| condition.type_ == "PolicyAccepted");
            let said = Before { condition, policy: before.policy.as_ref() };
            in_force::judge(rendered.policy.clone(), rendered.policy_status.as_ref(), revision, &reports, said)
        }
        (None, ..) => Draft::new(
            "PolicyAccepted",
            Truth::Unknown,
            "Pending",
            format!("{}; what POP works by is not known, because the Pods cannot be listed", rendered.policy.message),
        ),
    };
    let refused = core_link::refused_configuration(&last, Component::Edm, edm_revision.as_deref());
    let refused = refused.map(|message| ("RefusedByEdm", message));
    let heard = core_link::heard(&context.board, key, targets);
    let connected = match pods {
        Ok(_) => core_link::core_connected(&heard),
        Err(_) => Draft::new("CoreConnected", Truth::Unknown, "ReadFailed", "the Pods cannot be listed, so no sidecar was asked"),
    };
    let [enrolled, certificate] = enrolled::conditions(identity, &before.conditions);
    let parts = vec![
        enrolled.steady(&before.conditions),
        certificate,
        policy,
        injected(pods, key, edge, failures, rendered.trouble.clone().or(refused)).steady(&before.conditions),
        connected,
    ];
    let drafts = std::iter::once(ready(&parts, failures).steady(&before.conditions)).chain(parts).collect();
    let (conditions, transitions) = merge(&before.conditions, drafts, edge.metadata.generation, Timestamp::now());
    let wanted = TapirEdgeStatus {
        observed_generation: edge.metadata.generation,
        conditions,
        node: identity.and_then(node).or(before.node),
        policy: rendered.policy_status.clone(),
        pods: pods.as_ref().map_or(before.pods, |pods| Some(counts(pods, rendered))),
        injection: rendered.injection.clone(),
        injection_since: before.injection_since,
        rollout: before.rollout,
        handled: before.handled,
    };
    let api: Api<TapirEdge> = Api::namespaced(context.client.clone(), &key.namespace);
    if status::update(&api, edge, &wanted).await? {
        status::publish(&context.recorder, edge, &transitions).await;
    }
    Ok(())
}

/// After a round that ended early: `Ready` says why.
pub(super) async fn report_failure(context: &Context, key: &EdgeKey, edge: &TapirEdge, error: &EdgeError) {
    if let Some(said) = error.said() {
        report_only_ready(context, key, edge, said).await;
    }
}

/// The edge would go, and waits for its identity to be whole again.
pub(super) async fn report_departure(context: &Context, key: &EdgeKey, edge: &TapirEdge) {
    let message =
        "the identity Secret was deleted too, and something else holds it: once it is gone it is restored, then this edge goes";
    report_only_ready(context, key, edge, ("Restoring", message.to_owned())).await;
}

/// Everything but `Ready` stays as it was last known.
async fn report_only_ready(context: &Context, key: &EdgeKey, edge: &TapirEdge, (reason, message): Said) {
    let before = edge.status.clone().unwrap_or_default();
    let ready = Draft::new("Ready", Truth::False, reason, message).steady(&before.conditions);
    let (mut conditions, transitions) = merge(&before.conditions, vec![ready], edge.metadata.generation, Timestamp::now());
    conditions.extend(before.conditions.iter().filter(|condition| condition.type_ != "Ready").cloned());
    let wanted = TapirEdgeStatus { conditions, ..before };
    let api: Api<TapirEdge> = Api::namespaced(context.client.clone(), &key.namespace);
    match status::update(&api, edge, &wanted).await {
        Ok(true) => status::publish(&context.recorder, edge, &transitions).await,
        Ok(false) => {}
        // What is reported is logged and counted where it happened.
        Err(error) => tracing::warn!(namespace = key.namespace, edge = key.name, error = %error, "cannot report"),
    }
}

/// All parts, and what failed without being in any of them.
fn ready(parts: &[Draft], failures: &[EdgeError]) -> Draft {
    let ready = summary("Ready", parts, "enrolled, injected and connected");
    match failures.iter().find_map(EdgeError::said).filter(|_| ready.truth != Truth::False) {
        Some((reason, message)) => Draft::new("Ready", Truth::False, reason, message),
        None => ready,
    }
}

fn node(identity: &IdentityView) -> Option<NodeStatus> {
    let certificate = identity.certificate.as_ref().map(|certificate| CertificateStatus {
        serial: certificate.info.serial.clone(),
        not_after: certificate.info.not_after,
        renew_at: Some(certificate.schedule.renew_at),
    });
    Some(NodeStatus { name: identity.node()?.to_owned(), certificate })
}
