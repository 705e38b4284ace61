//! Which Pod may be evicted so that its controller creates it anew, injected. Pure.
//!
//! One at a time, beside another Ready Pod of the same controller (that of another workload may answer for another Service), only what a controller brings back, and never in a loop: when what
//! came for an evicted Pod is not injected either, something else is wrong and replacing more helps nobody.

use std::time::Duration;

use jiff::Timestamp;

use super::classify::{Cause, Injection, PROPAGATION_SECONDS, View};

/// How long a controller may take to create a Pod anew. After that it never will: its workload was scaled down meanwhile.
pub const REPLACEMENT_LIMIT: Duration = Duration::from_mins(5);

/// What is to be done about Pods that were never injected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// None is to be replaced.
    Nothing,
    /// Evict this one now.
    Evict(String),
    /// Some are to be replaced, but not now.
    Later,
    /// This one was to be evicted, and a disruption budget forbids it. Tried again after this time.
    Blocked { pod: String, why: String, retry_in: Duration },
    /// This one has to be replaced by a person: nobody would bring it back, or no other Pod would answer meanwhile.
    Person { pod: String, lone: bool },
    /// This one is to be replaced, and that is left to a person, because the spec says so.
    Held { pod: String, by: &'static str },
    /// Replacing does not help: this Pod came for one that was evicted, and was not injected either.
    Useless { pod: String },
}

/// What must be remembered between two evictions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Pods that the edge had when one was last evicted: the next one waits until there are as many again.
    pub pods_before: usize,
    /// When that was.
    pub evicted: Option<Timestamp>,
    /// When its youngest Pod had been created by then: what is younger came after. By the API server's clock, as what it is compared with.
    pub youngest: Option<Timestamp>,
}

/// What holds for all Pods of an edge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Since when new Pods are injected.
    pub in_force: Option<Timestamp>,
    /// Pods may be missed now and then: a webhook that does not answer keeps no Pod from being created.
    pub may_miss: bool,
    /// It was found before that replacing Pods does not help.
    pub found_useless: bool,
}

impl Memory {
    /// Whether the Pod that comes for an evicted one is not there yet, and may still come.
    #[must_use]
    pub fn replacement_is_under_way(&self, pods: usize, now: Timestamp) -> bool {
        let waited = |evicted: Timestamp| Duration::try_from(now.duration_since(evicted)).unwrap_or_default();
        pods < self.pods_before && self.evicted.is_some_and(|evicted| waited(evicted) < REPLACEMENT_LIMIT)
    }
}

/// Decides from all Pods of an edge.
#[must_use]
pub fn decide(pods: &[View], rules: Rules, memory: Memory, now: Timestamp) -> Decision {
    let wanted = |pod: &&View| match pod.injection {
        Injection::Not(Cause::CreatedTooEarly) => true,
        Injection::Not(Cause::Skipped) => rules.may_miss,
        _ => false,
    };
    let mut waiting: Vec<&View> = pods.iter().filter(|pod| !pod.terminating).filter(wanted).collect();
    if waiting.is_empty() {
        return Decision::Nothing;
    }
    let Some(in_force) = rules.in_force else { return Decision::Later };
    if now.as_second() <= in_force.as_second() + PROPAGATION_SECONDS {
        return Decision::Later;
    }
    waiting.sort_by(|a, b| (a.ready, a.created, &a.name).cmp(&(b.ready, b.created, &b.name)));
    let replaceable: Vec<&&View> = waiting.iter().filter(|pod| pod.controller.is_some()).collect();
    let Some(first) = replaceable.first() else {
        return Decision::Person { pod: waiting[0].name.clone(), lone: false };
    };
    if let Some(successor) = useless(pods, rules, memory) {
        return Decision::Useless { pod: successor.name.clone() };
    }
    let answering = |going: &View| {
        let beside = |pod: &View| !pod.terminating && pod.ready && pod.controller == going.controller && pod.name != going.name;
        pods.iter().any(beside)
    };
    let moving = pods.iter().any(|pod| pod.terminating || (pod.injection == Injection::Injected && !pod.ready));
    if moving || memory.replacement_is_under_way(pods.len(), now) {
        return Decision::Later;
    }
    match replaceable.iter().find(|pod| answering(pod)) {
        Some(pod) => Decision::Evict(pod.name.clone()),
        None => Decision::Person { pod: first.name.clone(), lone: true },
    }
}

/// The Pod that came for an evicted one without sidecars, unless another one that young has them.
fn useless(pods: &[View], rules: Rules, memory: Memory) -> Option<&View> {
    let skipped = pods.iter().filter(|pod| pod.injection == Injection::Not(Cause::Skipped) && pod.controller.is_some());
    let youngest = skipped.max_by_key(|pod| (pod.created, &pod.name))?;
    let (successor, since) = match memory.youngest {
        Some(before) => (youngest.created > Some(before), before),
        None => (rules.found_useless, youngest.created?),
    };
    let works = |pod: &View| pod.injection == Injection::Injected && pod.created > Some(since);
    (successor && !pods.iter().any(works)).then_some(youngest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BINDING: i64 = 1_000_000;

    fn pod(name: &str, injection: Injection, ready: bool) -> View {
        View {
            name: name.to_owned(),
            injection,
            ready,
            terminating: false,
            created: Timestamp::from_second(BINDING - 100).ok(),
            controller: Some("replicaset".to_owned()),
            trouble: None,
            without_resolver: false,
        }
    }

    fn old(name: &str) -> View {
        pod(name, Injection::Not(Cause::CreatedTooEarly), true)
    }

    fn new(name: &str, ready: bool) -> View {
        pod(name, Injection::Injected, ready)
    }

    fn skipped(name: &str, created: i64) -> View {
        View { created: later(created).into(), ..pod(name, Injection::Not(Cause::Skipped), true) }
    }

    fn later(seconds: i64) -> Timestamp {
        Timestamp::from_second(BINDING + seconds).unwrap()
    }

    fn rules() -> Rules {
        Rules { in_force: Some(later(0)), ..Rules::default() }
    }

    fn ask(pods: &[View]) -> Decision {
        decide(pods, rules(), Memory::default(), later(60))
    }

    #[test]
    fn one_is_evicted_beside_another_ready_one() {
        assert_eq!(ask(&[old("a"), old("b")]), Decision::Evict("a".into()));
        assert_eq!(ask(&[new("a", true), old("b")]), Decision::Evict("b".into()));
    }

    #[test]
    fn the_next_one_waits_for_the_replacement() {
        let terminating = View { terminating: true, ..old("a") };
        assert_eq!(ask(&[terminating, old("b"), old("c")]), Decision::Later);
        assert_eq!(ask(&[new("a", false), old("b"), old("c")]), Decision::Later);
        let memory = Memory { pods_before: 3, evicted: Some(later(50)), ..Memory::default() };
        assert_eq!(decide(&[old("b"), old("c")], rules(), memory, later(60)), Decision::Later);
    }

    #[test]
    fn a_replacement_that_never_comes_is_not_waited_for_for_ever() {
        let memory = Memory { pods_before: 4, evicted: Some(later(50)), ..Memory::default() };
        let after = |passed: Duration| {
            let now = later(50).checked_add(jiff::SignedDuration::try_from(passed).unwrap()).unwrap();
            decide(&[old("b"), old("c")], rules(), memory, now)
        };
        assert_eq!(after(REPLACEMENT_LIMIT - Duration::from_secs(1)), Decision::Later);
        assert_eq!(after(REPLACEMENT_LIMIT), Decision::Evict("b".into()));
    }

    #[test]
    fn a_lone_pod_is_only_reported() {
        assert_eq!(ask(&[old("a")]), Decision::Person { pod: "a".into(), lone: true });
        let unready = pod("b", Injection::Not(Cause::CreatedTooEarly), false);
        assert_eq!(ask(&[old("a"), unready]), Decision::Evict("b".into()));
    }

    #[test]
    fn a_pod_of_another_workload_does_not_stand_in() {
        let other = View { controller: Some("statefulset".to_owned()), ..new("z", true) };
        assert_eq!(ask(&[old("a"), other.clone()]), Decision::Person { pod: "a".into(), lone: true });
        let replicas = ["b", "c"].map(|name| View { controller: other.controller.clone(), ..old(name) });
        assert_eq!(ask(&[old("a"), replicas[0].clone(), replicas[1].clone()]), Decision::Evict("b".into()));
        let leaving = View { terminating: true, ..new("z", true) };
        assert_ne!(ask(&[old("a"), leaving]), Decision::Evict("a".into()));
    }

    #[test]
    fn a_pod_without_a_controller_is_only_reported() {
        let bare = View { controller: None, ..old("a") };
        assert_eq!(ask(&[bare.clone(), new("b", true)]), Decision::Person { pod: "a".into(), lone: false });
        assert_eq!(ask(&[bare, old("b"), old("c")]), Decision::Evict("b".into()));
    }

    #[test]
    fn replacing_stops_when_the_replacement_is_not_injected_either() {
        let memory = Memory { pods_before: 2, evicted: Some(later(50)), youngest: old("a").created };
        let ask = |pods: &[View], rules| decide(pods, rules, memory, later(60));
        let webhook = Rules { may_miss: true, ..rules() };
        for rules in [rules(), webhook] {
            assert_eq!(ask(&[old("a"), skipped("z", 55)], rules), Decision::Useless { pod: "z".into() });
            let injected = View { created: later(56).into(), ..new("y", true) };
            assert_eq!(ask(&[old("a"), skipped("z", 55), injected], rules), Decision::Evict("a".into()), "it works for others");
        }
        let nobody_s = View { controller: None, ..skipped("z", 55) };
        assert_eq!(ask(&[old("a"), old("b"), nobody_s], webhook), Decision::Evict("a".into()), "no Pod comes for another so");
    }

    /// What was missed while nobody answered is replaced; a policy misses nothing, so there it is for a person to find out.
    #[test]
    fn a_pod_that_the_webhook_missed_is_replaced() {
        let webhook = Rules { may_miss: true, ..rules() };
        let pods = [skipped("a", 20), skipped("b", 21)];
        assert_eq!(decide(&pods, webhook, Memory::default(), later(60)), Decision::Evict("a".into()));
        assert_eq!(ask(&pods), Decision::Nothing);
        assert_eq!(ask(&[old("a"), skipped("z", 20)]), Decision::Evict("a".into()), "nothing was tried yet");
        let alone = decide(&[skipped("a", 20)], webhook, Memory::default(), later(60));
        assert_eq!(alone, Decision::Person { pod: "a".into(), lone: true });
    }

    #[test]
    fn an_operator_that_begins_does_not_try_again_what_was_useless() {
        let begins = Rules { may_miss: true, found_useless: true, ..rules() };
        let ask = |pods: &[View]| decide(pods, begins, Memory::default(), later(60));
        assert_eq!(ask(&[skipped("a", 20), skipped("b", 21)]), Decision::Useless { pod: "b".into() });
        let injected = View { created: later(30).into(), ..new("c", true) };
        assert_eq!(ask(&[skipped("a", 20), skipped("b", 21), injected]), Decision::Evict("a".into()));
    }

    #[test]
    fn nothing_is_evicted_before_the_binding_is_known_everywhere() {
        let pods = [old("a"), old("b")];
        assert_eq!(decide(&pods, rules(), Memory::default(), later(PROPAGATION_SECONDS)), Decision::Later);
        assert_eq!(decide(&pods, Rules::default(), Memory::default(), later(60)), Decision::Later);
    }

    #[test]
    fn pods_that_the_policy_would_skip_are_left_alone() {
        let collision = pod("a", Injection::Not(Cause::Collision), true);
        let other = pod("b", Injection::Not(Cause::ResolverContainerMissing), true);
        assert_eq!(ask(&[collision, other, new("c", true)]), Decision::Nothing);
    }
}
