//! Pods that were created when nobody injected them: before the edge was rendered, after its status was lost, while no webhook answered.

use tapir_operator::settings::{Bindings, Injection, Webhook};

use super::*;

const P1: &str = "/api/v1/namespaces/dns/pods/p1";
const P2: &str = "/api/v1/namespaces/dns/pods/p2";

/// Two Pods from before the edge, under an operator that injects so.
async fn injecting_by(injection: Injection) -> Scene {
    let mut scene = Scene::new().await;
    let mut context = (*scene.context).clone();
    context.settings = Arc::new(Settings { injection, ..(*context.settings).clone() });
    scene.context = Arc::new(context);
    scene.settle(EDGE).await;
    for name in ["p1", "p2"] {
        let (path, pod) = old_pod(name, "r");
        scene.server.put(&path, pod);
    }
    scene
}

/// What was rendered was rendered then.
fn rendered_at(scene: &Scene, time: &str) {
    scene.change(EDGE, |edge| edge["status"]["injectionSince"] = time.into());
}

fn put_created(scene: &Scene, name: &str, time: &str) {
    let (path, mut pod) = old_pod(name, "r");
    pod["metadata"]["creationTimestamp"] = time.into();
    scene.server.put(&path, pod);
}

fn evicted(scene: &Scene) -> usize {
    scene.server.writes().iter().filter(|write| write.contains("/eviction")).count()
}

#[tokio::test]
async fn where_an_edge_has_no_binding_pods_from_before_it_are_replaced_too() {
    let by_policy = Injection::Policy { name: "inject".into(), bindings: Bindings::Static };
    for injection in [by_policy, Injection::Webhook(Webhook::default())] {
        let scene = injecting_by(injection.clone()).await;
        assert!(scene.server.get(EDGE).unwrap()["status"]["injectionSince"].is_string() && scene.server.get(BINDING).is_none());
        rendered_at(&scene, "2025-06-01T00:00:00Z");
        scene.server.forget_writes();
        scene.once(EDGE).await.unwrap();
        assert_eq!((scene.server.get(P1), evicted(&scene)), (None, 1), "{injection:?}");
    }
}

#[tokio::test]
async fn pods_that_came_while_no_webhook_answered_are_replaced_until_that_is_seen_to_be_useless() {
    let scene = injecting_by(Injection::Webhook(Webhook::default())).await;
    rendered_at(&scene, "2024-06-01T00:00:00Z");
    scene.once(EDGE).await.unwrap();
    assert!(scene.server.get(P1).is_none() && scene.server.get(P2).is_some());
    assert_eq!(scene.reason(EDGE, "Injected").1, "ReplacingPods");
    put_created(&scene, "p3", "2025-01-02T00:00:00Z");
    scene.settle(EDGE).await;
    assert_eq!(scene.reason(EDGE, "Injected").1, "AdmissionSkipped");
    // Nor does an operator that begins try.
    scene.context.evictions.forget(&EdgeKey { namespace: "dns".into(), name: "stockholm".into() });
    scene.hours_pass();
    scene.settle(EDGE).await;
    assert!(scene.server.get(P2).is_some());
    // A person does.
    scene.annotate(EDGE, "dnstapir.se/reconcile-now", "1");
    scene.once(EDGE).await.unwrap();
    assert!(scene.server.get(P2).is_none());
}

/// Its Service leads to a webhook only some seconds after that is there.
#[tokio::test]
async fn an_operator_that_has_just_begun_does_not_replace_what_its_webhook_would_miss_again() {
    let mut scene = injecting_by(Injection::Webhook(Webhook::default())).await;
    rendered_at(&scene, "2024-06-01T00:00:00Z");
    let mut context = (*scene.context).clone();
    context.leading_since = scene.clock.now();
    scene.context = Arc::new(context);
    scene.once(EDGE).await.unwrap();
    assert_eq!(evicted(&scene), 0);
    scene.clock.set(scene.clock.now() + jiff::SignedDuration::from_secs(11));
    scene.once(EDGE).await.unwrap();
    assert_eq!(evicted(&scene), 1);
}

/// A backup that is restored has no status: what is created before it is rendered anew finds nothing to copy, whatever the binding's age.
#[tokio::test]
async fn pods_from_while_the_status_was_lost_came_too_early() {
    let (scene, _) = with_old_pods([]).await;
    for name in ["p1", "p2"] {
        put_created(&scene, name, "2025-07-01T00:00:00Z");
    }
    scene.settle(EDGE).await;
    assert_eq!(scene.reason(EDGE, "Injected").1, "AdmissionSkipped");
    scene.change(EDGE, |edge| drop(edge.as_object_mut().unwrap().remove("status")));
    scene.once(EDGE).await.unwrap();
    let since = scene.server.get(EDGE).unwrap()["status"]["injectionSince"].as_str().unwrap().to_owned();
    assert!(since.as_str() > "2026", "{since}");
    assert!(scene.server.get(P1).is_some(), "no API server may know yet");
    scene.clock.set(scene.clock.now() + jiff::SignedDuration::from_secs(11));
    for _ in 0..3 {
        scene.once(EDGE).await.unwrap();
    }
    assert!(scene.server.get(P1).is_none() && scene.server.get(P2).is_some());
}
