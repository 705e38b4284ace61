//! What a user may get wrong is named, and heals.

use std::sync::Arc;

use serde_json::Value;
use tapir_operator::settings::Scope;

use super::scene::*;
use super::secrecy::Log;

/// What is missing or malformed, and what is said of it.
#[rstest::rstest]
#[case::credentials_missing(CREDENTIALS, None, "Enrolled", "CredentialsMissing")]
#[case::credentials_malformed(CREDENTIALS, Some(secret("certainly no JSON")), "Enrolled", "CredentialsInvalid")]
#[case::policy_missing(POLICY, None, "PolicyAccepted", "PolicyNotFound")]
#[case::bundle_missing(BUNDLE, None, "Enrolled", "CaBundleInvalid")]
#[tokio::test]
async fn what_an_edge_names_is_named_when_it_is_bad_and_heals(
    #[case] path: &str,
    #[case] bad: Option<Value>,
    #[case] condition: &str,
    #[case] reason: &str,
) {
    let scene = Scene::new().await;
    let good = scene.server.get(path).unwrap();
    scene.server.destroy(path);
    if let Some(bad) = bad {
        scene.server.put(path, bad);
    }
    scene.check_bad(condition, reason, |scene| scene.server.put(path, good)).await;
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

/// Of two namespaces that are served, one cannot be read: its edges wait, and the others do not.
#[rstest::rstest]
#[case::nothing_of_it("/namespaces/other/")]
#[case::its_secrets("/namespaces/other/secrets")]
#[tokio::test]
async fn a_namespace_that_cannot_be_read_holds_up_its_own_edges_only(#[case] refused: &str) {
    const OTHER: &str = "/apis/dnstapir.se/v1alpha1/namespaces/other/tapiredges/far";
    let mut scene = Scene::new().await;
    let context = Arc::get_mut(&mut scene.context).unwrap();
    Arc::make_mut(&mut context.settings).scope = Scope::Namespaces(vec!["dns".into(), "other".into()]);
    let mut far = edge("far", "2026-11-20T00:00:00Z");
    far["metadata"]["namespace"] = "other".into();
    scene.server.put(OTHER, far);
    scene.server.refuse(Some((refused, 403)));
    let log = Log::default();
    let listening = log.listen();
    scene.settle(EDGE).await;
    assert_eq!(scene.reason(EDGE, "Enrolled").1, "Enrolled");
    // Another one, also without a look at it.
    const SECOND: &str = "/apis/dnstapir.se/v1alpha1/namespaces/dns/tapiredges/second";
    scene.nodeman.add("b.edge.test");
    scene.server.put(&CREDENTIALS.replace("enrol", "second"), secret(&scene.nodeman.credentials("b.edge.test")));
    let mut second = edge("second", "2026-11-21T00:00:00Z");
    second["spec"]["enrollment"]["credentialsSecretRef"]["name"] = "second".into();
    scene.server.put(SECOND, second);
    scene.settle(SECOND).await;
    assert_eq!(scene.reason(SECOND, "Enrolled").1, "Enrolled");
    drop(listening);
    let said: Vec<String> = log.text().lines().filter(|line| line.contains("cannot be looked at")).map(str::to_owned).collect();
    assert!(said.len() == 1 && said[0].contains("WARN") && said[0].contains("other"), "{said:?}");
    let _ = scene.once(OTHER).await;
    assert_eq!(scene.nodeman.answers().iter().filter(|answer| *answer == "enroll 200").count(), 2);
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
