//! Rules 7 and 8: halts, pauses and eviction; and what the fleet reads.

use std::time::Duration;

use super::world::*;
use crate::rollout::*;

// Rule 7: what ends a halt, and what a pause does.

#[test]
fn a_halt_ends_by_other_images_or_when_somebody_asks() {
    let halted = || {
        let mut world = World { pre_pull: true, ..World::new(vec![pod("a"), pod("b")]) };
        world.pulls = vec![PullView { node: "node-1".into(), image: "pop:2".into(), state: PullState::Failed("gone".into()) }];
        world.look();
        assert_eq!(world.says().0, Phase::Halted);
        world.pre_pull = false;
        world
    };
    let mut world = halted();
    assert_eq!(world.look(), Act::Nothing);
    world.retry = true;
    assert_eq!(patched(&world.look()), Some("a"));
    let mut world = halted();
    world.target = images("3");
    assert_eq!(patched(&world.look()), Some("a"));
    assert_eq!(world.state().previous, Some(images("1")));
    let mut world = halted();
    world.target = images("1");
    world.look();
    assert_eq!(world.says(), (Phase::Current, ""), "back to what runs");
}

#[test]
fn a_pause_begins_nothing_and_ends_what_is_under_way() {
    let mut world = World { paused: true, ..World::new(vec![pod("a"), pod("b")]) };
    assert_eq!(world.look(), Act::Nothing);
    assert_eq!((world.says(), world.injection.clone()), ((Phase::Paused, "Paused"), Some(images("1"))));
    world.paused = false;
    assert_eq!(patched(&world.look()), Some("a"));
    world.paused = true;
    world.wait(1);
    world.look();
    assert_eq!(world.says(), (Phase::Rolling, "Verifying"));
    world.restart("a");
    world.look();
    world.wait(2);
    assert_eq!(world.look(), Act::Nothing);
    assert_eq!((world.says(), world.state().pod.clone()), ((Phase::Paused, "Paused"), None));
    world.paused = false;
    assert_eq!(patched(&world.look()), Some("b"));
    // The way back is gone under a pause too.
    world.paused = true;
    world.wait(60);
    assert!(matches!(world.look(), Act::WayBack { .. }));
}

#[test]
fn what_was_only_intended_is_dropped_by_a_pause_and_by_a_halt_elsewhere() {
    let mut world = World::new(vec![pod("a"), pod("b")]);
    world.look();
    world.pod("a").images = images("1");
    let (mut paused, mut withheld) = (world.clone(), world);
    paused.paused = true;
    assert_eq!(paused.look(), Act::Nothing);
    assert_eq!((paused.says().0, paused.state().pod.clone()), (Phase::Paused, None));
    withheld.permission = Permission::Withheld(Reason::FleetHalted);
    assert_eq!(withheld.look(), Act::Nothing);
    assert_eq!((withheld.says(), withheld.state().pod.clone()), ((Phase::Waiting, "FleetHalted"), None));
}

#[test]
fn other_images_while_a_pod_is_half_way_go_on_with_that_pod() {
    let mut world = World::new(vec![pod("a"), pod("b")]);
    world.look();
    *world.pod("a") = PodView { images: images("2"), ..broken(pod("a"), "crashed") };
    world.wait(30);
    world.target = images("3");
    let act = world.look();
    assert_eq!(act, Act::Patch { name: "a".into(), uid: "uid-a".into(), images: images("3") });
    let rolling = world.state().pod.clone().unwrap();
    assert_eq!((rolling.from, rolling.ready, rolling.since), (images("1"), true, at(30)), "back to what it had at first");
}

// Rule 8: Evict, and what is left alone otherwise.

#[test]
fn evict_gives_new_pods_the_images_first_and_then_evicts_one_by_one() {
    let mut world = World { strategy: Strategy::Evict, ..World::new(vec![pod("a"), pod("b"), pod("c")]) };
    assert_eq!(world.look(), Act::Nothing);
    assert_eq!((world.injection.clone(), world.says()), (Some(images("2")), (Phase::Rolling, "Replacing")));
    world.wait(9);
    assert_eq!(world.look(), Act::Nothing, "not every API server knows yet");
    world.wait(1);
    assert_eq!(world.look(), Act::Evict { name: "a".into(), uid: "uid-a".into() });
    world.replacing = true;
    assert_eq!(world.look(), Act::Nothing, "there is no successor yet");
    world.replacing = false;
    let starting = PodView { images: images("2"), ready: false, serving: false, ..pod("d") };
    world.pods.push(starting);
    assert_eq!(world.look(), Act::Nothing, "its successor starts");
    (world.pod("d").ready, world.pod("d").serving) = (true, true);
    assert_eq!(world.look(), Act::Evict { name: "b".into(), uid: "uid-b".into() });
}

#[test]
fn evict_takes_other_structures_and_in_place_leaves_them() {
    let old = |name| PodView { structure: Some("s0".into()), images: images("2"), ..pod(name) };
    let mut world =
        World { injection: Some(images("2")), switched_since: Some(at(-100)), ..World::new(vec![old("a"), old("b")]) };
    assert_eq!((world.look(), world.says().0), (Act::Nothing, Phase::Current));
    world.strategy = Strategy::Evict;
    assert_eq!(world.look(), Act::Evict { name: "a".into(), uid: "uid-a".into() });
}

#[test]
fn evict_never_takes_a_bare_one_nor_the_last_one() {
    let bare = PodView { controller: None, ..pod("a") };
    let of = |pods: Vec<PodView>| {
        let mut world = World { strategy: Strategy::Evict, ..World::new(pods) };
        world.look();
        world.wait(20);
        (world.look(), world.state().reason.clone())
    };
    assert_eq!(of(vec![bare.clone(), pod("b")]), (Act::Nothing, "LonePod".to_owned()));
    assert_eq!(of(vec![bare]), (Act::Nothing, "BarePod".to_owned()));
    assert_eq!(of(vec![broken(pod("a"), "crashed")]), (Act::Nothing, "LonePod".to_owned()), "not even one that is not Ready");
    assert_eq!(of(vec![pod("a"), broken(pod("b"), "crashed")]).0, Act::Evict { name: "b".into(), uid: "uid-b".into() });
}

#[test]
fn a_successor_that_does_not_start_is_put_back_too() {
    let mut world = World { strategy: Strategy::Evict, ..World::new(vec![pod("a"), pod("b"), pod("c")]) };
    world.look();
    world.wait(10);
    world.look();
    world.pods.push(PodView { images: images("2"), ..broken(pod("d"), "ErrImagePull: no such image") });
    world.wait(5);
    assert_eq!(world.look(), Act::Nothing);
    assert_eq!(world.says(), (Phase::Rolling, "Verifying"));
    world.wait(60);
    assert_eq!(world.look(), Act::WayBack { name: "d".into(), uid: "uid-d".into(), images: images("1") });
    assert_eq!((world.says(), world.injection.clone()), ((Phase::Halted, "SidecarNotRunning"), Some(images("1"))));
}

#[test]
fn pods_without_sidecars_are_none_of_a_rollout() {
    let without = PodView { injected: false, images: Images::default(), sidecars: vec![], structure: None, ..pod("a") };
    for strategy in [Strategy::InPlace, Strategy::Evict, Strategy::OnRestart] {
        let mut world = World { strategy, ..World::new(vec![without.clone(), without.clone()]) };
        assert_eq!((world.look(), world.says().0), (Act::Nothing, Phase::Current));
    }
}

// Rule 9 is the fleet's; here what it reads.

#[test]
fn the_time_of_soaking_begins_when_nothing_is_left_and_stays() {
    let mut world = World::new(vec![PodView { images: images("2"), ..pod("a") }]);
    world.look();
    assert_eq!(world.state().soaked_since, Some(at(0)));
    world.wait(100);
    world.look();
    assert_eq!(world.state().soaked_since, Some(at(0)));
    world.pods.push(pod("old"));
    world.look();
    assert_eq!(world.state().soaked_since, None);
    world.target = images("3");
    world.look();
    assert_eq!(world.state().soaked_since, None);
}

#[test]
fn a_turn_is_wanted_by_who_would_use_it() {
    let wants = |world: &World| world.plan().wants_turn(&world.input());
    assert!(wants(&World::new(vec![pod("a"), pod("b")])));
    assert!(wants(&World::new(vec![])), "to give new Pods the new images");
    let mut lone = World::new(vec![pod("a")]);
    assert!(wants(&lone));
    lone.look();
    assert!(!wants(&lone), "there is nothing that it could do");
    assert!(!wants(&World { paused: true, ..World::new(vec![pod("a"), pod("b")]) }));
}

#[test]
fn who_waits_looks_again() {
    let again = |world: &World| world.plan().again;
    let withheld = Permission::Withheld(Reason::CanariesFirst);
    assert_eq!(again(&World { permission: withheld, ..World::new(vec![pod("a"), pod("b")]) }), Some(Duration::from_mins(1)));
    assert_eq!(again(&World::new(vec![pod("a"), pod("b")])), Some(Duration::from_secs(1)));
    assert_eq!(again(&World { target: images("1"), ..World::new(vec![pod("a"), pod("b")]) }), None);
}
