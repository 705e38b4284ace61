//! Whether a Pod that was changed bears it.
//!
//! Readiness alone proves nothing: the kubelet kills, pulls and starts, and writes the status when it is done, so for the time of a pull a Pod
//! may stand there as Ready with a container that is no more. Proof is another container id of every sidecar whose image changed, running, in a
//! Pod that is Ready and served, that answers as it did before, all that for a moment. No clock but the operator's own is read.

use std::time::Duration;

use jiff::Timestamp;

use super::images::Images;
use super::view::{PodView, Sidecar};
use super::{Reason, Rolling};

/// How long a changed Pod has to come back.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// How long everything has to be well on end.
const STEADY: Duration = Duration::from_secs(2);
/// After this time on the way back a Pod that stands there as Ready is believed: no kubelet's status is that old.
const BELIEVED: Duration = Duration::from_mins(2);

/// What one process saw of the Pod that is being changed. Lost with it; the next one looks a moment longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    uid: String,
    container_ids: Vec<String>,
    /// Since when the containers are these.
    since: Timestamp,
    /// Since when all has been well with them.
    well_since: Option<Timestamp>,
}

/// How a changed Pod stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Well,
    NotYet,
    /// It does not come back, and did not stand before either.
    Unclear,
    Bad(Reason, String),
}

impl Watch {
    /// After another look.
    #[must_use]
    pub fn look(before: Option<Self>, rolling: &Rolling, pod: &PodView, target: &Images, now: Timestamp) -> Self {
        let container_ids = pod.container_ids();
        let same = before.filter(|before| before.uid == pod.uid && before.container_ids == container_ids);
        let mut watch = same.unwrap_or_else(|| Self { uid: pod.uid.clone(), container_ids, since: now, well_since: None });
        let well = lacks(rolling, pod, target, Some(&watch)).is_none();
        watch.well_since = if well { watch.well_since.or(Some(now)) } else { None };
        watch
    }

    fn steady(&self, now: Timestamp) -> bool {
        self.well_since.is_some_and(|since| elapsed(since, now) >= STEADY)
    }
}

/// The verdict on a Pod that has been changed.
pub(super) fn verdict(
    rolling: &Rolling,
    pod: &PodView,
    target: &Images,
    watch: Option<&Watch>,
    observing_since: Timestamp,
    now: Timestamp,
) -> Verdict {
    let watch = watch.filter(|watch| watch.uid == pod.uid);
    let Some((reason, words)) = lacks(rolling, pod, target, watch) else {
        return if watch.is_some_and(|watch| watch.steady(now)) { Verdict::Well } else { Verdict::NotYet };
    };
    // A new process has not asked anybody yet, and must not take its own silence for the Pod's.
    let begin = if reason == Reason::NoAnswer { rolling.since.max(observing_since) } else { rolling.since };
    if elapsed(begin, now) < DEADLINE {
        return Verdict::NotYet;
    }
    // Against images speaks only what their own containers do.
    let troubled = pod.sidecars.iter().any(|sidecar| sidecar.trouble.is_some());
    if rolling.ready || troubled { Verdict::Bad(reason, words) } else { Verdict::Unclear }
}

/// Whether a Pod on its way back has arrived.
pub(super) fn is_back(rolling: &Rolling, pod: &PodView, target: &Images, watch: Option<&Watch>, now: Timestamp) -> bool {
    let watch = watch.filter(|watch| watch.uid == pod.uid);
    let stands = pod.ready && pod.sidecars.iter().all(|sidecar| sidecar.running) && pod.images == rolling.from;
    let proved = lacks(rolling, pod, target, watch).is_none() && watch.is_some_and(|watch| watch.steady(now));
    proved || (stands && elapsed(rolling.since, now) >= BELIEVED)
}

/// What a changed Pod lacks.
fn lacks(rolling: &Rolling, pod: &PodView, target: &Images, watch: Option<&Watch>) -> Option<(Reason, String)> {
    let goal = rolling.from.goal(target);
    let mut ids = rolling.container_ids.iter();
    for sidecar in &pod.sidecars {
        let before = ids.next();
        let changes = rolling.from.get(sidecar.kind) != goal.get(sidecar.kind);
        let restarted = !changes || (!sidecar.container_id.is_empty() && before != Some(&sidecar.container_id));
        if !(sidecar.running && restarted) {
            return Some((Reason::SidecarNotRunning, words(sidecar, restarted)));
        }
    }
    if !pod.ready {
        return Some((Reason::PodNotReady, "its sidecars run and the Pod is not Ready".to_owned()));
    }
    if !pod.serving {
        return Some((Reason::PodNotReady, "it is Ready and a Service does not list it as serving".to_owned()));
    }
    let answers = watch.is_some_and(|watch| pod.heard.is_some_and(|heard| heard > watch.since));
    (rolling.answered && !answers)
        .then(|| (Reason::NoAnswer, "its sidecars run and do not answer GET /status as they did before".to_owned()))
}

fn words(sidecar: &Sidecar, restarted: bool) -> String {
    let kind = match sidecar.kind {
        super::Kind::Edm => "tapir-edm",
        super::Kind::Pop => "tapir-pop",
    };
    match &sidecar.trouble {
        Some(trouble) => format!("{kind}: {trouble}"),
        None if restarted => format!("{kind} does not run"),
        None => format!("{kind} was not restarted"),
    }
}

/// Nothing when the clock went back.
fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}
