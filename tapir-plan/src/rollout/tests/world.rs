//! A few Pods, what is written down, and who looks at them.

use jiff::{SignedDuration, Timestamp};

use crate::rollout::*;

pub(super) const STRUCTURE: &str = "s1";

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

pub(super) fn images(version: &str) -> Images {
    Images { edm: Some(format!("edm:{version}")), pop: Some(format!("pop:{version}")) }
}

/// A healthy injected Pod of version 1.
pub(super) fn pod(name: &str) -> PodView {
    let sidecar = |kind| Sidecar { kind, container_id: format!("{name}-{kind:?}-1"), running: true, trouble: None };
    PodView {
        name: name.to_owned(),
        uid: format!("uid-{name}"),
        created: Some(at(-1000)),
        controller: Some("replicaset".to_owned()),
        node: Some("node-1".to_owned()),
        ready: true,
        serving: true,
        terminating: false,
        injected: true,
        structure: Some(STRUCTURE.to_owned()),
        images: images("1"),
        sidecars: vec![sidecar(Kind::Edm), sidecar(Kind::Pop)],
        heard: Some(at(-10)),
        pull_secrets: vec!["pull".to_owned()],
    }
}

/// All that is looked at, owned.
#[derive(Clone)]
pub(super) struct World {
    pub strategy: Strategy,
    pub paused: bool,
    pub permission: Permission,
    pub retry: bool,
    pub target: Images,
    pub injection: Option<Images>,
    pub switched_since: Option<Timestamp>,
    pub pods: Vec<PodView>,
    pub state: Option<State>,
    pub replacing: bool,
    pub watch: Option<Watch>,
    pub observing_since: Timestamp,
    pub pre_pull: bool,
    pub pulls: Vec<PullView>,
    pub now: Timestamp,
}

impl World {
    /// Version 1 runs, version 2 is wanted.
    pub(super) fn new(pods: Vec<PodView>) -> Self {
        Self {
            strategy: Strategy::InPlace,
            paused: false,
            permission: Permission::Granted,
            retry: false,
            target: images("2"),
            injection: Some(images("1")),
            switched_since: None,
            pods,
            state: None,
            replacing: false,
            watch: None,
            observing_since: at(-1000),
            pre_pull: false,
            pulls: Vec::new(),
            now: at(0),
        }
    }

    pub(super) fn input(&self) -> Input<'_> {
        Input {
            strategy: self.strategy,
            paused: self.paused,
            permission: &self.permission,
            retry: self.retry,
            target: &self.target,
            injection: self.injection.as_ref(),
            switched_since: self.switched_since,
            structure: STRUCTURE,
            pods: &self.pods,
            state: self.state.as_ref(),
            replacing: self.replacing,
            watch: self.watch.as_ref(),
            observing_since: self.observing_since,
            pre_pull: self.pre_pull,
            pulls: &self.pulls,
            now: self.now,
        }
    }

    pub(super) fn plan(&self) -> Plan {
        step(&self.input())
    }

    /// One look, as the operator takes it: plan, write down, act. Gives what was done.
    pub(super) fn look(&mut self) -> Act {
        let rolling = self.state.as_ref().and_then(|state| state.pod.clone());
        self.watch = rolling.and_then(|rolling| {
            let pod = self.pods.iter().find(|pod| pod.uid == rolling.uid)?;
            Some(Watch::look(self.watch.take(), &rolling, pod, &self.target, self.now))
        });
        let plan = self.plan();
        self.state = Some(plan.state);
        if self.injection.as_ref() != Some(&plan.injection) {
            self.switched_since = Some(self.now);
        }
        self.injection = Some(plan.injection);
        match &plan.act {
            Act::Patch { name, images, .. } | Act::WayBack { name, images, .. } => self.pod(name).images = images.clone(),
            Act::Evict { name, .. } => self.pods.retain(|pod| pod.name != *name),
            Act::Pull { .. } | Act::Nothing => {}
        }
        plan.act
    }

    pub(super) fn pod(&mut self, name: &str) -> &mut PodView {
        self.pods.iter_mut().find(|pod| pod.name == name).unwrap()
    }

    pub(super) fn state(&self) -> &State {
        self.state.as_ref().unwrap()
    }

    pub(super) fn says(&self) -> (Phase, &str) {
        (self.state().phase, &self.state().reason)
    }

    pub(super) fn wait(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    /// The kubelet has started new containers for changed images, all is well and the sidecars answer from now on.
    pub(super) fn restart(&mut self, name: &str) {
        let (heard, before) = (self.now + SignedDuration::from_secs(5), self.state.as_ref().and_then(|state| state.pod.clone()));
        let pod = self.pod(name);
        let images = pod.images.clone();
        let from = before.map(|before| before.from);
        for sidecar in &mut pod.sidecars {
            if from.as_ref().is_none_or(|from| from.get(sidecar.kind) != images.get(sidecar.kind)) {
                sidecar.container_id = format!("{}-{}", name, images.get(sidecar.kind).unwrap_or_default());
            }
            sidecar.running = true;
            sidecar.trouble = None;
        }
        (pod.ready, pod.serving, pod.heard) = (true, true, Some(heard));
    }
}

pub(super) fn patched(act: &Act) -> Option<&str> {
    match act {
        Act::Patch { name, .. } => Some(name),
        _ => None,
    }
}

/// The same Pod with sidecars that do not run.
pub(super) fn broken(pod: PodView, trouble: &str) -> PodView {
    let sidecars =
        pod.sidecars.iter().cloned().map(|sidecar| Sidecar { running: false, trouble: Some(trouble.to_owned()), ..sidecar });
    PodView { ready: false, serving: false, sidecars: sidecars.collect(), heard: None, ..pod }
}
