//! What a failed scenario leaves behind: one folder with descriptions, Events and logs.

use std::fs;

use serde_json::Value;

use crate::cluster::cluster;
use crate::objects::{items, name, text};

/// Namespaces that are part of every scenario.
const COMMON: [&str; 3] = ["tapir-core", "tapir-system", "tapir-internet"];

/// Collects evidence when it is dropped before the scenario passed, be it by a panic or by an error.
#[derive(Debug)]
pub struct OnFailure {
    scenario: String,
    namespaces: Vec<String>,
    passed: bool,
}

impl OnFailure {
    /// Watches over a scenario.
    #[must_use]
    pub fn new(scenario: &str, namespace: &str) -> Self {
        Self { scenario: scenario.to_owned(), namespaces: vec![namespace.to_owned()], passed: false }
    }
}

impl OnFailure {
    /// Nothing is to be kept.
    pub fn passed(&mut self) {
        self.passed = true;
    }

    /// Whether the scenario said so.
    #[must_use]
    pub fn has_passed(&self) -> bool {
        self.passed
    }
}

impl Drop for OnFailure {
    fn drop(&mut self) {
        if !self.passed {
            collect(&self.scenario, &self.namespaces);
            make_room(&self.namespaces);
        }
    }
}

/// What failed stays for a look, but for its Pods: those of the next scenario would find no room, and it would fail for that alone.
fn make_room(namespaces: &[String]) {
    for namespace in namespaces {
        let _ = cluster().kubectl(&["--namespace", namespace, "scale", "deployment", "--all", "--replicas=0"]);
        let _ = cluster().kubectl(&["--namespace", namespace, "delete", "pods", "--all", "--wait=false"]);
    }
}

#[expect(clippy::print_stderr, reason = "a person who reads the failed test must find the folder")]
fn collect(scenario: &str, namespaces: &[String]) {
    let cluster = cluster();
    let folder = cluster.artifacts.join(scenario);
    if fs::create_dir_all(&folder).is_err() {
        return;
    }
    let keep = |file: String, arguments: &[&str]| {
        let output = cluster.kubectl(arguments).unwrap_or_else(|error| format!("{error:#}"));
        let _ = fs::write(folder.join(file), output);
    };
    for namespace in namespaces.iter().map(String::as_str).chain(COMMON) {
        keep(format!("{namespace}.pods.txt"), &["--namespace", namespace, "describe", "pods"]);
        keep(format!("{namespace}.events.txt"), &["--namespace", namespace, "get", "events", "--sort-by=.lastTimestamp"]);
        keep(
            format!("{namespace}.objects.yaml"),
            &["--namespace", namespace, "get", "tapiredges,tapirpolicies,configmaps,deployments,endpointslices", "--output=yaml"],
        );
        for pod in items(cluster.get(namespace, &["pods"]).ok().flatten()) {
            let pod_name = name(&pod);
            for container in all_containers(&pod) {
                keep(
                    format!("{namespace}.{pod_name}.{container}.log"),
                    &["--namespace", namespace, "logs", &pod_name, "--container", &container, "--tail=2000"],
                );
                keep(
                    format!("{namespace}.{pod_name}.{container}.previous.log"),
                    &["--namespace", namespace, "logs", &pod_name, "--container", &container, "--previous", "--tail=500"],
                );
            }
        }
    }
    eprintln!("evidence of the failed scenario: {}", folder.display());
}

fn all_containers(pod: &Value) -> Vec<String> {
    ["initContainers", "containers"]
        .iter()
        .flat_map(|kind| pod["spec"][kind].as_array().into_iter().flatten())
        .map(|container| text(&container["name"]))
        .collect()
}
