//! Another release of the operator: whole reconciles of an edge whose Pods run the sidecars of the one before.

use jiff::SignedDuration;

use super::*;

const A: &str = "/api/v1/namespaces/dns/pods/a";
const B: &str = "/api/v1/namespaces/dns/pods/b";

/// Two Pods that run version 1.
async fn running() -> Scene {
    let scene = Scene::new().await;
    scene.settle(EDGE).await;
    let injection = scene.server.get(EDGE).unwrap()["status"]["injection"].clone();
    for name in ["a", "b"] {
        let status = |container: &str| {
            json!({"name": container, "image": "", "imageID": "", "ready": true, "restartCount": 0,
                "containerID": format!("{name}-{container}-1"), "state": {"running": {}}})
        };
        scene.server.put(
            &format!("/api/v1/namespaces/dns/pods/{name}"),
            json!({"kind": "Pod", "apiVersion": "v1",
                "metadata": {"name": name, "namespace": "dns", "labels": {"dnstapir.se/edge": "stockholm"},
                    "creationTimestamp": "2026-11-20T00:00:00Z",
                    "annotations": {"dnstapir.se/injection-revision": injection["revision"],
                        "dnstapir.se/injection-images": injection["imagesRevision"]},
                    "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "r", "controller": true}]},
                "spec": {"nodeName": "node-1", "volumes": [{"name": "tapir-no-token", "emptyDir": {}}],
                    "containers": [{"name": "unbound", "image": "unbound:1"}, {"name": "tapir-edm", "image": "registry.test/edm:1"},
                        {"name": "tapir-pop", "image": "registry.test/pop:1"}]},
                "status": {"phase": "Running", "podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}],
                    "containerStatuses": [status("tapir-edm"), status("tapir-pop")]}}),
        );
    }
    scene.settle(EDGE).await;
    assert_eq!(scene.reason(EDGE, "Injected"), ("True".into(), "Injected".into()));
    scene
}

/// The same under an operator that has version 2.
async fn released() -> Scene {
    let mut scene = running().await;
    let mut context = (*scene.context).clone();
    let settings = Settings {
        edm_image: "registry.test/edm:2".into(),
        pop_image: "registry.test/pop:2".into(),
        ..(*context.settings).clone()
    };
    context.settings = Arc::new(settings);
    let answers = Answers::from_fn(|_| Box::pin(std::future::ready(true)));
    context.rollouts = Rollouts::new(Arc::clone(&context.settings), answers, context.cache.changed_edges().clone());
    context.settled = Settled::default();
    scene.context = Arc::new(context);
    scene.server.forget_writes();
    scene
}

fn pop(scene: &Scene, pod: &str) -> String {
    scene.server.get(pod).unwrap()["spec"]["containers"][2]["image"].as_str().unwrap().to_owned()
}

fn new_pods_get(scene: &Scene) -> String {
    scene.server.get(EDGE).unwrap()["status"]["injection"]["images"]["pop"].as_str().unwrap().to_owned()
}

fn restart(scene: &Scene, pod: &str, running: bool) {
    scene.change(pod, |pod| {
        let images = pod["spec"]["containers"].clone();
        for (number, status) in pod["status"]["containerStatuses"].as_array_mut().unwrap().iter_mut().enumerate() {
            status["containerID"] = format!("{}-{running}", images[number + 1]["image"]).into();
            status["state"] =
                if running { json!({"running": {}}) } else { json!({"waiting": {"reason": "CrashLoopBackOff", "message": "m"}}) };
        }
        pod["status"]["conditions"][0]["status"] = if running { "True" } else { "False" }.into();
    });
}

async fn seconds_later(scene: &Scene, seconds: i64) {
    use tapir_plan::clock::Clock as _;
    scene.clock.set(scene.clock.now() + SignedDuration::from_secs(seconds));
    scene.once(EDGE).await.unwrap();
}

#[tokio::test]
async fn a_release_reaches_one_pod_after_the_other_and_new_pods_after_the_first() {
    let scene = released().await;
    scene.once(EDGE).await.unwrap();
    let writes: Vec<String> = scene.server.writes().into_iter().filter(|write| !write.contains("configmaps")).collect();
    assert_eq!(writes[..2], [format!("PATCH {EDGE}/status"), format!("PATCH {A}")], "written down, then done");
    assert_eq!((pop(&scene, A), pop(&scene, B)), ("registry.test/pop:2".into(), "registry.test/pop:1".into()));
    assert_eq!(new_pods_get(&scene), "registry.test/pop:1");
    assert_eq!(scene.reason(EDGE, "Injected"), ("True".into(), "UpdatePending".into()));
    restart(&scene, A, true);
    for _ in 0..4 {
        seconds_later(&scene, 1).await;
    }
    assert_eq!((pop(&scene, B), new_pods_get(&scene)), ("registry.test/pop:2".into(), "registry.test/pop:2".into()));
    restart(&scene, B, true);
    for _ in 0..4 {
        seconds_later(&scene, 1).await;
    }
    assert_eq!(scene.reason(EDGE, "Injected"), ("True".into(), "Injected".into()));
    let status = scene.server.get(EDGE).unwrap()["status"].clone();
    assert_eq!((&status["rollout"]["phase"], &status["pods"]["updated"]), (&json!("Current"), &json!(2)));
    scene.settle(EDGE).await;
}

#[tokio::test]
async fn a_bad_release_is_put_back_and_said() {
    let scene = released().await;
    scene.once(EDGE).await.unwrap();
    restart(&scene, A, false);
    seconds_later(&scene, 61).await;
    assert_eq!((pop(&scene, A), new_pods_get(&scene)), ("registry.test/pop:1".into(), "registry.test/pop:1".into()));
    assert_eq!(scene.reason(EDGE, "Injected"), ("False".into(), "RolloutHalted".into()));
    assert!(scene.condition(EDGE, "Ready")["message"].as_str().unwrap().contains("CrashLoopBackOff"));
    restart(&scene, A, true);
    for _ in 0..200 {
        seconds_later(&scene, 1).await;
    }
    assert_eq!((pop(&scene, A), pop(&scene, B)), ("registry.test/pop:1".into(), "registry.test/pop:1".into()), "nobody follows");
    // Any new value of the annotation tries again, once.
    scene.annotate(EDGE, "dnstapir.se/reconcile-now", "try again");
    seconds_later(&scene, 1).await;
    assert_eq!(pop(&scene, A), "registry.test/pop:2");
    restart(&scene, A, false);
    for _ in 0..100 {
        seconds_later(&scene, 1).await;
    }
    assert_eq!((pop(&scene, A), scene.reason(EDGE, "Injected").1), ("registry.test/pop:1".into(), "RolloutHalted".into()));
}

#[tokio::test]
async fn a_suspended_edge_is_not_rolled() {
    let scene = released().await;
    scene.change(EDGE, |edge| edge["spec"]["suspend"] = true.into());
    for _ in 0..3 {
        seconds_later(&scene, 1).await;
    }
    assert!(!scene.server.writes().iter().any(|write| write.contains("/pods/")));
    assert_eq!(pop(&scene, A), "registry.test/pop:1");
}

#[tokio::test]
async fn pods_without_sidecars_are_left_to_people_where_the_spec_says_so() {
    for rollout in [json!({"strategy": "OnRestart"}), json!({"paused": true})] {
        let (scene, _) = with_old_pods(["r", "r"]).await;
        scene.change(EDGE, |edge| edge["spec"]["rollout"] = rollout.clone());
        for _ in 0..5 {
            let _ = scene.once(EDGE).await;
        }
        assert_eq!(scene.reason(EDGE, "Injected").1, "RestartNeeded", "{rollout}");
        assert!(!scene.server.writes().iter().any(|write| write.contains("/eviction")), "{rollout}");
    }
}

/// API servers learn by watch what new Pods get: the successor of a Pod that is evicted before that comes as the old one was.
#[tokio::test]
async fn a_pod_is_evicted_for_another_structure_once_every_api_server_knows_it() {
    let scene = running().await;
    scene.server.forget_writes();
    scene.change(EDGE, |edge| {
        edge["spec"]["rollout"] = json!({"strategy": "Evict"});
        edge["spec"]["edm"] = json!({"resources": {"requests": {"cpu": "20m"}}});
    });
    let evictions = || scene.server.writes().into_iter().filter(|write| write.contains("/eviction")).count();
    for _ in 0..10 {
        seconds_later(&scene, 1).await;
        assert_eq!(evictions(), 0);
    }
    for _ in 0..3 {
        seconds_later(&scene, 1).await;
    }
    assert_eq!(evictions(), 1);
}
