//! A namespace of its own with resolvers, an edge and a policy: the user's part, applied as a user would.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::cluster::cluster;
use crate::evidence::OnFailure;
use crate::objects::{condition, is_injected, is_ready, items, pop_image, text};
use crate::{core, wait};

/// Name of the edge in `examples/unbound`.
pub const EDGE: &str = "demo";
/// Name of the resolvers' Deployment and Service there.
pub const RESOLVER: &str = "unbound";

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A scenario's own namespace; removed at the end, with evidence kept when the scenario failed.
#[derive(Debug)]
pub struct Scene {
    /// The namespace.
    pub namespace: String,
    /// Name of the node in Core.
    pub node: String,
    evidence: OnFailure,
}

impl Scene {
    /// A namespace with a fresh node's credentials and Core's CA, and nothing else.
    ///
    /// # Errors
    /// When the cluster or the dev Core refuses.
    pub fn new(scenario: &str) -> Result<Self> {
        let unique = format!("{}-{}", std::process::id() % 100_000, COUNTER.fetch_add(1, Ordering::Relaxed));
        let namespace = format!("{scenario}-{unique}");
        let node = format!("{namespace}.edge.tapir.test");
        let cluster = cluster();
        cluster.kubectl(&["create", "namespace", &namespace])?;
        let scene = Self { evidence: OnFailure::new(scenario, &namespace), namespace, node };
        let ca = items(cluster.get(core::NAMESPACE, &["configmaps", "--field-selector", "metadata.name=core-ca"])?);
        let ca = text(&ca.first().context("ConfigMap core-ca of the dev Core")?["data"]["ca.crt"]);
        scene.apply_json(&serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "core-ca"}, "data": {"ca.crt": ca}}))?;
        Ok(scene)
    }

    /// Puts new credentials of this scene's node into the Secret that the example names.
    ///
    /// # Errors
    /// When the dev Core refuses.
    pub fn credentials(&self) -> Result<()> {
        let credentials = core::create_node(&self.node)?;
        self.apply_json(&secret("demo-enrollment", &credentials))
    }

    /// Applies the example as a user would, with this run's images.
    ///
    /// # Errors
    /// When the API server refuses.
    pub fn apply_example(&self) -> Result<()> {
        self.apply_changed_example(|manifest| manifest)
    }

    /// The same after a change of its text.
    ///
    /// # Errors
    /// When the API server refuses.
    pub fn apply_changed_example(&self, change: impl FnOnce(String) -> String) -> Result<()> {
        cluster().apply(&self.namespace, &change(example()?)).map(|_| ())
    }

    /// Credentials, example, and the edge is `Ready`: where most scenarios begin.
    ///
    /// # Errors
    /// When the edge does not become ready within two minutes.
    pub fn ready(scenario: &str) -> Result<Self> {
        let scene = Self::new(scenario)?;
        scene.credentials()?;
        scene.apply_example()?;
        scene.wait_ready()?;
        Ok(scene)
    }

    /// The same with so many resolvers and a changed text. They ask for little: several scenarios share a node.
    ///
    /// # Errors
    /// When the edge does not become ready within two minutes.
    pub fn with_pods(scenario: &str, count: usize, change: impl FnOnce(String) -> String) -> Result<Self> {
        let scene = Self::new(scenario)?;
        scene.credentials()?;
        // Pods of before the injection would be replaced one by one.
        scene.apply_changed_example(|manifest| {
            change(manifest.replace("replicas: 2", "replicas: 0").replace("cpu: 100m", "cpu: 10m"))
        })?;
        wait::until_true("new Pods to be injected", Duration::from_secs(60), || {
            Ok(is_injected(&scene.would_become(&scene.bare_pod("would-be")?)?))
        })?;
        scene.scale(count)?;
        scene.wait_pods(count)?;
        scene.wait_condition("Ready", "True", None)?;
        Ok(scene)
    }

    /// Waits until the edge is `Ready` and every resolver Pod is injected and ready.
    ///
    /// # Errors
    /// With the last conditions.
    pub fn wait_ready(&self) -> Result<()> {
        self.wait_condition("Ready", "True", None)?;
        self.wait_injected()
    }

    /// Waits until every resolver Pod is injected and ready, whatever Core says.
    ///
    /// # Errors
    /// When they are not in time.
    pub fn wait_injected(&self) -> Result<()> {
        let what = format!("two injected ready Pods in {}", self.namespace);
        wait::until_true(&what, Duration::from_secs(120), || {
            let pods = self.pods()?;
            Ok(pods.len() >= 2 && pods.iter().all(|pod| is_ready(pod) && is_injected(pod)))
        })
    }

    /// Waits until there are just so many resolver Pods, all of them injected and ready.
    ///
    /// # Errors
    /// When they are not in time.
    pub fn wait_pods(&self, count: usize) -> Result<()> {
        wait::until_true(&format!("{count} ready Pods, all injected"), Duration::from_secs(120), || {
            let pods = self.pods()?;
            Ok(pods.len() == count && pods.iter().all(|pod| is_ready(pod) && is_injected(pod)))
        })
    }

    /// Waits for a condition of the edge; the reason is checked when given.
    ///
    /// # Errors
    /// With the conditions as they were last.
    pub fn wait_condition(&self, kind: &str, status: &str, reason: Option<&str>) -> Result<Value> {
        let mut last = Value::Null;
        let what = format!("{kind}={status} {} of the edge in {}", reason.unwrap_or_default(), self.namespace);
        wait::until(&what, Duration::from_secs(120), || {
            let edge = self.edge()?;
            last = edge["status"]["conditions"].clone();
            let holds = condition(&edge, kind).is_some_and(|(is, why)| is == status && reason.is_none_or(|reason| reason == why));
            Ok(holds.then_some(edge))
        })
        .with_context(|| format!("last conditions: {last}"))
    }

    /// The edge.
    ///
    /// # Errors
    /// When it is not there.
    pub fn edge(&self) -> Result<Value> {
        cluster().get(&self.namespace, &["tapiredge", EDGE])?.context("the TapirEdge is not there")
    }

    /// The resolver Pods that are not on their way out.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn pods(&self) -> Result<Vec<Value>> {
        let selector = format!("dnstapir.se/edge={EDGE}");
        let mut pods = items(cluster().get(&self.namespace, &["pods", "--selector", &selector])?);
        pods.retain(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        Ok(pods)
    }

    /// A bare Pod like those of the resolvers' Deployment, that no Service knows; not yet there.
    ///
    /// # Errors
    /// When the Deployment is not there.
    pub fn bare_pod(&self, name: &str) -> Result<Value> {
        let deployment = cluster().get(&self.namespace, &["deployment", RESOLVER])?.context("the resolvers' Deployment")?;
        let mut pod = deployment["spec"]["template"].clone();
        pod["apiVersion"] = json!("v1");
        pod["kind"] = json!("Pod");
        pod["metadata"] = json!({"name": name, "labels": {"dnstapir.se/edge": EDGE, "case": name}});
        Ok(pod)
    }

    /// What the API server would make of a Pod.
    ///
    /// # Errors
    /// When it would refuse it.
    pub fn would_become(&self, pod: &Value) -> Result<Value> {
        let create = ["--namespace", &self.namespace, "create", "--dry-run=server", "--output=json", "--filename", "-"];
        Ok(serde_json::from_str(&cluster().kubectl_with_input(&create, &pod.to_string())?)?)
    }

    /// Waits until the API server would give this image of POP to a new Pod.
    ///
    /// # Errors
    /// When it does not within half a minute.
    pub fn wait_given(&self, pop: &str) -> Result<()> {
        let pod = self.bare_pod("would-be")?;
        wait::until_true(&format!("new Pods get {pop}"), Duration::from_secs(30), || {
            Ok(pop_image(&self.would_become(&pod)?).as_deref() == Some(pop))
        })
    }

    /// Changes the edge.
    ///
    /// # Errors
    /// When the API server refuses.
    pub fn patch(&self, patch: &Value) -> Result<()> {
        self.kubectl(&["patch", "tapiredge", EDGE, "--type=merge", "--patch", &patch.to_string()]).map(|_| ())
    }

    /// Changes the number of resolvers.
    ///
    /// # Errors
    /// When the API server refuses.
    pub fn scale(&self, replicas: usize) -> Result<()> {
        let (deployment, replicas) = (format!("deployment/{RESOLVER}"), format!("--replicas={replicas}"));
        self.kubectl(&["scale", &deployment, &replicas]).map(|_| ())
    }

    /// Cluster IP of the resolvers' Service.
    ///
    /// # Errors
    /// When it is not there.
    pub fn service_address(&self) -> Result<String> {
        let service = cluster().get(&self.namespace, &["service", RESOLVER])?.context("the resolvers' Service")?;
        Ok(text(&service["spec"]["clusterIP"]))
    }

    /// Applies one object in this namespace.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub fn apply_json(&self, object: &Value) -> Result<()> {
        cluster().apply(&self.namespace, &object.to_string()).map(|_| ())
    }

    /// The scenario held: its namespace goes and nothing is kept. Without this call everything counts as failed.
    ///
    /// # Errors
    /// Never; so that it can stand as the last line of a test.
    pub fn passed(mut self) -> Result<()> {
        self.evidence.passed();
        Ok(())
    }

    /// Runs `kubectl` in this namespace.
    ///
    /// # Errors
    /// When it fails.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut all = vec!["--namespace", self.namespace.as_str()];
        all.extend_from_slice(arguments);
        cluster().kubectl(&all)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if self.evidence.has_passed() {
            let _ = cluster().kubectl(&["delete", "namespace", &self.namespace, "--wait=false"]);
        }
    }
}

/// The example's objects as one text, with this run's images.
///
/// # Errors
/// When they cannot be rendered.
pub fn example() -> Result<String> {
    let cluster = cluster();
    let manifest = cluster.kubectl(&["kustomize", &cluster.repo.join("kind-tests/demo").to_string_lossy()])?;
    Ok(manifest.replace("tapir.local/unbound:dev", &cluster.image("unbound")?))
}

/// The example before its edge: Pods that are made by it are not injected.
#[must_use]
pub fn without_edge(manifest: &str) -> String {
    let others = manifest.split("\n---\n").filter(|document| !document.contains("\nkind: TapirEdge\n"));
    others.collect::<Vec<_>>().join("\n---\n")
}

/// A Secret with enrolment credentials.
#[must_use]
pub fn secret(name: &str, credentials: &str) -> Value {
    serde_json::json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"credentials.json": credentials}})
}

#[cfg(test)]
mod tests {
    use super::without_edge;

    #[test]
    fn only_the_edge_is_left_out() {
        let manifest = "apiVersion: v1\nkind: Service\n---\napiVersion: dnstapir.se/v1alpha1\nkind: TapirEdge\nspec: {}\n---\napiVersion: dnstapir.se/v1alpha1\nkind: TapirPolicy\n";
        let left = without_edge(manifest);
        assert!(left.contains("Service") && left.contains("TapirPolicy") && !left.contains("TapirEdge"), "{left}");
    }
}
