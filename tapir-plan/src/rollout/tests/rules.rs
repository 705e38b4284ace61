//! Rules 1 to 4: whose turn it is, which Pod is next, what comes before it is changed.

use super::world::*;
use crate::rollout::*;

// Rule 1: new Pods get new images only once it is the edge's turn and one Pod runs them well.

#[test]
fn an_edge_that_waits_for_its_turn_gives_new_pods_what_it_had() {
    for reason in [Reason::CanariesFirst, Reason::OtherEdgesFirst, Reason::FleetHalted] {
        let mut world = World { permission: Permission::Withheld(reason), ..World::new(vec![pod("a"), pod("b")]) };
        assert_eq!(world.look(), Act::Nothing);
        assert_eq!(world.injection, Some(images("1")));
        assert_eq!(world.says(), (Phase::Waiting, reason.into()));
        world.pods.clear();
        world.look();
        assert_eq!(world.injection, Some(images("1")), "no Pods, and not its turn either");
    }
}

#[test]
fn new_pods_get_the_images_when_one_pod_runs_them_well() {
    let mut world = World::new(vec![pod("a"), pod("b")]);
    assert_eq!(patched(&world.look()), Some("a"));
    assert_eq!(world.injection, Some(images("1")), "nothing is proved yet");
    world.restart("a");
    world.wait(2);
    world.look();
    assert_eq!(world.injection, Some(images("1")), "it has to stay well for a moment");
    world.wait(2);
    assert_eq!(patched(&world.look()), Some("b"));
    assert_eq!(world.injection, Some(images("2")));
}

#[test]
fn without_pods_that_could_prove_them_new_pods_get_the_images_at_once() {
    let bare = PodView { controller: None, ..pod("a") };
    for (pods, strategy) in [
        (vec![], Strategy::InPlace),
        (vec![pod("lone")], Strategy::InPlace),
        (vec![bare], Strategy::InPlace),
        (vec![pod("a"), pod("b")], Strategy::OnRestart),
        (vec![PodView { injected: false, ..pod("a") }, pod("b")], Strategy::OnRestart),
    ] {
        let mut world = World { strategy, ..World::new(pods) };
        assert_eq!(world.look(), Act::Nothing);
        assert_eq!(world.injection, Some(images("2")));
        assert!(world.state().is_settled(), "{:?}", world.says());
    }
}

#[test]
fn an_edge_that_never_was_rendered_waits_for_nobody() {
    let mut world = World { injection: None, permission: Permission::Withheld(Reason::OtherEdgesFirst), ..World::new(vec![]) };
    world.look();
    assert_eq!((world.injection.clone(), world.says()), (Some(images("2")), (Phase::Current, "")));
}

#[test]
fn a_sidecar_that_is_switched_on_or_off_takes_its_image_from_the_target() {
    let on = Images { edm: None, ..images("1") };
    let mut world = World { injection: Some(on), permission: Permission::Withheld(Reason::CanariesFirst), ..World::new(vec![]) };
    world.look();
    assert_eq!(world.injection, Some(Images { edm: images("2").edm, pop: images("1").pop }));
    world.target.edm = None;
    world.look();
    assert_eq!(world.injection, Some(Images { edm: None, pop: images("1").pop }));
}

// Rule 2: one Pod at a time, beside another one of the same workload that answers.

#[test]
fn nothing_is_touched_without_another_pod_that_answers() {
    let beside = |other: PodView| World::new(vec![pod("a"), other]).look();
    let current = || PodView { images: images("2"), ..pod("b") };
    assert_eq!(patched(&beside(current())), Some("a"));
    let unable = [
        PodView { ready: false, ..current() },
        PodView { serving: false, ..current() },
        PodView { terminating: true, ..current() },
        PodView { controller: Some("other".to_owned()), ..current() },
        PodView { controller: None, ..current() },
    ];
    for other in unable {
        assert_eq!(beside(other.clone()), Act::Nothing, "{other:?}");
    }
}

#[test]
fn a_pod_that_is_not_ready_goes_first_and_needs_nobody_beside_it() {
    let sick = broken(pod("b"), "ImagePullBackOff: not found");
    assert_eq!(patched(&World::new(vec![pod("a"), sick.clone(), pod("c")]).look()), Some("b"));
    assert_eq!(patched(&World::new(vec![sick.clone()]).look()), Some("b"));
    let bare = PodView { controller: None, ..sick };
    assert_eq!(World::new(vec![bare]).look(), Act::Nothing, "nobody would bring it back");
}

#[test]
fn a_pod_in_trouble_that_is_no_candidate_holds_everything() {
    let sick = PodView { images: images("2"), ready: false, ..pod("c") };
    let mut world = World::new(vec![pod("a"), pod("b"), sick]);
    assert_eq!(world.look(), Act::Nothing);
    assert_eq!(world.says(), (Phase::Waiting, "PodsMoving"));
    let pending = PodView { images: images("2"), ready: false, node: None, ..pod("c") };
    assert_eq!(patched(&World::new(vec![pod("a"), pod("b"), pending]).look()), Some("a"), "one without a node never served");
}

#[test]
fn a_lone_pod_is_said_and_left_alone() {
    let mut world = World::new(vec![pod("a")]);
    assert_eq!(world.look(), Act::Nothing);
    assert_eq!(world.says(), (Phase::Waiting, "LonePod"));
    assert!(world.state().message.contains("Pod a") && world.state().message.contains("add a replica"));
    world.pods[0].controller = None;
    world.look();
    assert_eq!(world.says(), (Phase::Waiting, "BarePod"));
}

// Rule 3: images are pulled on the node first.

#[test]
fn images_are_pulled_before_anything_is_touched() {
    let mut world = World { pre_pull: true, ..World::new(vec![pod("a"), pod("b")]) };
    let wanted: Vec<String> = images("2").iter().cloned().collect();
    let pull = Act::Pull { node: "node-1".into(), images: wanted.clone(), secrets: vec!["pull".into()] };
    assert_eq!(world.look(), pull);
    assert_eq!(world.says(), (Phase::Rolling, "Pulling"));
    let views = |state: &PullState| {
        wanted.iter().map(|image| PullView { node: "node-1".into(), image: image.clone(), state: state.clone() }).collect()
    };
    world.pulls = views(&PullState::Running);
    assert_eq!(world.look(), Act::Nothing);
    for state in [PullState::Done, PullState::Refused] {
        let mut world = World { pulls: views(&state), ..world.clone() };
        assert_eq!(patched(&world.look()), Some("a"), "{state:?}");
    }
    world.pulls = views(&PullState::Failed("not found".into()));
    assert_eq!(world.look(), Act::Nothing);
    assert_eq!((world.says(), world.injection.clone()), ((Phase::Halted, "ImageFailed"), Some(images("1"))));
    assert!(world.state().message.contains("edm:2") && world.state().message.contains("not found"), "{}", world.state().message);
}

#[test]
fn only_what_changes_is_pulled_and_only_where_the_pod_is() {
    let mut world =
        World { pre_pull: true, target: Images { edm: images("1").edm, ..images("2") }, ..World::new(vec![pod("a"), pod("b")]) };
    world.pulls = vec![PullView { node: "node-2".into(), image: "pop:2".into(), state: PullState::Done }];
    assert_eq!(world.look(), Act::Pull { node: "node-1".into(), images: vec!["pop:2".into()], secrets: vec!["pull".into()] });
}

// Rule 4: written down before it is done.

#[test]
fn what_is_about_to_happen_is_written_before_it_happens() {
    let plan = World::new(vec![pod("a"), pod("b")]).plan();
    let rolling = plan.state.pod.expect("written");
    assert_eq!(plan.act, Act::Patch { name: "a".into(), uid: "uid-a".into(), images: images("2") });
    assert_eq!((rolling.uid.as_str(), rolling.from, rolling.since), ("uid-a", images("1"), at(0)));
    assert_eq!(rolling.container_ids, ["a-Edm-1", "a-Pop-1"]);
    assert!(rolling.ready && rolling.answered && !rolling.way_back);
}

#[test]
fn whoever_comes_after_a_crash_goes_on_where_it_was() {
    let mut world = World::new(vec![pod("a"), pod("b")]);
    world.look();
    let written = world.clone();
    // The Pod was not changed: it is changed now, with a time of its own.
    world.pod("a").images = images("1");
    world.wait(50);
    assert_eq!(patched(&world.look()), Some("a"));
    assert_eq!(world.state().pod.as_ref().unwrap().since, at(50));
    // It was not changed, and the other Pod does not answer any more: then it is not.
    let mut world = written.clone();
    world.pod("a").images = images("1");
    world.pod("b").ready = false;
    world.wait(50);
    assert_eq!(patched(&world.look()), Some("b"), "the one that is not Ready goes first");
    // It was changed: it is waited for.
    let mut world = written;
    world.wait(5);
    assert_eq!(world.look(), Act::Nothing);
    assert_eq!(world.says(), (Phase::Rolling, "Verifying"));
}

#[test]
fn a_pod_that_went_away_is_waited_for_no_more() {
    let mut world = World::new(vec![pod("a"), pod("b"), pod("c")]);
    world.look();
    world.pods.remove(0);
    assert_eq!(patched(&world.look()), Some("b"));
}
