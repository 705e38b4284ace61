//! The Pods' part of a reconcile: who is to be replaced, who is to be touched, and what is said of injection.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};

use super::error::{EdgeError, Said};
use super::reconcile::Context;
use super::render::Rendered;
use super::replace::Decided;
use super::touch;
use crate::api::status::PodsStatus;
use crate::api::{ANNOTATION_IMAGES, ANNOTATION_INJECTION, LABEL_EDGE, TapirEdge};
use crate::conditions::{Draft, Truth};
use crate::identity::board::IdentityView;
use crate::pods::{Census, Decision, View, classify, decide};
use crate::sidecars::EdgeKey;

/// Pods as they were found, and what was decided.
pub(super) struct PodsRound {
    pub found: Vec<Pod>,
    pub views: Vec<View>,
    pub census: Census,
    pub decision: Decision,
    /// What the API server refused; nothing else was left undone for it.
    pub failures: Vec<EdgeError>,
}

/// Looks at the Pods, evicts at most one, and touches those that mount something older.
///
/// # Errors
/// When they cannot be looked at.
pub(super) async fn tend(
    context: &Context,
    key: &EdgeKey,
    edge: &TapirEdge,
    rendered: &Rendered,
    identity: Option<&IdentityView>,
) -> Result<PodsRound, EdgeError> {
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &key.namespace);
    // Looked at only now: the calls to Core before may have taken long, and evictions follow from what is seen.
    let labelled = ListParams::default().labels(&format!("{LABEL_EDGE}={}", key.name));
    let found = api.list(&labelled).await.map_err(EdgeError::ListPods)?.items;
    let resolver = &edge.spec.resolver.container;
    let views: Vec<View> = found.iter().filter_map(|pod| classify(pod, resolver, rendered.binding_created)).collect();
    let census = Census::of(&views);
    let now = Timestamp::now();
    let decision = decide(&views, rendered.binding_created, context.evictions.memory(key), now);
    let decided = Decided { decision, now, pods: &found, counted: views.len() };
    let mut failures = Vec::new();
    let decision = context.evictions.carry_out(&api, key, decided, &context.metrics).await;
    let decision = decision.unwrap_or_else(|(decision, error)| {
        failures.push(error);
        decision
    });
    let maps: Vec<_> = [&rendered.edm, &rendered.pop].into_iter().flatten().collect();
    // What could not be looked at is not known to be new.
    if rendered.all_seen {
        let mounted = touch::Mounted::of(&maps, rendered.keys.as_deref(), identity.and_then(|view| view.mounted.clone()));
        failures.extend(touch::touch_all(&api, &found, &views, &mounted).await.map(EdgeError::Touch));
    }
    Ok(PodsRound { found, views, census, decision, failures })
}

/// The condition `Injected`.
pub(super) fn injected(
    pods: &Result<PodsRound, EdgeError>,
    key: &EdgeKey,
    edge: &TapirEdge,
    failures: &[EdgeError],
    trouble: Option<Said>,
) -> Draft {
    let draft = |truth, reason, message| Draft::new("Injected", truth, reason, message);
    // What was refused is the cause of what the Pods lack.
    let refused = failures.iter().filter(|failure| matches!(failure, EdgeError::Apply { .. } | EdgeError::Evict(_)));
    if let Some((reason, message)) = refused.filter_map(EdgeError::said).next() {
        return draft(Truth::False, reason, message);
    }
    let pods = match pods {
        Ok(pods) => pods,
        Err(error) => {
            let (reason, message) = error.said().unwrap_or(("ReadFailed", error.to_string()));
            return draft(Truth::Unknown, reason, message);
        }
    };
    let finding = pods.census.finding(&pods.views, &key.name, &edge.spec.resolver.container, &pods.decision);
    match trouble {
        // Names that are taken and lists that are missing weigh less than Pods without sidecars, and more than nothing.
        Some((reason, message)) if finding.injected => draft(Truth::False, reason, message),
        _ => draft(if finding.injected { Truth::True } else { Truth::False }, finding.reason, finding.message),
    }
}

/// Counts for the status.
pub(super) fn counts(pods: &PodsRound, rendered: &Rendered) -> PodsStatus {
    let injection = rendered.injection.as_ref();
    let carries = |annotation: &str, revision: Option<&String>| {
        let living = pods.found.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
        number(living.filter(|pod| revision.is_some() && pod.annotations().get(annotation) == revision).count())
    };
    PodsStatus {
        matched: number(pods.census.matched),
        injected: number(pods.census.injected),
        current: carries(ANNOTATION_INJECTION, injection.map(|injection| &injection.revision)),
        updated: carries(ANNOTATION_IMAGES, injection.and_then(|injection| injection.images_revision.as_ref())),
    }
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}
