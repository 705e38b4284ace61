//! An edge in an API server in memory, with a nodeman to enrol at.

use std::sync::Mutex;

use tapir_operator::cache::{Kind, OwnWrites, key_of};

use super::*;

pub const NODE: &str = "a.edge.test";
pub const EDGE: &str = "/apis/dnstapir.se/v1alpha1/namespaces/dns/tapiredges/stockholm";
pub const CREDENTIALS: &str = "/api/v1/namespaces/dns/secrets/enrol";
pub const POLICY: &str = "/apis/dnstapir.se/v1alpha1/namespaces/dns/tapirpolicies/default";
pub const BUNDLE: &str = "/api/v1/namespaces/dns/configmaps/core-ca";
pub const NAMESPACE: &str = "/api/v1/namespaces/dns";
pub const BINDING: &str = "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings/dnstapir.dns.stockholm";
pub const IDENTITY: &str = "/api/v1/namespaces/dns/secrets/stockholm-identity";
pub const RESCUE: &str = "/api/v1/namespaces/dns/secrets/stockholm-identity-rescue";
pub const SETTLED_WITHIN: usize = 8;

pub struct Scene {
    pub server: Server,
    pub nodeman: Nodeman,
    pub context: Arc<Context>,
    pub clock: Arc<Fixed>,
    watched: Mutex<Vec<(String, Value)>>,
}

impl Scene {
    /// An edge that lacks nothing but Pods.
    pub async fn new() -> Self {
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
            http_listen: "[::]:8080".parse().unwrap(),
            injection: tapir_operator::settings::Injection::default(),
            rollout: tapir_operator::settings::Rollout::default(),
            core_requests_per_second: 10,
        };
        let clock = Arc::new(Fixed::at(jiff::Timestamp::now()));
        let (cache, own) = (Cache::default(), OwnWrites::default());
        let context = Context {
            keeper: Keeper::new(client.clone(), Leadership::for_tests(), metrics.clone())
                .with_clock(Arc::clone(&clock) as Arc<dyn Clock>),
            events: Events::new(client.clone(), "test".into()),
            rollouts: Rollouts::new(
                Arc::new(settings.clone()),
                Answers::from_fn(|_| Box::pin(std::future::ready(true))),
                cache.changed_edges().clone(),
            ),
            settings: Arc::new(settings),
            board: Board::default(),
            evictions: Evictions::default(),
            attempts: Attempts::default(),
            identities: IdentityBoard::default(),
            counts: Counts::default(),
            applied: Memory::default(),
            stuck: leftovers::Stuck::default(),
            touches: Touches::new(own.clone()),
            own,
            leading_since: jiff::Timestamp::UNIX_EPOCH,
            settled: Settled::default(),
            settled_identities: Settled::default(),
            cache,
            metrics,
            client,
        };
        Self { server, nodeman, context: Arc::new(context), clock, watched: Mutex::default() }
    }

    /// Both controllers, one after the other. What the identity controller cannot do is on the board, and so in the status.
    pub async fn once(&self, path: &str) -> Result<(), EdgeError> {
        let _ = self.look_at_identity(path).await;
        self.once_without_identity(path).await
    }

    pub async fn look_at_identity(&self, path: &str) -> Result<(), IdentityError> {
        self.watch();
        let Some(edge) = self.server.get(path) else { return Ok(()) };
        let edge: DeserializeGuard<_> = serde_json::from_value(edge).unwrap();
        identity::reconcile(Arc::new(edge), Arc::clone(&self.context)).await.map(drop)
    }

    pub async fn once_without_identity(&self, path: &str) -> Result<(), EdgeError> {
        self.watch();
        let Some(edge) = self.server.get(path) else { return Ok(()) };
        let edge: DeserializeGuard<_> = serde_json::from_value(edge).unwrap();
        reconcile(Arc::new(edge), Arc::clone(&self.context)).await.map(drop)
    }

    /// Hours later: what needs nothing is looked at all the same.
    pub fn hours_pass(&self) {
        let key = EdgeKey { namespace: "dns".into(), name: "stockholm".into() };
        self.context.settled.forget(&key);
        self.context.settled_identities.forget(&key);
        self.context.keeper.looks.forget(&key);
    }

    /// Brings the cache up to what the watches would have told by now.
    pub fn watch(&self) {
        let (cache, now) = (&self.context.cache, self.server.all());
        let mut before = self.watched.lock().unwrap();
        for what in ["Pods", "EndpointSlices", "namespaces"] {
            cache.set_synced(what, None, true);
        }
        let gone = before.iter().filter(|(path, _)| !now.iter().any(|(known, _)| known == path));
        for (path, object) in gone {
            tell(cache, path, object, true);
        }
        let first = |(path, _): &&(String, Value)| path.contains("/tapiredges/");
        for (path, object) in now.iter().filter(first).chain(now.iter().filter(|object| !first(object))) {
            tell(cache, path, object, false);
        }
        *before = now;
    }

    /// Reconciles until a round writes nothing.
    pub async fn settle(&self, path: &str) {
        for _ in 0..SETTLED_WITHIN {
            self.server.forget_writes();
            self.once(path).await.unwrap();
            if self.server.writes().is_empty() {
                return;
            }
        }
        panic!("still writing: {:?}", self.server.writes());
    }

    pub async fn settle_without_identity(&self, path: &str) {
        for _ in 0..SETTLED_WITHIN {
            self.server.forget_writes();
            self.once_without_identity(path).await.unwrap();
            if self.server.writes().is_empty() {
                return;
            }
        }
        panic!("still writing: {:?}", self.server.writes());
    }

    /// Somebody annotates an object.
    pub fn annotate(&self, path: &str, name: &str, value: &str) {
        let mut object = self.server.get(path).unwrap();
        object["metadata"]["annotations"][name] = value.into();
        self.server.put(path, object);
    }

    /// Somebody wants everything to be looked at, Core included.
    pub async fn look_again(&self, path: &str) {
        let number = self.server.reads().len();
        self.annotate(path, "dnstapir.se/reconcile-now", &number.to_string());
        self.settle(path).await;
    }

    pub fn condition(&self, path: &str, kind: &str) -> Value {
        let edge = self.server.get(path).unwrap();
        let conditions =
            edge["status"]["conditions"].as_array().unwrap_or_else(|| panic!("no conditions: {}", edge["status"])).clone();
        conditions.into_iter().find(|condition| condition["type"] == kind).unwrap()
    }

    pub fn reason(&self, path: &str, kind: &str) -> (String, String) {
        let condition = self.condition(path, kind);
        (condition["status"].as_str().unwrap().to_owned(), condition["reason"].as_str().unwrap().to_owned())
    }

    /// Reconciles while the API server refuses some requests, until the status is not written any more.
    pub async fn settle_refused(&self, what: &str, code: u16) {
        self.server.refuse(Some((what, code)));
        self.hours_pass();
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
    pub async fn check_bad(&self, kind: &str, reason: &str, heal: impl FnOnce(&Self)) {
        self.settle(EDGE).await;
        assert_eq!(self.reason(EDGE, kind), ("False".to_owned(), reason.to_owned()));
        assert_eq!(self.reason(EDGE, "Ready").0, "False");
        heal(self);
        self.settle(EDGE).await;
        assert_eq!(self.reason(EDGE, kind).0, "True", "{kind} after {reason}");
    }
}

impl Scene {
    /// POP of a Pod answers with a revision; none is silence.
    pub fn pop_reports(&self, pod: &str, revision: Option<&str>) {
        self.sidecar_reports(pod, Component::Pop, revision, &json!([]));
    }

    /// The same with what it says of its sources.
    pub fn pop_reports_sources(&self, pod: &str, revision: Option<&str>, sources: &Value) {
        self.sidecar_reports(pod, Component::Pop, revision, sources);
    }

    pub fn reports(&self, pod: &str, component: Component, revision: &str) {
        self.sidecar_reports(pod, component, Some(revision), &json!([]));
    }

    /// POP of a Pod tells of exceptional events; those of before 1970 are of before this operator.
    pub fn pop_tells(&self, pod: &str, events: &Value) {
        let key = EdgeKey { namespace: "dns".into(), name: "stockholm".into() };
        let events: Vec<_> = serde_json::from_value(events.clone()).unwrap();
        self.context.board.happened(&key, &self.target(pod, Component::Pop), &events, jiff::Timestamp::UNIX_EPOCH);
    }

    fn target(&self, pod: &str, component: Component) -> Target {
        let pod_now = self.server.get(&format!("/api/v1/namespaces/dns/pods/{pod}")).unwrap();
        let uid = pod_now["metadata"]["uid"].as_str().unwrap().to_owned();
        Target { pod: pod.into(), uid, address: [10, 0, 0, 1].into(), component }
    }

    fn sidecar_reports(&self, pod: &str, component: Component, revision: Option<&str>, sources: &Value) {
        let target = self.target(pod, component);
        let heard = revision.map(|revision| Heard {
            revision: revision.into(),
            config_error: None,
            disabled: false,
            connected: true,
            core_error: None,
            identity_error: None,
            certificate_serial: None,
            certificate_not_after: None,
            sources: Sources(serde_json::from_value::<Vec<_>>(sources.clone()).unwrap().into()),
        });
        let key = EdgeKey { namespace: "dns".into(), name: "stockholm".into() };
        self.context.board.took(&key, vec![(target, heard)]);
    }

    /// Revision that is rendered for a sidecar.
    pub fn wanted(&self, component: Component) -> String {
        let map = self.server.get(&format!("/api/v1/namespaces/dns/configmaps/stockholm-{}", <&str>::from(component))).unwrap();
        tapir_operator::build::config::revision_of(&serde_json::from_value(map).unwrap()).unwrap()
    }

    /// Somebody changes an object.
    pub fn change(&self, path: &str, change: impl FnOnce(&mut Value)) {
        let mut object = self.server.get(path).unwrap();
        change(&mut object);
        self.server.put(path, object);
    }

    pub fn revision(&self) -> String {
        self.server.get(EDGE).unwrap()["status"]["policy"]["revision"].as_str().unwrap().to_owned()
    }

    /// The condition `Ready` of the policy after a reconcile of it.
    pub async fn policy_ready(&self) -> (String, String) {
        self.watch();
        let policy = serde_json::from_value(self.server.get(POLICY).unwrap()).unwrap();
        tapir_operator::policy::reconcile(Arc::new(policy), Arc::clone(&self.context)).await.unwrap();
        self.reason(POLICY, "Ready")
    }
}

/// What a watch tells of an object.
fn tell(cache: &Cache, path: &str, object: &Value, gone: bool) {
    let metadata = || serde_json::from_value(object["metadata"].clone()).unwrap();
    let kind = path.rsplit('/').nth(1).unwrap();
    let mark = match kind {
        "secrets" => Some(Kind::Secret),
        "configmaps" => Some(Kind::ConfigMap),
        "namespaces" => Some(Kind::Namespace),
        "mutatingadmissionpolicybindings" => Some(Kind::Binding),
        _ => None,
    };
    match (kind, mark, gone) {
        ("tapiredges", _, false) => drop(cache.apply_edge(serde_json::from_value(object.clone()).unwrap())),
        ("tapiredges", _, true) => drop(cache.indexes().edge_gone(&key_of(&metadata()))),
        ("tapirpolicies", _, false) => {
            let _ = serde_json::from_value(object.clone()).map(|policy| cache.indexes().policy(&policy));
        }
        ("tapirpolicies", _, true) => drop(cache.indexes().policy_gone(&metadata())),
        ("pods", _, false) => drop(cache.indexes().pod(&metadata())),
        ("pods", _, true) => drop(cache.indexes().pod_gone(&metadata())),
        ("endpointslices", _, false) => drop(cache.indexes().slice(&serde_json::from_value(object.clone()).unwrap())),
        ("endpointslices", _, true) => drop(cache.indexes().slice_gone(&metadata())),
        (_, Some(kind), false) => drop(cache.indexes().object(kind, &metadata())),
        (_, Some(kind), true) => drop(cache.indexes().gone(kind, &metadata())),
        _ => {}
    }
}

pub fn edge(name: &str, created: &str) -> Value {
    json!({"kind": "TapirEdge", "apiVersion": "dnstapir.se/v1alpha1",
        "metadata": {"name": name, "namespace": "dns", "generation": 1, "creationTimestamp": created},
        "spec": {"enrollment": {"credentialsSecretRef": {"name": "enrol"}}, "core": {"caBundle": {"configMapRef": {"name": "core-ca"}}},
            "resolver": {"container": "unbound"}, "pop": {"policyRef": {"name": "default"}}}})
}

pub fn secret(text: &str) -> Value {
    json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "enrol", "namespace": "dns"}, "data": {"credentials.json": BASE64_STANDARD.encode(text)}})
}

/// A Ready Pod with both sidecars.
pub fn injected_pod(name: &str) -> (String, Value) {
    let (path, mut pod) = pod(name, "unbound");
    pod["spec"] = json!({"containers": [{"name": "unbound"}, {"name": "tapir-edm"}, {"name": "tapir-pop"}], "volumes": [{"name": "tapir-no-token"}]});
    pod["status"] = json!({"conditions": [{"type": "Ready", "status": "True"}], "podIP": "10.0.0.1"});
    (path, pod)
}

/// A Ready Pod from before the binding.
pub fn old_pod(name: &str, controller: &str) -> (String, Value) {
    let (path, mut pod) = pod(name, "unbound");
    pod["metadata"]["creationTimestamp"] = "2025-01-01T00:00:00Z".into();
    pod["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": controller, "uid": controller, "controller": true}]);
    pod["status"] = json!({"conditions": [{"type": "Ready", "status": "True"}]});
    (path, pod)
}

/// A settled edge, then Pods of these controllers that were there before it.
pub async fn with_old_pods<const N: usize>(controllers: [&str; N]) -> (Scene, [String; N]) {
    let scene = Scene::new().await;
    scene.settle(EDGE).await;
    let mut binding = scene.server.get(BINDING).unwrap();
    binding["metadata"]["creationTimestamp"] = "2025-06-01T00:00:00Z".into();
    scene.server.put(BINDING, binding);
    scene.change(EDGE, |edge| edge["status"]["injectionSince"] = "2025-06-01T00:00:00Z".into());
    let mut number = 0;
    let paths = controllers.map(|controller| {
        number += 1;
        let (path, pod) = old_pod(&format!("p{number}"), controller);
        scene.server.put(&path, pod);
        path
    });
    (scene, paths)
}

pub fn pod(name: &str, container: &str) -> (String, Value) {
    let pod = json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name, "namespace": "dns", "labels": {"dnstapir.se/edge": "stockholm"},
        "creationTimestamp": "2026-11-21T00:00:00Z"}, "spec": {"containers": [{"name": container}]}});
    (format!("/api/v1/namespaces/dns/pods/{name}"), pod)
}
