//! What a round sees: the edge, its Pods, what is remembered of them, and as much more as the next step needs.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Client;
use kube::api::{Api, ListParams};
use tapir_plan::rollout as plan;
use tapir_plan::rollout::{Act, Input, Permission, Plan, PodView, PullView, State, Watch, step};

use super::{RolloutError, Rollouts, Scene, convert, observe, planned, pull};
use crate::edge::Evictions;

/// A namespace with more slices than this is not looked at to the end: then some Pods count as serving by their readiness alone.
const MOST_SLICES: u32 = 500;

/// One look at everything.
pub(super) struct Look<'a> {
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
    pub(super) fn new(rollouts: &Rollouts, evictions: &Evictions, scene: &'a Scene<'a>, before: Option<&'a State>) -> Self {
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

    pub(super) fn input<'b>(&'b self, permission: &'b Permission) -> Input<'b> {
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

    pub(super) fn plan(&self, permission: &Permission) -> Plan {
        step(&self.input(permission))
    }

    fn moving(&self) -> Option<&'a plan::Rolling> {
        self.before.and_then(|before| before.pod.as_ref())
    }

    /// Whether a Pod is in motion, or is about to be.
    pub(super) fn is_delicate(&self, plan: &Plan) -> bool {
        plan.act != Act::Nothing || self.moving().is_some()
    }

    /// Which Pods their Services list as serving.
    pub(super) async fn more_closely(&mut self, client: &Client) -> Result<(), RolloutError> {
        let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), &self.scene.key.namespace);
        let slices = slices.list(&ListParams::default().limit(MOST_SLICES)).await.map_err(RolloutError::Slices)?;
        observe::mark_serving(&mut self.pods, &slices.items);
        Ok(())
    }

    /// How the pulls are that the next step waits for.
    pub(super) async fn pulls(&mut self, rollouts: &Rollouts, client: &Client, plan: &Plan) -> Result<(), RolloutError> {
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
    pub(super) async fn ask(&mut self, rollouts: &Rollouts) {
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

    pub(super) fn other_structure(&self) -> usize {
        let other = |pod: &&PodView| pod.injected && !pod.terminating && pod.structure.as_deref() != Some(self.scene.structure);
        self.pods.iter().filter(other).count()
    }
}
