//! How running Pods get the images that they are to run: looks, asks `tapir-plan` for the one step, and does it.
//!
//! [`tend`] is called in each round of an edge whose Pods had to be read whole. It writes `status.rollout` before it changes a Pod, so that
//! another operator goes on where this one ended; in all other cases the reconciler writes what it returns, with the rest of the status.

mod ask;
mod carry_out;
mod convert;
mod ledger;
mod memory;
mod observe;
mod pull;
mod report;
mod turn;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt as _};
use tapir_plan::rollout as plan;
use tapir_plan::rollout::{Act, Input, Permission, Plan, PodView, PullView, State, Watch, step};

pub use ask::Answers;
pub use convert::{planned, written};
pub use ledger::Ledger;
pub use memory::Rollouts;
pub use pull::LABEL_PULL_FOR;
pub use report::News;

use self::carry_out::{Written, change_images, write_ahead};
use crate::api::reasons::Reason;
use crate::api::{Images, RolloutStatus, TapirEdge};
use crate::build::images_revision;
use crate::edge::{Decided, Evictions};
use crate::failpoint::Failpoint;
use crate::pods::{Decision, View};
use crate::settings;
use crate::sidecars::EdgeKey;
use crate::telemetry::metrics::Metrics;

/// A namespace with more slices than this is not looked at to the end: then some Pods count as serving by their readiness alone.
const MOST_SLICES: u32 = 500;
/// After somebody else wrote at the same time.
const SOON: Duration = Duration::from_secs(1);

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
    let outcome = carry_out(rollouts, client, evictions, metrics, &scene, before.as_ref(), plan, look.other_structure()).await?;
    turn::note(rollouts, &scene, &outcome);
    Ok(outcome)
}

/// One look at everything.
struct Look<'a> {
    scene: &'a Scene<'a>,
    before: Option<&'a State>,
    target: plan::Images,
    injection: Option<plan::Images>,
    pods: Vec<PodView>,
    pulls: Vec<PullView>,
    watch: Option<Watch>,
    replacing: bool,
    switched_since: Option<Timestamp>,
    observing_since: Timestamp,
}

impl<'a> Look<'a> {
    fn new(rollouts: &Rollouts, evictions: &Evictions, scene: &'a Scene<'a>, before: Option<&'a State>) -> Self {
        let target = planned(scene.target);
        let injection = scene.edge.status.as_ref().and_then(|status| status.injection.as_ref());
        let structure_switched = injection.is_some_and(|injection| injection.revision == scene.structure);
        let injection = injection.map(|injection| planned(&injection.images)).filter(|images| !images.is_empty());
        let pods = observe::observe(scene.pods, scene.views);
        let living = pods.len();
        let memory = rollouts.memory(scene.key, |memory| {
            memory.observing_since.get_or_insert(scene.now);
            if structure_switched && injection.as_ref() == Some(&target) {
                memory.switched_since.get_or_insert(scene.now);
            } else {
                memory.switched_since = None;
            }
            (memory.observing_since, memory.switched_since, memory.watch.clone())
        });
        let (observing_since, switched_since, watch) = memory;
        Self {
            scene,
            before,
            target,
            injection,
            pods,
            pulls: Vec::new(),
            watch,
            replacing: evictions.memory(scene.key).replacement_is_under_way(living, scene.now),
            switched_since,
            observing_since: observing_since.unwrap_or(scene.now),
        }
    }

    fn input<'b>(&'b self, permission: &'b Permission) -> Input<'b> {
        let rollout = &self.scene.edge.spec.rollout;
        Input {
            strategy: convert::strategy(rollout.strategy),
            paused: rollout.paused,
            permission,
            retry: self.scene.retry,
            target: &self.target,
            injection: self.injection.as_ref(),
            switched_since: self.switched_since,
            structure: self.scene.structure,
            pods: &self.pods,
            state: self.before,
            replacing: self.replacing,
            watch: self.watch.as_ref(),
            observing_since: self.observing_since,
            pre_pull: self.scene.settings.pre_pull,
            pulls: &self.pulls,
            now: self.scene.now,
        }
    }

    fn plan(&self, permission: &Permission) -> Plan {
        step(&self.input(permission))
    }

    fn moving(&self) -> Option<&'a plan::Rolling> {
        self.before.and_then(|before| before.pod.as_ref())
    }

    /// Whether a Pod is in motion, or is about to be.
    fn is_delicate(&self, plan: &Plan) -> bool {
        plan.act != Act::Nothing || self.moving().is_some()
    }

    /// Which Pods their Services list as serving.
    async fn more_closely(&mut self, client: &Client) -> Result<(), RolloutError> {
        let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), &self.scene.key.namespace);
        let slices = slices.list(&ListParams::default().limit(MOST_SLICES)).await.map_err(RolloutError::Slices)?;
        observe::mark_serving(&mut self.pods, &slices.items);
        Ok(())
    }

    /// How the pulls are that the next step waits for.
    async fn pulls(&mut self, rollouts: &Rollouts, client: &Client, plan: &Plan) -> Result<(), RolloutError> {
        let Act::Pull { node, .. } = &plan.act else { return Ok(()) };
        let api: Api<Pod> = Api::namespaced(client.clone(), &self.scene.key.namespace);
        let images: Vec<String> = [&self.target.edm, &self.target.pop].into_iter().flatten().cloned().collect();
        for image in images {
            let pod = api.get_opt(&pull::name(node, &image)).await.map_err(RolloutError::Pull)?;
            let now = self.scene.now;
            let view = rollouts.memory(self.scene.key, |memory| memory.pulls.view(node, &image, pod.as_ref(), now));
            self.pulls.extend(view);
        }
        Ok(())
    }

    /// Asks the sidecars of the Pod in motion, or of the one that is next, and takes down what was seen of it.
    async fn ask(&mut self, rollouts: &Rollouts) {
        // With the pulls known, the plan may be another one.
        let plan = self.plan(&Permission::Granted);
        let next = match &plan.act {
            Act::Patch { uid, .. } => Some(uid.as_str()),
            _ => None,
        };
        let asked = self.moving().map(|pod| pod.uid.clone()).or_else(|| next.map(str::to_owned));
        let Some(uid) = asked else { return };
        let Some(pod) = self.scene.pods.iter().find(|pod| pod.metadata.uid.as_deref() == Some(uid.as_str())) else { return };
        let answered = rollouts.answers().answer(pod).await;
        let (now, target, moving) = (self.scene.now, self.target.clone(), self.moving());
        let Some(view) = self.pods.iter_mut().find(|view| view.uid == uid) else { return };
        view.heard = answered.then_some(now);
        if let Some(moving) = moving {
            let watch = Watch::look(self.watch.take(), moving, view, &target, now);
            rollouts.memory(self.scene.key, |memory| memory.watch = Some(watch.clone()));
            self.watch = Some(watch);
        }
    }

    fn other_structure(&self) -> usize {
        let other = |pod: &&PodView| pod.injected && !pod.terminating && pod.structure.as_deref() != Some(self.scene.structure);
        self.pods.iter().filter(other).count()
    }
}

/// Does what is planned.
#[expect(clippy::too_many_arguments, reason = "the parts of one round, which have nothing else in common")]
async fn carry_out(
    rollouts: &Rollouts,
    client: &Client,
    evictions: &Evictions,
    metrics: &Metrics,
    scene: &Scene<'_>,
    before: Option<&State>,
    mut plan: Plan,
    other_structure: usize,
) -> Result<Outcome, RolloutError> {
    let Scene { key, edge, now, .. } = *scene;
    let api: Api<Pod> = Api::namespaced(client.clone(), &key.namespace);
    let whole = |uid: &str| scene.pods.iter().find(|pod| pod.metadata.uid.as_deref() == Some(uid));
    let mut wrote = false;
    // Nothing but a way back is done beside the replacement of another Pod.
    if scene.replacing && !matches!(plan.act, Act::WayBack { .. } | Act::Nothing) {
        return Ok(as_before(scene, before, other_structure));
    }
    match &plan.act {
        Act::Nothing => {}
        Act::Pull { node, images, secrets } => {
            wrote = true;
            for image in images {
                let begun = pull::begin(&api, &key.name, node, image, secrets).await.map_err(RolloutError::Pull)?;
                rollouts.memory(key, |memory| {
                    memory.pulls.begun = true;
                    if begun == pull::Begun::Refused {
                        memory.pulls.refused(node, image, now);
                    }
                });
            }
        }
        Act::Patch { uid, images, .. } | Act::WayBack { uid, images, .. } => {
            let Some(pod) = whole(uid) else { return Ok(as_before(scene, before, other_structure)) };
            let edges: Api<TapirEdge> = Api::namespaced(client.clone(), &key.namespace);
            let status = convert::status(&plan.state);
            let is_written = edge.status.as_ref().and_then(|status| status.rollout.as_ref()) == Some(&status);
            if !is_written && write_ahead(&edges, edge, &status).await.map_err(RolloutError::WriteAhead)? == Written::Changed {
                return Ok(as_before(scene, before, other_structure));
            }
            wrote = true;
            let back = matches!(plan.act, Act::WayBack { .. });
            if !back {
                Failpoint::RolloutAfterIntent.pass();
            }
            let revision = images_revision(&if back { written(images) } else { scene.target.clone() }).unwrap_or_default();
            change_images(&api, pod, images, &revision).await.map_err(RolloutError::Change)?;
            if back {
                Failpoint::RolloutAfterWayBack.pass()
            } else {
                Failpoint::RolloutAfterPatch.pass()
            }
            tracing::info!(
                namespace = key.namespace,
                edge = key.name,
                pod = pod.name_any(),
                back,
                "changed the images of a Pod's sidecars"
            );
        }
        Act::Evict { name, .. } => {
            let counted = scene.views.len();
            let decided = Decided { decision: Decision::Evict(name.clone()), now, pods: scene.pods, counted };
            let decision = evictions.carry_out(&api, key, decided, metrics).await;
            match decision.map_err(|(_, error)| evict_error(error))? {
                Decision::Blocked { pod, why, retry_in } => {
                    let (reason, message) =
                        (plan::Reason::Refused, format!("Pod {pod} may not be evicted now: {why}; tried again by itself"));
                    plan.state.phase = plan::Phase::Waiting;
                    plan.state.reason = <&str>::from(reason).to_owned();
                    plan.state.message = message;
                    plan.again = Some(retry_in.max(SOON));
                }
                _ => wrote = true,
            }
        }
    }
    // What another process began is told by what it wrote.
    let ends =
        before.is_some_and(|before| before.phase == plan::Phase::Rolling || (before.pod.is_some() && plan.state.pod.is_none()));
    let began = rollouts.memory(key, |memory| memory.pulls.begun) || (ends && scene.settings.pre_pull);
    if plan.state.phase != plan::Phase::Rolling && began {
        pull::clear(&api, &key.name).await.map_err(RolloutError::Pull)?;
        rollouts.memory(key, |memory| memory.pulls.forget());
    }
    if plan.state.is_settled() && scene.edge.spec.rollout.strategy == crate::api::Strategy::Evict {
        evictions.forget(key);
    }
    if plan.state.pod.is_none() {
        rollouts.memory(key, |memory| memory.watch = None);
    }
    Ok(Outcome {
        news: report::news(before, &plan.state, &plan.act),
        condition: report::condition(&plan.state, other_structure),
        status: convert::status(&plan.state),
        injection: written(&plan.injection),
        again: plan.again,
        wrote,
    })
}

/// Somebody else wrote at the same time: nothing was done.
fn as_before(scene: &Scene<'_>, before: Option<&State>, other_structure: usize) -> Outcome {
    let target = planned(scene.target);
    let state = before.cloned().unwrap_or_else(|| State::new(&target));
    Outcome {
        news: Vec::new(),
        condition: report::condition(&state, other_structure),
        status: convert::status(&state),
        injection: held(scene.edge, scene.target),
        again: Some(SOON),
        wrote: false,
    }
}

fn evict_error(error: crate::edge::EdgeError) -> RolloutError {
    match error {
        crate::edge::EdgeError::Evict(error) => RolloutError::Evict(error),
        other => RolloutError::Evict(kube::Error::Service(Box::new(other))),
    }
}
