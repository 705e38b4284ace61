//! What the API server refuses is said, and the rest of the round goes on.

use super::scene::*;

#[tokio::test]
async fn what_the_api_server_refuses_is_said_with_its_own_words() {
    for (what, kind, reason) in [
        ("PATCH /api/v1/namespaces/dns/configmaps/stockholm-edm", "Injected", "ApplyFailed"),
        ("PATCH /api/v1/namespaces/dns/configmaps/stockholm-pop", "PolicyAccepted", "ApplyFailed"),
        ("PATCH /apis/admissionregistration.k8s.io", "Injected", "ApplyFailed"),
        ("PATCH /api/v1/namespaces/dns/pods/", "Ready", "TouchFailed"),
        ("GET /api/v1/namespaces/dns/configmaps/core-ca", "Ready", "ReadFailed"),
        ("POST /api/v1/namespaces/dns/secrets", "Enrolled", "IdentityUnreachable"),
    ] {
        for code in [403, 500] {
            let scene = Scene::new().await;
            let (path, pod) = injected_pod("p");
            scene.server.put(&path, pod);
            scene.settle_refused(what, code).await;
            assert_eq!(scene.reason(EDGE, kind), ("False".to_owned(), reason.to_owned()), "{what}");
            assert!(scene.condition(EDGE, kind)["message"].as_str().unwrap().contains(&format!("refused by rule {what}")));
            assert_eq!(scene.reason(EDGE, "Ready").0, "False", "{what}");
            if kind != "Enrolled" && reason != "ReadFailed" {
                assert_eq!(scene.reason(EDGE, "Enrolled").0, "True", "{what}: everything else goes on");
            }
            scene.server.refuse(None);
            scene.settle(EDGE).await;
            assert_ne!(scene.reason(EDGE, kind).1, reason, "{what}: does not heal");
        }
    }
}

#[tokio::test]
async fn pods_that_cannot_be_listed_or_evicted_do_not_silence_the_rest() {
    let (scene, _) = with_old_pods(["r", "r"]).await;
    scene.settle_refused("/eviction", 500).await;
    assert_eq!(scene.reason(EDGE, "Injected"), ("False".to_owned(), "EvictionFailed".to_owned()));
    let scene = Scene::new().await;
    let (path, pod) = injected_pod("p");
    scene.server.put(&path, pod);
    scene.settle_refused("GET /api/v1/namespaces/dns/pods", 403).await;
    assert_eq!(scene.reason(EDGE, "Injected"), ("Unknown".to_owned(), "ReadFailed".to_owned()));
    assert_eq!(scene.reason(EDGE, "Enrolled").0, "True");
    assert!(scene.server.get(EDGE).unwrap()["status"]["injection"].is_object());
}

/// nodeman answered, and the answer cannot be stored: asking again at once would not help.
#[tokio::test]
async fn an_identity_that_cannot_be_stored_does_not_make_a_busy_loop_at_core() {
    let scene = Scene::new().await;
    scene.once(EDGE).await.unwrap();
    let pending = "/api/v1/namespaces/dns/secrets/stockholm-pending";
    scene.nodeman.fault(Some((503, "busy")));
    scene.once(EDGE).await.unwrap();
    assert!(scene.server.get(pending).is_some());
    scene.nodeman.fault(None);
    // The keys are stored, the identity cannot be.
    scene.server.refuse(Some(("POST /api/v1/namespaces/dns/secrets", 403)));
    let begun = std::time::Instant::now();
    while scene.reason(EDGE, "Enrolled").1 != "IdentityUnreachable" {
        let _ = scene.once(EDGE).await;
    }
    for _ in 0..20 {
        let _ = scene.once(EDGE).await;
    }
    let most = 3 * (1 + begun.elapsed().as_millis() / 500);
    assert_eq!(scene.reason(EDGE, "Enrolled"), ("False".to_owned(), "IdentityUnreachable".to_owned()));
    assert!(scene.nodeman.answers().len() as u128 <= most, "{:?}", scene.nodeman.answers());
}

#[tokio::test]
async fn secrets_out_of_reach_leave_an_enrolled_edge_enrolled_as_far_as_known() {
    let scene = Scene::new().await;
    scene.settle(EDGE).await;
    scene.settle_refused("/secrets/stockholm-identity", 500).await;
    assert_eq!(scene.reason(EDGE, "Enrolled"), ("Unknown".to_owned(), "IdentityUnreachable".to_owned()));
    assert_eq!(scene.reason(EDGE, "CertificateValid"), ("Unknown".to_owned(), "IdentityUnreachable".to_owned()));
    assert_eq!(scene.server.get(EDGE).unwrap()["status"]["node"]["name"], NODE);
}
