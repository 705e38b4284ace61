//! What an operator leaves that ends in the middle.

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
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

#[tokio::test]
async fn pods_of_an_edge_that_is_gone_are_listed_until_they_are_replaced() {
    const MAP: &str = "/api/v1/namespaces/dns/configmaps/stockholm-edm";
    let scene = Scene::new().await;
    let pods = ["b", "a"].map(|name| {
        let (path, pod) = injected_pod(name);
        scene.server.put(&path, pod);
        path
    });
    scene.settle(EDGE).await;
    scene.server.delete(EDGE);
    scene.once(EDGE).await.unwrap();
    scene.server.destroy(EDGE);
    let text = scene.server.get(MAP).unwrap()["data"].clone();
    let look = async || {
        let map: PartialObjectMeta<ConfigMap> = serde_json::from_value(scene.server.get(MAP).unwrap()).unwrap();
        leftovers::configuration(Arc::new(map), Arc::clone(&scene.context)).await.unwrap()
    };
    let listed = || scene.server.get(MAP).unwrap()["metadata"]["annotations"]["dnstapir.se/pods-left"].clone();
    look().await;
    assert_eq!((listed(), &scene.server.get(MAP).unwrap()["data"]), (json!("2: a b"), &text));
    assert_eq!(scene.server.get(MAP).unwrap()["metadata"]["labels"]["dnstapir.se/offboarded"], "true");
    scene.server.forget_writes();
    look().await;
    assert!(scene.server.writes().is_empty(), "nothing is new: {:?}", scene.server.writes());
    let metric = |count: &str| {
        let told = scene.context.metrics.render();
        told.contains(&format!("tapir_operator_offboarded_pods{{namespace=\"dns\",edge=\"stockholm\"}}{count}"))
    };
    scene.context.metrics.tell_of_edges(&scene.context.cache);
    scene.context.metrics.leads("tapir-operator", true);
    assert!(metric(" 2"));
    scene.server.destroy(&pods[0]);
    look().await;
    assert_eq!(listed(), "1: a");
    assert!(metric(" 1"));
    // A new edge is faster: what it has rendered stays.
    let taken = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "stockholm-edm", "namespace": "dns",
        "labels": {"app.kubernetes.io/managed-by": "tapir-operator", "dnstapir.se/offboarded": "true"}}, "data": {"edm.toml": "new"}});
    let before = scene.server.get(MAP).unwrap();
    scene.change(&pods[1], |pod| pod["metadata"]["name"] = "c".into());
    scene.server.forget_writes();
    scene.server.intrude(0, MAP, taken);
    look().await;
    assert_eq!(scene.server.get(MAP).unwrap()["data"]["edm.toml"], "new");
    scene.server.put(MAP, before);
    let told = scene.events("PodsLeft");
    assert!(told.len() == 1 && told[0].1.contains("2: a b"), "{told:?}");
    scene.server.destroy(&pods[1]);
    look().await;
    assert!(scene.server.get(MAP).is_none());
    assert!(!metric(""), "the last Pod is gone");
}

/// Core may have removed a node by mistake: then this is the last copy of its key.
#[tokio::test]
async fn the_identity_of_a_former_node_stays_even_with_the_policy_delete() {
    const RETIRED: &str = "/api/v1/namespaces/dns/secrets/stockholm-identity-retired-00000000";
    let scene = Scene::new().await;
    scene.settle(EDGE).await;
    let mut retired = scene.server.get(IDENTITY).unwrap();
    retired["metadata"]["name"] = "stockholm-identity-retired-00000000".into();
    retired["metadata"]["finalizers"] = Value::Null;
    scene.server.put(RETIRED, retired);
    scene.change(EDGE, |edge| edge["spec"]["deletionPolicy"] = "Delete".into());
    scene.server.delete(EDGE);
    scene.once(EDGE).await.unwrap();
    assert!(scene.server.get(IDENTITY).is_none() && scene.server.get(RETIRED).is_some());
}
