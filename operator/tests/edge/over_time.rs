//! An edge over the years: what is said of its certificate and of its node as time goes by, and what a fleet costs.

use std::time::Duration;

use jiff::Timestamp;

use super::scene::*;
use super::*;

const DAY: Duration = Duration::from_hours(24);

fn start() -> Timestamp {
    "2026-11-21T00:00:00Z".parse().unwrap()
}

impl Scene {
    /// Enrolled on day zero, with a certificate for a hundred days.
    async fn on_day_zero() -> Self {
        let scene = Self::new().await;
        scene.clock.set(start());
        scene.issue_from(0);
        scene.settle(EDGE).await;
        scene
    }

    fn issue_from(&self, day: u32) {
        self.nodeman.issue_for(start() + DAY * day, start() + DAY * (day + 100));
    }

    async fn on_day(&self, day: u32) {
        self.clock.set(start() + DAY * day);
        self.settle(EDGE).await;
    }

    fn certificate(&self) -> Value {
        self.server.get(EDGE).unwrap()["status"]["node"]["certificate"].clone()
    }

    /// Type and note of each Event with this reason.
    pub fn events(&self, reason: &str) -> Vec<(String, String)> {
        let events = self.server.list("/events/");
        let events = events.iter().filter(|event| event["reason"] == reason);
        events.map(|event| (event["type"].as_str().unwrap().to_owned(), event["note"].as_str().unwrap().to_owned())).collect()
    }
}

fn said(truth: &str, reason: &str) -> (String, String) {
    (truth.to_owned(), reason.to_owned())
}

#[tokio::test]
async fn the_status_says_when_a_certificate_is_renewed_and_so_it_is() {
    let scene = Scene::on_day_zero().await;
    let before = scene.certificate();
    let renew_at: Timestamp = before["renewAt"].as_str().unwrap().parse().unwrap();
    assert!(renew_at > start() + DAY * 56 && renew_at <= start() + DAY * 66 && renew_at.subsec_nanosecond() == 0, "{before}");
    scene.clock.set(renew_at - Duration::from_secs(1));
    scene.settle(EDGE).await;
    assert_eq!(scene.certificate(), before);
    scene.issue_from(56);
    scene.clock.set(renew_at);
    scene.settle(EDGE).await;
    assert_ne!(scene.certificate()["serial"], before["serial"]);
    assert_eq!(scene.reason(EDGE, "CertificateValid"), said("True", "Valid"));
    assert_eq!(scene.nodeman.answers(), ["enroll 200", "renew 200", "configuration 200"]);
    assert_eq!(scene.events("CertificateRenewed")[0].0, "Normal");
}

#[tokio::test]
async fn a_renewal_that_fails_is_said_with_its_date_and_heals_also_after_the_end() {
    let scene = Scene::on_day_zero().await;
    scene.nodeman.fault(Some((503, "busy")));
    scene.on_day(70).await;
    let condition = scene.condition(EDGE, "CertificateValid");
    assert_eq!((condition["status"].as_str(), condition["reason"].as_str()), (Some("True"), Some("Valid")));
    assert!(condition["message"].as_str().unwrap().contains("renewal failed"), "{condition}");
    assert!(scene.events("RenewalOverdue").is_empty());

    scene.on_day(86).await;
    assert_eq!(scene.reason(EDGE, "CertificateValid"), said("True", "RenewalOverdue"));
    let warnings = scene.events("RenewalOverdue");
    assert_eq!((warnings.len(), warnings[0].0.as_str()), (1, "Warning"));
    assert!(warnings[0].1.contains("2027-03-01"), "{warnings:?}");
    assert_eq!(scene.reason(EDGE, "Enrolled"), said("True", "Enrolled"), "silence takes nothing back");

    scene.on_day(101).await;
    assert_eq!(scene.reason(EDGE, "CertificateValid"), said("False", "Expired"));
    scene.nodeman.fault(None);
    scene.issue_from(101);
    scene.look_again(EDGE).await;
    assert_eq!(scene.reason(EDGE, "CertificateValid"), said("True", "Valid"));

    scene.clock.set(start() - DAY);
    scene.settle(EDGE).await;
    assert_eq!(scene.reason(EDGE, "CertificateValid"), said("False", "NotYetValid"));
}

#[tokio::test]
async fn core_is_not_asked_again_at_once_when_a_renewal_fails() {
    let scene = Scene::on_day_zero().await;
    scene.nodeman.fault(Some((503, "busy")));
    scene.nodeman.forget_answers();
    for _ in 0..10 {
        scene.on_day(70).await;
    }
    assert_eq!(scene.nodeman.answers(), ["renew 503"]);
}

#[tokio::test]
async fn a_node_that_core_removed_is_said_and_a_core_that_was_restored_heals_it() {
    let scene = Scene::on_day_zero().await;
    scene.nodeman.remove(NODE);
    scene.look_again(EDGE).await;
    assert_eq!(scene.reason(EDGE, "Enrolled"), said("False", "NodeRemoved"));
    assert_eq!(scene.reason(EDGE, "CertificateValid"), said("True", "Valid"));
    scene.nodeman.restore(NODE);
    scene.look_again(EDGE).await;
    assert_eq!(scene.reason(EDGE, "Enrolled"), said("True", "Enrolled"));
}

#[tokio::test]
async fn an_edge_whose_node_was_removed_becomes_the_one_of_new_credentials() {
    const OTHER: &str = "b.edge.test";
    let scene = Scene::on_day_zero().await;
    scene.nodeman.add(OTHER);
    scene.server.put(CREDENTIALS, secret(&scene.nodeman.credentials(OTHER)));
    scene.settle(EDGE).await;
    assert_eq!(scene.server.get(EDGE).unwrap()["status"]["node"]["name"], NODE, "not while its own is known");
    scene.nodeman.remove(NODE);
    scene.look_again(EDGE).await;
    let edge = scene.server.get(EDGE).unwrap();
    assert_eq!(
        (&edge["status"]["node"]["name"], &edge["metadata"]["annotations"]["dnstapir.se/node"]),
        (&json!(OTHER), &json!(OTHER))
    );
    assert_eq!(scene.reason(EDGE, "Enrolled"), said("True", "Enrolled"));
    assert_eq!(scene.events("IdentityReplaced").len(), 1);
}

#[tokio::test]
async fn a_withdrawn_key_is_distrusted_with_the_next_look_and_pods_hear_of_it() {
    let scene = Scene::on_day_zero().await;
    let (path, pod) = injected_pod("p");
    scene.server.put(&path, pod);
    scene.settle(EDGE).await;
    let touched = || scene.server.get(&path).unwrap()["metadata"]["annotations"]["dnstapir.se/config-revision"].clone();
    let before = touched();
    scene.nodeman.trust(&[]);
    scene.look_again(EDGE).await;
    assert_ne!(touched(), before);
    let warnings = scene.events("TrustedKeysEmpty");
    assert_eq!((warnings.len(), warnings[0].0.as_str()), (1, "Warning"));
}

#[tokio::test]
async fn asking_for_a_new_certificate_by_annotation_works_once() {
    let scene = Scene::on_day_zero().await;
    let before = scene.certificate()["serial"].clone();
    scene.annotate(EDGE, "dnstapir.se/renew-now", "today");
    scene.settle(EDGE).await;
    assert_ne!(scene.certificate()["serial"], before);
    scene.settle(EDGE).await;
    assert_eq!(scene.nodeman.answers(), ["enroll 200", "renew 200", "configuration 200"]);
}

#[tokio::test]
async fn core_hears_nothing_of_an_edge_that_is_suspended() {
    let scene = Scene::new().await;
    let suspend = |suspended: bool| {
        let mut edge = scene.server.get(EDGE).unwrap();
        edge["spec"]["suspend"] = suspended.into();
        scene.server.put(EDGE, edge);
    };
    suspend(true);
    for _ in 0..3 {
        scene.look_at_identity(EDGE).await.unwrap();
    }
    assert_eq!(scene.nodeman.answers(), [""; 0]);
    assert!(!scene.server.writes().iter().any(|write| write.contains("/secrets")));
    suspend(false);
    scene.settle(EDGE).await;
    assert_eq!(scene.reason(EDGE, "Enrolled"), said("True", "Enrolled"));
    // And what is due waits, even a deleted identity: its finalizer holds it.
    suspend(true);
    scene.server.delete(IDENTITY);
    scene.annotate(EDGE, "dnstapir.se/renew-now", "now");
    scene.server.forget_writes();
    scene.look_at_identity(EDGE).await.unwrap();
    assert_eq!(scene.server.writes(), [""; 0]);
    suspend(false);
    scene.settle(EDGE).await;
    assert!(scene.server.get(IDENTITY).unwrap()["metadata"]["deletionTimestamp"].is_null());
    assert_eq!(scene.nodeman.answers(), ["enroll 200", "renew 200", "configuration 200"]);
}

/// Each new edge has to know that no other one wants its node: for a fleet that comes at once this must not grow with the square.
#[tokio::test]
async fn what_new_edges_cost_grows_with_their_number() {
    const EDGES: usize = 24;
    let scene = Scene::new().await;
    scene.server.destroy(EDGE);
    let paths: Vec<String> = (0..EDGES)
        .map(|number| {
            let (name, node) = (format!("edge-{number}"), format!("n{number}.edge.test"));
            let mut edge = edge(&name, "2026-11-21T00:00:00Z");
            edge["spec"]["enrollment"]["credentialsSecretRef"]["name"] = name.as_str().into();
            edge["metadata"]["finalizers"] = json!(["dnstapir.se/offboard"]);
            let path = EDGE.replace("stockholm", &name);
            scene.server.put(&path, edge);
            scene.server.put(&format!("/api/v1/namespaces/dns/secrets/{name}"), secret(&scene.nodeman.credentials(&node)));
            scene.nodeman.add(&node);
            path
        })
        .collect();
    for path in &paths {
        scene.look_at_identity(path).await.unwrap();
    }
    let reads = scene.server.reads();
    let lists = reads.iter().filter(|read| read.ends_with("/tapiredges")).count();
    let credentials =
        reads.iter().filter(|read| read.contains("/secrets/edge-") && !read.contains("identity") && !read.contains("pending"));
    assert_eq!((lists, credentials.count()), (1, 2 * EDGES));
}

/// The identifier leads from the Event to the sidecar's log.
#[tokio::test]
async fn what_happened_at_a_sidecar_is_told_once() {
    let scene = Scene::new().await;
    let (path, pod) = injected_pod("p");
    scene.server.put(&path, pod);
    scene.settle(EDGE).await;
    let happened = |id: &str, second: i64| {
        let time = jiff::Timestamp::from_second(second).unwrap();
        scene.pop_tells("p", &json!([{"id": id, "time": time, "component": "rpz", "message": "no room"}]));
    };
    happened("before", -1);
    scene.once(EDGE).await.unwrap();
    assert!(scene.events("SidecarTrouble").is_empty());
    happened("first", 1);
    happened("first", 1);
    scene.once(EDGE).await.unwrap();
    let told = scene.events("SidecarTrouble");
    assert!(told.len() == 1 && told[0].0 == "Warning" && told[0].1.contains("Pod p: rpz: no room (event first)"), "{told:?}");
    scene.settle(EDGE).await;
    assert_eq!(scene.events("SidecarTrouble").len(), 1);
}
