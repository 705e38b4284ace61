//! What a user may get wrong is named, and heals.

use super::scene::*;

#[tokio::test]
async fn missing_credentials_heal() {
    let scene = Scene::new().await;
    scene.server.destroy(CREDENTIALS);
    let text = scene.nodeman.credentials(NODE);
    scene.check_bad("Enrolled", "CredentialsMissing", |scene| scene.server.put(CREDENTIALS, secret(&text))).await;
}

#[tokio::test]
async fn malformed_credentials_heal() {
    let scene = Scene::new().await;
    scene.server.put(CREDENTIALS, secret("certainly no JSON"));
    let text = scene.nodeman.credentials(NODE);
    scene.check_bad("Enrolled", "CredentialsInvalid", |scene| scene.server.put(CREDENTIALS, secret(&text))).await;
}

#[tokio::test]
async fn a_missing_policy_heals() {
    let scene = Scene::new().await;
    let policy = scene.server.get(POLICY).unwrap();
    scene.server.destroy(POLICY);
    scene.check_bad("PolicyAccepted", "PolicyNotFound", |scene| scene.server.put(POLICY, policy)).await;
}

#[tokio::test]
async fn a_missing_bundle_heals() {
    let scene = Scene::new().await;
    let bundle = scene.server.get(BUNDLE).unwrap();
    scene.server.destroy(BUNDLE);
    scene.check_bad("Enrolled", "CaBundleInvalid", |scene| scene.server.put(BUNDLE, bundle)).await;
}

#[tokio::test]
async fn a_pod_without_the_resolver_s_container_is_named() {
    let scene = Scene::new().await;
    let (path, pod) = pod("p", "named");
    scene.server.put(&path, pod);
    scene.settle(EDGE).await;
    assert_eq!(scene.reason(EDGE, "Injected"), ("False".to_owned(), "ResolverContainerMissing".to_owned()));
}

#[tokio::test]
async fn of_two_edges_with_the_same_credentials_the_older_one_is_the_node() {
    const SECOND: &str = "/apis/dnstapir.se/v1alpha1/namespaces/dns/tapiredges/another";
    let scene = Scene::new().await;
    scene.server.put(SECOND, edge("another", "2026-11-21T00:00:01Z"));
    // The younger one comes to its reconcile first.
    scene.settle(SECOND).await;
    scene.settle(EDGE).await;
    assert_eq!(scene.reason(SECOND, "Enrolled").1, "CredentialsShared");
    assert_eq!(scene.reason(EDGE, "Enrolled").1, "Enrolled");
    assert_eq!(scene.nodeman.answers(), ["enroll 200"]);
}

/// Whatever blocked it: no pause of an earlier round is waited out.
#[tokio::test]
async fn what_stood_in_the_way_of_an_enrolment_is_over_with_its_cause() {
    const SECOND: &str = "/apis/dnstapir.se/v1alpha1/namespaces/dns/tapiredges/another";
    let scene = Scene::new().await;
    scene.server.put(SECOND, edge("another", "2026-11-21T00:00:01Z"));
    scene.settle(SECOND).await;
    assert_eq!(scene.reason(SECOND, "Enrolled").1, "CredentialsShared");
    scene.server.destroy(EDGE);
    scene.settle(SECOND).await;
    assert_eq!(scene.reason(SECOND, "Enrolled").1, "Enrolled");

    let scene = Scene::new().await;
    scene.server.put(CREDENTIALS, secret(&scene.nodeman.credentials("b.edge.test")));
    scene.settle(EDGE).await;
    assert_eq!(scene.reason(EDGE, "Enrolled").1, "NodemanRefused");
    scene.server.put(CREDENTIALS, secret(&scene.nodeman.credentials(NODE)));
    scene.settle(EDGE).await;
    assert_eq!(scene.reason(EDGE, "Enrolled").1, "CredentialsChanged");
    scene.server.delete("/api/v1/namespaces/dns/secrets/stockholm-pending");
    scene.settle(EDGE).await;
    assert_eq!(scene.reason(EDGE, "Enrolled").1, "Enrolled");
}

#[tokio::test]
async fn core_is_asked_again_only_after_a_pause_whatever_happens_meanwhile() {
    for (fault, reason) in [
        ((503, "busy"), "NodemanUnreachable"),
        ((200, "<html>"), "NodemanNonsense"),
        ((404, r#"{"detail":"Not Found"}"#), "NodemanRefused"),
    ] {
        let scene = Scene::new().await;
        scene.nodeman.fault(Some(fault));
        let begun = std::time::Instant::now();
        for _ in 0..20 {
            scene.once(EDGE).await.unwrap();
        }
        // One, and on a machine so slow that the first pause of at least half a second ends meanwhile, another.
        let most = 1 + begun.elapsed().as_millis() / 500;
        assert_eq!(scene.reason(EDGE, "Enrolled"), ("False".to_owned(), reason.to_owned()));
        assert!(scene.nodeman.answers().len() as u128 <= most, "{reason}: a busy loop: {:?}", scene.nodeman.answers());
    }
}
