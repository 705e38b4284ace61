//! What a policy says of itself: who uses it and how its sources are, without writing whenever a count moves.

use super::scene::*;
use super::*;

const TWO: &str = "/apis/dnstapir.se/v1alpha1/namespaces/dns/tapiredges/another";

fn row(state: &str, entries: u64, error: Option<&str>) -> Value {
    json!([{"name": "core", "state": state, "entries": entries, "rejected": 0, "error": error}])
}

async fn with_pops() -> (Scene, String) {
    let scene = Scene::new().await;
    for name in ["p", "q"] {
        let (path, pod) = injected_pod(name);
        scene.server.put(&path, pod);
    }
    scene.settle(EDGE).await;
    let revision = scene.revision();
    (scene, revision)
}

fn sources(scene: &Scene) -> Value {
    scene.server.get(POLICY).unwrap()["status"]["sources"].clone()
}

fn said(truth: &str, reason: &str) -> (String, String) {
    (truth.to_owned(), reason.to_owned())
}

#[tokio::test]
async fn counts_that_move_write_nothing() {
    let (scene, revision) = with_pops().await;
    let report = |entries| ["p", "q"].map(|pod| scene.pop_reports_sources(pod, Some(&revision), &row("Ready", entries, None)));
    report(12_345);
    scene.settle(EDGE).await;
    assert_eq!(scene.policy_ready().await, said("True", "Ready"));
    assert_eq!(sources(&scene)[0]["entries"], 12_000);
    scene.server.forget_writes();
    for entries in (20_000..30_000).step_by(500) {
        report(entries);
        scene.once(EDGE).await.unwrap();
        scene.policy_ready().await;
    }
    assert_eq!(scene.server.writes(), [""; 0]);
}

#[tokio::test]
async fn a_source_that_fails_at_one_pop_is_said_and_heals() {
    let (scene, revision) = with_pops().await;
    scene.pop_reports_sources("p", Some(&revision), &row("Ready", 10, None));
    scene.pop_reports_sources("q", Some(&revision), &row("Failed", 0, Some("this build does not serve kind rpz")));
    scene.settle(EDGE).await;
    assert_eq!(scene.policy_ready().await, said("False", "SourceFailed"));
    let message = scene.condition(POLICY, "Ready")["message"].as_str().unwrap().to_owned();
    assert!(message.contains("source core") && message.contains("Pod q") && message.contains("kind rpz"), "{message}");
    assert_eq!(sources(&scene)[0]["state"], "Failed");
    scene.pop_reports_sources("q", Some(&revision), &row("Stale", 10, Some("the primary does not answer")));
    assert_eq!(scene.policy_ready().await, said("False", "SourceStale"));
    scene.pop_reports_sources("q", Some(&revision), &row("Ready", 10, None));
    assert_eq!(scene.policy_ready().await, said("True", "Ready"));
}

#[tokio::test]
async fn refused_lines_of_a_list_are_shown_by_their_numbers() {
    let (scene, revision) = with_pops().await;
    let refused = json!([{"name": "core", "state": "Ready", "entries": 2, "rejected": 1, "rejectedLines": [{"line": 3, "reason": "is no name"}]}]);
    scene.pop_reports_sources("p", Some(&revision), &refused);
    scene.pop_reports_sources("q", Some(&revision), &refused);
    scene.settle(EDGE).await;
    assert_eq!(scene.policy_ready().await.0, "True", "a list with rubbish is in force");
    let row = &sources(&scene)[0];
    assert_eq!((&row["rejected"], &row["rejectedLines"][0]["line"]), (&json!(1), &json!(3)));
}

#[tokio::test]
async fn who_uses_it_follows_the_edges() {
    let scene = Scene::new().await;
    let used_by = || scene.server.get(POLICY).unwrap()["status"]["usedBy"].clone();
    scene.server.put(TWO, edge("another", "2026-11-21T00:00:01Z"));
    scene.policy_ready().await;
    assert_eq!(used_by(), json!(["another", "stockholm"]));
    let mut other = scene.server.get(TWO).unwrap();
    other["spec"]["pop"]["policyRef"]["name"] = "strict".into();
    scene.server.put(TWO, other);
    scene.policy_ready().await;
    assert_eq!(used_by(), json!(["stockholm"]));
}
