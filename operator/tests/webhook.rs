//! The webhook over real TLS, with an API server in memory behind it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub, dead_code)]

mod support;

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Request, Response};
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tapir_operator::leader::Leadership;
use tapir_operator::telemetry::metrics::Metrics;
use tapir_operator::webhook::{Keeper, Material, Presented, Reviewer, serve, tls};
use tapir_plan::clock::{Clock, Fixed};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::support::api::{Loss, Server};

const NAME: &str = "hook";
const HOST: &str = "hook.system.svc";
const SECRET: &str = "/api/v1/namespaces/system/secrets/hook";
const CONFIGURATION: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/hook";
const EDGE: &str = "/apis/dnstapir.se/v1alpha1/namespaces/dns/tapiredges/demo";

/// A server that presents one certificate, and a client that trusts its authority.
struct Scene {
    address: SocketAddr,
    metrics: Metrics,
    presented: Arc<Presented>,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
}

impl Scene {
    async fn new(client: Client) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (metrics, presented, stop) = (Metrics::default(), Arc::new(Presented::default()), CancellationToken::new());
        let reviewer = Reviewer { client, metrics: metrics.clone(), stop: stop.clone() };
        let serving = tokio::spawn(serve(listener, tls(Arc::clone(&presented)).unwrap(), reviewer));
        Self { address, metrics, presented, stop, serving }
    }

    /// With a certificate; the bundle.
    async fn presenting(client: Client) -> (Self, String) {
        let scene = Self::new(client).await;
        let now = Timestamp::now();
        let material = Material::default().with_new_authority(now).unwrap().with_new_leaf(&[HOST.to_owned()], now).unwrap();
        scene.presented.present(material.served().unwrap());
        (scene, material.bundle().unwrap().to_owned())
    }

    fn client(&self, bundle: &str) -> reqwest::Client {
        let certificates = reqwest::Certificate::from_pem_bundle(bundle.as_bytes()).unwrap();
        let builder = reqwest::Client::builder().tls_certs_only(certificates).resolve(HOST, self.address);
        builder.pool_max_idle_per_host(0).timeout(Duration::from_secs(60)).build().unwrap()
    }

    async fn ask(&self, bundle: &str, body: impl Into<reqwest::Body>) -> Result<(u16, Value), reqwest::Error> {
        let url = format!("https://{HOST}:{}/mutate", self.address.port());
        let answer = self.client(bundle).post(url).header("content-type", "application/json").body(body).send().await?;
        let status = answer.status().as_u16();
        Ok((status, serde_json::from_str(&answer.text().await?).unwrap_or_default()))
    }
}

fn review(pod: &Value) -> Value {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "7", "operation": "CREATE", "namespace": "dns", "name": "p", "dryRun": true,
        "kind": {"group": "", "version": "v1", "kind": "Pod"}, "resource": {"group": "", "version": "v1", "resource": "pods"},
        "userInfo": {"username": "u"}, "object": pod}})
}

fn pod() -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"dnstapir.se/edge": "demo"}},
        "spec": {"containers": [{"name": "unbound", "image": "resolver"}]}})
}

fn edge() -> Value {
    let containers = json!([{"name": "tapir-edm", "image": "edm:1"}]);
    json!({"apiVersion": "dnstapir.se/v1alpha1", "kind": "TapirEdge", "metadata": {"name": "demo", "namespace": "dns"},
        "status": {"injection": {"revision": "r", "imagesRevision": "i", "form": "Native", "container": "unbound", "bestEffort": containers,
            "burstable": containers, "guaranteed": containers, "volumes": [{"name": "tapir-run", "emptyDir": {}}],
            "resolverVolumeMounts": [{"name": "tapir-run", "mountPath": "/run/tapir"}]}}})
}

#[tokio::test]
async fn a_new_pod_gets_what_its_edge_says() {
    let server = Server::default();
    server.put(EDGE, edge());
    let (scene, bundle) = Scene::presenting(server.client()).await;
    let (status, answer) = scene.ask(&bundle, review(&pod()).to_string()).await.unwrap();
    assert_eq!((status, &answer["kind"], &answer["apiVersion"]), (200, &json!("AdmissionReview"), &json!("admission.k8s.io/v1")));
    let response = &answer["response"];
    assert_eq!(
        (&response["uid"], &response["allowed"], &response["patchType"]),
        (&json!("7"), &json!(true), &json!("JSONPatch"))
    );
    let patch: Vec<Value> = serde_json::from_slice(&STANDARD.decode(response["patch"].as_str().unwrap()).unwrap()).unwrap();
    let paths: Vec<&str> = patch.iter().map(|operation| operation["path"].as_str().unwrap()).collect();
    assert!(paths.contains(&"/spec/initContainers/-") && patch.iter().all(|operation| operation["op"] == "add"), "{patch:?}");
    assert!(scene.metrics.render().contains(r#"webhook_reviews_total{verdict="patched",reason=""} 1"#));
}

/// Everything that can be wrong, with the reason that is counted. None of it refuses the Pod.
#[tokio::test]
async fn whatever_goes_wrong_the_pod_is_admitted_as_it_is() {
    let server = Server::default();
    server.put(EDGE, edge());
    let (scene, bundle) = Scene::presenting(server.client()).await;
    let changed = |change: fn(&mut Value)| {
        let mut review = review(&pod());
        change(&mut review["request"]);
        review
    };
    let labelled = |request: &mut Value, edge: &str| request["object"]["metadata"]["labels"]["dnstapir.se/edge"] = json!(edge);
    let cases: [(Value, &str); 7] = [
        (changed(|request| request["operation"] = json!("UPDATE")), r#"verdict="failed",reason="not_a_new_pod""#),
        (changed(|request| request["resource"]["resource"] = json!("services")), r#"verdict="failed",reason="not_a_new_pod""#),
        (changed(|request| request["object"] = Value::Null), r#"verdict="failed",reason="no_edge_named""#),
        (changed(|request| request["namespace"] = json!("../../secrets")), r#"verdict="failed",reason="no_edge_named""#),
        (
            {
                let mut review = review(&pod());
                labelled(&mut review["request"], "nobody");
                review
            },
            r#"verdict="failed",reason="unknown_edge""#,
        ),
        (
            changed(|request| request["object"]["spec"]["containers"] = json!([])),
            r#"verdict="skipped",reason="container-exists""#,
        ),
        (
            changed(|request| request["object"]["spec"]["restartPolicy"] = json!("Never")),
            r#"verdict="skipped",reason="runs-for-ever""#,
        ),
    ];
    for (review, counted) in cases {
        let (status, answer) = scene.ask(&bundle, review.to_string()).await.unwrap();
        assert_eq!((status, &answer["response"]), (200, &json!({"uid": "7", "allowed": true})), "{counted}");
        assert!(scene.metrics.render().contains(counted), "{counted}: {}", scene.metrics.render());
    }
    server.refuse(Some(("tapiredges", 500)));
    let (_, answer) = scene.ask(&bundle, review(&pod()).to_string()).await.unwrap();
    assert_eq!(answer["response"], json!({"uid": "7", "allowed": true}));
    assert!(scene.metrics.render().contains("edge_not_read"));

    // Without its uid a review cannot be answered: the API server is told to ignore that.
    for (body, status, counted) in [
        ("{".to_owned(), 400, "no_review"),
        ("[]".to_owned(), 400, "no_review"),
        ("x".repeat(3 * 1024 * 1024 + 1), 413, "body_not_read"),
    ] {
        assert_eq!(scene.ask(&bundle, body).await.unwrap().0, status);
        assert!(scene.metrics.render().contains(counted), "{counted}");
    }
}

#[tokio::test]
async fn an_api_server_that_does_not_answer_costs_a_second_and_no_pod() {
    let silent = tower::service_fn(|_: Request<Body>| std::future::pending::<Result<Response<Body>, Infallible>>());
    let (scene, bundle) = Scene::presenting(Client::new(silent, "dns")).await;
    let mut quickest = Duration::MAX;
    // A machine that has other things to do may take longer for the rest, but not each time.
    for _ in 0..5 {
        let begin = Instant::now();
        let (status, answer) = scene.ask(&bundle, review(&pod()).to_string()).await.unwrap();
        assert_eq!((status, &answer["response"]), (200, &json!({"uid": "7", "allowed": true})));
        quickest = quickest.min(begin.elapsed());
        if quickest < Duration::from_secs(2) {
            break;
        }
    }
    assert!(quickest < Duration::from_secs(2), "the API server would have gone: {quickest:?}");
    assert!(scene.metrics.render().contains("edge_too_late"));
}

/// API servers keep connections: those are handed over, not cut.
#[tokio::test]
async fn a_replica_that_stops_answers_on_for_a_while_and_sends_its_clients_away() {
    let server = Server::default();
    server.put(EDGE, edge());
    let (scene, bundle) = Scene::presenting(server.client()).await;
    let certificates = reqwest::Certificate::from_pem_bundle(bundle.as_bytes()).unwrap();
    let kept = reqwest::Client::builder().tls_certs_only(certificates).resolve(HOST, scene.address).build().unwrap();
    let url = format!("https://{HOST}:{}/mutate", scene.address.port());
    let ask = || kept.post(&url).body(review(&pod()).to_string()).send();
    assert!(!ask().await.unwrap().headers().contains_key("connection"));
    scene.stop.cancel();
    let last = ask().await.unwrap();
    assert_eq!((last.status().as_u16(), &last.headers()["connection"]), (200, &http::HeaderValue::from_static("close")));
    assert_eq!(ask().await.unwrap().status(), 200, "new connections are answered too");
    tokio::time::timeout(Duration::from_secs(60), scene.serving).await.expect("and then it ends").unwrap();
}

struct Shared(Arc<Fixed>);

impl Clock for Shared {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
}

fn keeper(server: &Server, clock: &Arc<Fixed>) -> Keeper {
    let names = [HOST.to_owned()];
    Keeper::new(&server.client(), "system", NAME, &names, Leadership::for_tests(), Box::new(Shared(Arc::clone(clock))))
}

fn prepared() -> Server {
    let server = Server::default();
    let metadata = json!({"name": NAME, "namespace": "system"});
    server.put(SECRET, json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque"}));
    server.put(CONFIGURATION, json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": NAME}, "webhooks": [{"name": "pods.dnstapir.se", "clientConfig": {"service": {"name": NAME, "namespace": "system"}},
            "sideEffects": "None", "admissionReviewVersions": ["v1"]}]}));
    server
}

fn material(server: &Server) -> Material {
    Material::of(&serde_json::from_value(server.get(SECRET).unwrap()).unwrap())
}

/// What API servers trust now.
fn bundle(server: &Server) -> Option<String> {
    let configuration = server.get(CONFIGURATION).unwrap();
    let bundle = configuration["webhooks"][0]["clientConfig"]["caBundle"].as_str()?;
    Some(String::from_utf8(STANDARD.decode(bundle).unwrap()).unwrap())
}

/// Rounds, each as the first of a new process when `fresh`, until there is nothing to do for longer than a minute.
async fn settle(server: &Server, clock: &Arc<Fixed>, fresh: bool, mut after_each: impl AsyncFnMut()) {
    let mut kept = keeper(server, clock);
    for _ in 0..50 {
        match kept.round().await {
            Ok(Some(until)) if until > clock.now() + SignedDuration::from_mins(1) => return,
            Ok(Some(_)) => clock.set(clock.now() + SignedDuration::from_secs(11)),
            Ok(None) | Err(_) => {}
        }
        // A process that begins anew counts the wait from then: let it live to the end of it.
        if fresh && material(server).has_older() == (bundle(server).as_deref() != material(server).bundle()) {
            kept = keeper(server, clock);
        }
        after_each().await;
    }
    panic!("never settled: {:?}", server.writes());
}

#[tokio::test]
async fn from_an_empty_secret_to_a_certificate_that_the_api_server_trusts() {
    let (server, clock) = (prepared(), Arc::new(Fixed::at(Timestamp::now())));
    settle(&server, &clock, false, async || {}).await;
    assert_eq!(server.writes(), [format!("PUT {SECRET}"), format!("PATCH {CONFIGURATION}"), format!("PUT {SECRET}")]);
    let leaf = material(&server).leaf(&[HOST.to_owned()], clock.now()).unwrap();
    assert!(leaf.by_newest && bundle(&server).as_deref() == material(&server).bundle());
    server.forget_writes();
    settle(&server, &clock, false, async || {}).await;
    assert!(server.writes().is_empty(), "settled is silent: {:?}", server.writes());

    // Somebody takes the bundle out, as an upgrade of the release by another tool might.
    server.put(
        CONFIGURATION,
        json!({"kind": "MutatingWebhookConfiguration", "metadata": {"name": NAME}, "webhooks": [{"name": "pods.dnstapir.se"}]}),
    );
    settle(&server, &clock, false, async || {}).await;
    assert_eq!(server.writes(), [format!("PATCH {CONFIGURATION}")]);
}

/// The authority is replaced while API servers ask all the time: every connection of one that trusts what is published succeeds, whichever
/// write is lost, before or after it took effect, and with a new process after each step.
#[tokio::test]
async fn a_new_authority_is_never_noticed_whichever_write_is_lost() {
    for fresh in [false, true] {
        for (number, loss) in (0..4).flat_map(|number| [(number, Loss::BeforeEffect), (number, Loss::AfterEffect)]) {
            let (server, clock) = (prepared(), Arc::new(Fixed::at(Timestamp::now())));
            settle(&server, &clock, false, async || {}).await;
            let scene = Scene::new(server.client()).await;
            scene.presented.present(material(&server).served().unwrap());
            let first = bundle(&server).unwrap();
            // Without its key an authority is of no use.
            let mut secret = server.get(SECRET).unwrap();
            secret["data"].as_object_mut().unwrap().remove("ca.key");
            server.put(SECRET, secret);
            server.lose(number, loss);
            settle(&server, &clock, fresh, async || {
                let trusted = bundle(&server).unwrap();
                let before = scene.ask(&trusted, "{").await.map(|(status, _)| status);
                assert_eq!(before.ok(), Some(400), "before replicas see the Secret, {number} {loss:?}");
                scene.presented.present(material(&server).served().unwrap());
                let after = scene.ask(&trusted, "{").await.map(|(status, _)| status);
                assert_eq!(after.ok(), Some(400), "and after, {number} {loss:?}");
            })
            .await;
            assert!(bundle(&server).unwrap().contains(first.trim()), "the former authority is known still");
            assert!(material(&server).leaf(&[HOST.to_owned()], clock.now()).unwrap().by_newest);
        }
    }
}

#[tokio::test]
async fn a_leader_whose_secret_was_written_by_another_looks_again() {
    let (server, clock) = (prepared(), Arc::new(Fixed::at(Timestamp::now())));
    let mut other = server.get(SECRET).unwrap();
    other["metadata"]["labels"] = json!({"by": "another"});
    server.intrude(0, SECRET, other);
    let mut keeper = keeper(&server, &clock);
    assert!(keeper.round().await.unwrap_err().to_string().contains("Conflict"));
    assert_eq!(server.get(SECRET).unwrap()["data"], Value::Null);
    settle(&server, &clock, false, async || {}).await;
    assert_eq!(server.get(SECRET).unwrap()["metadata"]["labels"]["by"], "another");
}
