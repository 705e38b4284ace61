//! Images are changed in the running Pod: the way there, and the way back.

use super::candidate::{Choice, Means, choose};
use super::proof::{self, Verdict};
use super::view::{PodView, PullState};
use super::{Act, Images, Input, PATIENT, Permission, Phase, Plan, Reason, Rolling, State, Strategy, WATCHFUL, back, replace};

/// Begins with the next Pod.
pub(super) fn begin(input: &Input<'_>, state: State, present: &Images) -> Plan {
    // New Pods get the images once one Pod runs them well, or at once where none can be asked.
    let proved = input.pods.iter().any(|pod| pod.injected && pod.answers() && bears(pod, input.target));
    let after = if proved { input.target } else { present };
    match choose(input.pods, Means::Patch, |pod| replace::is_outdated(pod, input)) {
        Choice::Done => Plan::rest(
            State { phase: Phase::Current, reason: String::new(), message: String::new(), ..state },
            input.target.clone(),
        ),
        Choice::Take(pod) => prepare(input, state, after, pod),
        Choice::Moving(pod) => {
            let message = format!("waiting for Pod {}, which is ending or not Ready", pod.name);
            Plan::rest(state.says(Phase::Waiting, Reason::PodsMoving, message), after.clone()).again(PATIENT)
        }
        Choice::Lone(pod) => {
            let message = format!(
                "Pod {} gets the new images when it is restarted: no other Ready Pod of its workload would answer meanwhile; restart it when that suits, or add a replica",
                pod.name
            );
            Plan::rest(state.says(Phase::Waiting, Reason::LonePod, message), input.target.clone()).again(PATIENT)
        }
        Choice::Bare(pod) => {
            let message = format!("Pod {} has no controller and is not touched: create it anew when that suits", pod.name);
            Plan::rest(state.says(Phase::Waiting, Reason::BarePod, message), input.target.clone()).again(PATIENT)
        }
    }
}

/// Whether a Pod runs the images by its spec and by its containers.
fn bears(pod: &PodView, target: &Images) -> bool {
    pod.images == pod.images.goal(target) && !pod.sidecars.is_empty() && pod.sidecars.iter().all(|sidecar| sidecar.running)
}

/// Has the images pulled where the Pod runs, so that its sidecars are away for a moment only, then changes it.
fn prepare(input: &Input<'_>, state: State, injection: &Images, pod: &PodView) -> Plan {
    let goal = pod.images.goal(input.target);
    let new = goal.news(Some(&pod.images));
    let node = pod.node.as_deref().filter(|_| input.pre_pull);
    if let Some(node) = node {
        let found =
            |image: &String| input.pulls.iter().find(|pull| pull.node == node && pull.image == *image).map(|pull| &pull.state);
        for image in new.iter() {
            if let Some(PullState::Failed(words)) = found(image) {
                let message = format!("image {image} was tried on node {node} before any Pod was changed, and failed: {words}");
                return halt(input, state, Reason::ImageFailed, message);
            }
        }
        let missing: Vec<String> = new.iter().filter(|image| found(image).is_none()).cloned().collect();
        if !missing.is_empty() || new.iter().any(|image| found(image) == Some(&PullState::Running)) {
            let message = format!("pulling the new images on node {node} before Pod {} is changed", pod.name);
            let plan = Plan::rest(state.says(Phase::Rolling, Reason::Pulling, message), injection.clone());
            if missing.is_empty() {
                return plan.again(WATCHFUL);
            }
            return plan.acts(Act::Pull { node: node.to_owned(), images: missing, secrets: pod.pull_secrets.clone() });
        }
    }
    change(input, state, injection, pod, None)
}

/// Writes down what is about to happen, then does it.
fn change(input: &Input<'_>, state: State, injection: &Images, pod: &PodView, before: Option<&Rolling>) -> Plan {
    let rolling = Rolling {
        name: pod.name.clone(),
        uid: pod.uid.clone(),
        since: input.now,
        // Of a Pod that is half way, what it had at first.
        from: before.map_or_else(|| pod.images.clone(), |before| before.from.clone()),
        container_ids: pod.container_ids(),
        ready: before.map_or(pod.answers(), |before| before.ready),
        answered: before.map_or(pod.heard.is_some(), |before| before.answered),
        way_back: false,
    };
    let message = format!("Pod {} was changed and has to come back within {} s", pod.name, proof::DEADLINE.as_secs());
    let state = State { pod: Some(rolling), ..state.says(Phase::Rolling, Reason::Verifying, message) };
    let act = Act::Patch { name: pod.name.clone(), uid: pod.uid.clone(), images: pod.images.goal(input.target) };
    Plan::rest(state, injection.clone()).acts(act)
}

/// Goes on with the Pod that is being changed.
pub(super) fn go_on(input: &Input<'_>, state: State, present: &Images) -> Plan {
    let Some(rolling) = state.pod.clone() else { return Plan::rest(state, present.clone()) };
    let Some(pod) = input.pods.iter().find(|pod| pod.uid == rolling.uid && !pod.terminating) else {
        // It is gone, and with it what was to be proved.
        return release(input, state, present);
    };
    if rolling.way_back {
        return go_back(input, state, &rolling, pod);
    }
    if pod.images != rolling.from.goal(input.target) {
        return go_again(input, state, present, &rolling, pod);
    }
    match proof::verdict(&rolling, pod, input.target, input.watch, input.observing_since, input.now) {
        Verdict::NotYet => Plan::rest(state, present.clone()).again(WATCHFUL),
        Verdict::Well | Verdict::Unclear => release(input, state, present),
        Verdict::Bad(reason, words) => {
            let message = format!("Pod {} did not come back with the new images and was put back: {words}", pod.name);
            let rolling = Rolling { since: input.now, container_ids: pod.container_ids(), way_back: true, ..rolling };
            let act = Act::WayBack { name: pod.name.clone(), uid: pod.uid.clone(), images: rolling.from.clone() };
            let plan = halt(input, state, reason, message);
            Plan { state: State { pod: Some(rolling), ..plan.state }, ..plan }.acts(act)
        }
    }
}

/// It was written down that this Pod is to be changed, and it was not, or the target is another meanwhile.
fn go_again(input: &Input<'_>, state: State, present: &Images, rolling: &Rolling, pod: &PodView) -> Plan {
    let allowed = input.strategy == Strategy::InPlace && !input.paused && *input.permission == Permission::Granted;
    let this = |other: &PodView| other.uid == pod.uid;
    // Looked at anew: the others may not stand as they did.
    let safe = matches!(choose(input.pods, Means::Patch, this), Choice::Take(_));
    if allowed && safe { change(input, state, present, pod, Some(rolling)) } else { release(input, state, present) }
}

fn go_back(input: &Input<'_>, state: State, rolling: &Rolling, pod: &PodView) -> Plan {
    let injection = back(&state, input.target);
    if pod.images != rolling.from {
        let act = Act::WayBack { name: pod.name.clone(), uid: pod.uid.clone(), images: rolling.from.clone() };
        return Plan::rest(state, injection).acts(act);
    }
    if proof::is_back(rolling, pod, input.target, input.watch, input.now) {
        return Plan::rest(State { pod: None, ..state }, injection);
    }
    Plan::rest(state, injection).again(WATCHFUL)
}

fn halt(input: &Input<'_>, state: State, reason: Reason, message: String) -> Plan {
    let injection = back(&state, input.target);
    Plan::rest(state.says(Phase::Halted, reason, message), injection)
}

/// No Pod is in motion any more; what comes next is decided from a new look.
fn release(input: &Input<'_>, state: State, present: &Images) -> Plan {
    let state = State { pod: None, ..state };
    if state.phase == Phase::Halted {
        let injection = back(&state, input.target);
        return Plan::rest(state, injection);
    }
    super::go(input, state, present)
}
