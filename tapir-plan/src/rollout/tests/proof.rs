//! Rules 5 and 6: what counts as proof, and the way back.

use super::world::*;
use crate::rollout::*;

type Spoil = fn(&mut PodView);

// Rule 5: what counts as proof.

#[test]
fn readiness_alone_proves_nothing() {
    let mut world = World::new(vec![pod("a"), pod("b")]);
    world.look();
    // The kubelet has not written anything yet: the Pod stands there as before.
    for _ in 0..59 {
        world.wait(1);
        world.pod("a").heard = Some(world.now);
        assert_eq!(world.look(), Act::Nothing);
    }
    world.wait(1);
    assert!(matches!(world.look(), Act::WayBack { .. }), "{:?}", world.says());
}

#[test]
fn every_part_of_the_proof_is_needed() {
    let spoilt: [(&str, Spoil); 7] = [
        ("id", |pod| pod.sidecars[1].container_id = "a-Pop-1".into()),
        ("no id", |pod| pod.sidecars[1].container_id = String::new()),
        ("running", |pod| pod.sidecars[0].running = false),
        ("ready", |pod| pod.ready = false),
        ("serving", |pod| pod.serving = false),
        ("old answer", |pod| pod.heard = Some(at(-10))),
        ("no answer", |pod| pod.heard = None),
    ];
    for (what, spoil) in spoilt {
        let mut world = World::new(vec![pod("a"), pod("b")]);
        world.look();
        for _ in 0..5 {
            world.wait(1);
            world.restart("a");
            spoil(world.pod("a"));
            assert_eq!(world.look(), Act::Nothing, "{what}");
            assert_eq!(world.says(), (Phase::Rolling, "Verifying"), "{what}");
        }
    }
}

#[test]
fn a_sidecar_whose_image_stays_is_not_restarted_and_need_not_be() {
    let mut world = World { target: Images { edm: images("1").edm, ..images("2") }, ..World::new(vec![pod("a"), pod("b")]) };
    world.look();
    for _ in 0..3 {
        world.wait(2);
        world.restart("a");
        world.look();
    }
    assert_eq!(world.state().pod.as_ref().unwrap().name, "b");
}

#[test]
fn who_never_answered_need_not_answer_now() {
    let mut world = World::new(vec![PodView { heard: None, ..pod("a") }, pod("b")]);
    world.look();
    world.restart("a");
    world.pod("a").heard = None;
    world.wait(1);
    world.look();
    world.wait(2);
    assert_eq!(patched(&world.look()), Some("b"));
}

#[test]
fn a_container_that_crashes_in_a_loop_is_never_well_for_long_enough() {
    let mut world = World::new(vec![pod("a"), pod("b")]);
    world.look();
    for round in 0..100 {
        world.wait(1);
        world.restart("a");
        world.pod("a").sidecars[1].container_id = format!("crash-{round}");
        if world.look() != Act::Nothing {
            panic!("after {round} rounds: {:?}", world.state());
        }
    }
    world.wait(1);
    world.pod("a").sidecars[1] =
        Sidecar { running: false, trouble: Some("CrashLoopBackOff".into()), ..world.pods[0].sidecars[1].clone() };
    assert!(matches!(world.look(), Act::WayBack { .. }));
}

#[test]
fn a_new_process_does_not_take_its_own_silence_for_the_pods() {
    let mut world = World::new(vec![pod("a"), pod("b")]);
    world.look();
    world.restart("a");
    world.pod("a").heard = None;
    world.wait(70);
    (world.observing_since, world.watch) = (world.now, None);
    assert_eq!(world.look(), Act::Nothing);
    world.wait(59);
    assert_eq!(world.look(), Act::Nothing);
    world.wait(1);
    assert!(matches!(world.look(), Act::WayBack { .. }));
    assert_eq!(world.says(), (Phase::Halted, "NoAnswer"));
}

// Rule 6: the way back.

#[test]
fn a_pod_that_does_not_come_back_is_put_back_and_everything_halts() {
    let mut world = World::new(vec![pod("a"), pod("b")]);
    world.look();
    *world.pod("a") = PodView { images: images("2"), ..broken(pod("a"), "ImagePullBackOff: no such image") };
    world.wait(59);
    assert_eq!(world.look(), Act::Nothing);
    world.wait(1);
    assert_eq!(world.look(), Act::WayBack { name: "a".into(), uid: "uid-a".into(), images: images("1") });
    assert_eq!((world.says(), world.injection.clone()), ((Phase::Halted, "SidecarNotRunning"), Some(images("1"))));
    assert!(world.state().message.contains("Pod a") && world.state().message.contains("no such image"));
    assert!(world.state().pod.as_ref().unwrap().way_back);
    // Waited for as long as it takes, and halted once.
    world.wait(1000);
    assert_eq!(world.look(), Act::Nothing);
    world.restart("a");
    world.pod("a").sidecars.iter_mut().for_each(|sidecar| sidecar.container_id += "-back");
    world.look();
    world.wait(3);
    world.pod("a").heard = Some(world.now);
    world.look();
    assert_eq!((world.state().pod.clone(), world.says()), (None, (Phase::Halted, "SidecarNotRunning")));
    world.wait(1000);
    assert_eq!(world.look(), Act::Nothing);
}

#[test]
fn a_way_back_that_was_not_carried_out_is_carried_out_later() {
    let mut world = World::new(vec![pod("a"), pod("b")]);
    world.look();
    *world.pod("a") = PodView { images: images("2"), ..broken(pod("a"), "crashed") };
    world.wait(60);
    assert!(matches!(world.look(), Act::WayBack { .. }));
    world.pod("a").images = images("2");
    assert!(matches!(world.look(), Act::WayBack { .. }));
}

#[test]
fn a_way_back_ends_when_the_pod_stands_though_its_containers_were_never_changed() {
    let mut world = World::new(vec![pod("a"), pod("b")]);
    world.look();
    world.wait(60);
    assert!(matches!(world.look(), Act::WayBack { .. }), "a kubelet that does nothing");
    world.wait(119);
    world.look();
    assert!(world.state().pod.is_some());
    world.wait(1);
    world.look();
    assert!(world.state().pod.is_none());
}

#[test]
fn a_pod_that_was_in_trouble_before_proves_nothing_against_the_images() {
    let sick = PodView { ready: false, serving: false, ..pod("a") };
    let mut world = World::new(vec![sick, pod("b"), pod("c")]);
    assert_eq!(patched(&world.look()), Some("a"));
    world.restart("a");
    (world.pod("a").ready, world.pod("a").serving) = (false, false);
    world.wait(60);
    assert_eq!(world.look(), Act::Nothing);
    assert_eq!(world.says(), (Phase::Waiting, "PodsMoving"), "and nothing else is touched beside it");
    // Its own sidecars do speak against them.
    let mut world = World::new(vec![broken(pod("a"), "ImagePullBackOff: old"), pod("b"), pod("c")]);
    world.look();
    world.wait(60);
    assert!(matches!(world.look(), Act::WayBack { .. }));
}
