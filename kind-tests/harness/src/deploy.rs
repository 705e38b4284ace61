//! What demo and scenarios put into a cluster before the user's part begins: the Internet, Core, the operator, a Pod to ask from.
//!
//! Everything here may be done again on a cluster that has it already.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::cluster::Cluster;
use crate::images::{self, Image};
use crate::paths;
use crate::progress::{Step, ask, feed, output, wait_for};

/// Namespace of the operator.
pub const OPERATOR: &str = "tapir-system";
/// Namespace of the development Core.
pub const CORE: &str = "tapir-core";
/// Namespace and name of the Pod that has `dig`.
pub const TOOLS: (&str, &str) = ("tapir-tools", "tools");

/// Which namespaces the operator serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serves<'a> {
    /// One, as the chart recommends; it must exist.
    Namespace(&'a str),
    /// Every one: each scenario makes its own.
    All,
}

/// A cluster and the images that belong into it.
#[derive(Debug)]
pub struct Environment<'a> {
    cluster: &'a Cluster,
    images: &'a [Image],
}

impl<'a> Environment<'a> {
    /// Loads the images.
    pub fn new(cluster: &'a Cluster, images: &'a [Image]) -> Result<Self> {
        cluster.import(images)?;
        Ok(Self { cluster, images })
    }

    /// All that scenarios and demo have in common; ready when this returns.
    pub fn deploy(&self, serves: Serves<'_>) -> Result<()> {
        self.internet()?;
        self.core()?;
        self.operator(serves)?;
        self.wait_for_deployments("tapir-internet")?;
        self.wait_for_deployments(CORE)?;
        self.wait_for_deployments(OPERATOR)?;
        let (namespace, pod) = TOOLS;
        self.wait_for(
            "the Pod with dig to be ready",
            &["--namespace", namespace, "wait", "--for=condition=Ready", "--timeout=2s", &format!("pod/{pod}")],
        )
    }

    fn internet(&self) -> Result<()> {
        let step = Step::begin("deploy the cluster's Internet: NSD with a root zone");
        self.apply_file(&paths::repository().join("kind-tests/internet/manifest.yaml"))?;
        self.apply_file(&paths::repository().join("kind-tests/internet/tools.yaml"))?;
        step.end();
        Ok(())
    }

    /// Makes a namespace unless it is there.
    pub fn namespace(&self, name: &str) -> Result<()> {
        self.apply(None, &format!(r#"{{"apiVersion":"v1","kind":"Namespace","metadata":{{"name":"{name}"}}}}"#))
    }

    fn core(&self) -> Result<()> {
        let step = Step::begin("deploy the development Core: nodeman, aggrec, bridge, broker");
        self.namespace(CORE)?;
        // New keys would be strangers to the nodes that are enrolled already.
        let mut existing = self.cluster.kubectl();
        existing.args(["--namespace", CORE, "get", "configmap", "core-ca", "--ignore-not-found", "--output=name"]);
        if output(&mut existing)?.trim().is_empty() {
            let program = paths::target().join("release/core-dev");
            let keys = output(Command::new(&program).args(["pki", "--ca-configmap", CORE]))?;
            self.apply(None, &keys)?;
        }
        self.apply_file(&paths::repository().join("kind-tests/core-dev/manifest.yaml"))?;
        step.end();
        Ok(())
    }

    /// By Helm, as a user does.
    fn operator(&self, serves: Serves<'_>) -> Result<()> {
        let charts = paths::repository().join("charts");
        let mut step = Step::begin("helm install tapir-operator-crds, tapir-operator");
        self.helm(&mut step, "tapir-operator-crds", &charts.join("tapir-operator-crds"), &[])?;
        let mut settings = Vec::new();
        for (setting, name) in [("images.operator", "tapir-operator"), ("images.edm", "tapir-edm"), ("images.pop", "tapir-pop")] {
            settings.extend(["--set-string".to_owned(), format!("{setting}={}", self.reference(name)?)]);
        }
        let serves = match serves {
            Serves::Namespace(namespace) => format!("watchNamespaces={{{namespace}}}"),
            // Scenarios run side by side, and none is to wait for the edge of another.
            Serves::All => "clusterWide=true,rollout.maxConcurrentEdges=8".to_owned(),
        };
        self.helm(
            &mut step,
            "tapir-operator",
            &charts.join("tapir-operator"),
            &[&settings[..], &["--set".into(), serves]].concat(),
        )?;
        step.end();
        Ok(())
    }

    fn helm(&self, step: &mut Step, release: &str, chart: &Path, settings: &[String]) -> Result<()> {
        let mut command = Command::new(self.cluster.tools()?.join("helm"));
        command.env("KUBECONFIG", self.cluster.kubeconfig()).env("HOME", self.cluster.name().folder());
        command
            .args(["upgrade", "--install", release])
            .arg(chart)
            .args(["--namespace", OPERATOR, "--create-namespace"])
            .args(settings);
        step.run(&mut command, &self.cluster.logs().join("helm.log"))
    }

    /// The exact content of an image, by its name.
    pub fn reference(&self, name: &str) -> Result<&str> {
        let image = self.images.iter().find(|image| image.name == name);
        Ok(&image.with_context(|| format!("image {name} was not built"))?.written.reference)
    }

    /// Applies a text with this run's images.
    pub fn apply(&self, namespace: Option<&str>, manifest: &str) -> Result<()> {
        let mut command = self.cluster.kubectl();
        command.args(["apply", "--server-side", "--force-conflicts", "--filename", "-"]);
        if let Some(namespace) = namespace {
            command.args(["--namespace", namespace]);
        }
        feed(&mut command, &images::with_references(manifest, self.images)).map(|_| ())
    }

    fn apply_file(&self, path: &Path) -> Result<()> {
        let manifest = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        self.apply(None, &manifest).with_context(|| format!("applying {}", path.display()))
    }

    /// A kustomization, as `kubectl apply -k` renders it.
    pub fn kustomize(&self, folder: &Path) -> Result<String> {
        output(self.cluster.kubectl().arg("kustomize").arg(folder))
    }

    fn wait_for_deployments(&self, namespace: &str) -> Result<()> {
        let what = format!("all Deployments in {namespace}");
        self.wait_for(&what, &["--namespace", namespace, "rollout", "status", "deployment", "--timeout=2s"])
    }

    /// Waits for what `kubectl wait` with these arguments waits for; the API server may be asked again and again.
    pub fn wait_for(&self, what: &str, arguments: &[&str]) -> Result<()> {
        let waited = wait_for(what, Duration::from_secs(180), || ask(self.cluster.kubectl().args(arguments)));
        waited.map(|_| ()).with_context(|| self.pods_for_error())
    }

    fn pods_for_error(&self) -> String {
        let pods =
            output(self.cluster.kubectl().args(["get", "pods", "--all-namespaces"])).unwrap_or_else(|error| error.to_string());
        format!("Pods at that time:\n{pods}")
    }

    /// Asks with the real `dig`, from a Pod; gives what it printed.
    pub fn dig(&self, server: &str, name: &str) -> Result<String> {
        let (namespace, pod) = TOOLS;
        let at = format!("@{server}");
        output(self.cluster.kubectl().args([
            "--namespace",
            namespace,
            "exec",
            pod,
            "--",
            "dig",
            "+tries=1",
            "+time=3",
            &at,
            name,
            "A",
        ]))
    }

    /// Makes a node in Core as its administrator does; gives the enrolment credentials.
    pub fn create_node(&self, name: &str) -> Result<String> {
        self.core_dev(&["node", "create", name])
    }

    /// Core keeps its nodes in memory: a new Pod of it knows none. An error is one of asking, and says nothing of the node.
    pub fn knows_node(&self, name: &str) -> Result<bool> {
        match self.core_dev(&["node", "show", name]) {
            Ok(_) => Ok(true),
            Err(error) if error.to_string().contains("refused with status 404") => Ok(false),
            Err(error) => Err(error).with_context(|| format!("asking Core for node {name}")),
        }
    }

    fn core_dev(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.cluster.kubectl();
        command.args(["--namespace", CORE, "exec", "deployment/core", "--", "/usr/bin/core-dev"]).args(arguments);
        output(&mut command)
    }

    pub fn cluster(&self) -> &Cluster {
        self.cluster
    }
}
