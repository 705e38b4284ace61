//! Whole reconciles of an edge against an API server in memory: what converges, what is said about bad input, and that silence follows.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub, dead_code)]

#[path = "edge/bad_input.rs"]
mod bad_input;
#[path = "edge/edm_path.rs"]
mod edm_path;
#[path = "edge/going.rs"]
mod going;
#[path = "edge/leftovers.rs"]
mod leftover;
#[path = "edge/missed.rs"]
mod missed;
#[path = "edge/native.rs"]
mod native;
#[path = "edge/over_time.rs"]
mod over_time;
#[path = "edge/policy_path.rs"]
mod policy_path;
#[path = "edge/policy_status.rs"]
mod policy_status;
#[path = "edge/refused.rs"]
mod refused;
#[path = "edge/requests.rs"]
mod requests;
#[path = "edge/rolling.rs"]
mod rolling;
#[path = "edge/scene.rs"]
mod scene;
#[path = "edge/secrecy.rs"]
mod secrecy;
#[path = "edge/settled.rs"]
mod settled;
mod support;
#[path = "edge/suspended.rs"]
mod suspended;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use scene::*;
use serde_json::{Value, json};
use std::sync::Arc;
use support::api::Server;
use support::nodeman::Nodeman;
use tapir_operator::apply::Memory;
use tapir_operator::cache::Cache;
use tapir_operator::edge::{Context, EdgeError, Evictions, Settled, Touches, reconcile};
use tapir_operator::identity::attempts::Attempts;
use tapir_operator::identity::board::IdentityBoard;
use tapir_operator::identity::keeper::Keeper;
use tapir_operator::identity::{self, IdentityError};
use tapir_operator::leader::Leadership;
use tapir_operator::leftovers;
use tapir_operator::policy::Counts;
use tapir_operator::rollout::{Answers, Rollouts};
use tapir_operator::settings::{Scope, Settings};
use tapir_operator::sidecars::{Board, Component, EdgeKey, Heard, Sources, Target};
use tapir_operator::telemetry::events::Events;
use tapir_operator::telemetry::metrics::Metrics;
use tapir_plan::clock::{Clock, Fixed};

#[tokio::test]
async fn a_new_edge_converges_and_then_writes_nothing() {
    let scene = Scene::new().await;
    scene.settle(EDGE).await;
    assert_eq!(scene.reason(EDGE, "Enrolled").0, "True");
    assert_eq!(scene.reason(EDGE, "CertificateValid").0, "True");
    assert_eq!(scene.reason(EDGE, "PolicyAccepted").0, "True");
    assert_eq!(scene.reason(EDGE, "Injected"), ("False".to_owned(), "NoPods".to_owned()));
    assert!(scene.server.get(BINDING).is_some());
    let edge = scene.server.get(EDGE).unwrap();
    assert_eq!((&edge["status"]["node"]["name"], &edge["status"]["observedGeneration"]), (&json!(NODE), &json!(1)));
    scene.once(EDGE).await.unwrap();
    assert_eq!(scene.server.writes(), [""; 0]);
    assert_eq!(scene.nodeman.answers(), ["enroll 200"]);
}

#[tokio::test]
async fn the_binding_waits_for_the_injection() {
    let scene = Scene::new().await;
    scene.once(EDGE).await.unwrap();
    scene.once(EDGE).await.unwrap();
    assert!(scene.server.get(EDGE).unwrap()["status"]["injection"].is_object() && scene.server.get(BINDING).is_none());
    scene.once(EDGE).await.unwrap();
    assert!(scene.server.get(BINDING).is_some());
}

#[tokio::test]
async fn a_pod_from_before_the_edge_is_evicted_beside_its_replica() {
    let (scene, pods) = with_old_pods(["r", "r"]).await;
    scene.once(EDGE).await.unwrap();
    assert_eq!(pods.map(|pod| scene.server.get(&pod).is_some()), [false, true]);
    let told = scene.events("PodEvicted");
    assert!(told.len() == 1 && told[0].1.contains("p1"), "{told:?}");
    let (scene, pods) = with_old_pods(["r", "another"]).await;
    scene.settle(EDGE).await;
    assert_eq!(pods.map(|pod| scene.server.get(&pod).is_some()), [true, true]);
    assert_eq!(scene.reason(EDGE, "Injected").1, "RestartNeeded");
}

#[tokio::test]
async fn a_replica_that_fails_meanwhile_stops_the_eviction() {
    let (scene, pods) = with_old_pods(["r", "r"]).await;
    let mut failed = scene.server.get(&pods[1]).unwrap();
    failed["status"] = json!({});
    // While the identity is brought back, the other Pod stops answering.
    scene.server.delete("/api/v1/namespaces/dns/secrets/stockholm-identity");
    scene.server.forget_writes();
    scene.server.intrude(0, &pods[1], failed);
    scene.once(EDGE).await.unwrap();
    assert!(scene.server.writes().iter().any(|write| write.contains("stockholm-identity")));
    assert!(scene.server.get(&pods[0]).is_some(), "the last Pod that answers was evicted");
}

#[tokio::test]
async fn a_policy_reaches_the_pods_of_an_edge_that_is_not_enrolled_at_once() {
    let scene = Scene::new().await;
    let text = scene.nodeman.credentials(NODE);
    scene.server.destroy(CREDENTIALS);
    let (path, pod) = injected_pod("p");
    scene.server.put(&path, pod);
    let seen = || scene.server.get(&path).unwrap()["metadata"]["annotations"]["dnstapir.se/config-revision"].clone();
    scene.settle(EDGE).await;
    assert_eq!(scene.reason(EDGE, "Enrolled").1, "CredentialsMissing");
    let first = seen();
    let mut policy = scene.server.get(POLICY).unwrap();
    policy["metadata"]["generation"] = 2.into();
    policy["spec"]["mode"] = "Observe".into();
    scene.server.put(POLICY, policy);
    scene.settle(EDGE).await;
    let second = seen();
    assert!(first.is_string() && second.is_string() && first != second, "{first} {second}");
    scene.server.put(CREDENTIALS, secret(&text));
    scene.settle(EDGE).await;
    assert_ne!(seen(), second, "the identity is to be mounted too");
    let third = seen();
    // Nothing new can be mounted while the identity cannot be looked at.
    scene.settle_refused("/secrets/stockholm-identity", 500).await;
    assert_eq!(seen(), third);
}

#[tokio::test]
async fn a_core_that_hangs_holds_up_no_policy() {
    let scene = Arc::new(Scene::new().await);
    scene.nodeman.hang();
    scene.once_without_identity(EDGE).await.unwrap();
    let asking = tokio::spawn({
        let scene = Arc::clone(&scene);
        async move { scene.look_at_identity(EDGE).await }
    });
    while scene.nodeman.asked().await == 0 {
        tokio::task::yield_now().await;
    }
    scene.settle_without_identity(EDGE).await;
    let before = scene.revision();
    let mut policy = scene.server.get(POLICY).unwrap();
    policy["spec"]["mode"] = "Observe".into();
    policy["metadata"]["generation"] = 2.into();
    scene.server.put(POLICY, policy);
    scene.settle_without_identity(EDGE).await;
    assert_ne!(scene.revision(), before, "the policy is rendered");
    assert_eq!(scene.reason(EDGE, "Enrolled"), ("Unknown".to_owned(), "Pending".to_owned()));
    // It may not go either before the answer is there, and says nothing of it twice.
    scene.server.delete(EDGE);
    scene.once_without_identity(EDGE).await.unwrap();
    assert_eq!(scene.server.get(EDGE).unwrap()["metadata"]["finalizers"], json!(["dnstapir.se/offboard"]));
    assert!(!asking.is_finished(), "Core has not answered");
    asking.abort();
    let _ = asking.await;
    scene.once_without_identity(EDGE).await.unwrap();
    assert!(scene.server.get(EDGE).is_none_or(|edge| edge["metadata"]["finalizers"] == json!([])));
}

#[tokio::test]
async fn a_policy_is_accepted_once_every_pop_works_by_it() {
    let said = |truth: &str, reason: &str| (truth.to_owned(), reason.to_owned());
    let scene = Scene::new().await;
    let mut policy = scene.server.get(POLICY).unwrap();
    policy["metadata"]["generation"] = 1.into();
    scene.server.put(POLICY, policy.clone());
    scene.settle(EDGE).await;
    assert_eq!(scene.reason(EDGE, "PolicyAccepted"), said("True", "Accepted"));
    assert_eq!(scene.policy_ready().await, said("True", "Ready"));
    for name in ["p", "q"] {
        let (path, pod) = injected_pod(name);
        scene.server.put(&path, pod);
    }
    scene.settle(EDGE).await;
    assert_eq!(scene.reason(EDGE, "PolicyAccepted"), said("True", "Accepted"), "Pods that start take nothing back");
    let first = scene.revision();
    for pod in ["p", "q"] {
        scene.pop_reports(pod, Some(&first));
    }
    scene.settle(EDGE).await;

    policy["metadata"]["generation"] = 2.into();
    policy["spec"]["mode"] = "Observe".into();
    scene.server.put(POLICY, policy);
    assert_eq!(scene.policy_ready().await, said("Unknown", "Pending"), "no edge has looked at it yet");
    scene.settle(EDGE).await;
    let second = scene.revision();
    assert_ne!(first, second);
    assert_eq!(scene.reason(EDGE, "PolicyAccepted"), said("Unknown", "Pending"));
    scene.pop_reports("p", Some(&second));
    scene.settle(EDGE).await;
    let condition = scene.condition(EDGE, "PolicyAccepted");
    assert!(condition["message"].as_str().unwrap().contains("1 of 2 Pods report it, 1 another one"), "{condition}");
    assert_eq!(scene.policy_ready().await, said("Unknown", "Pending"));
    scene.pop_reports("q", Some(&second));
    scene.settle(EDGE).await;
    assert_eq!(scene.reason(EDGE, "PolicyAccepted"), said("True", "Accepted"));
    assert_eq!(scene.policy_ready().await, said("True", "Ready"));

    // An answer that is missed now and then changes nothing.
    scene.server.forget_writes();
    scene.pop_reports("q", None);
    scene.once(EDGE).await.unwrap();
    assert_eq!(scene.reason(EDGE, "PolicyAccepted"), said("True", "Accepted"));
}
