//! How running Pods get the images that they are to run: looks, asks `tapir-plan` for the one step, and does it.
//!
//! [`tend`] is called in each round of an edge whose Pods had to be read whole. It writes `status.rollout` before it changes a Pod, so that
//! another operator goes on where this one ended; in all other cases the reconciler writes what it returns, with the rest of the status.

mod act;
mod ask;
mod change;
mod convert;
mod ledger;
mod look;
mod memory;
mod observe;
mod pull;
mod report;
mod turn;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use tapir_plan::rollout::Permission;

pub use ask::Answers;
pub use convert::{planned, written};
pub use ledger::Ledger;
pub use memory::Rollouts;
pub use pull::LABEL_PULL_FOR;
pub use report::News;

use self::act::act;
use self::look::Look;
use crate::api::reasons::Reason;
use crate::api::{Images, RolloutStatus, TapirEdge};
use crate::edge::Evictions;
use crate::pods::View;
use crate::settings;
use crate::sidecars::EdgeKey;
use crate::telemetry::metrics::Metrics;

/// What a round looks at.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    pub key: &'a EdgeKey,
    /// As it was read in this round.
    pub edge: &'a TapirEdge,
    pub settings: &'a settings::Rollout,
    /// Images that the Pods are to run in the end.
    pub target: &'a Images,
    /// Revision of the structure that new Pods get.
    pub structure: &'a str,
    /// Whole Pods, and what was found of them. Empty when metadata showed that all run what they should and nothing is under way.
    pub pods: &'a [Pod],
    pub views: &'a [View],
    /// A person asks to try again what was halted.
    pub retry: bool,
    /// A Pod without sidecars is being replaced in this very round: nothing else is touched.
    pub replacing: bool,
    pub now: Timestamp,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// To be written with the rest of the status.
    pub status: RolloutStatus,
    /// Images that `status.injection` is to have.
    pub injection: Images,
    /// When to look again though nothing happened.
    pub again: Option<Duration>,
    pub news: Vec<News>,
    /// What condition `Injected` says when injection itself is well: whether it is true all the same, reason and message.
    pub condition: Option<(bool, Reason, String)>,
    /// Something was written.
    pub wrote: bool,
}

/// Why a step could not be taken. The next round takes it again.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
pub enum RolloutError {
    #[error("listing all edges, to know whose turn it is: {0}")]
    Fleet(#[source] kube::Error),
    #[error("listing EndpointSlices, to know which Pods answer: {0}")]
    Slices(#[source] kube::Error),
    #[error("pulling an image before a Pod is changed: {0}")]
    Pull(#[source] kube::Error),
    #[error("writing down which Pod is changed next: {0}")]
    WriteAhead(#[source] kube::Error),
    #[error("changing the images of a Pod: {0}")]
    Change(#[source] kube::Error),
    #[error("evicting a Pod: {0}")]
    Evict(#[source] kube::Error),
}

impl RolloutError {
    /// What the API server answered.
    #[must_use]
    pub fn cause(&self) -> &kube::Error {
        match self {
            Self::Fleet(error)
            | Self::Slices(error)
            | Self::Pull(error)
            | Self::WriteAhead(error)
            | Self::Change(error)
            | Self::Evict(error) => error,
        }
    }
}

/// Images that new Pods get until [`tend`] says otherwise: those that they got before.
#[must_use]
pub fn held(edge: &TapirEdge, target: &Images) -> Images {
    let before = edge.status.as_ref().and_then(|status| status.injection.as_ref()).map(|injection| planned(&injection.images));
    let before = before.filter(|images| !images.is_empty());
    before.map_or_else(|| target.clone(), |images| written(&images.held(&planned(target))))
}

/// Whether whole Pods have to be read for a rollout even though all of them seem well.
#[must_use]
pub fn is_under_way(edge: &TapirEdge) -> bool {
    let rollout = edge.status.as_ref().and_then(|status| status.rollout.as_ref());
    rollout.is_some_and(|rollout| rollout.pod.is_some() || rollout.phase == crate::api::Phase::Rolling)
}

/// Takes one step.
///
/// # Errors
/// When the API server fails. Nothing was done then that is not written down.
pub async fn tend(
    rollouts: &Rollouts,
    client: &Client,
    evictions: &Evictions,
    metrics: &Metrics,
    scene: Scene<'_>,
) -> Result<Outcome, RolloutError> {
    turn::learn(rollouts, client).await.map_err(RolloutError::Fleet)?;
    let status = scene.edge.status.as_ref();
    let before = status.and_then(|status| status.rollout.as_ref()).map(convert::state);
    let mut look = Look::new(rollouts, evictions, &scene, before.as_ref());
    // What would be done if it may: only then is it worth looking more closely.
    let mut plan = look.plan(&Permission::Granted);
    if look.is_delicate(&plan) {
        look.more_closely(client).await?;
        plan = look.plan(&Permission::Granted);
        look.pulls(rollouts, client, &plan).await?;
        look.ask(rollouts).await;
        plan = look.plan(&Permission::Granted);
    }
    let wants = plan.wants_turn(&look.input(&Permission::Granted));
    let permission = turn::ask(rollouts, &scene, before.as_ref(), wants);
    let plan = look.plan(&permission);
    let outcome = act(rollouts, client, evictions, metrics, &scene, before.as_ref(), plan, look.other_structure()).await?;
    turn::note(rollouts, &scene, &outcome);
    Ok(outcome)
}
