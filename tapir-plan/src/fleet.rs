//! Which edges may change Pods: canaries first, a few at a time, and nobody after one that did not bear the images.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::rollout::{Images, Permission, Phase, Reason, State};

/// What the administrator of the fleet chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fleet {
    /// How many edges may change Pods at the same time; at least one.
    pub max_concurrent: usize,
    /// How long all canaries have to run the images before others get them.
    pub soak: Duration,
}

/// How an edge stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeRollout {
    pub canary: bool,
    /// The images that it is to run, by its spec and the operator's settings: its state may not know yet.
    pub target: Images,
    /// Of these, those that it did not run before.
    pub news: Images,
    pub phase: Phase,
    /// Nothing is left that the operator itself can do.
    pub settled: bool,
    pub soaked_since: Option<Timestamp>,
    /// It would use its turn.
    pub wants: bool,
}

impl EdgeRollout {
    /// From what is written of an edge. `active` when it is neither suspended nor paused nor on its way out.
    #[must_use]
    pub fn of(canary: bool, target: &Images, state: Option<&State>, injection: Option<&Images>, active: bool) -> Self {
        let begun = Self {
            canary,
            target: target.clone(),
            news: target.news(injection),
            phase: Phase::Waiting,
            settled: false,
            soaked_since: None,
            // Nobody waits to render an edge for the first time.
            wants: active && injection.is_some(),
        };
        match state.filter(|state| state.target == *target) {
            None => begun,
            Some(state) => Self {
                news: target.news(state.previous.as_ref()),
                phase: state.phase,
                settled: state.is_settled(),
                soaked_since: state.soaked_since,
                wants: active && matches!(state.phase, Phase::Waiting | Phase::Rolling) && !state.is_settled(),
                ..begun
            },
        }
    }

    /// A canary that has run the images for long enough.
    fn has_soaked(&self, soak: Duration, now: Timestamp) -> bool {
        let ran = |since: Timestamp| Duration::try_from(now.duration_since(since)).unwrap_or_default() >= soak;
        self.settled && self.soaked_since.is_some_and(ran)
    }
}

/// For each edge that would use its turn, whether it has it.
#[must_use]
pub fn permissions<K: Ord + Clone>(all: &BTreeMap<K, EdgeRollout>, fleet: Fleet, now: Timestamp) -> BTreeMap<K, Permission> {
    let halted: Vec<(&K, &EdgeRollout)> = all.iter().filter(|(_, edge)| edge.phase == Phase::Halted).collect();
    let canaries: Vec<&EdgeRollout> = all.values().filter(|edge| edge.canary && !edge.has_soaked(fleet.soak, now)).collect();
    let mut asking: Vec<(&K, &EdgeRollout)> = all.iter().filter(|(_, edge)| edge.wants).collect();
    // Whoever has begun goes on, then canaries. The sort is stable: by name within.
    asking.sort_by_key(|(_, edge)| (edge.phase != Phase::Rolling, !edge.canary));
    let mut places = fleet.max_concurrent.max(1);
    let mut answer = BTreeMap::new();
    for (key, edge) in asking {
        let permission = if halted.iter().any(|(other, halted)| *other != key && halted.news.overlap(&edge.target)) {
            Permission::Withheld(Reason::FleetHalted)
        } else if !edge.canary && canaries.iter().any(|canary| canary.target.overlap(&edge.news)) {
            Permission::Withheld(Reason::CanariesFirst)
        } else if places == 0 {
            Permission::Withheld(Reason::OtherEdgesFirst)
        } else {
            places -= 1;
            Permission::Granted
        };
        answer.insert(key.clone(), permission);
    }
    answer
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const SOAK: Duration = Duration::from_mins(10);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn images(version: &str) -> Images {
        Images { edm: Some(format!("edm:{version}")), pop: Some(format!("pop:{version}")) }
    }

    fn state(phase: Phase, reason: &str, soaked_since: Option<Timestamp>) -> State {
        let previous = Some(images("1")).filter(|_| phase != Phase::Current);
        State { phase, reason: reason.into(), message: String::new(), target: images("2"), previous, pod: None, soaked_since }
    }

    fn edge(canary: bool, phase: Phase) -> EdgeRollout {
        EdgeRollout::of(canary, &images("2"), Some(&state(phase, "", None)), Some(&images("1")), true)
    }

    fn soaked(canary: bool, since: i64) -> EdgeRollout {
        EdgeRollout::of(canary, &images("2"), Some(&state(Phase::Current, "", Some(at(since)))), Some(&images("2")), true)
    }

    fn ask(edges: &[(&str, EdgeRollout)], max_concurrent: usize) -> Vec<(String, &'static str)> {
        let all = edges.iter().map(|(key, edge)| ((*key).to_owned(), edge.clone())).collect();
        let said = |permission| match permission {
            Permission::Granted => "Granted",
            Permission::Withheld(reason) => reason.into(),
        };
        let fleet = Fleet { max_concurrent, soak: SOAK };
        permissions(&all, fleet, at(0)).into_iter().map(|(key, permission)| (key, said(permission))).collect()
    }

    fn check(edges: &[(&str, EdgeRollout)], max_concurrent: usize, expected: &[(&str, &str)]) {
        let found = ask(edges, max_concurrent);
        let found: Vec<(&str, &str)> = found.iter().map(|(key, said)| (key.as_str(), *said)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn only_so_many_at_a_time_and_who_has_begun_goes_on() {
        let waiting = || edge(false, Phase::Waiting);
        check(
            &[("a", waiting()), ("b", waiting()), ("c", edge(false, Phase::Rolling))],
            1,
            &[("a", "OtherEdgesFirst"), ("b", "OtherEdgesFirst"), ("c", "Granted")],
        );
        check(
            &[("a", waiting()), ("b", waiting()), ("c", waiting())],
            2,
            &[("a", "Granted"), ("b", "Granted"), ("c", "OtherEdgesFirst")],
        );
        check(&[("a", waiting())], 0, &[("a", "Granted")]);
        check(&[("a", soaked(false, 0)), ("b", waiting())], 1, &[("b", "Granted")]);
    }

    #[test]
    fn twenty_edges_are_rolled_one_after_the_other() {
        let name = |number: usize| format!("edge-{number:02}");
        let mut all: BTreeMap<String, EdgeRollout> = (0..20).map(|number| (name(number), edge(false, Phase::Waiting))).collect();
        for round in 0..20 {
            let granted = |all: &BTreeMap<String, EdgeRollout>| -> Vec<String> {
                let fleet = Fleet { max_concurrent: 1, soak: SOAK };
                permissions(all, fleet, at(0))
                    .into_iter()
                    .filter(|(_, said)| *said == Permission::Granted)
                    .map(|(key, _)| key)
                    .collect()
            };
            assert_eq!(granted(&all), [name(round)]);
            all.insert(name(round), edge(false, Phase::Rolling));
            assert_eq!(granted(&all), [name(round)], "and nobody else while it rolls");
            all.insert(name(round), soaked(false, 0));
        }
    }

    #[test]
    fn canaries_go_first_and_have_to_soak() {
        let others = ("a", edge(false, Phase::Waiting));
        check(&[others.clone(), ("z", edge(true, Phase::Waiting))], 5, &[("a", "CanariesFirst"), ("z", "Granted")]);
        check(&[others.clone(), ("z", edge(true, Phase::Rolling))], 5, &[("a", "CanariesFirst"), ("z", "Granted")]);
        check(&[others.clone(), ("z", soaked(true, -599))], 5, &[("a", "CanariesFirst")]);
        check(&[others.clone(), ("z", soaked(true, -600))], 5, &[("a", "Granted")]);
        let lone = EdgeRollout::of(true, &images("2"), Some(&state(Phase::Waiting, "LonePod", Some(at(-600)))), None, true);
        check(&[others.clone(), ("z", lone)], 5, &[("a", "Granted")]);
        let other = EdgeRollout { target: images("7"), ..edge(true, Phase::Waiting) };
        check(&[others, ("z", other)], 5, &[("a", "Granted"), ("z", "Granted")]);
    }

    #[test]
    fn a_canary_that_has_not_looked_yet_goes_first_all_the_same() {
        let before = State { target: images("1"), ..state(Phase::Current, "", Some(at(-9999))) };
        let canary = EdgeRollout::of(true, &images("2"), Some(&before), Some(&images("1")), true);
        check(&[("a", edge(false, Phase::Waiting)), ("z", canary)], 5, &[("a", "CanariesFirst"), ("z", "Granted")]);
    }

    #[test]
    fn nobody_follows_one_that_did_not_bear_the_images() {
        let halted = || edge(false, Phase::Halted);
        check(
            &[("a", edge(false, Phase::Rolling)), ("b", halted()), ("c", edge(true, Phase::Waiting))],
            5,
            &[("a", "FleetHalted"), ("c", "FleetHalted")],
        );
        let pinned = EdgeRollout { target: images("9"), news: images("9"), ..edge(false, Phase::Waiting) };
        check(&[("a", pinned.clone()), ("b", halted())], 5, &[("a", "Granted")]);
        let half = Images { edm: images("2").edm, pop: images("9").pop };
        check(&[("a", EdgeRollout { target: half, ..pinned }), ("b", halted())], 5, &[("a", "FleetHalted")]);
    }

    #[test]
    fn an_image_that_halted_nobody_stops_nobody() {
        // Only EDM was new when POP of the same version had been running for long.
        let halted = EdgeRollout { news: Images { pop: None, ..images("2") }, ..edge(false, Phase::Halted) };
        let other = Images { edm: images("3").edm, pop: images("2").pop };
        let asking = EdgeRollout { target: other.clone(), news: other, ..edge(false, Phase::Waiting) };
        check(&[("a", asking), ("b", halted)], 1, &[("a", "Granted")]);
    }

    #[test]
    fn who_has_nothing_to_do_takes_no_place() {
        let idle = |state: &State| EdgeRollout::of(false, &images("2"), Some(state), Some(&images("2")), true);
        let paused = EdgeRollout::of(false, &images("2"), None, Some(&images("1")), false);
        let new = EdgeRollout::of(false, &images("2"), None, None, true);
        let edges = [
            ("a", idle(&state(Phase::Waiting, "LonePod", None))),
            ("b", idle(&state(Phase::Paused, "Paused", None))),
            ("c", paused),
            ("d", new),
            ("e", edge(false, Phase::Waiting)),
        ];
        check(&edges, 1, &[("e", "Granted")]);
    }
}
