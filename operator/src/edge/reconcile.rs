//! One reconcile of one edge, step after step. What fails in a step is said in the status, and the steps that do not need it go on.

use std::sync::Arc;
use std::time::Duration;

use kube::api::{Api, Patch, PatchParams};
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::runtime::events::Recorder;
use kube::{Client, ResourceExt as _};

use super::dereference::dereference;
use super::error::EdgeError;
use super::offboard::offboard;
use super::render::render;
use super::replace::Evictions;
use super::report::{report, report_departure, report_failure};
use super::{core_link, pods_round};
use crate::api::{FINALIZER_OFFBOARD, TapirEdge};
use crate::identity::attempts::Attempts;
use crate::identity::board::{IdentityBoard, Standing};
use crate::identity::keeper::Keeper;
use crate::identity::leaving::Left;
use crate::identity::secrets::namespace_terminating;
use crate::pods::Decision;
use crate::policy::{Counts, Reads};
use crate::settings::Settings;
use crate::sidecars::{Board, EdgeKey};
use crate::telemetry::metrics::Metrics;

/// When nothing happens, everything is compared with reality anyway.
const CALM: Duration = Duration::from_mins(10);
/// While sidecars have not answered yet: that they should have by now, no event tells.
const EXPECTANT: Duration = Duration::from_secs(30);
/// While Pods are being replaced.
const WATCHFUL: Duration = Duration::from_secs(5);

/// While the identity of an edge that goes is still worked on.
const SOON: Duration = Duration::from_secs(1);

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
    pub identities: IdentityBoard,
    pub reads: Reads,
    pub counts: Counts,
}

/// How a round ended that came to its end.
enum Round {
    Done(Action),
    /// Something failed, and the status says so.
    Failed(EdgeError),
}

/// Brings one edge to where it should be.
///
/// # Errors
/// See [`EdgeError`]; what people have to know is in the conditions.
pub async fn reconcile(edge: Arc<DeserializeGuard<TapirEdge>>, context: Arc<Context>) -> Result<Action, EdgeError> {
    let edge = edge.0.as_ref().map_err(|invalid| EdgeError::Malformed(invalid.error.clone()))?;
    let key = EdgeKey { namespace: edge.namespace().unwrap_or_default(), name: edge.name_any() };
    let round = if edge.metadata.deletion_timestamp.is_some() {
        depart(&context, &key, edge).await
    } else {
        tend(&context, &key, edge).await
    };
    match round {
        Ok(Round::Done(action)) => Ok(action),
        Ok(Round::Failed(error)) => Err(error),
        Err(error) => {
            report_failure(&context, &key, edge, &error).await;
            Err(error)
        }
    }
}

async fn depart(context: &Context, key: &EdgeKey, edge: &TapirEdge) -> Result<Round, EdgeError> {
    let Some(turn) = context.identities.depart(key, edge.metadata.uid.as_deref()) else {
        // A call to Core is under way, and its answer must not come after the edge.
        return Ok(Round::Done(Action::requeue(SOON)));
    };
    if offboard(context, key, edge).await? == Left::Waiting {
        report_departure(context, key, edge).await;
        return Ok(Round::Done(Action::requeue(WATCHFUL)));
    }
    drop(turn);
    context.identities.forget(key);
    context.board.forget(key);
    context.reads.forget(key);
    context.evictions.forget(key);
    context.attempts.forget(key);
    context.keeper.forget(key).await;
    Ok(Round::Done(Action::await_change()))
}

async fn tend(context: &Context, key: &EdgeKey, edge: &TapirEdge) -> Result<Round, EdgeError> {
    if !edge.finalizers().iter().any(|finalizer| finalizer == FINALIZER_OFFBOARD) {
        // There it was just taken off.
        if namespace_terminating(&context.client, &key.namespace).await.map_err(EdgeError::Dereference)? {
            return Ok(Round::Done(Action::await_change()));
        }
        add_finalizer(&context.client, &key.namespace, edge).await?;
        // The write comes back as an event, with the version that later writes need.
        return Ok(Round::Done(Action::await_change()));
    }
    let found = dereference(&context.client, &context.reads, key, edge).await?;
    // In a namespace that is being deleted, an edge that is not deleted yet will be. The operator's own rights there, and perhaps its own
    // Pod, may go first.
    if found.namespace_terminating {
        return depart(context, key, edge).await;
    }
    let identity = context.identities.view(key);
    let identity = identity.as_deref();
    if identity.is_some_and(|view| view.standing == Standing::Leaving) {
        return depart(context, key, edge).await;
    }
    let mut rendered = render(&context.client, &context.settings, &key.namespace, edge, &found).await;
    let mut pods = pods_round::tend(context, key, edge, &rendered, identity).await;
    let mut failures = std::mem::take(&mut rendered.failures);
    if let Ok(pods) = &mut pods {
        failures.append(&mut pods.failures);
    }
    report(context, key, edge, &rendered, identity, &pods, &failures).await?;
    let pods = match (failures.into_iter().next(), pods) {
        (Some(error), _) | (None, Err(error)) => return Ok(Round::Failed(error)),
        (None, Ok(pods)) => pods,
    };
    let mut next = match pods.decision {
        Decision::Nothing | Decision::Person { .. } | Decision::Useless { .. } => CALM,
        Decision::Blocked { retry_in, .. } => retry_in,
        Decision::Evict(_) | Decision::Later => WATCHFUL,
    };
    if core_link::targets(&pods.found).iter().any(|target| context.board.last(key, target).is_none()) {
        next = next.min(EXPECTANT);
    }
    Ok(Round::Done(Action::requeue(next)))
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
