//! etcd and API server as processes, and the users that talk to it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use reqwest::Method;
use serde_json::{Value, json};
use tapir_harness::certificates::Authority;
use tapir_harness::{paths, tools};

use crate::audit;
use crate::client::{Api, DEFINITIONS, EDGES, NAMESPACES, POLICIES, Refusal, SERVICE_ACCOUNTS};
use crate::processes::{Process, free_port};
use crate::{chart, wait};

/// On two busy cores.
const START_LIMIT: Duration = Duration::from_secs(90);
/// Nobody's address (RFC 2544): the API server refuses to announce a loopback one, and is told to announce none at all.
const ADVERTISED: &str = "198.18.0.1";
const SERVICE_NETWORK: &str = "198.19.0.0/16";

/// Which API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    V1_36,
    V1_35,
}

impl Version {
    fn program(self) -> Result<PathBuf> {
        Ok(match self {
            Self::V1_36 => tools::kubernetes()?,
            Self::V1_35 => tools::api_server_1_35()?,
        }
        .join("kube-apiserver"))
    }

    /// As `helm template --kube-version` wants it.
    pub fn text(self) -> &'static str {
        match self {
            Self::V1_36 => tools::KUBERNETES,
            Self::V1_35 => tools::KUBERNETES_1_35,
        }
    }

    /// What charts ask the API server for, of what the two differ in.
    pub(crate) fn apis(self) -> &'static [&'static str] {
        match self {
            Self::V1_36 => &["admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"],
            Self::V1_35 => &[],
        }
    }
}

/// What there is beside etcd and API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Kubernetes' own controllers: namespaces are emptied, EndpointSlices follow Pods.
    pub controllers: bool,
}

/// A real API server with the CRDs of this checkout, for one test or for many.
#[derive(Debug)]
pub struct Rig {
    version: Version,
    folder: PathBuf,
    server: String,
    authority: Authority,
    api_server: Mutex<Process>,
    arguments: Vec<String>,
    admin: Api,
    kubeconfig: PathBuf,
    // Last to go.
    _controllers: Option<Process>,
    _etcd: Process,
}

impl Rig {
    /// One of one's own: for tests that take it away or change what is cluster-wide. Files are in `target/rig/<name>-<process id>`.
    pub fn start(name: &str, version: Version, options: Options) -> Result<Self> {
        let root = paths::target().join("rig");
        forget_former_runs(&root);
        let folder = root.join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        let [etcd_port, peer_port, port] = [free_port(), free_port(), free_port()];
        let etcd = Process::start(&folder, "etcd", &tools::etcd()?.join("etcd"), &etcd(&folder, etcd_port, peer_port), &[])?;

        let authority = Authority::generate()?;
        let server = format!("https://127.0.0.1:{port}");
        let admin = authority.issue("rig-admin", &["system:masters"], &[])?;
        let kubeconfig = folder.join("admin.kubeconfig");
        put(&kubeconfig, &authority.kubeconfig(&server, &admin))?;
        let arguments = prepare_api_server(name, &folder, &authority, etcd_port, port)?;
        let rig = Self {
            version,
            api_server: Mutex::new(Process::start(&folder, "kube-apiserver", &version.program()?, &arguments, &[])?),
            admin: Api::new(&server, authority.certificate(), &admin)?,
            _controllers: options.controllers.then(|| controllers(&folder, &kubeconfig)).transpose()?,
            _etcd: etcd,
            folder,
            server,
            authority,
            arguments,
            kubeconfig,
        };
        rig.wait_for_api_server()?;
        chart::install(&rig, "tapir-operator-crds", "tapir-operator-crds", "default", &[])?;
        wait::until_true("the CRDs to be served", START_LIMIT, || {
            let served = rig.admin.list(DEFINITIONS, "")?;
            // Established, and still being read for the first time: until then the API server asks for patience.
            Ok(!served.is_empty()
                && served.iter().all(is_established)
                && [EDGES, POLICIES].iter().all(|kind| rig.admin.list(*kind, "").is_ok()))
        })?;
        Ok(rig)
    }

    /// One for all tests of this process that leave it as it is; started by the first of them.
    pub fn shared() -> Result<&'static Self> {
        static SHARED: LazyLock<Result<Rig, String>> =
            LazyLock::new(|| Rig::start("shared", Version::V1_36, Options::default()).map_err(|error| format!("{error:#}")));
        SHARED.as_ref().map_err(|error| anyhow!("the shared API server did not start: {error}"))
    }

    pub fn version(&self) -> Version {
        self.version
    }

    /// Where the API server listens, on this machine.
    pub fn address(&self) -> &str {
        &self.server
    }

    /// Logs and keys.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// With all rights.
    pub fn admin(&self) -> &Api {
        &self.admin
    }

    /// As any user; `system:authenticated` comes by itself.
    pub fn client_as(&self, user: &str, groups: &[&str]) -> Result<Api> {
        Api::new(&self.server, self.authority.certificate(), &self.authority.issue(user, groups, &[])?)
    }

    /// Content of a kubeconfig file for a program that is to be that user.
    pub fn kubeconfig_as(&self, user: &str, groups: &[&str]) -> Result<String> {
        Ok(self.authority.kubeconfig(&self.server, &self.authority.issue(user, groups, &[])?))
    }

    /// `kubectl` with all rights.
    pub fn kubectl(&self) -> Result<Command> {
        let mut command = Command::new(tools::kubernetes()?.join("kubectl"));
        command.env("KUBECONFIG", &self.kubeconfig).env("HOME", &self.folder);
        Ok(command)
    }

    /// A namespace in which Pods can be created: the controller that would make its account may not be there.
    pub fn namespace(&self, name: &str) -> Result<()> {
        let made = [
            self.admin.create(NAMESPACES, "", &json!({"metadata": {"name": name}})),
            self.admin.create(SERVICE_ACCOUNTS, name, &json!({"metadata": {"name": "default"}})),
        ];
        for result in made {
            match result {
                Err(error) if error.downcast_ref().is_none_or(|refusal: &Refusal| refusal.reason != "AlreadyExists") => {
                    return Err(error).with_context(|| format!("making namespace {name}"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Ends the API server without a word, as a node that loses power.
    pub fn stop_api_server(&self) -> Result<()> {
        self.api_server().kill()
    }

    /// Has it back, at the same address. While it starts it refuses for want of rights what it will allow a moment later, so from here on it
    /// writes another log, which is not judged.
    pub fn start_api_server(&self) -> Result<()> {
        let log = format!("--audit-log-path={}", self.later_audit_log().display());
        let mut arguments = self.arguments.clone();
        arguments.retain(|argument| !argument.starts_with("--audit-log-path="));
        arguments.push(log);
        *self.api_server() = Process::start(&self.folder, "kube-apiserver", &self.version.program()?, &arguments, &[])?;
        self.wait_for_api_server()
    }

    /// Where [`Rig::audit`] reads, but for what an API server that was started again wrote.
    pub fn audit_log(&self) -> PathBuf {
        audit_log(&self.folder)
    }

    fn later_audit_log(&self) -> PathBuf {
        self.folder.join("audit-after-restart.log")
    }

    /// Every request since the start but reads by administrator and control plane, level Metadata.
    pub fn audit(&self) -> Result<Vec<Value>> {
        let mut events = audit::read(&self.audit_log())?;
        if self.later_audit_log().exists() {
            events.extend(audit::read(&self.later_audit_log())?);
        }
        Ok(events)
    }

    fn wait_for_api_server(&self) -> Result<()> {
        wait::until_true("the API server", START_LIMIT, || {
            self.api_server().still_runs()?;
            Ok(self.admin.raw(Method::GET, "/readyz", None)?.status == 200)
        })
    }

    fn api_server(&self) -> MutexGuard<'_, Process> {
        self.api_server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Rig {
    /// Logs stay; what etcd sets aside on the disk is large and tells nobody anything.
    fn drop(&mut self) {
        let _ = self.stop_api_server();
        let _ = fs::remove_dir_all(self.folder.join("etcd"));
    }
}

fn etcd(folder: &Path, port: u16, peer_port: u16) -> Vec<String> {
    vec![
        format!("--data-dir={}", folder.join("etcd").display()),
        format!("--listen-client-urls=http://127.0.0.1:{port}"),
        format!("--advertise-client-urls=http://127.0.0.1:{port}"),
        format!("--listen-peer-urls=http://127.0.0.1:{peer_port}"),
        format!("--initial-advertise-peer-urls=http://127.0.0.1:{peer_port}"),
        format!("--initial-cluster=default=http://127.0.0.1:{peer_port}"),
        // What it holds dies with the run.
        "--unsafe-no-fsync=true".into(),
        "--log-level=warn".into(),
    ]
}

/// Writes what it reads at start; gives its command line.
fn prepare_api_server(name: &str, folder: &Path, authority: &Authority, etcd_port: u16, port: u16) -> Result<Vec<String>> {
    let serving = authority.issue("kube-apiserver", &[], &["localhost", "127.0.0.1", "kubernetes.default.svc"])?;
    // Any key will do for tokens that nobody uses.
    let accounts = Authority::generate()?;
    let files = [
        ("ca.crt", authority.certificate().to_owned()),
        ("ca.key", authority.key()),
        ("apiserver.crt", serving.certificate),
        ("apiserver.key", serving.key),
        ("service-accounts.key", accounts.key()),
        ("service-accounts.crt", accounts.certificate().to_owned()),
        ("audit-policy.yaml", audit::POLICY.to_owned()),
    ];
    for (file, text) in &files {
        put(&folder.join(file), text)?;
    }
    let log = audit_log(folder);
    fs::create_dir_all(log.parent().context("the folder of the audit logs")?).with_context(|| format!("a folder for {name}"))?;
    let file = |name: &str| folder.join(name).display().to_string();
    Ok(vec![
        format!("--etcd-servers=http://127.0.0.1:{etcd_port}"),
        "--bind-address=127.0.0.1".into(),
        format!("--secure-port={port}"),
        format!("--advertise-address={ADVERTISED}"),
        "--endpoint-reconciler-type=none".into(),
        format!("--service-cluster-ip-range={SERVICE_NETWORK}"),
        format!("--client-ca-file={}", file("ca.crt")),
        format!("--tls-cert-file={}", file("apiserver.crt")),
        format!("--tls-private-key-file={}", file("apiserver.key")),
        "--authorization-mode=RBAC".into(),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".into(),
        format!("--service-account-key-file={}", file("service-accounts.crt")),
        format!("--service-account-signing-key-file={}", file("service-accounts.key")),
        format!("--audit-policy-file={}", file("audit-policy.yaml")),
        format!("--audit-log-path={}", log.display()),
        "--audit-log-maxsize=2000".into(),
        "--profiling=false".into(),
    ])
}

fn controllers(folder: &Path, kubeconfig: &Path) -> Result<Process> {
    let file = |name: &str| folder.join(name).display().to_string();
    let kubeconfig = kubeconfig.display();
    let arguments = vec![
        format!("--kubeconfig={kubeconfig}"),
        format!("--authentication-kubeconfig={kubeconfig}"),
        format!("--authorization-kubeconfig={kubeconfig}"),
        "--leader-elect=false".into(),
        "--bind-address=127.0.0.1".into(),
        format!("--secure-port={}", free_port()),
        "--use-service-account-credentials=true".into(),
        // There is no kubelet: these would find every node dead and remove its Pods.
        "--controllers=*,-node-lifecycle-controller,-pod-garbage-collector-controller".into(),
        // Benches make thousands of objects.
        "--kube-api-qps=500".into(),
        "--kube-api-burst=500".into(),
        format!("--root-ca-file={}", file("ca.crt")),
        format!("--service-account-private-key-file={}", file("service-accounts.key")),
        "--profiling=false".into(),
    ];
    let program = tools::kubernetes()?.join("kube-controller-manager");
    Process::start(folder, "kube-controller-manager", &program, &arguments, &[])
}

/// Outside of the run's own folder, because the check of the operator's rights reads all of them at the end.
fn audit_log(folder: &Path) -> PathBuf {
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    folder.with_file_name("audit").join(format!("{name}.log"))
}

fn is_established(definition: &Value) -> bool {
    let conditions = definition["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|condition| condition["type"] == "Established" && condition["status"] == "True")
}

/// Evidence of a run is kept until the next one begins.
fn forget_former_runs(root: &Path) {
    for folder in [root.to_path_buf(), root.join("audit")] {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let owner = name.trim_end_matches(".log").rsplit_once('-').and_then(|(_, pid)| pid.parse::<u32>().ok());
            if owner.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists()) {
                // Whoever cannot remove it could not have made it; it costs only space.
                let _ = fs::remove_dir_all(entry.path()).or_else(|_| fs::remove_file(entry.path()));
            }
        }
    }
}

fn put(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}
