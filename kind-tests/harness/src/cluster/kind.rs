//! The same cluster by kind, where a Docker engine answers and a node image is at hand. Unverified: written where there is no engine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::json;

use super::State;
use super::sealed::{AUDIT_POLICY, POD_NETWORK, SERVICE_NETWORK};
use crate::paths::ClusterName;
use crate::progress::{Step, output};

/// Set to use the sealed node in spite of an engine.
const NEVER: &str = "TAPIR_NO_KIND";

/// kind is never downloaded, nor its node image: what is not here is not used.
pub(crate) fn is_possible() -> bool {
    std::env::var_os(NEVER).is_none()
        && output(Command::new("docker").arg("info")).is_ok()
        && output(Command::new("kind").arg("version")).is_ok()
        && node_image().is_some()
}

/// The newest that can run the admission policy of the chart.
fn node_image() -> Option<String> {
    let images =
        output(Command::new("docker").args(["image", "list", "--format", "{{.Repository}}:{{.Tag}}", "kindest/node"])).ok()?;
    newest(&images).map(str::to_owned)
}

/// A MutatingAdmissionPolicy in version v1 came with Kubernetes 1.36.
const OLDEST: [u32; 2] = [1, 36];

fn newest(images: &str) -> Option<&str> {
    images
        .lines()
        .filter_map(|image| Some((version(image)?, image)))
        .filter(|(version, _)| version[..2] >= OLDEST[..])
        .max()
        .map(|(_, image)| image)
}

/// `kindest/node:v1.36.3` is `[1, 36, 3]`.
fn version(image: &str) -> Option<[u32; 3]> {
    let (_, tag) = image.rsplit_once(':')?;
    let mut parts = tag.strip_prefix('v')?.split('.').map(|part| part.parse().ok());
    Some([parts.next()??, parts.next()??, parts.next()??])
}

/// Docker names are shared by the whole machine.
fn kind_name(name: &ClusterName) -> String {
    format!("tapir-{}", name.as_str())
}

fn mark(name: &ClusterName) -> PathBuf {
    name.folder().join("kind")
}

pub(crate) fn is_ours(name: &ClusterName) -> bool {
    mark(name).exists()
}

pub(crate) fn state(name: &ClusterName) -> State {
    if name.folder().join("up").exists() { State::Up } else { State::Broken }
}

pub(crate) fn up(name: &ClusterName) -> Result<()> {
    down(name)?;
    let folder = name.folder();
    let logs = folder.join("log");
    fs::create_dir_all(&logs).with_context(|| format!("creating {}", logs.display()))?;
    fs::write(mark(name), "").context("noting that this is a kind cluster")?;
    fs::write(folder.join("audit-policy.yaml"), AUDIT_POLICY).context("writing the audit policy")?;
    let configuration = folder.join("kind.json");
    fs::write(&configuration, configuration_text(&folder)).context("writing the configuration of kind")?;

    let mut step = Step::begin(format!("create kind cluster {}", kind_name(name)));
    let mut command = Command::new("kind");
    command.args(["create", "cluster", "--wait", "180s", "--name", &kind_name(name), "--config"]).arg(&configuration);
    command.arg("--kubeconfig").arg(folder.join("kubeconfig"));
    if let Some(image) = node_image() {
        command.args(["--image", &image]);
    }
    step.run(&mut command, &logs.join("kind.log"))?;
    fs::write(folder.join("up"), "").context("noting that the cluster is up")?;
    step.end();
    Ok(())
}

fn configuration_text(folder: &Path) -> String {
    let audit = json!({
        "kind": "ClusterConfiguration",
        "apiServer": {
            "extraArgs": [
                {"name": "audit-policy-file", "value": "/etc/kubernetes/tapir/audit-policy.yaml"},
                {"name": "audit-log-path", "value": "/var/log/tapir/audit.log"},
            ],
            "extraVolumes": [
                {"name": "audit-policy", "hostPath": "/etc/kubernetes/tapir", "mountPath": "/etc/kubernetes/tapir", "readOnly": true},
                {"name": "audit-log", "hostPath": "/var/log/tapir", "mountPath": "/var/log/tapir", "pathType": "DirectoryOrCreate"},
            ],
        },
    });
    json!({
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "networking": {"podSubnet": POD_NETWORK, "serviceSubnet": SERVICE_NETWORK},
        "nodes": [{
            "role": "control-plane",
            "kubeadmConfigPatches": [audit.to_string()],
            "extraMounts": [
                {"hostPath": folder.join("audit-policy.yaml"), "containerPath": "/etc/kubernetes/tapir/audit-policy.yaml", "readOnly": true},
                {"hostPath": folder.join("log"), "containerPath": "/var/log/tapir"},
            ],
        }],
    })
    .to_string()
}

pub(crate) fn down(name: &ClusterName) -> Result<()> {
    if !is_ours(name) {
        return Ok(());
    }
    let mut step = Step::begin(format!("delete kind cluster {}", kind_name(name)));
    let log = name.folder().join("kind-delete.log");
    step.run(Command::new("kind").args(["delete", "cluster", "--name", &kind_name(name)]), &log)?;
    step.end();
    fs::remove_dir_all(name.folder()).with_context(|| format!("removing {}", name.folder().display()))
}

pub(crate) fn audit_log(name: &ClusterName) -> PathBuf {
    name.folder().join("log/audit.log")
}

pub(crate) fn import(name: &ClusterName, archive: &Path) -> Result<()> {
    let mut step = Step::begin(format!("load {}", archive.display()));
    let mut command = Command::new("kind");
    command.args(["load", "image-archive", "--name", &kind_name(name)]).arg(archive);
    step.run(&mut command, &name.folder().join("log/import.log"))?;
    step.end();
    Ok(())
}

pub(crate) fn on_node(name: &ClusterName, program: &str) -> Command {
    let mut command = Command::new("docker");
    command.args(["exec", "--interactive", &format!("{}-control-plane", kind_name(name)), program]);
    command
}

#[cfg(test)]
mod tests {
    use super::newest;

    #[test]
    fn the_newest_node_image_is_taken_by_number_and_never_one_that_is_too_old() {
        let images =
            "kindest/node:v1.9.11\nkindest/node:v1.36.3\nkindest/node:<none>\nkindest/node:v1.40.0\nkindest/node:v1.35.9\n";
        assert_eq!(newest(images), Some("kindest/node:v1.40.0"));
        assert_eq!(newest("kindest/node:v1.35.9\nkindest/node:latest\n"), None);
    }
}
