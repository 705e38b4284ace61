//! How running Pods of one edge get the images that they are to run, one step at a time.
//!
//! [`step`] looks at everything and says what the state is now, what new Pods get, and the one thing to do. The state is written before that
//! thing is done, so whoever comes after a crash reads what was about to happen, looks at the Pod and goes on. A Pod is only ever changed
//! beside another Ready one; one that does not come back is put back, and then nothing more is changed anywhere until a person has looked.

mod candidate;
mod images;
mod in_place;
mod proof;
mod replace;
mod view;

pub use candidate::{Choice, Means, choose};
pub use images::{Images, Kind};
pub use proof::{DEADLINE, Watch};
pub use view::{PodView, PullState, PullView, Sidecar};

use std::time::Duration;

use jiff::Timestamp;

/// How often a Pod that is being changed is looked at.
const WATCHFUL: Duration = Duration::from_secs(1);
/// How often it is looked at what does not change by our doing.
const PATIENT: Duration = Duration::from_secs(10);

/// By which means running Pods get new sidecars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Images are changed in the running Pod.
    InPlace,
    /// A Pod gets them when somebody creates it anew.
    OnRestart,
    /// Pods are evicted.
    Evict,
}

/// Where a rollout stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, strum::IntoStaticStr)]
pub enum Phase {
    Current,
    Waiting,
    Rolling,
    Paused,
    Halted,
}

/// Why a rollout stands where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::EnumIter)]
pub enum Reason {
    /// Edges that go first have not gone, or not for long enough.
    CanariesFirst,
    /// As many other edges as may be are being rolled.
    OtherEdgesFirst,
    /// Another edge did not bear these images.
    FleetHalted,
    /// No other Ready Pod of its workload would answer meanwhile.
    LonePod,
    /// Nobody would bring the Pod back, so it is not touched.
    BarePod,
    /// The strategy leaves it to others to create Pods anew.
    OnRestart,
    /// Another Pod is starting, ending or not Ready.
    PodsMoving,
    /// A disruption budget or the API server says no.
    Refused,
    /// A new image is being pulled on the Pod's node.
    Pulling,
    /// A Pod was changed and has not proved itself yet.
    Verifying,
    /// A Pod was evicted, or is about to be.
    Replacing,
    /// The spec says so.
    Paused,
    /// A new image cannot be had or does not start.
    ImageFailed,
    /// A sidecar did not come back.
    SidecarNotRunning,
    /// The Pod did not become Ready again.
    PodNotReady,
    /// The sidecar runs and does not answer as it did before.
    NoAnswer,
}

/// Whether this edge may change Pods now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permission {
    Granted,
    /// Not yet, and why.
    Withheld(Reason),
}

/// What is written down: `status.rollout`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub phase: Phase,
    /// A [`Reason`] as text; empty when there is nothing to say.
    pub reason: String,
    pub message: String,
    /// The images that Pods are to run.
    pub target: Images,
    /// What new Pods got before this target, to go back to.
    pub previous: Option<Images>,
    /// The Pod that is being changed.
    pub pod: Option<Rolling>,
    /// Since when there has been nothing left to do.
    pub soaked_since: Option<Timestamp>,
}

/// The Pod that is being changed, as it was before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rolling {
    pub name: String,
    pub uid: String,
    /// Since when, by the clock of the operator.
    pub since: Timestamp,
    /// Its images before.
    pub from: Images,
    /// Ids of its sidecars' containers before, in the order of their names.
    pub container_ids: Vec<String>,
    /// It was Ready. One that was not proves nothing against the images when it is still not.
    pub ready: bool,
    /// Its sidecars answered. When they never did, as where a network policy forbids it, they need not now.
    pub answered: bool,
    /// Its images before are being put back.
    pub way_back: bool,
}

/// All that is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    pub strategy: Strategy,
    pub paused: bool,
    pub permission: &'a Permission,
    /// A person asks to try again what was halted.
    pub retry: bool,
    pub target: &'a Images,
    /// What new Pods get at present; none while nothing is rendered.
    pub injection: Option<&'a Images>,
    /// Since when new Pods have got the target, as far as this process saw.
    pub switched_since: Option<Timestamp>,
    /// The structure that new Pods get.
    pub structure: &'a str,
    pub pods: &'a [PodView],
    /// What was written down; none for an edge that never was rolled.
    pub state: Option<&'a State>,
    /// A Pod was evicted and its successor is not there yet.
    pub replacing: bool,
    /// What this process saw of the Pod that is being changed.
    pub watch: Option<&'a Watch>,
    /// Since when this process has been looking.
    pub observing_since: Timestamp,
    /// Whether Pods may be made that pull an image.
    pub pre_pull: bool,
    pub pulls: &'a [PullView],
    pub now: Timestamp,
}

/// What is so now, and what is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// To be written before anything is done, if it is not what is written.
    pub state: State,
    /// What new Pods are to get.
    pub injection: Images,
    pub act: Act,
    /// When to look again though nothing happened.
    pub again: Option<Duration>,
}

/// The one thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    Nothing,
    /// Have these images pulled on the node, with the Secrets that the Pod pulls with.
    Pull {
        node: String,
        images: Vec<String>,
        secrets: Vec<String>,
    },
    /// Change the images of a Pod. Its name, uid and version are those that were looked at.
    Patch {
        name: String,
        uid: String,
        images: Images,
    },
    /// The same, back to what was.
    WayBack {
        name: String,
        uid: String,
        images: Images,
    },
    /// Evict a Pod.
    Evict {
        name: String,
        uid: String,
    },
}

impl State {
    /// Of an edge of which nothing is written.
    #[must_use]
    pub fn new(target: &Images) -> Self {
        Self::toward(target, None)
    }

    /// At the beginning of a rollout.
    fn toward(target: &Images, previous: Option<Images>) -> Self {
        Self {
            phase: Phase::Current,
            reason: String::new(),
            message: String::new(),
            target: target.clone(),
            previous,
            pod: None,
            soaked_since: None,
        }
    }

    fn says(self, phase: Phase, reason: Reason, message: impl Into<String>) -> Self {
        let reason: &str = reason.into();
        Self { phase, reason: reason.to_owned(), message: message.into(), soaked_since: None, ..self }
    }

    /// Whether nothing is left that the operator itself can do.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let left_to_others = [Reason::LonePod, Reason::BarePod, Reason::OnRestart].map(<&str>::from);
        match self.phase {
            Phase::Current => true,
            Phase::Waiting => left_to_others.contains(&self.reason.as_str()),
            Phase::Rolling | Phase::Paused | Phase::Halted => false,
        }
    }
}

impl Plan {
    fn rest(state: State, injection: Images) -> Self {
        Self { state, injection, act: Act::Nothing, again: None }
    }

    fn again(self, pause: Duration) -> Self {
        Self { again: Some(pause), ..self }
    }

    fn acts(self, act: Act) -> Self {
        Self { act, again: Some(WATCHFUL), ..self }
    }

    /// Whether the edge would use its turn. Asked of what is planned for the case that it is granted.
    #[must_use]
    pub fn wants_turn(&self, input: &Input<'_>) -> bool {
        let begins = input.injection.is_some_and(|images| *images != self.injection);
        self.act != Act::Nothing || self.state.phase == Phase::Rolling || begins
    }
}

/// Says what is so and what is to be done.
#[must_use]
pub fn step(input: &Input<'_>) -> Plan {
    let state = begin(input);
    // Until its turn an edge goes on with what it had: a bad release reaches no new Pod of an edge that waits.
    let present = input.injection.map_or_else(|| input.target.clone(), |images| images.held(input.target));
    let plan = if state.pod.is_some() {
        in_place::go_on(input, state, &present)
    } else if state.phase == Phase::Halted {
        let back = back(&state, input.target);
        Plan::rest(state, back)
    } else {
        go(input, state, &present)
    };
    settle(input, plan)
}

/// What was written, or the beginning of a rollout to other images.
fn begin(input: &Input<'_>) -> State {
    let previous = input.injection.filter(|images| !images.is_empty()).map(|images| images.held(input.target));
    let previous = previous.filter(|images| images != input.target);
    let Some(state) = input.state else { return State::toward(input.target, previous) };
    if state.target != *input.target {
        // A Pod that is half way goes on to the new images, and back to what it had at first; one on its way back just goes on.
        let pod = state.pod.clone().filter(|pod| !pod.way_back);
        return State { pod, ..State::toward(input.target, previous) };
    }
    if state.phase == Phase::Halted && input.retry {
        let previous = state.previous.clone();
        return State::toward(input.target, previous);
    }
    state.clone()
}

/// What new Pods get after a halt.
fn back(state: &State, target: &Images) -> Images {
    state.previous.as_ref().map_or_else(|| target.clone(), |images| images.held(target))
}

/// No Pod is in motion: begins with one, or says why not.
fn go(input: &Input<'_>, state: State, present: &Images) -> Plan {
    let outdated = |pod: &PodView| replace::is_outdated(pod, input);
    let left = input.pods.iter().filter(|pod| !pod.terminating && outdated(pod)).count();
    if left == 0 && present == input.target {
        return Plan::rest(
            State { phase: Phase::Current, reason: String::new(), message: String::new(), ..state },
            present.clone(),
        );
    }
    let wait = |state: State, reason, message: String| Plan::rest(state.says(Phase::Waiting, reason, message), present.clone());
    if input.paused {
        let message = format!("spec.rollout.paused is set; {left} Pods do not run the images yet");
        return Plan::rest(state.says(Phase::Paused, Reason::Paused, message), present.clone());
    }
    if let Permission::Withheld(reason) = input.permission {
        let message = match reason {
            Reason::CanariesFirst => "edges that the canary selector chooses go first, and have to run the images for a while",
            Reason::FleetHalted => "another edge did not bear these images: look at the edges whose rollout is Halted",
            _ => "as many other edges as may be at a time are being rolled",
        };
        // A soak ends by the clock; of all else the ledger tells.
        let pause = if *reason == Reason::CanariesFirst { 1 } else { 10 };
        return wait(state, *reason, message.to_owned()).again(Duration::from_mins(pause));
    }
    match input.strategy {
        Strategy::InPlace => in_place::begin(input, state, present),
        Strategy::Evict => replace::begin(input, state, present),
        Strategy::OnRestart if left == 0 => Plan::rest(state, input.target.clone()),
        Strategy::OnRestart => {
            let message = format!("{left} Pods get the new images when they are restarted: spec.rollout.strategy is OnRestart");
            Plan::rest(state.says(Phase::Waiting, Reason::OnRestart, message), input.target.clone())
        }
    }
}

/// Notes since when there has been nothing left to do.
fn settle(input: &Input<'_>, mut plan: Plan) -> Plan {
    if plan.state.is_settled() && plan.injection == *input.target {
        let second = Timestamp::from_second(input.now.as_second()).unwrap_or(input.now);
        plan.state.soaked_since =
            plan.state.soaked_since.or(input.state.and_then(|state| same_soak(state, input))).or(Some(second));
        if plan.state.phase == Phase::Current {
            plan.state.previous = None;
        }
    } else {
        plan.state.soaked_since = None;
    }
    plan
}

fn same_soak(state: &State, input: &Input<'_>) -> Option<Timestamp> {
    state.soaked_since.filter(|_| state.target == *input.target)
}

#[cfg(test)]
mod tests;
