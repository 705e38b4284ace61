//! Whole reconciles of an edge against an API server in memory: what converges, what is said about bad input, and that silence follows.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub, dead_code)]

mod support;

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::runtime::events::Recorder;
use serde_json::{Value, json};
use support::api::Server;
use support::nodeman::Nodeman;
use tapir_operator::edge::{Attempts, Context, EdgeError, Evictions, reconcile};
use tapir_operator::identity::keeper::Keeper;
use tapir_operator::leader::Leadership;
use tapir_operator::leftovers;
use tapir_operator::settings::{Scope, Settings};
use tapir_operator::sidecars::{Board, Component, EdgeKey, Heard, Target};
use tapir_operator::telemetry::metrics::Metrics;

const NODE: &str = "a.edge.test";
const EDGE: &str = "/apis/dnstapir.se/v1alpha1/namespaces/dns/tapiredges/stockholm";
const CREDENTIALS: &str = "/api/v1/namespaces/dns/secrets/enrol";
const POLICY: &str = "/apis/dnstapir.se/v1alpha1/namespaces/dns/tapirpolicies/default";
const BUNDLE: &str = "/api/v1/namespaces/dns/configmaps/core-ca";
const NAMESPACE: &str = "/api/v1/namespaces/dns";
const BINDING: &str = "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings/dnstapir.dns.stockholm";
const IDENTITY: &str = "/api/v1/namespaces/dns/secrets/stockholm-identity";
const RESCUE: &str = "/api/v1/namespaces/dns/secrets/stockholm-identity-rescue";
const SETTLED_WITHIN: usize = 8;

struct Scene {
    server: Server,
    nodeman: Nodeman,
    context: Arc<Context>,
}

impl Scene {
    /// An edge that lacks nothing but Pods.
    async fn new() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (server, nodeman) = (Server::default(), Nodeman::start(NODE).await);
        server.put(NAMESPACE, json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "dns"}}));
        server.put(EDGE, edge("stockholm", "2026-11-21T00:00:00Z"));
        server.put(CREDENTIALS, secret(&nodeman.credentials(NODE)));
        server.put(POLICY, json!({"kind": "TapirPolicy", "apiVersion": "dnstapir.se/v1alpha1", "metadata": {"name": "default", "namespace": "dns"},
            "spec": {"sources": [{"name": "core", "list": "Doubt", "core": {}}]}}));
        let key = rcgen::KeyPair::generate().unwrap();
        let ca = rcgen::CertificateParams::new(vec!["ca.test".to_owned()]).unwrap().self_signed(&key).unwrap().pem();
        server.put(BUNDLE, json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "core-ca", "namespace": "dns"}, "data": {"ca.crt": ca}}));
        let (client, metrics) = (server.client(), Metrics::default());
        let settings = Settings {
            edm_image: "registry.test/edm:1".into(),
            pop_image: "registry.test/pop:1".into(),
            scope: Scope::Namespaces(vec!["dns".into()]),
            pod_name: "operator-0".into(),
            pod_namespace: "tapir".into(),
            lease_name: "tapir-operator".into(),
            admission_policy_name: "policy".into(),
            http_listen: "[::]:8080".parse().unwrap(),
        };
        let context = Context {
            keeper: Keeper { client: client.clone(), leadership: Leadership::for_tests(), metrics: metrics.clone() },
            recorder: Recorder::new(client.clone(), "test".into()),
            settings: Arc::new(settings),
            board: Board::default(),
            evictions: Evictions::default(),
            attempts: Attempts::default(),
            metrics,
            client,
        };
        Self { server, nodeman, context: Arc::new(context) }
    }

    async fn once(&self, path: &str) -> Result<(), EdgeError> {
        let Some(edge) = self.server.get(path) else { return Ok(()) };
        let edge: DeserializeGuard<_> = serde_json::from_value(edge).unwrap();
        reconcile(Arc::new(edge), Arc::clone(&self.context)).await.map(drop)
    }

    /// Reconciles until a round writes nothing.
    async fn settle(&self, path: &str) {
        for _ in 0..SETTLED_WITHIN {
            self.server.forget_writes();
            self.once(path).await.unwrap();
            if self.server.writes().is_empty() {
                return;
            }
        }
        panic!("still writing: {:?}", self.server.writes());
    }

    fn condition(&self, path: &str, kind: &str) -> Value {
        let edge = self.server.get(path).unwrap();
        let conditions =
            edge["status"]["conditions"].as_array().unwrap_or_else(|| panic!("no conditions: {}", edge["status"])).clone();
        conditions.into_iter().find(|condition| condition["type"] == kind).unwrap()
    }

    fn reason(&self, path: &str, kind: &str) -> (String, String) {
        let condition = self.condition(path, kind);
        (condition["status"].as_str().unwrap().to_owned(), condition["reason"].as_str().unwrap().to_owned())
    }

    /// Reconciles while the API server refuses some requests, until the status is not written any more.
    async fn settle_refused(&self, what: &str, code: u16) {
        self.server.refuse(Some((what, code)));
        for _ in 0..SETTLED_WITHIN {
            self.server.forget_writes();
            // What failed is an error too, for the log and the back-off.
            let _ = self.once(EDGE).await;
            let said = self.server.get(EDGE).unwrap()["status"]["conditions"].is_array();
            if said && !self.server.writes().iter().any(|write| write.contains("/status")) {
                return;
            }
        }
        panic!("the status is written again and again: {}", self.server.get(EDGE).unwrap()["status"]["conditions"]);
    }

    /// The condition while something is wrong, then its healing.
    async fn check_bad(&self, kind: &str, reason: &str, heal: impl FnOnce(&Self)) {
        self.settle(EDGE).await;
        assert_eq!(self.reason(EDGE, kind), ("False".to_owned(), reason.to_owned()));
        assert_eq!(self.reason(EDGE, "Ready").0, "False");
        heal(self);
        self.settle(EDGE).await;
        assert_eq!(self.reason(EDGE, kind).0, "True", "{kind} after {reason}");
    }
}

fn edge(name: &str, created: &str) -> Value {
    json!({"kind": "TapirEdge", "apiVersion": "dnstapir.se/v1alpha1",
        "metadata": {"name": name, "namespace": "dns", "generation": 1, "creationTimestamp": created},
        "spec": {"enrollment": {"credentialsSecretRef": {"name": "enrol"}}, "core": {"caBundle": {"configMapRef": {"name": "core-ca"}}},
            "resolver": {"container": "unbound"}, "pop": {"policyRef": {"name": "default"}}}})
}

fn secret(text: &str) -> Value {
    json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "enrol", "namespace": "dns"}, "data": {"credentials.json": BASE64_STANDARD.encode(text)}})
}

/// A Ready Pod with both sidecars.
fn injected_pod(name: &str) -> (String, Value) {
    let (path, mut pod) = pod(name, "unbound");
    pod["spec"] = json!({"containers": [{"name": "unbound"}, {"name": "tapir-edm"}, {"name": "tapir-pop"}], "volumes": [{"name": "tapir-no-token"}]});
    pod["status"] = json!({"conditions": [{"type": "Ready", "status": "True"}], "podIP": "10.0.0.1"});
    (path, pod)
}

/// A Ready Pod from before the binding.
fn old_pod(name: &str, controller: &str) -> (String, Value) {
    let (path, mut pod) = pod(name, "unbound");
    pod["metadata"]["creationTimestamp"] = "2025-01-01T00:00:00Z".into();
    pod["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": controller, "uid": controller, "controller": true}]);
    pod["status"] = json!({"conditions": [{"type": "Ready", "status": "True"}]});
    (path, pod)
}

/// A settled edge, then Pods of these controllers that were there before it.
async fn with_old_pods<const N: usize>(controllers: [&str; N]) -> (Scene, [String; N]) {
    let scene = Scene::new().await;
    scene.settle(EDGE).await;
    let mut binding = scene.server.get(BINDING).unwrap();
    binding["metadata"]["creationTimestamp"] = "2025-06-01T00:00:00Z".into();
    scene.server.put(BINDING, binding);
    let mut number = 0;
    let paths = controllers.map(|controller| {
        number += 1;
        let (path, pod) = old_pod(&format!("p{number}"), controller);
        scene.server.put(&path, pod);
        path
    });
    (scene, paths)
}

fn pod(name: &str, container: &str) -> (String, Value) {
    let pod = json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name, "namespace": "dns", "labels": {"dnstapir.se/edge": "stockholm"},
        "creationTimestamp": "2026-11-21T00:00:00Z"}, "spec": {"containers": [{"name": container}]}});
    (format!("/api/v1/namespaces/dns/pods/{name}"), pod)
}

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
    scene.check_bad("PolicyAccepted", "PolicyMissing", |scene| scene.server.put(POLICY, policy)).await;
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
async fn a_pod_from_before_the_edge_is_evicted_beside_its_replica() {
    let (scene, pods) = with_old_pods(["r", "r"]).await;
    scene.once(EDGE).await.unwrap();
    assert_eq!(pods.map(|pod| scene.server.get(&pod).is_some()), [false, true]);
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

impl Scene {
    /// POP of a Pod answers with a revision; none is silence.
    fn pop_reports(&self, pod: &str, revision: Option<&str>) {
        let uid = self.server.get(&format!("/api/v1/namespaces/dns/pods/{pod}")).unwrap()["metadata"]["uid"]
            .as_str()
            .unwrap()
            .to_owned();
        let target = Target { pod: pod.into(), uid, address: [10, 0, 0, 1].into(), component: Component::Pop };
        let heard = revision.map(|revision| Heard {
            revision: revision.into(),
            config_error: None,
            disabled: false,
            connected: true,
            core_error: None,
            identity_error: None,
            certificate_serial: None,
            certificate_not_after: None,
        });
        let key = EdgeKey { namespace: "dns".into(), name: "stockholm".into() };
        self.context.board.took(&key, vec![(target, heard)]);
    }

    fn revision(&self) -> String {
        self.server.get(EDGE).unwrap()["status"]["policy"]["revision"].as_str().unwrap().to_owned()
    }

    /// The condition `Ready` of the policy after a reconcile of it.
    async fn policy_ready(&self) -> (String, String) {
        let policy = serde_json::from_value(self.server.get(POLICY).unwrap()).unwrap();
        tapir_operator::policy::reconcile(Arc::new(policy), Arc::clone(&self.context)).await.unwrap();
        self.reason(POLICY, "Ready")
    }
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
    assert_ne!(look().await, Action::await_change());
    assert!(scene.server.get(IDENTITY).is_some(), "released beside a copy that is none");
    scene.server.destroy(RESCUE);
    assert_eq!(look().await, Action::await_change());
    assert!(scene.server.get(IDENTITY).is_none());
}

#[tokio::test]
async fn nothing_secret_leaves_the_secrets() {
    let scene = Scene::new().await;
    scene.settle(EDGE).await;
    let identity = scene.server.get("/api/v1/namespaces/dns/secrets/stockholm-identity").unwrap();
    let decode =
        |member: &str| String::from_utf8(BASE64_STANDARD.decode(identity["data"][member].as_str().unwrap()).unwrap()).unwrap();
    let private = serde_json::from_str::<Value>(&decode("datakey.jwk")).unwrap()["d"].as_str().unwrap().to_owned();
    let tls = decode("tls.key").lines().nth(1).unwrap().to_owned();
    let everything = scene.server.dump_without("/secrets/") + &scene.context.metrics.render();
    assert!(everything.contains(NODE));
    for secret in [private, tls, decode("cryptopan.key")] {
        assert!(!everything.contains(&secret));
    }
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
