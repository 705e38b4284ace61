//! Whole rollouts against a kubelet that does its best or its worst, with an operator that is ended at any time.

use proptest::prelude::*;
use proptest::strategy::Strategy as Generator;

use super::world::*;
use crate::rollout::Strategy;
use crate::rollout::*;

/// What the kubelet makes of one look.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// Containers of changed images are started and are well.
    Starts,
    /// Containers of changed images do not come up.
    Fails,
    /// The Pod of that number is deleted and created anew with what new Pods get.
    Anew(usize),
    /// The Pod of that number is not Ready for a reason of its own.
    Sick(usize),
    /// All Pods are Ready again.
    Heals,
    /// The operator dies after it wrote down what it will do.
    DiesBefore,
    /// Nothing happens for so long.
    Time(i64),
}

fn event() -> impl Generator<Value = Event> {
    prop_oneof![
        6 => Just(Event::Starts),
        1 => Just(Event::Fails),
        1 => (0_usize..4).prop_map(Event::Anew),
        1 => (0_usize..4).prop_map(Event::Sick),
        2 => Just(Event::Heals),
        1 => Just(Event::DiesBefore),
        4 => (1_i64..30).prop_map(Event::Time),
    ]
}

fn answering(world: &World) -> usize {
    world.pods.iter().filter(|pod| pod.answers()).count()
}

fn happen(world: &mut World, event: Event, number: &mut u32) {
    let names: Vec<String> = world.pods.iter().map(|pod| pod.name.clone()).collect();
    let rolling = world.state.as_ref().and_then(|state| state.pod.clone());
    match event {
        Event::Starts => {
            if let Some(name) = rolling.map(|rolling| rolling.name).filter(|name| names.contains(name)) {
                world.restart(&name);
            }
        }
        Event::Fails => {
            if let Some(name) = rolling.map(|rolling| rolling.name).filter(|name| names.contains(name)) {
                let pod = world.pod(&name);
                (pod.ready, pod.serving, pod.heard) = (false, false, None);
                pod.sidecars[0].running = false;
                pod.sidecars[0].trouble = Some("CrashLoopBackOff".to_owned());
            }
        }
        Event::Anew(index) => {
            *number += 1;
            let images = world.injection.clone().unwrap_or_default();
            if let Some(slot) = world.pods.get_mut(index) {
                *slot = PodView { images, ..pod(&format!("new-{number}")) };
            }
        }
        Event::Sick(index) => {
            if let Some(pod) = world.pods.get_mut(index) {
                (pod.ready, pod.serving) = (false, false);
            }
        }
        Event::Heals => {
            for name in names {
                if rolling.as_ref().is_none_or(|rolling| rolling.name != name) {
                    world.restart(&name);
                }
            }
        }
        Event::DiesBefore => {
            let plan = world.plan();
            world.state = Some(plan.state);
            (world.watch, world.observing_since) = (None, world.now);
        }
        Event::Time(seconds) => world.wait(seconds),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn nothing_that_happens_makes_the_operator_take_the_last_answering_pod(
        events in prop::collection::vec(event(), 1..120), evict: bool, pods in 1_usize..4,
    ) {
        let mut number = 0;
        let mut world = World::new((0..pods).map(|index| pod(&format!("pod-{index}"))).collect());
        world.strategy = if evict { Strategy::Evict } else { Strategy::InPlace };
        for event in events {
            happen(&mut world, event, &mut number);
            world.wait(1);
            let before = world.clone();
            let moved = match world.look() {
                Act::Patch { name, .. } | Act::Evict { name, .. } => name,
                // It puts back what runs in trouble, or what has not been seen to run.
                Act::WayBack { .. } | Act::Pull { .. } | Act::Nothing => continue,
            };
            let taken = before.pods.iter().find(|pod| pod.name == moved).unwrap();
            prop_assert!(!taken.answers() || answering(&before) >= 2, "took {moved} of {:?}", before.pods);
            prop_assert!(before.state.as_ref().is_none_or(|state| state.phase != Phase::Halted), "{:?}", before.state);
            let others = before.pods.iter().filter(|pod| pod.name != moved && pod.images == world.target && !pod.ready);
            prop_assert_eq!(others.count(), 0, "one at a time");
            // What a Pod is on its way to is written down when it is changed.
            if let Act::Patch { .. } = world.plan().act {} else {
                prop_assert!(evict || world.state().pod.is_some());
            }
        }
    }

    #[test]
    fn a_good_release_reaches_everybody_whatever_dies_on_the_way(
        events in prop::collection::vec(prop_oneof![Just(Event::Starts), Just(Event::DiesBefore), (1_i64..20).prop_map(Event::Time)], 0..40),
        pods in 2_usize..5,
    ) {
        let mut number = 0;
        let mut world = World::new((0..pods).map(|index| pod(&format!("pod-{index}"))).collect());
        for event in events {
            happen(&mut world, event, &mut number);
            happen(&mut world, Event::Starts, &mut number);
            world.wait(1);
            world.look();
        }
        for _ in 0..60 {
            happen(&mut world, Event::Starts, &mut number);
            world.wait(1);
            world.look();
        }
        prop_assert_eq!(world.says(), (Phase::Current, ""));
        prop_assert!(world.pods.iter().all(|pod| pod.images == images("2") && pod.answers()));
        prop_assert_eq!(world.injection, Some(images("2")));
    }
}
