//! One reconcile of one edge, step after step. What fails in a step is said in the status, and the steps that do not need it go on.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{Api, Patch, PatchParams};
use kube::core::DeserializeGuard;
use kube::core::error_boundary::InvalidObject;
use kube::runtime::controller::Action;
use kube::runtime::events::EventType;
use kube::{Client, Resource as _, ResourceExt as _};

use super::dereference::dereference;
use super::error::EdgeError;
use super::offboard::offboard;
use super::pods_round::{self, PodsRound};
use super::render::render;
use super::replace::Evictions;
use super::report::{
    self, Findings, Reported, report, report_departure, report_failure, report_suspended, report_suspended_departure,
};
use super::settled::{Next, Settled};
use super::status;
use super::touch::Touches;
use crate::api::reasons::EventReason;
use crate::api::{FINALIZER_OFFBOARD, TapirEdge};
use crate::apply::{Applier, Memory};
use crate::build::config::revision_of;
use crate::cache::{Cache, Edge, OwnWrites};
use crate::identity::attempts::Attempts;
use crate::identity::board::{IdentityBoard, Standing};
use crate::identity::keeper::Keeper;
use crate::identity::leaving::Left;
use crate::identity::secrets::namespace_terminating;
use crate::leftovers::Stuck;
use crate::pods::Decision;
use crate::policy::Counts;
use crate::rollout::Rollouts;
use crate::settings::Settings;
use crate::sidecars::{Board, EdgeKey, Hope};
use crate::telemetry::events::Events;
use crate::telemetry::metrics::Metrics;

/// After a write, in case its event is missed.
const FORMALITY: Duration = Duration::from_mins(1);
/// While sidecars have not answered yet: that they should have by now, no event tells.
const EXPECTANT: Duration = Duration::from_secs(30);
/// While Pods are being replaced.
const WATCHFUL: Duration = Duration::from_secs(5);
/// While the identity of an edge that goes is still worked on, or after somebody else wrote at the same time.
const SOON: Duration = Duration::from_secs(1);

const QUIET: Next = Next { within: None, quiet: true };

/// All that reconcilers share.
#[derive(Clone)]
pub struct Context {
    pub client: Client,
    pub settings: Arc<Settings>,
    pub keeper: Keeper,
    pub events: Events,
    pub metrics: Metrics,
    pub cache: Cache,
    pub board: Board,
    pub evictions: Evictions,
    pub attempts: Attempts,
    pub identities: IdentityBoard,
    pub counts: Counts,
    pub applied: Memory,
    pub own: OwnWrites,
    pub stuck: Stuck,
    pub touches: Touches,
    pub rollouts: Rollouts,
    /// Since when this process leads. Its own webhook answers from about then on.
    pub leading_since: Timestamp,
    /// Of the edge controller.
    pub settled: Settled,
    /// Of the identity controller.
    pub settled_identities: Settled,
}

impl Context {
    /// An edge is no more: nothing is remembered of it.
    pub fn forget(&self, key: &EdgeKey) {
        self.settled.forget(key);
        self.settled_identities.forget(key);
        self.board.forget(key);
        self.evictions.forget(key);
        self.attempts.forget(key);
        self.identities.forget(key);
        self.keeper.looks.forget(key);
        self.applied.forget(key);
        self.own.forget(key);
        self.touches.forget(key);
        self.rollouts.forget(key);
    }
}

/// How a round ended that came to its end.
enum Round {
    /// Something was done, or goes on: look again then, or when something changes.
    Again(Option<Duration>),
    /// Nothing is to be done before something changes that is not of this round's making, or this time.
    Settled(Next),
    /// Something failed, and the status says so.
    Failed(EdgeError),
}

/// Brings one edge to where it should be. Asks for nothing when nothing has changed since a round that had nothing to do.
///
/// # Errors
/// See [`EdgeError`]; what people have to know is in the conditions.
pub async fn reconcile(edge: Arc<Edge>, context: Arc<Context>) -> Result<Action, EdgeError> {
    let lean = match &edge.0 {
        Ok(lean) => lean,
        Err(invalid) => {
            malformed(&context, invalid).await;
            return Ok(Action::await_change());
        }
    };
    let key = lean.key();
    let now = context.keeper.clock.now();
    // Taken before anything is looked at, so that what changes meanwhile shows.
    let inputs = context
        .cache
        .inputs(lean, &[context.identities.epoch(&key), context.board.epoch(&key), context.rollouts.ledger().epoch(&key)]);
    if let Some(left) = context.settled.holds(&key, inputs.print(&context.own), now) {
        return Ok(Action::requeue(left));
    }
    context.settled.forget(&key);
    let api: Api<DeserializeGuard<TapirEdge>> = Api::namespaced(context.client.clone(), &key.namespace);
    let edge = match api.get_opt(&key.name).await.map_err(EdgeError::Dereference)? {
        None => return Ok(Action::await_change()),
        Some(DeserializeGuard(Err(invalid))) => {
            malformed(&context, &invalid).await;
            return Ok(Action::await_change());
        }
        Some(DeserializeGuard(Ok(edge))) => edge,
    };
    let round = if edge.metadata.deletion_timestamp.is_some() {
        depart(&context, &key, &edge).await
    } else {
        tend(&context, &key, &edge).await
    };
    let action = match round {
        Ok(Round::Settled(next)) => Ok(Action::requeue(context.settled.remember(&key, inputs.print(&context.own), next, now))),
        Ok(Round::Again(Some(pause))) => Ok(Action::requeue(pause)),
        Ok(Round::Again(None)) => Ok(Action::await_change()),
        Ok(Round::Failed(error)) => Err(error),
        // Somebody wrote in between, as the identity controller does: looked at anew, and nothing is wrong.
        Err(EdgeError::Finalizer(kube::Error::Api(status))) if status.code == 409 => Ok(Action::requeue(SOON)),
        Err(error) => {
            report_failure(&context, &key, &edge, &error).await;
            Err(error)
        }
    };
    context.metrics.settled(context.settled.count());
    action
}

/// An edge that its own type cannot read is told of, and stands in nobody's way.
async fn malformed(context: &Context, invalid: &InvalidObject) {
    context.metrics.malformed("edge");
    let reference = ObjectReference {
        api_version: Some(TapirEdge::api_version(&()).into_owned()),
        kind: Some(TapirEdge::kind(&()).into_owned()),
        name: invalid.metadata.name.clone(),
        namespace: invalid.metadata.namespace.clone(),
        uid: invalid.metadata.uid.clone(),
        ..ObjectReference::default()
    };
    let note = format!("this TapirEdge cannot be read and nothing is done for it: {}: correct it", invalid.error);
    tracing::error!(namespace = reference.namespace, edge = reference.name, error = invalid.error, "an edge is malformed");
    status::publish_event(&context.events, &reference, EventReason::Malformed, EventType::Warning, note).await;
}

async fn depart(context: &Context, key: &EdgeKey, edge: &TapirEdge) -> Result<Round, EdgeError> {
    // In a namespace that goes it holds nothing up, suspended or not.
    if edge.spec.suspend && !namespace_terminating(&context.client, &key.namespace).await.map_err(EdgeError::Offboard)? {
        report_suspended_departure(context, key, edge).await;
        return Ok(Round::Settled(QUIET));
    }
    let Some(turn) = context.identities.depart(key, edge.metadata.uid.as_deref()) else {
        // A call to Core is under way, and its answer must not come after the edge.
        return Ok(Round::Again(Some(SOON)));
    };
    if offboard(context, key, edge).await? == Left::Waiting {
        report_departure(context, key, edge).await;
        return Ok(Round::Again(Some(WATCHFUL)));
    }
    drop(turn);
    context.forget(key);
    context.keeper.forget(key).await;
    Ok(Round::Again(None))
}

async fn tend(context: &Context, key: &EdgeKey, edge: &TapirEdge) -> Result<Round, EdgeError> {
    if !edge.finalizers().iter().any(|finalizer| finalizer == FINALIZER_OFFBOARD) {
        // There it was just taken off.
        if namespace_terminating(&context.client, &key.namespace).await.map_err(EdgeError::Dereference)? {
            return Ok(Round::Again(None));
        }
        add_finalizer(&context.client, &key.namespace, edge).await?;
        // The write comes back as an event, with the version that later writes need.
        return Ok(Round::Again(None));
    }
    let found = dereference(&context.client, &context.cache, key, edge).await?;
    // In a namespace that is being deleted, an edge that is not deleted yet will be. The operator's own rights there, and perhaps its own
    // Pod, may go first.
    if found.namespace_terminating {
        return depart(context, key, edge).await;
    }
    if edge.spec.suspend {
        // It takes no turn from others.
        context.rollouts.forget(key);
        let injection = edge.status.as_ref().and_then(|status| status.injection.as_ref());
        let look = pods_round::look(context, key, edge, injection, None, None).await;
        let wrote = report_suspended(context, key, edge, look).await?;
        return Ok(if wrote { Round::Again(Some(FORMALITY)) } else { Round::Settled(QUIET) });
    }
    let identity = context.identities.view(key);
    let identity = identity.as_deref();
    if identity.is_some_and(|view| view.standing == Standing::Leaving) {
        return depart(context, key, edge).await;
    }
    let handled_before = edge.status.as_ref().and_then(|status| status.handled.clone());
    if report::handled(edge).is_some_and(|asked| Some(asked) != handled_before) {
        context.applied.forget(key);
    }
    let applier = Applier {
        edge: key,
        cache: &context.cache,
        memory: &context.applied,
        own: &context.own,
        now: context.keeper.clock.now(),
        wrote: AtomicBool::new(false),
    };
    let mut rendered = render(&context.client, &context.settings, &applier, &key.namespace, edge, &found).await;
    let hope = Hope {
        revision: [&rendered.edm, &rendered.pop].map(|map| map.as_ref().and_then(revision_of)),
        serial: identity.and_then(|view| view.certificate.as_ref()).map(|certificate| certificate.info.serial.clone()),
    };
    let mut pods = pods_round::tend(context, key, edge, &rendered, identity, &hope).await;
    let mut failures = std::mem::take(&mut rendered.failures);
    if let Ok(pods) = &mut pods {
        if let Some(rollout) = &pods.rollout {
            rendered.give_new_pods(edge, key, &rollout.injection);
        }
        failures.append(&mut pods.failures);
    }
    let findings = Findings { rendered: &rendered, identity, pods: &pods, failures: &failures, hope };
    let reported = report(context, key, edge, findings).await?;
    let pods = match (failures.into_iter().next(), pods) {
        (Some(error), _) | (None, Err(error)) => return Ok(Round::Failed(error)),
        (None, Ok(pods)) => pods,
    };
    let round = next(context, key, &pods, &reported, applier.wrote());
    if let Some(digest) = reported.wrote {
        let alone = matches!(round, Round::Settled(_));
        context.own.status(key, alone.then(|| (edge.resource_version(), digest)));
    }
    Ok(round)
}

/// When to look again.
fn next(context: &Context, key: &EdgeKey, pods: &PodsRound, reported: &Reported, applied: bool) -> Round {
    let replacing = match &pods.decision {
        Decision::Nothing | Decision::Person { .. } | Decision::Held { .. } | Decision::Useless { .. } => None,
        Decision::Blocked { retry_in, .. } => Some(*retry_in),
        Decision::Evict(_) | Decision::Later => Some(WATCHFUL),
    };
    let expectant = reported.expectant.then_some(EXPECTANT);
    let wrote = applied || pods.wrote || reported.wrote.is_some();
    // What a rollout waits for longer than that is told by an event, or by the ledger.
    let (rolling, waiting): (Option<Duration>, Option<Duration>) = pods
        .rollout
        .as_ref()
        .and_then(|rollout| rollout.again)
        .map_or((None, None), |again| if again < FORMALITY { (Some(again), None) } else { (None, Some(again)) });
    let awaited = [expectant, pods.look].into_iter().flatten().min();
    // The next step follows from what was written, which comes back as an event; should that be missed, a look costs little.
    let rolled = pods.rollout.as_ref().is_some_and(|rollout| rollout.wrote);
    if replacing.is_some() || rolling.is_some() || rolled || (wrote && !reported.words_only) {
        let formality = wrote.then_some(FORMALITY);
        return Round::Again([replacing, rolling, awaited, formality].into_iter().flatten().min());
    }
    let within = awaited.into_iter().chain(waiting).min();
    // Where the identity controller has not looked yet, it tells when it has.
    let looked = context.identities.view(key).is_some();
    Round::Settled(Next { within, quiet: awaited.is_none() && looked })
}

async fn add_finalizer(client: &Client, namespace: &str, edge: &TapirEdge) -> Result<(), EdgeError> {
    let api: Api<TapirEdge> = Api::namespaced(client.clone(), namespace);
    let mut finalizers = edge.finalizers().to_vec();
    finalizers.push(FINALIZER_OFFBOARD.to_owned());
    let patch = serde_json::json!({"metadata": {"resourceVersion": edge.resource_version(), "finalizers": finalizers}});
    api.patch_metadata(&edge.name_any(), &PatchParams::default(), &Patch::Merge(patch))
        .await
        .map(drop)
        .map_err(EdgeError::Finalizer)
}

impl std::fmt::Debug for Context {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Context").field("settings", &self.settings).finish_non_exhaustive()
    }
}
