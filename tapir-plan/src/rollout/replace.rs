//! Pods are evicted and created anew by their controllers.

use std::time::Duration;

use super::candidate::{Choice, Means, choose};
use super::view::PodView;
use super::{Act, Images, Input, PATIENT, Phase, Plan, Reason, Rolling, State, Strategy, WATCHFUL};

/// How long every API server may take to know what new Pods get (they learn by watch).
const PROPAGATION: Duration = Duration::from_secs(10);

/// Whether the strategy has something to do about a Pod. A structure that differs stays until a restart where images are changed in place.
pub(super) fn is_outdated(pod: &PodView, input: &Input<'_>) -> bool {
    let images = pod.images != pod.images.goal(input.target);
    let structure = pod.structure.as_deref() != Some(input.structure);
    pod.injected && (images || (structure && input.strategy == Strategy::Evict))
}

/// Begins with the next Pod.
pub(super) fn begin(input: &Input<'_>, state: State, present: &Images) -> Plan {
    let target = input.target.clone();
    // Successors get what new Pods get, so that comes first, and has to be known everywhere.
    let known = input
        .switched_since
        .is_some_and(|since| Duration::try_from(input.now.duration_since(since)).unwrap_or_default() >= PROPAGATION);
    if let Some(pod) = troubled(input) {
        return adopt(input, state, pod);
    }
    let rolls =
        |state: State, message: String| Plan::rest(state.says(Phase::Rolling, Reason::Replacing, message), target.clone());
    if input.replacing {
        return rolls(state, "waiting for the Pod that comes for the one that was evicted".to_owned()).again(WATCHFUL);
    }
    match choose(input.pods, Means::Evict, |pod| is_outdated(pod, input)) {
        Choice::Done => {
            Plan::rest(State { phase: Phase::Current, reason: String::new(), message: String::new(), ..state }, target)
        }
        Choice::Take(_) if present != input.target || !known => {
            rolls(state, "new Pods get the new images; waiting until every API server knows".to_owned()).again(WATCHFUL)
        }
        Choice::Take(pod) => {
            let act = Act::Evict { name: pod.name.clone(), uid: pod.uid.clone() };
            rolls(state, format!("Pod {} is replaced", pod.name)).acts(act)
        }
        Choice::Moving(pod) => rolls(state, format!("waiting for Pod {}, which is ending or not Ready", pod.name)).again(PATIENT),
        Choice::Lone(pod) => {
            let message = format!(
                "Pod {} is not replaced: no other Ready Pod of its workload would answer meanwhile; restart it when that suits, or add a replica",
                pod.name
            );
            Plan::rest(state.says(Phase::Waiting, Reason::LonePod, message), target).again(PATIENT)
        }
        Choice::Bare(pod) => {
            let message = format!("Pod {} has no controller and is not touched: create it anew when that suits", pod.name);
            Plan::rest(state.says(Phase::Waiting, Reason::BarePod, message), target).again(PATIENT)
        }
    }
}

/// A Pod that came with the new images and whose sidecars do not run.
fn troubled<'a>(input: &Input<'a>) -> Option<&'a PodView> {
    let new = |pod: &&PodView| pod.injected && !pod.terminating && pod.node.is_some() && !pod.ready && !is_outdated(pod, input);
    input.pods.iter().filter(new).find(|pod| pod.sidecars.iter().any(|sidecar| !sidecar.running && sidecar.trouble.is_some()))
}

/// It has to prove itself as a Pod has that was changed in place, and goes the same way back.
fn adopt(input: &Input<'_>, state: State, pod: &PodView) -> Plan {
    let before = state.previous.clone().unwrap_or_else(|| input.target.clone());
    let rolling = Rolling {
        name: pod.name.clone(),
        uid: pod.uid.clone(),
        since: input.now,
        from: pod.images.goal(&before),
        container_ids: pod.container_ids(),
        ready: false,
        answered: false,
        way_back: false,
    };
    let message = format!("Pod {} came with the new images and has to start", pod.name);
    let state = State { pod: Some(rolling), ..state.says(Phase::Rolling, Reason::Verifying, message) };
    Plan::rest(state, input.target.clone()).again(WATCHFUL)
}
