//! What people are told of a rollout: Events when it turns, and the words of condition `Injected`. Pure.

use kube::runtime::events::EventType;
use tapir_plan::rollout::{Act, Phase, State};

use crate::api::reasons::{EventReason, Reason};

/// Something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    pub reason: EventReason,
    pub kind: EventType,
    pub note: String,
}

/// What turned between what was written and what is written now.
#[must_use]
pub(super) fn news(before: Option<&State>, after: &State, act: &Act) -> Vec<News> {
    let same = before.filter(|before| before.target == after.target);
    let was = same.map(|before| before.phase);
    let mut news = Vec::new();
    let mut tell = |reason, kind, note: String| news.push(News { reason, kind, note });
    if let Act::WayBack { name, .. } = act
        && same.and_then(|before| before.pod.as_ref()).is_none_or(|pod| !pod.way_back)
    {
        tell(EventReason::PodPutBack, EventType::Warning, format!("Pod {name} got its former images back: {}", after.message));
    }
    if after.phase == was.unwrap_or(Phase::Current) {
        return news;
    }
    match after.phase {
        // A turn that is lost and given again is no other rollout.
        Phase::Rolling if after.previous.is_some() && before.is_none_or(|before| before.pod.is_none()) => {
            tell(EventReason::RolloutStarted, EventType::Normal, format!("Pods get {}", images(after)));
        }
        Phase::Current if was.is_some() => {
            tell(EventReason::RolloutFinished, EventType::Normal, format!("all Pods run {}", images(after)));
        }
        Phase::Halted => tell(EventReason::RolloutHalted, EventType::Warning, halted(after)),
        _ => {}
    }
    news
}

/// What condition `Injected` says beside the injection itself: whether it is well, reason and message.
#[must_use]
pub(super) fn condition(state: &State, other_structure: usize) -> Option<(bool, Reason, String)> {
    match state.phase {
        Phase::Halted => Some((false, Reason::RolloutHalted, halted(state))),
        Phase::Waiting | Phase::Rolling | Phase::Paused => {
            let message = if state.message.is_empty() { format!("Pods get {}", images(state)) } else { state.message.clone() };
            Some((true, Reason::UpdatePending, message))
        }
        Phase::Current if other_structure > 0 => Some((
            true,
            Reason::UpdatePending,
            format!(
                "{other_structure} Pods carry the sidecars as they were rendered before, which cannot be changed in a running Pod: they are as is until they are restarted"
            ),
        )),
        Phase::Current => None,
    }
}

fn halted(state: &State) -> String {
    format!(
        "{}; no other Pod gets these images: correct them, or set another value of the annotation dnstapir.se/reconcile-now to try again",
        state.message
    )
}

fn images(state: &State) -> String {
    [&state.target.edm, &state.target.pop].into_iter().flatten().cloned().collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use tapir_plan::rollout::Images;

    use super::*;

    fn state(phase: Phase) -> State {
        let images = |version: &str| Images { edm: None, pop: Some(format!("pop:{version}")) };
        State {
            phase,
            reason: String::new(),
            message: "Pod a did not come back".into(),
            target: images("2"),
            previous: Some(images("1")),
            pod: None,
            soaked_since: None,
        }
    }

    fn reasons(before: Option<Phase>, after: Phase, act: &Act) -> Vec<EventReason> {
        let news = news(before.map(state).as_ref(), &state(after), act);
        news.into_iter().map(|news| news.reason).collect()
    }

    #[test]
    fn each_turn_is_told_once() {
        let back = Act::WayBack { name: "a".into(), uid: "u".into(), images: Images::default() };
        assert_eq!(reasons(Some(Phase::Waiting), Phase::Rolling, &Act::Nothing), [EventReason::RolloutStarted]);
        assert_eq!(reasons(Some(Phase::Rolling), Phase::Rolling, &Act::Nothing), []);
        assert_eq!(reasons(Some(Phase::Rolling), Phase::Current, &Act::Nothing), [EventReason::RolloutFinished]);
        assert_eq!(reasons(None, Phase::Current, &Act::Nothing), [], "a new edge has nothing to finish");
        assert_eq!(reasons(Some(Phase::Rolling), Phase::Halted, &back), [EventReason::PodPutBack, EventReason::RolloutHalted]);
        assert_eq!(reasons(Some(Phase::Halted), Phase::Halted, &Act::Nothing), []);
    }

    #[test]
    fn a_halt_is_bad_and_an_update_that_waits_is_not() {
        let (well, reason, message) = condition(&state(Phase::Halted), 0).unwrap();
        assert!(
            !well && reason == Reason::RolloutHalted && message.contains("Pod a") && message.contains("reconcile-now"),
            "{message}"
        );
        assert_eq!(
            condition(&state(Phase::Waiting), 0).map(|(well, reason, _)| (well, reason)),
            Some((true, Reason::UpdatePending))
        );
        assert_eq!(condition(&state(Phase::Current), 0), None);
        assert!(condition(&state(Phase::Current), 2).unwrap().2.contains("2 Pods"));
    }
}
