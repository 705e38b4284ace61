//! What goes wrong, and what is left alone.

use std::sync::atomic::Ordering;

use serde_json::json;
use tapir_operator::api::reasons::{EventReason, Reason};
use tapir_operator::settings::Rollout;

use crate::scene::*;

#[tokio::test]
async fn a_pod_that_does_not_come_back_is_put_back_and_nobody_else_follows() {
    let mut scene = Scene::new(&["a", "b"]);
    scene.add_edge("uppsala", &json!({}), &json!({}));
    scene.add_pod("c", "uppsala");
    scene.add_pod("d", "uppsala");
    scene.round("stockholm").await.unwrap();
    scene.fail("a");
    scene.wait(59);
    scene.round("stockholm").await.unwrap();
    assert_eq!(scene.runs("a"), "registry.test/pop:2");
    scene.writes();
    scene.wait(1);
    let outcome = scene.round("stockholm").await.unwrap();
    assert_eq!(scene.writes()[..2], ["PATCH edges/stockholm/status", "PATCH pods/a"]);
    assert_eq!((scene.runs("a"), scene.runs("b")), ("registry.test/pop:1".into(), "registry.test/pop:1".into()));
    assert_eq!(
        (scene.says("stockholm"), scene.injected("stockholm")),
        (("Halted".into(), "SidecarNotRunning".into()), json!(images("1")))
    );
    let reasons: Vec<EventReason> = outcome.news.iter().map(|news| news.reason).collect();
    assert_eq!(reasons, [EventReason::PodPutBack, EventReason::RolloutHalted]);
    let (well, reason, message) = outcome.condition.unwrap();
    assert!(
        !well && reason == Reason::RolloutHalted && message.contains("Pod a") && message.contains("no such image"),
        "{message}"
    );
    // It is waited for and halted once; nobody else gets these images.
    scene.restart("a");
    scene.writes();
    for _ in 0..10 {
        scene.wait(30);
        scene.round("stockholm").await.unwrap();
        scene.round("uppsala").await.unwrap();
    }
    assert_eq!(
        (scene.says("uppsala"), scene.runs("c")),
        (("Waiting".into(), "FleetHalted".into()), "registry.test/pop:1".into())
    );
    assert!(!scene.writes().iter().any(|write| write.contains("pods/")));
    // Somebody asks to try again.
    scene.retry = true;
    scene.round("stockholm").await.unwrap();
    assert_eq!(scene.runs("a"), "registry.test/pop:2");
}

#[tokio::test]
async fn a_namespace_without_rights_holds_up_no_other_and_an_api_server_in_trouble_all() {
    let scene = Scene::new(&["a", "b"]);
    let closed = "namespaces/closed/tapiredges";
    scene.server.refuse(Some((closed, 503)));
    assert!(scene.round("stockholm").await.is_err(), "a canary might be there");
    scene.server.refuse(Some((closed, 403)));
    scene.round("stockholm").await.unwrap();
    assert_eq!(scene.runs("a"), "registry.test/pop:2");
}

#[tokio::test]
async fn a_supervisor_without_its_worker_is_put_back() {
    let mut scene = Scene::new(&["a", "b"]);
    scene.round("stockholm").await.unwrap();
    scene.restart("a");
    scene.answer.store(false, Ordering::SeqCst);
    for _ in 0..61 {
        scene.wait(1);
        scene.round("stockholm").await.unwrap();
    }
    assert_eq!((scene.says("stockholm"), scene.runs("a")), (("Halted".into(), "NoAnswer".into()), "registry.test/pop:1".into()));
}

#[tokio::test]
async fn a_way_back_goes_on_in_another_process() {
    let mut scene = Scene::new(&["a", "b"]);
    scene.round("stockholm").await.unwrap();
    scene.fail("a");
    scene.wait(60);
    // The state is written and the process dies before the Pod is changed.
    scene.server.refuse(Some(("PATCH /api/v1/namespaces/dns/pods/a", 500)));
    assert!(scene.round("stockholm").await.is_err());
    assert_eq!((scene.says("stockholm").0.as_str(), scene.runs("a").as_str()), ("Halted", "registry.test/pop:2"));
    let scene = scene.takes_over();
    scene.server.refuse(None);
    scene.round("stockholm").await.unwrap();
    assert_eq!(scene.runs("a"), "registry.test/pop:1");
}

#[tokio::test]
async fn whoever_looked_at_an_older_edge_does_nothing() {
    let scene = Scene::new(&["a", "b"]);
    let older = scene.edge("stockholm");
    scene.change(&edge_path("stockholm"), |edge| edge["metadata"]["labels"] = json!({"new": "label"}));
    scene.writes();
    let outcome = scene.round_from("stockholm", older).await.unwrap();
    assert!(!outcome.wrote && outcome.again.is_some());
    assert!(!scene.writes().iter().any(|write| write.contains("pods/")), "a Pod was changed and nothing was written of it");
    scene.round("stockholm").await.unwrap();
    assert_eq!(scene.runs("a"), "registry.test/pop:2");
}

#[tokio::test]
async fn a_pod_that_changed_meanwhile_is_looked_at_again() {
    let mut scene = Scene::new(&["a", "b"]);
    let mut other = scene.server.get(&pod_path("a")).unwrap();
    other["metadata"]["annotations"]["other"] = "touched".into();
    scene.server.intrude(1, &pod_path("a"), other);
    scene.round("stockholm").await.unwrap();
    assert_eq!(scene.runs("a"), "registry.test/pop:1", "409");
    scene.wait(1);
    scene.round("stockholm").await.unwrap();
    assert_eq!(scene.runs("a"), "registry.test/pop:2");
}

#[tokio::test]
async fn a_pause_begins_nothing_and_a_resume_goes_on() {
    let mut scene = Scene::new(&["a", "b"]);
    let pause = |scene: &Scene, paused: bool| {
        scene.change(&edge_path("stockholm"), |edge| edge["spec"]["rollout"] = json!({"paused": paused}));
    };
    pause(&scene, true);
    scene.round("stockholm").await.unwrap();
    assert_eq!((scene.says("stockholm").0.as_str(), scene.runs("a").as_str()), ("Paused", "registry.test/pop:1"));
    pause(&scene, false);
    scene.round("stockholm").await.unwrap();
    assert_eq!(scene.runs("a"), "registry.test/pop:2");
    pause(&scene, true);
    scene.finish("stockholm", &["a", "b"]).await;
    assert_eq!(
        (scene.says("stockholm").0.as_str(), scene.runs("b").as_str()),
        ("Paused", "registry.test/pop:1"),
        "what was begun is ended"
    );
    pause(&scene, false);
    scene.finish("stockholm", &["a", "b"]).await;
    assert_eq!((scene.says("stockholm").0.as_str(), scene.runs("b").as_str()), ("Current", "registry.test/pop:2"));
}

#[tokio::test]
async fn the_last_pod_that_answers_and_bare_pods_are_left_alone() {
    for strategy in ["InPlace", "Evict"] {
        let alone = |change: fn(&Scene)| {
            let mut scene = Scene::new(&["a", "b"]);
            scene.change(&edge_path("stockholm"), |edge| edge["spec"]["rollout"] = json!({"strategy": strategy}));
            change(&scene);
            async move {
                for _ in 0..30 {
                    scene.wait(1);
                    scene.round("stockholm").await.unwrap();
                }
                scene.writes().into_iter().filter(|write| write.contains("pods/")).collect::<Vec<_>>()
            }
        };
        let lone = alone(|scene| scene.server.destroy(&pod_path("b"))).await;
        assert_eq!(lone, Vec::<String>::new(), "{strategy}");
        let bare = alone(|scene| {
            for pod in ["a", "b"] {
                scene.change(&pod_path(pod), |pod| pod["metadata"]["ownerReferences"] = json!([]));
            }
        });
        assert_eq!(bare.await, Vec::<String>::new(), "{strategy}");
        let out_of_service = alone(|scene| {
            let uid = scene.server.get(&pod_path("b")).unwrap()["metadata"]["uid"].clone();
            scene.server.put(
                "/apis/discovery.k8s.io/v1/namespaces/dns/endpointslices/resolver",
                json!({"metadata": {"name": "resolver", "namespace": "dns"}, "addressType": "IPv4", "endpoints": [
                    {"addresses": ["10.0.0.2"], "conditions": {"serving": false}, "targetRef": {"kind": "Pod", "uid": uid}}]}),
            );
        });
        let touched = out_of_service.await;
        assert!(touched.iter().all(|write| write.contains("pods/b")), "{strategy}: only the one that serves nobody: {touched:?}");
    }
}

#[tokio::test]
async fn evict_replaces_one_pod_after_the_other_within_their_budget() {
    let mut scene = Scene::new(&["a", "b"]);
    scene.change(&edge_path("stockholm"), |edge| edge["spec"]["rollout"] = json!({"strategy": "Evict"}));
    scene.round("stockholm").await.unwrap();
    assert_eq!(scene.injected("stockholm"), json!(images("2")), "successors get what new Pods get");
    scene.server.let_budget_hold();
    for _ in 0..15 {
        scene.wait(1);
        scene.round("stockholm").await.unwrap();
    }
    assert_eq!(scene.says("stockholm"), ("Waiting".into(), "Refused".into()));
    assert!(scene.rollout("stockholm")["message"].as_str().unwrap().contains("PodDisruptionBudget"));
    scene.server.let_budget_go();
    scene.wait(60);
    scene.round("stockholm").await.unwrap();
    scene.round("stockholm").await.unwrap();
    assert!(scene.server.get(&pod_path("a")).is_none());
    for _ in 0..5 {
        scene.wait(1);
        scene.round("stockholm").await.unwrap();
    }
    assert!(scene.server.get(&pod_path("b")).is_some(), "the successor is not there yet");
}

/// A Pod that nobody brings back is left to a person, and then the workload is made smaller: no successor will ever come.
#[tokio::test]
async fn evictions_that_are_over_are_not_waited_for() {
    let mut scene = Scene::new(&["a", "b", "c"]);
    scene.change(&edge_path("stockholm"), |edge| edge["spec"]["rollout"] = json!({"strategy": "Evict"}));
    scene.change(&pod_path("c"), |pod| pod["metadata"]["ownerReferences"] = json!([]));
    for _ in 0..60 {
        scene.wait(1);
        scene.round("stockholm").await.unwrap();
        for (old, successor) in [("a", "a2"), ("b", "b2")] {
            if scene.server.get(&pod_path(old)).is_none() && scene.server.get(&pod_path(successor)).is_none() {
                scene.add_pod(successor, "stockholm");
                scene.change(&pod_path(successor), |pod| {
                    pod["spec"]["containers"][1]["image"] = json!(images("2").edm);
                    pod["spec"]["containers"][2]["image"] = json!(images("2").pop);
                });
                scene.restart(successor);
            }
        }
    }
    assert_eq!(scene.says("stockholm"), ("Waiting".into(), "BarePod".into()));
    scene.server.delete(&pod_path("b2"));
    scene.wait(1);
    scene.round("stockholm").await.unwrap();
    assert_eq!(scene.says("stockholm"), ("Waiting".into(), "BarePod".into()), "{}", scene.rollout("stockholm")["message"]);
}

#[tokio::test]
async fn images_are_pulled_first_and_a_bad_one_halts_before_anything_is_touched() {
    let rollout = || Rollout { pre_pull: true, ..Rollout::default() };
    let pulls = |scene: &Scene| -> Vec<String> {
        let created = scene.server.dump_without("tapiredges");
        created
            .lines()
            .filter(|line| line.contains("/pods/tapir-pull-"))
            .map(|line| line.split(' ').next().unwrap().to_owned())
            .collect()
    };
    let mut scene = Scene::with(&["a", "b"], rollout());
    scene.round("stockholm").await.unwrap();
    assert_eq!((pulls(&scene).len(), scene.says("stockholm")), (2, ("Rolling".into(), "Pulling".into())));
    assert_eq!(scene.runs("a"), "registry.test/pop:1");
    for pull in pulls(&scene) {
        scene.change(&pull, |pod| pod["status"] = json!({"phase": "Succeeded"}));
    }
    scene.round("stockholm").await.unwrap();
    assert_eq!(scene.runs("a"), "registry.test/pop:2");
    scene.finish("stockholm", &["a", "b"]).await;
    assert_eq!((scene.says("stockholm").0.as_str(), pulls(&scene)), ("Current", Vec::new()), "they are removed");

    let scene = Scene::with(&["a", "b"], rollout());
    scene.round("stockholm").await.unwrap();
    scene.change(&pulls(&scene)[0], |pod| pod["status"] = json!({"phase": "Failed", "reason": "DeadlineExceeded"}));
    scene.round("stockholm").await.unwrap();
    assert_eq!(
        (scene.says("stockholm"), scene.runs("a")),
        (("Halted".into(), "ImageFailed".into()), "registry.test/pop:1".into())
    );

    let scene = Scene::with(&["a", "b"], rollout());
    scene.server.refuse(Some(("POST /api/v1/namespaces/dns/pods", 403)));
    scene.round("stockholm").await.unwrap();
    scene.round("stockholm").await.unwrap();
    assert_eq!(scene.runs("a"), "registry.test/pop:2", "where none may be made, Pods are changed without");
}
