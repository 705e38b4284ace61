//! Kubernetes and its company, built from pinned Go modules into a cache that is keyed by what they are built from.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use crate::progress::{Step, output, say};
use crate::{lock, paths};

/// The version of Kubernetes; clients look at what the API server says of itself.
pub const KUBERNETES: &str = "v1.36.3";
/// The oldest that is supported: the last one without mutating policies.
pub const KUBERNETES_1_35: &str = "v1.35.4";

/// One `go.mod` (their dependencies conflict) and the commands that are built from it.
#[derive(Debug)]
struct Tool {
    folder: &'static str,
    packages: &'static [&'static str],
    tags: &'static str,
    /// `-X` settings of the linker.
    settings: &'static [&'static str],
}

const KUBERNETES_NODE: Tool = Tool {
    folder: "kubernetes",
    packages: &[
        "k8s.io/kubernetes/cmd/kube-apiserver",
        "k8s.io/kubernetes/cmd/kube-controller-manager",
        "k8s.io/kubernetes/cmd/kube-proxy",
        "k8s.io/kubernetes/cmd/kube-scheduler",
        "k8s.io/kubernetes/cmd/kubectl",
        "k8s.io/kubernetes/cmd/kubelet",
    ],
    tags: "",
    settings: &[
        "k8s.io/component-base/version.gitVersion=v1.36.3",
        "k8s.io/component-base/version.gitMajor=1",
        "k8s.io/component-base/version.gitMinor=36",
    ],
};

/// Built only when a test asks for it.
const API_SERVER_1_35: Tool = Tool {
    folder: "kubernetes-1.35",
    packages: &["k8s.io/kubernetes/cmd/kube-apiserver"],
    tags: "",
    settings: &[
        "k8s.io/component-base/version.gitVersion=v1.35.4",
        "k8s.io/component-base/version.gitMajor=1",
        "k8s.io/component-base/version.gitMinor=35",
    ],
};

const ETCD: Tool = Tool { folder: "etcd", packages: &["go.etcd.io/etcd/server/v3"], tags: "", settings: &[] };

const CONTAINERD: Tool = Tool {
    folder: "containerd",
    packages: &[
        "github.com/containerd/containerd/v2/cmd/containerd",
        "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
        "github.com/containerd/containerd/v2/cmd/ctr",
    ],
    // Snapshotters that nobody uses here; btrfs and devmapper would need cgo.
    tags: "no_btrfs,no_devmapper,no_zfs",
    settings: &[],
};

const COREDNS: Tool = Tool { folder: "coredns", packages: &["github.com/coredns/coredns"], tags: "", settings: &[] };

const HELM: Tool = Tool { folder: "helm", packages: &["helm.sh/helm/v4/cmd/helm"], tags: "", settings: &[] };

/// Folders of built commands.
#[derive(Debug, Clone)]
pub struct NodeTools {
    pub kubernetes: PathBuf,
    pub etcd: PathBuf,
    pub containerd: PathBuf,
    pub coredns: PathBuf,
}

impl NodeTools {
    /// Everything that a sealed node runs.
    pub fn build() -> Result<Self> {
        Ok(Self {
            etcd: build(&ETCD)?,
            containerd: build(&CONTAINERD)?,
            coredns: build(&COREDNS)?,
            kubernetes: build(&KUBERNETES_NODE)?,
        })
    }

    pub fn kubectl(&self) -> PathBuf {
        self.kubernetes.join("kubectl")
    }
}

/// The folder that holds `helm`.
pub fn helm() -> Result<PathBuf> {
    build(&HELM)
}

/// The folder that holds `kubectl`; on a kind cluster only this one is needed of Kubernetes.
pub fn kubectl() -> Result<PathBuf> {
    build(&KUBERNETES_NODE)
}

/// The folder that holds `kube-apiserver` and its company, `kubectl` among them.
pub fn kubernetes() -> Result<PathBuf> {
    build(&KUBERNETES_NODE)
}

/// The folder that holds `kube-apiserver` of Kubernetes 1.35.
pub fn api_server_1_35() -> Result<PathBuf> {
    build(&API_SERVER_1_35)
}

/// All that an API server without a cluster needs.
pub fn for_the_rig() -> Result<()> {
    [etcd, kubernetes, api_server_1_35, helm].into_iter().try_for_each(|tool| tool().map(|_| ()))
}

/// The folder that holds `etcd`.
pub fn etcd() -> Result<PathBuf> {
    build(&ETCD)
}

/// The folder that holds `coredns`.
pub fn coredns() -> Result<PathBuf> {
    build(&COREDNS)
}

fn build(tool: &Tool) -> Result<PathBuf> {
    let source = paths::repository().join("kind-tests/tools").join(tool.folder);
    let version = output(Command::new("go").args(["env", "GOVERSION"]).current_dir(&source))
        .context("Go is needed to build Kubernetes from its modules; see the README for the version")?;
    let linker_flags = linker_flags(tool);
    let key = key(tool, &source, version.trim(), &linker_flags)?;
    let tools = paths::cache()?.join("tools");
    let folder = tools.join(format!("{}-{key}", tool.folder));
    if folder.is_dir() {
        return Ok(folder);
    }
    fs::create_dir_all(&tools).with_context(|| format!("creating {}", tools.display()))?;
    // Two builds at once would take twice as long, and two of one process would write the same files.
    let busy = format!("waiting for another build of {}", tool.folder);
    let _lock = lock::hold(&tools.join(format!("{}-{key}.lock", tool.folder)), &busy)?;
    if folder.is_dir() {
        return Ok(folder);
    }

    let mut step = Step::begin(format!("build {} from Go modules", tool.folder));
    // Built beside its place and renamed: an interrupted build never looks like a finished one.
    paths::forget_unfinished(&tools);
    let unfinished = paths::unfinished(&folder);
    fs::create_dir_all(&unfinished).with_context(|| format!("creating {}", unfinished.display()))?;
    let log = tools.join(format!("{}-{key}.log", tool.folder));
    for package in tool.packages {
        let command_name = unfinished.join(command_name(tool, package));
        // Tied to this process: a killed run leaves no compiler behind.
        let mut command = Command::new("setpriv");
        command.args([
            "--pdeathsig",
            "TERM",
            "go",
            "build",
            "-mod=readonly",
            "-trimpath",
            "-buildvcs=false",
            "-ldflags",
            &linker_flags,
        ]);
        if !tool.tags.is_empty() {
            command.args(["-tags", tool.tags]);
        }
        command.arg("-o").arg(&command_name).arg(package).current_dir(&source).env("CGO_ENABLED", "0").env("GOFLAGS", "");
        say(&format!("    {package}"));
        step.run(&mut command, &log)?;
    }
    fs::rename(&unfinished, &folder).with_context(|| format!("naming {}", folder.display()))?;
    step.end();
    Ok(folder)
}

/// A module whose root is the command would give the command the name of its major version.
fn command_name<'a>(tool: &'a Tool, package: &'a str) -> &'a str {
    let last = package.rsplit('/').next().unwrap_or(package);
    let is_major_version = last.strip_prefix('v').is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
    if is_major_version { tool.folder } else { last }
}

fn linker_flags(tool: &Tool) -> String {
    let mut flags = "-s -w".to_owned();
    for setting in tool.settings {
        flags.push_str(" -X ");
        flags.push_str(setting);
    }
    flags
}

fn key(tool: &Tool, source: &Path, go_version: &str, linker_flags: &str) -> Result<String> {
    let mut hash = Sha256::new();
    for file in ["go.mod", "go.sum"] {
        let path = source.join(file);
        hash.update(fs::read(&path).with_context(|| format!("reading {}", path.display()))?);
        hash.update([0]);
    }
    for text in [go_version, linker_flags, tool.tags, std::env::consts::ARCH] {
        hash.update(text);
        hash.update([0]);
    }
    for package in tool.packages {
        hash.update(package);
        hash.update([0]);
    }
    Ok(hex::encode(&hash.finalize()[..6]))
}
