//! Which Pod is next, and whether any may be now.

use super::view::PodView;

/// What is to happen to the Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// Its sidecars are restarted; the resolver goes on, but the Pod is out of its Services for a moment.
    Patch,
    /// All of it ends.
    Evict,
}

/// The next Pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice<'a> {
    /// There is none.
    Done,
    /// This one, now.
    Take(&'a PodView),
    /// Not now, because of this other one: it is ending, or not Ready.
    Moving(&'a PodView),
    /// Only Pods like this one are left: no other Ready Pod of its workload would answer meanwhile.
    Lone(&'a PodView),
    /// Only Pods like this one are left: nobody would bring it back.
    Bare(&'a PodView),
}

/// Chooses among the Pods that are `wanted`. One that is not Ready goes first: it serves nobody, and new images may heal it.
pub fn choose<'a>(pods: &'a [PodView], means: Means, wanted: impl Fn(&PodView) -> bool) -> Choice<'a> {
    let mut candidates: Vec<&PodView> = pods.iter().filter(|pod| !pod.terminating && wanted(pod)).collect();
    candidates.sort_by(|a, b| (a.answers(), a.created, &a.name).cmp(&(b.answers(), b.created, &b.name)));
    let Some(first) = candidates.first() else { return Choice::Done };
    let Some(owned) = candidates.iter().find(|pod| pod.controller.is_some()) else { return Choice::Bare(first) };
    let disturbed = |pod: &&PodView| pod.terminating || (pod.injected && !pod.ready && pod.node.is_some() && !wanted(pod));
    if let Some(moving) = pods.iter().find(disturbed) {
        return Choice::Moving(moving);
    }
    let beside = |going: &PodView| {
        let other = |pod: &PodView| pod.uid != going.uid && pod.controller == going.controller && pod.answers();
        pods.iter().any(other)
    };
    // A Pod that is not Ready has nothing to lose by a patch, beside whom ever.
    let may = |pod: &&&PodView| pod.controller.is_some() && ((means == Means::Patch && !pod.ready) || beside(pod));
    candidates.iter().find(may).map_or(Choice::Lone(owned), |pod| Choice::Take(pod))
}
