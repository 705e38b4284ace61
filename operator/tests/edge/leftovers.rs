//! What an operator leaves that ends in the middle.

use k8s_openapi::api::core::v1::Pod;
use kube::core::PartialObjectMeta;

use super::*;

const PULL: &str = "/api/v1/namespaces/dns/pods/tapir-pull-0123456789abcdef";

async fn look(scene: &Scene) -> Action {
    let pod: PartialObjectMeta<Pod> = serde_json::from_value(scene.server.get(PULL).unwrap()).unwrap();
    leftovers::pull(Arc::new(pod), Arc::clone(&scene.context)).await.unwrap()
}

fn put_pull(scene: &Scene, age: i64) {
    let created = scene.clock.now() - jiff::SignedDuration::from_secs(age);
    scene.server.put(
        PULL,
        json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "tapir-pull-0123456789abcdef", "namespace": "dns",
            "creationTimestamp": created.to_string(),
            "labels": {"dnstapir.se/pull-for": "stockholm", "app.kubernetes.io/managed-by": "tapir-operator"}}}),
    );
}

#[tokio::test]
async fn a_pod_that_pulled_for_a_rollout_goes_once_nothing_is_rolled() {
    let scene = Scene::new().await;
    scene.settle(EDGE).await;
    let rolls = |phase: &str| scene.change(EDGE, |edge| edge["status"]["rollout"]["phase"] = phase.into());
    rolls("Rolling");
    put_pull(&scene, 3600);
    assert_ne!(look(&scene).await, Action::await_change());
    rolls("Current");
    assert!(scene.server.get(PULL).is_some(), "its rollout waits for it");
    assert_eq!(look(&scene).await, Action::await_change());
    assert!(scene.server.get(PULL).is_none());
    // Its rollout is about to be written down.
    put_pull(&scene, 3);
    assert_ne!(look(&scene).await, Action::await_change());
    assert!(scene.server.get(PULL).is_some());
    scene.server.destroy(EDGE);
    put_pull(&scene, 3600);
    look(&scene).await;
    assert!(scene.server.get(PULL).is_none(), "its edge is gone");
}
