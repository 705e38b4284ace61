//! One reconcile of one edge, step after step.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::runtime::events::Recorder;
use kube::{Client, ResourceExt as _};
use sha2::{Digest as _, Sha256};

use super::attempts::Attempts;
use super::dereference::{Dereferenced, dereference};
use super::enrolled::{self, Verdict};
use super::error::EdgeError;
use super::render::{Rendered, render};
use super::replace::Evictions;
use super::{core_link, offboard, rivals, status, touch, validate};
use crate::api::status::{CertificateStatus, NodeStatus, PodsStatus};
use crate::api::{ANNOTATION_INJECTION, FINALIZER_OFFBOARD, LABEL_EDGE, TapirEdge, TapirEdgeStatus};
use crate::conditions::{Draft, Truth, merge, summary};
use crate::identity::keeper::{CredentialsFound, KeepError, Keeper, Kept, Wanted};
use crate::identity::material::{NODE_ANNOTATION, certificate};
use crate::nodeman::TrustAnchors;
use crate::pods::{Census, Decision, View, classify, decide};
use crate::settings::Settings;
use crate::sidecars::{Board, Component, EdgeKey};
use crate::telemetry::metrics::Metrics;

/// When nothing happens, everything is compared with reality anyway.
const CALM: Duration = Duration::from_mins(10);
/// While Pods are being replaced.
const WATCHFUL: Duration = Duration::from_secs(5);

/// All that reconcilers share.
#[derive(Clone)]
pub struct Context {
    pub client: Client,
    pub settings: Arc<Settings>,
    pub keeper: Keeper,
    pub recorder: Recorder,
    pub metrics: Metrics,
    pub board: Board,
    pub evictions: Evictions,
    pub attempts: Attempts,
}

/// What is known about the identity after this round.
struct IdentityRound {
    outcome: Result<Kept, Verdict>,
    retry_after: Option<Duration>,
}

/// Brings one edge to where it should be.
///
/// # Errors
/// See [`EdgeError`]; what people have to know is in the conditions.
pub async fn reconcile(edge: Arc<DeserializeGuard<TapirEdge>>, context: Arc<Context>) -> Result<Action, EdgeError> {
    let edge = edge.0.as_ref().map_err(|invalid| EdgeError::Malformed(invalid.error.clone()))?;
    let namespace = edge.namespace().unwrap_or_default();
    let key = EdgeKey { namespace: namespace.clone(), name: edge.name_any() };
    if edge.metadata.deletion_timestamp.is_some() {
        offboard::offboard(&context, &key, edge).await?;
        context.board.forget(&key);
        context.evictions.forget(&key);
        context.attempts.forget(&key);
        return Ok(Action::await_change());
    }
    if !edge.finalizers().iter().any(|finalizer| finalizer == FINALIZER_OFFBOARD) {
        add_finalizer(&context.client, &namespace, edge).await?;
        // The write comes back as an event, with the version that later writes need.
        return Ok(Action::await_change());
    }
    let found = dereference(&context.client, &namespace, edge).await?;
    let identity = keep_identity(&context, &key, edge, &found).await?;
    if matches!(identity.outcome, Ok(Kept::Leaving)) {
        return Ok(Action::requeue(WATCHFUL));
    }
    let rendered = render(&context.client, &context.settings, &namespace, edge, &found).await?;
    let pods = tend_pods(&context, &key, edge, &rendered, &identity).await?;
    report(&context, &key, edge, &rendered, &identity, &pods).await?;
    let mut next = CALM;
    if !matches!(pods.decision, Decision::Nothing | Decision::Person { .. } | Decision::Useless { .. }) {
        next = WATCHFUL;
    }
    if let Some(retry) = identity.retry_after {
        next = next.min(retry);
    }
    Ok(Action::requeue(next))
}

async fn add_finalizer(client: &Client, namespace: &str, edge: &TapirEdge) -> Result<(), EdgeError> {
    let api: Api<TapirEdge> = Api::namespaced(client.clone(), namespace);
    let mut finalizers = edge.finalizers().to_vec();
    finalizers.push(FINALIZER_OFFBOARD.to_owned());
    let patch = serde_json::json!({"metadata": {"resourceVersion": edge.resource_version(), "finalizers": finalizers}});
    api.patch_metadata(&edge.name_any(), &PatchParams::default(), &Patch::Merge(patch))
        .await
        .map(drop)
        .map_err(EdgeError::Offboard)
}

async fn keep_identity(
    context: &Context,
    key: &EdgeKey,
    edge: &TapirEdge,
    found: &Dereferenced,
) -> Result<IdentityRound, EdgeError> {
    let recorded = recorded(edge);
    let credentials = validate::credentials(found);
    let trust_anchors = validate::trust_anchors(found);
    let inputs = inputs(&credentials, trust_anchors.as_ref().ok());
    let shared_with = match &credentials {
        CredentialsFound::Valid { credentials, .. } if recorded.as_deref() != Some(credentials.name.as_str()) => {
            let rival = rivals::first_rival(&context.client, &context.settings.scope, edge, credentials.name.as_str()).await;
            rival.map_err(EdgeError::Dereference)?
        }
        _ => None,
    };
    let held = context.attempts.held(key, &inputs, Instant::now());
    let wanted = Wanted {
        namespace: key.namespace.clone(),
        edge: key.name.clone(),
        edge_uid: edge.uid(),
        namespace_terminating: found.namespace_terminating,
        recorded,
        credentials,
        shared_with,
        trust_anchors,
        hold: held.is_some(),
        requested_lifetime: None,
    };
    match (context.keeper.keep(&wanted).await, held) {
        (Ok(kept), _) => {
            context.attempts.forget(key);
            Ok(IdentityRound { outcome: Ok(kept), retry_after: None })
        }
        (Err(KeepError::Held), Some((verdict, left))) => Ok(IdentityRound { outcome: Err(verdict), retry_after: Some(left) }),
        (Err(error), _) => match enrolled::verdict(&error) {
            None => Err(EdgeError::Identity(Box::new(error))),
            Some(verdict) => {
                context.metrics.failed("edge", verdict.reason);
                let retry_after = context.attempts.failed(key, &inputs, &verdict, Instant::now());
                Ok(IdentityRound { outcome: Err(verdict), retry_after })
            }
        },
    }
}

/// The node that this edge is known to have been: the annotation, and the status in case somebody removed that.
pub(super) fn recorded(edge: &TapirEdge) -> Option<String> {
    let status = edge.status.as_ref().and_then(|status| status.node.as_ref()).map(|node| node.name.clone());
    edge.annotations().get(NODE_ANNOTATION).cloned().or(status)
}

fn inputs(credentials: &CredentialsFound, anchors: Option<&TrustAnchors>) -> String {
    let anchors = match anchors {
        Some(TrustAnchors::Bundle(pem)) => hex::encode(Sha256::digest(pem.as_bytes())),
        Some(TrustAnchors::System) => "system".to_owned(),
        None => "none".to_owned(),
    };
    match credentials {
        CredentialsFound::Valid { fingerprint, nodeman_url, .. } => format!("{fingerprint} {nodeman_url} {anchors}"),
        CredentialsFound::Missing { .. } | CredentialsFound::Invalid { .. } => anchors,
    }
}

/// Pods as they were found, and what was decided.
struct PodsRound {
    found: Vec<Pod>,
    views: Vec<View>,
    census: Census,
    decision: Decision,
}

async fn tend_pods(
    context: &Context,
    key: &EdgeKey,
    edge: &TapirEdge,
    rendered: &Rendered,
    identity: &IdentityRound,
) -> Result<PodsRound, EdgeError> {
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &key.namespace);
    // Looked at only now: the calls to Core before may have taken long, and evictions follow from what is seen.
    let labelled = ListParams::default().labels(&format!("{LABEL_EDGE}={}", key.name));
    let found = api.list(&labelled).await.map_err(EdgeError::Dereference)?.items;
    let resolver = &edge.spec.resolver.container;
    let views: Vec<View> = found.iter().filter_map(|pod| classify(pod, resolver, rendered.binding_created)).collect();
    let census = Census::of(&views);
    let decision = decide(&views, rendered.binding_created, context.evictions.memory(key), Timestamp::now());
    match &decision {
        Decision::Evict(name) => {
            if let Some(pod) = found.iter().find(|pod| pod.name_any() == *name) {
                context.evictions.evict(&api, key, pod, views.len(), &context.metrics).await?;
            }
        }
        Decision::Nothing => context.evictions.forget(key),
        Decision::Later | Decision::Person { .. } | Decision::Useless { .. } => {}
    }
    let secret = match &identity.outcome {
        Ok(Kept::Identity { secret, .. }) => Some(secret.as_ref()),
        _ => None,
    };
    let maps: Vec<_> = [&rendered.edm, &rendered.pop].into_iter().flatten().collect();
    let revision = touch::mounted_revision(&maps, secret);
    // While the identity is on its way back nothing of value can be mounted anew.
    if identity.outcome.is_ok() {
        for pod in touch::outdated(&found, &views, &revision) {
            touch::touch(&api, pod, &revision).await.map_err(EdgeError::Touch)?;
        }
    }
    Ok(PodsRound { found, views, census, decision })
}

async fn report(
    context: &Context,
    key: &EdgeKey,
    edge: &TapirEdge,
    rendered: &Rendered,
    identity: &IdentityRound,
    pods: &PodsRound,
) -> Result<(), EdgeError> {
    let revisions = [&rendered.edm, &rendered.pop].map(|map| map.as_ref().and_then(crate::build::config::revision_of));
    let targets = core_link::targets(&pods.found);
    context.board.expect(key, targets.clone(), revisions);
    let heard = core_link::heard(&context.board, key, targets);

    let info = match &identity.outcome {
        Ok(Kept::Identity { secret, .. }) => certificate(secret),
        _ => None,
    };
    let mut policy = rendered.policy.clone();
    if let Some(refused) = core_link::refused_configuration(&heard, Component::Pop).filter(|_| policy.truth == Truth::True) {
        policy = Draft::new("PolicyAccepted", Truth::False, "RefusedByPop", refused);
    }
    let refused = core_link::refused_configuration(&heard, Component::Edm).map(|message| ("RefusedByEdm", message));
    let parts = vec![
        enrolled::enrolled(&identity.outcome),
        enrolled::certificate(info.as_ref(), Timestamp::now()),
        policy,
        injected(pods, key, edge, rendered.trouble.clone().or(refused)),
        core_link::core_connected(&heard),
    ];
    let ready = summary("Ready", &parts, "enrolled, injected and connected");
    let drafts = std::iter::once(ready).chain(parts).collect();

    let before = edge.status.clone().unwrap_or_default();
    let (conditions, transitions) = merge(&before.conditions, drafts, edge.metadata.generation, Timestamp::now());
    let wanted = TapirEdgeStatus {
        observed_generation: edge.metadata.generation,
        conditions,
        node: node(identity, info).or(before.node),
        pods: Some(counts(pods, rendered)),
        injection: rendered.injection.clone(),
    };
    let api: Api<TapirEdge> = Api::namespaced(context.client.clone(), &key.namespace);
    if status::update(&api, edge, &wanted).await? {
        status::publish(&context.recorder, edge, &transitions).await;
    }
    Ok(())
}

fn injected(pods: &PodsRound, key: &EdgeKey, edge: &TapirEdge, trouble: Option<(&'static str, String)>) -> Draft {
    let finding = pods.census.finding(&pods.views, &key.name, &edge.spec.resolver.container, &pods.decision);
    match trouble {
        // Names that are taken and lists that are missing weigh less than Pods without sidecars, and more than nothing.
        Some((reason, message)) if finding.injected => Draft::new("Injected", Truth::False, reason, message),
        _ => Draft::new("Injected", if finding.injected { Truth::True } else { Truth::False }, finding.reason, finding.message),
    }
}

fn node(identity: &IdentityRound, info: Option<tapir_wire::certificate::CertificateInfo>) -> Option<NodeStatus> {
    let Ok(Kept::Identity { node, .. }) = &identity.outcome else { return None };
    let certificate = info.map(|info| CertificateStatus { serial: info.serial, not_after: info.not_after });
    Some(NodeStatus { name: node.clone(), certificate })
}

fn counts(pods: &PodsRound, rendered: &Rendered) -> PodsStatus {
    let revision = rendered.injection.as_ref().map(|injection| &injection.revision);
    let current = pods.found.iter().filter(|pod| {
        pod.metadata.deletion_timestamp.is_none() && revision.is_some() && pod.annotations().get(ANNOTATION_INJECTION) == revision
    });
    let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    PodsStatus { matched: number(pods.census.matched), injected: number(pods.census.injected), current: number(current.count()) }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Context").field("settings", &self.settings).finish_non_exhaustive()
    }
}
