//! `spec.suspend`: nothing but status and finalizers is written, and Core is not asked.

use super::scene::*;
use super::*;

fn suspend(scene: &Scene, suspend: bool) {
    scene.change(EDGE, |edge| {
        edge["spec"]["suspend"] = suspend.into();
        edge["metadata"]["generation"] = (edge["metadata"]["generation"].as_i64().unwrap() + 1).into();
    });
}

/// Writes that are neither status nor finalizers of the edge.
fn other_writes(scene: &Scene) -> Vec<String> {
    scene.server.writes().into_iter().filter(|write| !write.ends_with("/status") && *write != format!("PATCH {EDGE}")).collect()
}

#[tokio::test]
async fn a_new_edge_that_is_suspended_is_left_alone_and_enrols_on_resume() {
    let scene = Scene::new().await;
    suspend(&scene, true);
    for _ in 0..4 {
        scene.once(EDGE).await.unwrap();
    }
    assert_eq!(other_writes(&scene), [""; 0]);
    assert_eq!(scene.nodeman.asked().await, 0);
    assert_eq!(scene.reason(EDGE, "Ready"), ("False".to_owned(), "Suspended".to_owned()));
    suspend(&scene, false);
    scene.settle(EDGE).await;
    assert_eq!(scene.reason(EDGE, "Enrolled").0, "True");
}

#[tokio::test]
async fn what_happens_meanwhile_is_told_and_made_good_on_resume() {
    let scene = Scene::new().await;
    scene.settle(EDGE).await;
    suspend(&scene, true);
    scene.settle(EDGE).await;
    scene.server.forget_writes();
    let asked = scene.nodeman.asked().await;
    let (path, pod) = injected_pod("p");
    scene.server.put(&path, pod);
    scene.server.delete(IDENTITY);
    scene.change(POLICY, |policy| policy["spec"]["mode"] = "Observe".into());
    scene.server.destroy("/api/v1/namespaces/dns/configmaps/stockholm-edm");
    for _ in 0..4 {
        scene.once(EDGE).await.unwrap();
    }
    assert_eq!((other_writes(&scene), scene.nodeman.asked().await), (vec![], asked));
    assert_eq!(scene.server.get(EDGE).unwrap()["status"]["pods"]["matched"], 1);
    assert_eq!(scene.reason(EDGE, "Enrolled").0, "True", "what was known stays");
    assert!(scene.server.get(IDENTITY).is_some(), "its finalizer holds the identity");
    suspend(&scene, false);
    scene.settle(EDGE).await;
    assert!(scene.server.get(IDENTITY).unwrap()["metadata"]["deletionTimestamp"].is_null());
    assert!(scene.server.get("/api/v1/namespaces/dns/configmaps/stockholm-edm").is_some());
    assert_ne!(scene.reason(EDGE, "Ready").1, "Suspended");
}

#[tokio::test]
async fn a_suspended_edge_that_is_deleted_waits_for_its_resume_but_never_for_a_namespace() {
    let scene = Scene::new().await;
    scene.settle(EDGE).await;
    suspend(&scene, true);
    scene.settle(EDGE).await;
    scene.server.delete(EDGE);
    scene.settle(EDGE).await;
    assert_eq!(other_writes(&scene), [""; 0]);
    assert_eq!(scene.server.get(EDGE).unwrap()["metadata"]["finalizers"], json!(["dnstapir.se/offboard"]));
    assert!(scene.condition(EDGE, "Ready")["message"].as_str().unwrap().contains("offboarding waits"));
    scene.change(NAMESPACE, |namespace| namespace["metadata"]["deletionTimestamp"] = "2026-11-22T00:00:00Z".into());
    scene.once(EDGE).await.unwrap();
    assert!(scene.server.get(EDGE).is_none_or(|edge| edge["metadata"]["finalizers"] == json!([])));
}
