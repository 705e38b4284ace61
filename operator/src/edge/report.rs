//! What a reconcile says: the conditions and the rest of the status, also of a round in which something failed.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::events::EventType;
use kube::{Resource as _, ResourceExt as _};

use super::enrolled;
use super::error::{EdgeError, Said};
use super::in_force::{self, Before, Report};
use super::pods_round::{Look, PodsRound, counts, injected};
use super::reconcile::Context;
use super::render::Rendered;
use super::seen;
use super::{core_link, status};
use crate::api::reasons::EventReason;
use crate::api::status::{CertificateStatus, Handled, NodeStatus};
use crate::api::{ANNOTATION_RECONCILE_NOW, TapirEdge, TapirEdgeStatus};
use crate::conditions::{Draft, Truth, merge, summary};
use crate::identity::board::IdentityView;
use crate::sidecars::{Component, EdgeKey, Hope};

/// As long as a value of a label may be.
const LONGEST_HANDLED: usize = 63;

/// What a round found out.
pub(super) struct Findings<'a> {
    pub rendered: &'a Rendered,
    pub identity: Option<&'a IdentityView>,
    pub pods: &'a Result<PodsRound, EdgeError>,
    pub failures: &'a [EdgeError],
    /// What the sidecars are to work by.
    pub hope: Hope,
}

/// What was said.
pub(super) struct Reported {
    /// Digest of the status, if it was not as this before.
    pub wrote: Option<u64>,
    /// What the API server injects, how far other images are and what was asked for are as they were: of the rest nothing follows.
    pub words_only: bool,
    /// Some sidecars have not been asked yet, or may still be starting: what they say comes by itself, that they say nothing does not.
    pub expectant: bool,
}

/// Writes the status after a round that came to its end.
///
/// # Errors
/// When the API server refuses.
pub(super) async fn report(
    context: &Context,
    key: &EdgeKey,
    edge: &TapirEdge,
    findings: Findings<'_>,
) -> Result<Reported, EdgeError> {
    let Findings { rendered, identity, pods, failures, hope } = findings;
    let (before, now) = (edge.status.clone().unwrap_or_default(), Timestamp::now());
    let seen = pods.as_ref().map(|pods| pods.seen.as_slice()).unwrap_or_default();
    let targets = seen::targets(seen);
    if pods.is_ok() {
        context.board.expect(key, targets.clone(), hope.clone());
    }
    let last = core_link::last(&context.board, key, &targets);
    let reports = in_force::reports(&context.board, key, &targets, seen, now);
    let [edm_revision, pop_revision] = &hope.revision;
    let policy = match (core_link::refused_configuration(&last, Component::Pop, pop_revision.as_deref()), pop_revision, pods) {
        _ if rendered.policy.truth != Truth::True => rendered.policy.clone().steady(&before.conditions),
        (Some(refused), ..) => Draft::new("PolicyAccepted", Truth::False, "RefusedByPop", refused),
        (None, Some(revision), Ok(_)) => {
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
    let heard = core_link::heard(&context.board, key, &targets);
    let connected = match pods {
        Ok(_) => core_link::core_connected(&heard, &before.conditions),
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
    let (conditions, transitions) = merge(&before.conditions, drafts, edge.metadata.generation, now);
    let rollout = pods.as_ref().ok().and_then(|pods| pods.rollout.as_ref());
    // One that was lost, as by a restored backup, appears anew.
    let stands = before.injection.is_some() && before.injection_since.is_some();
    let wanted = TapirEdgeStatus {
        observed_generation: edge.metadata.generation,
        conditions,
        node: identity.and_then(node).or_else(|| before.node.clone()),
        policy: rendered.policy_status.clone(),
        pods: pods.as_ref().map_or_else(
            |_| before.pods.clone(),
            |pods| Some(counts(&pods.census, &pods.seen, rendered.injection.as_ref(), Some(&rendered.target))),
        ),
        injection: rendered.injection.clone(),
        injection_since: match &rendered.injection {
            Some(_) if !stands => Timestamp::from_second(context.keeper.clock.now().as_second()).ok(),
            _ => before.injection_since,
        },
        rollout: rollout.map(|rollout| rollout.status.clone()).or_else(|| before.rollout.clone()),
        // Core has been looked at by then, too: a process that starts looks at it first where that was asked for.
        handled: identity.and(handled(edge)).or_else(|| before.handled.clone()),
    };
    let wrote = status::update(&context.client, edge, &wanted).await?;
    if wrote.is_some() {
        status::publish(&context.events, edge, &transitions, &wanted.conditions).await;
    }
    if let Some(pod) = context.evictions.take_untold(key) {
        let note = format!("Pod {pod} was evicted, so that its controller creates it anew with the sidecars that it is to have");
        let (reason, kind) = (EventReason::PodEvicted, EventType::Normal);
        status::publish_event(&context.events, &edge.object_ref(&()), reason, kind, note).await;
    }
    if let Some(note) = context.board.take_incidents(key) {
        let (reason, kind) = (EventReason::SidecarTrouble, EventType::Warning);
        status::publish_event(&context.events, &edge.object_ref(&()), reason, kind, note).await;
    }
    for news in rollout.iter().flat_map(|rollout| &rollout.news) {
        status::publish_event(&context.events, &edge.object_ref(&()), news.reason, news.kind, news.note.clone()).await;
    }
    let expectant = heard.iter().any(|(_, heard)| heard.is_none()) || reports.contains(&Report::Starting);
    let words_only = stands
        && (&before.injection, &before.rollout, &before.handled, before.injection_since)
            == (&wanted.injection, &wanted.rollout, &wanted.handled, wanted.injection_since);
    Ok(Reported { wrote, words_only, expectant })
}

/// The value of the annotation that asked for this round, once acted on.
pub(crate) fn handled(edge: &TapirEdge) -> Option<Handled> {
    let asked = edge.annotations().get(ANNOTATION_RECONCILE_NOW)?;
    Some(Handled { reconcile_now: Some(asked.chars().take(LONGEST_HANDLED).collect()) })
}

/// A suspended edge: what is there is counted and told, and nothing is done.
///
/// # Errors
/// When the API server refuses.
pub(super) async fn report_suspended(
    context: &Context,
    key: &EdgeKey,
    edge: &TapirEdge,
    look: Result<Look, EdgeError>,
) -> Result<bool, EdgeError> {
    let before = edge.status.clone().unwrap_or_default();
    let ready = Draft::new(
        "Ready",
        Truth::False,
        "Suspended",
        "spec.suspend is true: Core is not asked and nothing is changed; sidecars that run go on, and new Pods get what was rendered last",
    );
    let mut drafts = vec![ready];
    let mut pods = before.pods.clone();
    if let Ok(look) = look {
        let targets = seen::targets(&look.seen);
        context.board.expect(key, targets.clone(), Hope::default());
        drafts.push(core_link::core_connected(&core_link::heard(&context.board, key, &targets), &before.conditions));
        pods = Some(counts(&look.census(), &look.seen, before.injection.as_ref(), None));
    }
    // No Event: that would be another write.
    let (mut conditions, transitions) = merge(&before.conditions, drafts, edge.metadata.generation, Timestamp::now());
    let said = |condition: &&Condition| !conditions.iter().any(|said| said.type_ == condition.type_);
    let kept: Vec<Condition> = before.conditions.iter().filter(said).cloned().collect();
    conditions.extend(kept);
    let wanted = TapirEdgeStatus { observed_generation: edge.metadata.generation, conditions, pods, ..before };
    let wrote = status::update(&context.client, edge, &wanted).await?.is_some();
    if wrote {
        status::log(edge, &transitions, &wanted.conditions);
    }
    Ok(wrote)
}

/// After a round that ended early: `Ready` says why.
pub(super) async fn report_failure(context: &Context, key: &EdgeKey, edge: &TapirEdge, error: &EdgeError) {
    if let Some(said) = error.said() {
        report_only_ready(context, key, edge, said).await;
    }
}

/// The edge would go, and waits because it is suspended.
pub(super) async fn report_suspended_departure(context: &Context, key: &EdgeKey, edge: &TapirEdge) {
    let message = "spec.suspend is true, so offboarding waits: set it to false, and this edge goes";
    report_only_ready(context, key, edge, ("Suspended", message.to_owned())).await;
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
    match status::update(&context.client, edge, &wanted).await {
        Ok(Some(_)) => status::publish(&context.events, edge, &transitions, &wanted.conditions).await,
        Ok(None) => {}
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
