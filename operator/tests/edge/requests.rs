//! What a change costs the API server, until all is silent again.

use std::sync::Arc;

use kube::core::DeserializeGuard;
use serde_json::{Value, json};
use tapir_operator::edge::reconcile;

use super::scene::*;
use super::settled::settled;

/// With one Pod.
const MOST_FOR_A_POLICY: usize = 12;

/// A settled edge whose policy has no lists of its own.
async fn plain() -> Scene {
    let scene = settled().await;
    scene.change(POLICY, |policy| {
        policy["metadata"]["generation"] = 2.into();
        policy["spec"]["sources"] = json!([{"name": "core", "list": "Doubt", "core": {}}]);
    });
    until_silent(&scene).await;
    scene.pop_reports("p", Some(&scene.revision()));
    until_silent(&scene).await;
    scene
}

fn change_policy(scene: &Scene, generation: i32) {
    scene.change(POLICY, |policy| {
        policy["metadata"]["generation"] = generation.into();
        policy["spec"]["mode"] = if generation % 2 == 0 { "Enforce" } else { "Observe" }.into();
    });
}

/// Looks of both controllers, each told by all that was written before, until nothing is asked any more.
async fn until_silent(scene: &Scene) -> Vec<String> {
    let mut asked = Vec::new();
    for _ in 0..10 {
        scene.server.forget_writes();
        scene.look_at_identity(EDGE).await.unwrap();
        scene.once_without_identity(EDGE).await.unwrap();
        if scene.server.requests() == 0 {
            return asked;
        }
        asked.extend(scene.server.asked());
    }
    panic!("never silent: {asked:#?}");
}

#[tokio::test]
async fn a_policy_that_changes_costs_a_dozen_requests_an_edge() {
    let scene = plain().await;
    change_policy(&scene, 3);
    let mut asked = until_silent(&scene).await;
    assert_eq!(scene.reason(EDGE, "PolicyAccepted").0, "Unknown", "POP has not told yet");
    scene.pop_reports("p", Some(&scene.revision()));
    asked.extend(until_silent(&scene).await);
    assert_eq!(scene.reason(EDGE, "PolicyAccepted").0, "True");
    assert!(asked.len() <= MOST_FOR_A_POLICY, "{}: {asked:#?}", asked.len());
    let secrets: Vec<&String> = asked.iter().filter(|asked| asked.contains("/secrets/")).collect();
    assert!(secrets.is_empty(), "a policy concerns no Secret: {secrets:?}");
}

/// The events of what a round wrote come one after the other, and each of them names the edge.
#[tokio::test]
async fn own_writes_cost_nothing_in_whatever_order_they_come_back() {
    let scene = plain().await;
    let before = scene.server.get(EDGE).unwrap();
    change_policy(&scene, 3);
    scene.once_without_identity(EDGE).await.unwrap();
    let look = async |edge: &Value| {
        let edge: DeserializeGuard<_> = serde_json::from_value(edge.clone()).unwrap();
        scene.server.forget_writes();
        reconcile(Arc::new(edge), Arc::clone(&scene.context)).await.unwrap();
        scene.server.asked()
    };
    let after = scene.server.get(EDGE).unwrap();
    assert_ne!(before, after, "a status was written");
    assert_eq!(look(&before).await, [""; 0], "nothing has come back");
    assert_eq!(look(&after).await, [""; 0], "the status has come back");
    scene.watch();
    assert_eq!(look(&before).await, [""; 0], "all but the status has come back");
    assert_eq!(look(&after).await, [""; 0], "all has come back");
    // Somebody puts back what was there before.
    let mut restored = after.clone();
    restored["status"] = before["status"].clone();
    scene.server.put(EDGE, restored);
    assert_ne!(look(&scene.server.get(EDGE).unwrap()).await, [""; 0]);
    assert_eq!(scene.server.get(EDGE).unwrap()["status"]["policy"], after["status"]["policy"]);
}

#[tokio::test]
async fn who_writes_over_a_configuration_meanwhile_is_seen() {
    const MAP: &str = "/api/v1/namespaces/dns/configmaps/stockholm-pop";
    let scene = plain().await;
    change_policy(&scene, 3);
    // Between the operator's last look at it and its write.
    scene.server.intrude(0, MAP, {
        let mut map = scene.server.get(MAP).unwrap();
        map["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "somebody".into();
        map
    });
    scene.once_without_identity(EDGE).await.unwrap();
    assert_eq!(scene.server.get(MAP).unwrap()["metadata"]["labels"]["app.kubernetes.io/managed-by"], "somebody");
    assert_eq!(scene.reason(EDGE, "Injected").1, "NameTaken");
}
