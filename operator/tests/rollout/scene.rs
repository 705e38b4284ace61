//! An edge with Pods in an API server in memory, a kubelet that does what it is told, and the reconciler's part of a round.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use tapir_operator::api::{Images, TapirEdge};
use tapir_operator::cache::Queue;
use tapir_operator::edge::Evictions;
use tapir_operator::pods::{View, classify};
use tapir_operator::rollout::{Answers, Outcome, RolloutError, Rollouts, Scene as Looked, tend};
use tapir_operator::settings::{Rollout, Scope, Settings};
use tapir_operator::sidecars::EdgeKey;
use tapir_operator::telemetry::metrics::Metrics;

use crate::support::api::Server;

pub const EDGES: &str = "/apis/dnstapir.se/v1alpha1/namespaces/dns/tapiredges";
pub const PODS: &str = "/api/v1/namespaces/dns/pods";
pub const STRUCTURE: &str = "s1";

pub struct Scene {
    pub server: Server,
    pub rollouts: Rollouts,
    pub evictions: Evictions,
    pub settings: Arc<Settings>,
    pub now: Timestamp,
    pub answer: Arc<AtomicBool>,
    pub retry: bool,
}

pub fn images(version: &str) -> Images {
    Images { edm: Some(format!("registry.test/edm:{version}")), pop: Some(format!("registry.test/pop:{version}")) }
}

pub fn edge_path(name: &str) -> String {
    format!("{EDGES}/{name}")
}

pub fn pod_path(name: &str) -> String {
    format!("{PODS}/{name}")
}

fn settings(version: &str, rollout: Rollout) -> Arc<Settings> {
    Arc::new(Settings {
        edm_image: images(version).edm.unwrap(),
        pop_image: images(version).pop.unwrap(),
        scope: Scope::Namespaces(vec!["closed".into(), "dns".into()]),
        pod_name: "operator-0".into(),
        pod_namespace: "tapir".into(),
        lease_name: "tapir-operator".into(),
        http_listen: "[::]:8080".parse().unwrap(),
        injection: tapir_operator::settings::Injection::default(),
        rollout,
        core_requests_per_second: 10,
    })
}

impl Scene {
    /// Version 1 runs in these Pods of edge `stockholm`; this operator has version 2.
    pub fn new(pods: &[&str]) -> Self {
        Self::with(pods, Rollout::default())
    }

    pub fn with(pods: &[&str], rollout: Rollout) -> Self {
        let server = Server::default();
        let scene = Self::beside(server, rollout);
        scene.add_edge("stockholm", &json!({}), &json!({}));
        for pod in pods {
            scene.add_pod(pod, "stockholm");
        }
        scene
    }

    /// Another operator's process at the same API server.
    pub fn beside(server: Server, rollout: Rollout) -> Self {
        let answer = Arc::new(AtomicBool::new(true));
        let settings = settings("2", rollout);
        let answers = Answers::from_fn({
            let answer = Arc::clone(&answer);
            move |_| Box::pin(std::future::ready(answer.load(Ordering::SeqCst)))
        });
        Self {
            server,
            rollouts: Rollouts::new(Arc::clone(&settings), answers, Queue::default()),
            evictions: Evictions::default(),
            settings,
            now: Timestamp::from_second(1_800_000_000).unwrap(),
            answer,
            retry: false,
        }
    }

    pub fn takes_over(self) -> Self {
        let next = Self::beside(self.server, self.settings.rollout.clone());
        Self { now: self.now, ..next }
    }

    pub fn add_edge(&self, name: &str, rollout: &Value, labels: &Value) {
        let injection = json!({"revision": STRUCTURE, "images": images("1"), "container": "unbound", "bestEffort": [], "burstable": [],
            "guaranteed": [], "volumes": [], "resolverVolumeMounts": []});
        self.server.put(
            &edge_path(name),
            json!({"apiVersion": "dnstapir.se/v1alpha1", "kind": "TapirEdge",
                "metadata": {"name": name, "namespace": "dns", "labels": labels},
                "spec": {"enrollment": {"credentialsSecretRef": {"name": "enrol", "key": "credentials.json"}},
                    "resolver": {"container": "unbound"}, "edm": {}, "pop": {"policyRef": {"name": "default"}}, "rollout": rollout},
                "status": {"injection": injection}}),
        );
    }

    pub fn add_pod(&self, name: &str, edge: &str) {
        let sidecar = |container: &str, image: Option<String>| json!({"name": container, "image": image});
        let [edm, pop] = [sidecar("tapir-edm", images("1").edm), sidecar("tapir-pop", images("1").pop)];
        let status = |container: &str| {
            json!({"name": container, "image": "", "imageID": "", "ready": true, "restartCount": 0,
                "containerID": format!("{name}-{container}-1"), "state": {"running": {}}})
        };
        self.server.put(
            &pod_path(name),
            json!({"kind": "Pod", "apiVersion": "v1",
                "metadata": {"name": name, "namespace": "dns", "labels": {"dnstapir.se/edge": edge},
                    "creationTimestamp": "2026-11-20T00:00:00Z", "annotations": {"dnstapir.se/injection-revision": STRUCTURE},
                    "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": edge, "uid": edge, "controller": true}]},
                "spec": {"nodeName": "node-1", "containers": [{"name": "unbound", "image": "unbound:1"}, edm, pop],
                    "volumes": [{"name": "tapir-no-token", "emptyDir": {}}]},
                "status": {"phase": "Running", "podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}],
                    "containerStatuses": [status("tapir-edm"), status("tapir-pop")]}}),
        );
    }

    pub fn change(&self, path: &str, change: impl FnOnce(&mut Value)) {
        let mut object = self.server.get(path).unwrap();
        change(&mut object);
        self.server.put(path, object);
    }

    /// The kubelet starts containers for what the spec says.
    pub fn restart(&self, pod: &str) {
        self.change(&pod_path(pod), |object| {
            let containers = object["spec"]["containers"].clone();
            for status in object["status"]["containerStatuses"].as_array_mut().unwrap() {
                let image = containers.as_array().unwrap().iter().find(|container| container["name"] == status["name"]).unwrap();
                status["containerID"] = format!("{pod}-{}", image["image"]).into();
                status["state"] = json!({"running": {}});
            }
            object["status"]["conditions"][0]["status"] = "True".into();
        });
    }

    /// The kubelet cannot start them.
    pub fn fail(&self, pod: &str) {
        self.change(&pod_path(pod), |object| {
            for status in object["status"]["containerStatuses"].as_array_mut().unwrap() {
                status["state"] = json!({"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}});
            }
            object["status"]["conditions"][0]["status"] = "False".into();
        });
    }

    pub fn wait(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    pub fn edge(&self, name: &str) -> TapirEdge {
        serde_json::from_value(self.server.get(&edge_path(name)).unwrap()).unwrap()
    }

    pub fn rollout(&self, name: &str) -> Value {
        self.server.get(&edge_path(name)).unwrap()["status"]["rollout"].clone()
    }

    pub fn says(&self, name: &str) -> (String, String) {
        let rollout = self.rollout(name);
        let text = |member: &str| rollout[member].as_str().unwrap_or_default().to_owned();
        (text("phase"), text("reason"))
    }

    pub fn injected(&self, name: &str) -> Value {
        self.server.get(&edge_path(name)).unwrap()["status"]["injection"]["images"].clone()
    }

    /// The image of POP in the spec of a Pod.
    pub fn runs(&self, pod: &str) -> String {
        self.server.get(&pod_path(pod)).unwrap()["spec"]["containers"][2]["image"].as_str().unwrap().to_owned()
    }

    /// One round, with the status written at its end.
    pub async fn round(&self, name: &str) -> Result<Outcome, RolloutError> {
        self.round_from(name, self.edge(name)).await
    }

    /// One round that looked at this edge.
    pub async fn round_from(&self, name: &str, edge: TapirEdge) -> Result<Outcome, RolloutError> {
        let (client, key) = (self.server.client(), EdgeKey { namespace: "dns".into(), name: name.into() });
        let api: Api<Pod> = Api::namespaced(client.clone(), "dns");
        let mut pods = api.list(&ListParams::default()).await.unwrap().items;
        pods.retain(|pod| {
            pod.metadata.labels.as_ref().is_some_and(|labels| labels.get("dnstapir.se/edge").is_some_and(|of| of == name))
        });
        let views: Vec<View> = pods.iter().filter_map(|pod| classify(pod, "unbound", None)).collect();
        let looked = Looked {
            key: &key,
            edge: &edge,
            settings: &self.settings.rollout,
            target: &images("2"),
            structure: STRUCTURE,
            pods: &pods,
            views: &views,
            retry: self.retry,
            replacing: false,
            now: self.now,
        };
        let outcome = tend(&self.rollouts, &client, &self.evictions, &Metrics::default(), looked).await?;
        let mut status = edge.status.clone().unwrap();
        status.rollout = Some(outcome.status.clone());
        status.injection.as_mut().unwrap().images = outcome.injection.clone();
        if edge.status.as_ref() != Some(&status) {
            let edges: Api<TapirEdge> = Api::namespaced(client, "dns");
            let document =
                json!({"apiVersion": "dnstapir.se/v1alpha1", "kind": "TapirEdge", "metadata": {"name": name}, "status": status});
            let written = edges.patch_status(name, &PatchParams::apply("tapir-operator").force(), &Patch::Apply(document)).await;
            written.map_err(RolloutError::WriteAhead)?;
        }
        Ok(outcome)
    }

    /// Rounds and seconds, with a kubelet that starts whatever is changed, until nothing happens any more.
    pub async fn finish(&mut self, name: &str, pods: &[&str]) {
        for _ in 0..40 {
            self.wait(1);
            let _ = self.round(name).await;
            for pod in pods {
                let changed = self.server.get(&pod_path(pod)).unwrap();
                let image = &changed["spec"]["containers"][2]["image"];
                if !changed["status"]["containerStatuses"][1]["containerID"].as_str().unwrap().contains(image.as_str().unwrap()) {
                    self.restart(pod);
                }
            }
        }
    }

    /// Writes to Pods and statuses so far, and forgets them.
    pub fn writes(&self) -> Vec<String> {
        let writes = self.server.writes();
        self.server.forget_writes();
        let short = |write: &String| write.replace(PODS, "pods").replace(EDGES, "edges");
        writes.iter().map(short).collect()
    }
}
