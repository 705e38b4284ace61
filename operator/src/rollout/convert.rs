//! Between what stands in resources and what is planned with.

use tapir_plan::rollout as plan;

use crate::api::{Images, Phase, RollingPod, RolloutStatus, Strategy};

/// Longest message that `status.rollout` takes, and longest reason.
const LONGEST_MESSAGE: usize = 1024;

/// Images to plan with.
#[must_use]
pub fn planned(images: &Images) -> plan::Images {
    plan::Images { edm: images.edm.clone(), pop: images.pop.clone() }
}

/// Images of a resource.
#[must_use]
pub fn written(images: &plan::Images) -> Images {
    Images { edm: images.edm.clone(), pop: images.pop.clone() }
}

pub(super) fn strategy(strategy: Strategy) -> plan::Strategy {
    match strategy {
        Strategy::InPlace => plan::Strategy::InPlace,
        Strategy::OnRestart => plan::Strategy::OnRestart,
        Strategy::Evict => plan::Strategy::Evict,
    }
}

/// From `status.rollout`.
#[must_use]
pub(super) fn state(status: &RolloutStatus) -> plan::State {
    // Destructured whole, so that nothing that is written down is forgotten.
    let RolloutStatus { phase, reason, message, target, previous, pod, soaked_since } = status;
    plan::State {
        phase: match phase {
            Phase::Current => plan::Phase::Current,
            Phase::Waiting => plan::Phase::Waiting,
            Phase::Rolling => plan::Phase::Rolling,
            Phase::Paused => plan::Phase::Paused,
            Phase::Halted => plan::Phase::Halted,
        },
        reason: reason.clone(),
        message: message.clone(),
        target: planned(target),
        previous: previous.as_ref().map(planned),
        pod: pod.as_ref().map(|pod| {
            let RollingPod { name, uid, since, from, container_ids, ready, answered, way_back } = pod;
            plan::Rolling {
                name: name.clone(),
                uid: uid.clone(),
                since: *since,
                from: planned(from),
                container_ids: container_ids.clone(),
                ready: *ready,
                answered: *answered,
                way_back: *way_back,
            }
        }),
        soaked_since: *soaked_since,
    }
}

/// To `status.rollout`.
#[must_use]
pub(super) fn status(state: &plan::State) -> RolloutStatus {
    let plan::State { phase, reason, message, target, previous, pod, soaked_since } = state;
    RolloutStatus {
        phase: match phase {
            plan::Phase::Current => Phase::Current,
            plan::Phase::Waiting => Phase::Waiting,
            plan::Phase::Rolling => Phase::Rolling,
            plan::Phase::Paused => Phase::Paused,
            plan::Phase::Halted => Phase::Halted,
        },
        reason: reason.clone(),
        message: message.chars().take(LONGEST_MESSAGE).collect(),
        target: written(target),
        previous: previous.as_ref().map(written),
        pod: pod.as_ref().map(|pod| {
            let plan::Rolling { name, uid, since, from, container_ids, ready, answered, way_back } = pod;
            RollingPod {
                name: name.clone(),
                uid: uid.clone(),
                since: *since,
                from: written(from),
                container_ids: container_ids.clone(),
                ready: *ready,
                answered: *answered,
                way_back: *way_back,
            }
        }),
        soaked_since: *soaked_since,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn nothing_that_is_written_down_is_lost() {
        let images = |version: &str| Images { edm: Some(format!("edm:{version}")), pop: Some(format!("pop:{version}")) };
        let pod = RollingPod {
            name: "p".into(),
            uid: "u".into(),
            since: Timestamp::UNIX_EPOCH,
            from: images("1"),
            container_ids: vec!["a".into(), "b".into()],
            ready: true,
            answered: true,
            way_back: true,
        };
        for phase in <Phase as strum::IntoEnumIterator>::iter() {
            let before = RolloutStatus {
                phase,
                reason: "Reason".into(),
                message: "message".into(),
                target: images("2"),
                previous: Some(images("1")),
                pod: Some(pod.clone()),
                soaked_since: Some(Timestamp::UNIX_EPOCH),
            };
            assert_eq!(status(&state(&before)), before);
        }
    }
}
