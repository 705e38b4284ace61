//! Edges, identities and namespaces that go.

use super::scene::*;
use super::secrecy::Log;
use super::*;

#[tokio::test]
async fn deleting_an_edge_disables_its_sidecars_and_keeps_its_identity() {
    let scene = Scene::new().await;
    scene.settle(EDGE).await;
    let identity = scene.server.get("/api/v1/namespaces/dns/secrets/stockholm-identity").unwrap()["data"].clone();
    scene.server.delete(EDGE);
    scene.once(EDGE).await.unwrap();
    let edge = scene.server.get(EDGE);
    // A merge patch that empties the finalizers ends the object; this server leaves that to the next look.
    assert!(edge.is_none_or(|edge| edge["metadata"]["finalizers"] == json!([])));
    assert!(scene.server.get(BINDING).is_none());
    let map = scene.server.get("/api/v1/namespaces/dns/configmaps/stockholm-edm").unwrap();
    assert!(map["data"]["edm.toml"].as_str().unwrap().contains("disabled = true"), "{map}");
    assert_eq!(map["metadata"]["labels"]["dnstapir.se/offboarded"], "true");
    assert_eq!(scene.server.get("/api/v1/namespaces/dns/secrets/stockholm-identity").unwrap()["data"], identity);
}

/// The garbage collector, or a person, is faster than the operator.
#[tokio::test]
async fn sidecars_are_disabled_also_when_their_configuration_vanished_first() {
    let maps = ["edm", "pop"].map(|sidecar| format!("/api/v1/namespaces/dns/configmaps/stockholm-{sidecar}"));
    for without_status in [false, true] {
        let scene = Scene::new().await;
        scene.settle(EDGE).await;
        for map in &maps {
            assert_eq!(scene.server.get(map).unwrap()["metadata"]["ownerReferences"], Value::Null);
            scene.server.destroy(map);
        }
        if without_status {
            let (path, mut pod) = pod("p", "unbound");
            pod["spec"] =
                json!({"containers": [{"name": "unbound"}, {"name": "tapir-edm"}], "volumes": [{"name": "tapir-no-token"}]});
            scene.server.put(&path, pod);
            let mut edge = scene.server.get(EDGE).unwrap();
            edge["status"] = json!({});
            scene.server.put(EDGE, edge);
        }
        scene.server.delete(EDGE);
        scene.once(EDGE).await.unwrap();
        for (map, disabled) in maps.iter().zip(["disabled = true", "disabled: true"]) {
            let map = scene.server.get(map).unwrap();
            assert!(map["data"].to_string().contains(disabled), "{map}");
            assert_eq!(map["metadata"]["labels"]["dnstapir.se/offboarded"], "true");
        }
    }
}

#[tokio::test]
async fn pods_that_cannot_be_touched_or_listed_do_not_keep_an_edge_from_going() {
    for refused in ["PATCH /api/v1/namespaces/dns/pods/", "GET /api/v1/namespaces/dns/pods"] {
        let scene = Scene::new().await;
        let (path, pod) = injected_pod("p");
        scene.server.put(&path, pod);
        scene.settle(EDGE).await;
        scene.server.delete(EDGE);
        scene.server.refuse(Some((refused, 403)));
        scene.once(EDGE).await.unwrap();
        let edge = scene.server.get(EDGE);
        assert!(edge.is_none_or(|edge| edge["metadata"]["finalizers"] == json!([])), "{refused}");
        let map = scene.server.get("/api/v1/namespaces/dns/configmaps/stockholm-pop").unwrap();
        assert!(map["data"].to_string().contains("disabled: true"), "{map}");
    }
}

#[tokio::test]
async fn an_edge_that_cannot_go_says_why() {
    for (refused, reason) in
        [("DELETE /apis/admissionregistration", "OffboardFailed"), ("PATCH /api/v1/namespaces/dns/configmaps", "ApplyFailed")]
    {
        let scene = Scene::new().await;
        scene.settle(EDGE).await;
        scene.server.delete(EDGE);
        scene.settle_refused(refused, 403).await;
        assert_eq!(scene.reason(EDGE, "Ready"), ("False".to_owned(), reason.to_owned()));
        assert_eq!(scene.reason(EDGE, "Enrolled").0, "True", "what was known stays");
        scene.server.refuse(None);
        scene.once(EDGE).await.unwrap();
        assert!(scene.server.get(EDGE).is_none_or(|edge| edge["metadata"]["finalizers"] == json!([])));
    }
}

/// Deletes the identity and puts a copy with another key beside it.
fn conflict(scene: &Scene) {
    scene.server.delete(IDENTITY);
    let mut other = scene.server.get(IDENTITY).unwrap();
    other["metadata"] = json!({"name": "stockholm-identity-rescue", "namespace": "dns", "labels": other["metadata"]["labels"]});
    let key = tapir_wire::jwk::DataKey::generate(&"b.edge.test".parse().unwrap()).unwrap();
    other["data"]["datakey.jwk"] = BASE64_STANDARD.encode(key.to_jwk().as_bytes()).into();
    scene.server.put(RESCUE, other);
}

#[tokio::test]
async fn an_edge_stays_and_says_why_while_two_keys_stand_in_each_other_s_way() {
    let scene = Scene::new().await;
    scene.settle(EDGE).await;
    conflict(&scene);
    scene.server.delete(EDGE);
    assert!(scene.once(EDGE).await.is_err());
    assert_eq!(scene.server.get(EDGE).unwrap()["metadata"]["finalizers"], json!(["dnstapir.se/offboard"]));
    assert_eq!(scene.reason(EDGE, "Ready"), ("False".to_owned(), "RescueConflict".to_owned()));
    scene.server.destroy(RESCUE);
    scene.once(EDGE).await.unwrap();
    assert!(scene.server.get(EDGE).is_none_or(|edge| edge["metadata"]["finalizers"] == json!([])));
    let identity = scene.server.get(IDENTITY).unwrap();
    assert!(identity["metadata"]["deletionTimestamp"].is_null() && scene.server.get(RESCUE).is_none());
}

#[tokio::test]
async fn a_deleted_identity_of_no_edge_goes_only_alone() {
    let scene = Scene::new().await;
    scene.settle(EDGE).await;
    conflict(&scene);
    let look = async || {
        let secret = serde_json::from_value(scene.server.get(IDENTITY).unwrap()).unwrap();
        leftovers::identity(Arc::new(secret), Arc::clone(&scene.context)).await.unwrap()
    };
    assert_ne!(look().await, Action::await_change(), "nobody looks again once the edge is gone");
    scene.server.destroy(EDGE);
    let log = Log::default();
    let listening = log.listen();
    let said = || log.text().matches("ERROR").count();
    for _ in 0..3 {
        assert_ne!(look().await, Action::await_change());
        assert_eq!(said(), 1, "once, however often it is looked at");
    }
    assert!(log.text().contains("delete that copy to let the identity go"), "{}", log.text());
    scene.change(RESCUE, |copy| copy["metadata"]["labels"]["theirs"] = "1".into());
    look().await;
    assert_eq!(said(), 2, "somebody did something about it, and it is as before");
    drop(listening);
    assert!(scene.server.get(IDENTITY).is_some(), "released beside a copy that is none");
    scene.server.destroy(RESCUE);
    assert_eq!(look().await, Action::await_change());
    assert!(scene.server.get(IDENTITY).is_none());
}

#[tokio::test]
async fn an_identity_that_its_edge_left_holds_nothing_up_and_is_protected_again_when_the_edge_is_back() {
    let scene = Scene::new().await;
    scene.settle(EDGE).await;
    let before = scene.server.get(IDENTITY).unwrap();
    assert_eq!(before["metadata"]["finalizers"], json!(["dnstapir.se/identity"]));
    scene.server.delete(EDGE);
    scene.once(EDGE).await.unwrap();
    let left = scene.server.get(IDENTITY).unwrap();
    assert!(left["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty), "{}", left["metadata"]);
    assert_eq!(left["data"], before["data"]);
    scene.server.destroy(EDGE);
    scene.server.put(EDGE, edge("stockholm", "2026-11-22T00:00:00Z"));
    scene.settle(EDGE).await;
    let adopted = scene.server.get(IDENTITY).unwrap();
    assert_eq!((&adopted["metadata"]["finalizers"], &adopted["data"]), (&json!(["dnstapir.se/identity"]), &before["data"]));
}

/// The operator's rights there, and its own Pod, may be gone before the edge is deleted.
#[tokio::test]
async fn in_a_namespace_that_is_being_deleted_an_edge_is_let_go_before_it_is_deleted_itself() {
    let scene = Scene::new().await;
    scene.settle(EDGE).await;
    let mut namespace = scene.server.get(NAMESPACE).unwrap();
    namespace["metadata"]["deletionTimestamp"] = "2026-11-22T00:00:00Z".into();
    scene.server.put(NAMESPACE, namespace);
    scene.settle(EDGE).await;
    let edge = scene.server.get(EDGE).unwrap();
    assert!(edge["metadata"]["deletionTimestamp"].is_null());
    for object in [&edge, &scene.server.get(IDENTITY).unwrap()] {
        assert!(object["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty), "{}", object["metadata"]);
    }
    assert!(scene.server.get(BINDING).is_none());
}

/// The other controller, or a person, writes between a look and what follows from it. That is nobody's trouble.
#[tokio::test]
async fn a_write_in_between_makes_the_finalizer_wait_for_another_look() {
    let scene = Scene::new().await;
    for going in [false, true] {
        if going {
            scene.settle(EDGE).await;
            scene.server.delete(EDGE);
        }
        let before = scene.server.get(EDGE).unwrap()["metadata"]["finalizers"].clone();
        scene.server.refuse(Some((&format!("PATCH {EDGE}"), 409)));
        scene.once(EDGE).await.unwrap();
        assert_eq!(scene.server.get(EDGE).unwrap()["metadata"]["finalizers"], before);
        scene.server.refuse(None);
        scene.once(EDGE).await.unwrap();
        assert_ne!(scene.server.get(EDGE).map(|edge| edge["metadata"]["finalizers"].clone()), Some(before));
    }
}
