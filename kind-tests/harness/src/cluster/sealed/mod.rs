//! A cluster of one node in namespaces of its own: nothing can leave it, and ending its pid 1 removes it.

mod configuration;
mod find;
mod forward;
mod groups;
mod init;
mod layout;
mod namespaces;
mod pki;
mod plan;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

pub(crate) use configuration::AUDIT_POLICY;
pub use find::NODE_COMMAND;
pub use init::run as run_node;
pub(crate) use layout::{POD_NETWORK, SERVICE_NETWORK, SERVICE_OF_CLUSTER_DNS};

use super::{State, addons};
use crate::images::{self, Image};
use crate::packages;
use crate::paths::ClusterName;
use crate::progress::{self, NotYet, Step, output, wait_for};
use crate::tools::NodeTools;
use layout::Layout;
use plan::{Plan, ResourceGroups};

pub(crate) fn up(name: &ClusterName) -> Result<()> {
    let layout = Layout::new(&name.folder());
    refuse_covered(&layout.folder)?;
    // What an interrupted run left is not worth repairing.
    down(name)?;
    packages::ensure()?;
    let tools = NodeTools::build()?;
    let images = images::build(&["coredns", "pause"])?;

    let step = Step::begin(format!("start cluster {}", name.as_str()));
    let mut node = start(name, &layout, &tools, &images)?;
    wait_for("the API server", Duration::from_secs(120), || ask(&mut node, &layout, &tools, &["get", "--raw", "/readyz"]))?;
    wait_for("the container runtime", Duration::from_secs(60), || {
        ask_command(&mut node, &layout, images_command(name)?.arg("list"))
    })?;
    for image in &images {
        import(name, &image.written.reference, &image.archive)?;
    }
    addons::apply(&mut kubectl_command(&layout, &tools), &images)?;
    wait_for("the node to be ready", Duration::from_secs(120), || {
        ask(&mut node, &layout, &tools, &["wait", "--for=condition=Ready", "node", "--all", "--timeout=2s"])
    })?;
    wait_for("cluster DNS", Duration::from_secs(120), || {
        ask(&mut node, &layout, &tools, &["--namespace=kube-system", "rollout", "status", "deployment/coredns", "--timeout=2s"])
    })?;
    fs::write(layout.finished(), "").context("noting that the cluster is up")?;
    step.end();
    Ok(())
}

fn start(name: &ClusterName, layout: &Layout, tools: &NodeTools, images: &[Image]) -> Result<Child> {
    fs::create_dir_all(layout.logs()).with_context(|| format!("creating {}", layout.logs().display()))?;
    let temporary = layout.folder.join("tmp");
    fs::create_dir_all(&temporary).context("creating the folder for temporary files")?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("opening a port for the API server on 127.0.0.1")?;
    let port = listener.local_addr().context("asking for the port")?.port();
    pki::write(layout, name.as_str(), port)?;
    let pause = images.iter().find(|image| image.name == "pause").context("there is no pause image")?;
    let plugins = packages::network_plugins().context("the network plug-ins are nowhere")?;
    configuration::write(layout, &pause.written.reference, plugins)?;
    let groups = resource_groups(layout);
    groups.create(&layout.controllers())?;
    let plan = Plan {
        layout: layout.clone(),
        host_name: name.as_str().to_owned(),
        environment: BTreeMap::from([
            ("PATH".to_owned(), format!("{}:{}", tools.containerd.display(), packages::search_path())),
            ("HOME".to_owned(), "/run".to_owned()),
            ("TMPDIR".to_owned(), temporary.display().to_string()),
        ]),
        components: configuration::components(layout, tools, name.as_str(), &groups),
    };
    plan.write()?;
    spawn(layout, listener)
}

/// Pid 1 of the node is this very program under another subcommand, so there is nothing more to build or to find.
fn spawn(layout: &Layout, listener: TcpListener) -> Result<Child> {
    let log = File::create(layout.logs().join("node.log")).context("creating the node's log")?;
    // A copy, because a build may replace the original while the node runs.
    let program = layout.folder.join("node");
    fs::copy("/proc/self/exe", &program).context("copying this program for the node")?;
    let mut command = Command::new("setsid");
    command.args(["unshare", "--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc", "--"]);
    command
        .arg(program)
        .args([NODE_COMMAND])
        .arg(&layout.folder)
        .current_dir("/")
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stdout(log.try_clone().context("sharing the node's log")?)
        .stderr(log);
    command.spawn().context("starting the node with setsid and unshare")
}

pub(crate) fn down(name: &ClusterName) -> Result<()> {
    let layout = Layout::new(&name.folder());
    let groups = resource_groups(&layout);
    let processes = find::processes(&layout.folder);
    let leftovers = groups.existing()?;
    if processes.is_empty() && leftovers.is_empty() && !layout.folder.exists() {
        return Ok(());
    }
    let step = Step::begin(format!("remove cluster {}", name.as_str()));
    // First, so that whatever is interrupted from here on is no longer taken for a cluster that is up.
    super::remove_if_there(&layout.finished())?;
    let limit = Instant::now() + Duration::from_secs(60);
    // A process that is just being replaced by the program that it starts shows no command line: once is not enough to be sure.
    let mut nobody = 0;
    while nobody < 3 {
        let processes = find::processes(&layout.folder);
        nobody = if processes.is_empty() { nobody + 1 } else { 0 };
        if Instant::now() > limit {
            bail!("processes {processes:?} of the node do not end");
        }
        processes.kill();
        thread::sleep(Duration::from_millis(20));
    }
    groups.remove(&layout.controllers())?;
    match fs::remove_dir_all(&layout.folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("removing {}", layout.folder.display()));
        }
        _ => {}
    }
    step.end();
    Ok(())
}

pub(crate) fn state(name: &ClusterName) -> State {
    let layout = Layout::new(&name.folder());
    let runs = find::processes(&layout.folder).init.is_some();
    match (runs, layout.finished().exists()) {
        (true, true) => State::Up,
        (false, _) if !layout.folder.exists() => State::Absent,
        _ => State::Broken,
    }
}

pub(crate) fn audit_log(name: &ClusterName) -> PathBuf {
    Layout::new(&name.folder()).audit_log()
}

/// The administrator's, for the node's own network.
pub(crate) fn kubeconfig_inside(name: &ClusterName) -> PathBuf {
    Layout::new(&name.folder()).kubeconfig_inside("admin")
}

/// Loads an image archive unless the reference is there already.
pub(crate) fn import(name: &ClusterName, reference: &str, archive: &Path) -> Result<()> {
    let present = output(images_command(name)?.args(["list", "--quiet"]))?;
    if present.lines().any(|line| line == reference) {
        return Ok(());
    }
    load(name, reference, archive)
}

/// Loads whatever is in an archive. It comes as standard input: the node does not see every folder that the host sees.
pub(crate) fn load(name: &ClusterName, what: &str, archive: &Path) -> Result<()> {
    let file = File::open(archive).with_context(|| format!("opening {}", archive.display()))?;
    let mut step = Step::begin(format!("import {what}"));
    let log = Layout::new(&name.folder()).logs().join("import.log");
    step.run_from(Stdio::from(file), images_command(name)?.args(["import", "-"]), &log)?;
    step.end();
    Ok(())
}

fn images_command(name: &ClusterName) -> Result<Command> {
    let mut command = on_node(name, &NodeTools::build()?.containerd.join("ctr").display().to_string())?;
    command.args(["--namespace", "k8s.io", "images"]);
    Ok(command)
}

/// A command in the node's namespaces; also in its process namespace, so that it cannot outlive the node.
pub(crate) fn on_node(name: &ClusterName, program: &str) -> Result<Command> {
    let layout = Layout::new(&name.folder());
    let Some(init) = find::processes(&layout.folder).init else { bail!("cluster {} does not run", name.as_str()) };
    let mut command = Command::new("nsenter");
    command.args(["--net", "--mount", "--pid", "--uts", "--ipc", "--wd=/", "--target", &init.to_string(), "--", program]);
    command.env("PATH", packages::search_path());
    Ok(command)
}

fn kubectl_command(layout: &Layout, tools: &NodeTools) -> Command {
    let mut command = Command::new(tools.kubectl());
    command.env("KUBECONFIG", layout.kubeconfig()).env("HOME", &layout.folder);
    command
}

fn ask(node: &mut Child, layout: &Layout, tools: &NodeTools, arguments: &[&str]) -> Result<Result<String, NotYet>> {
    ask_command(node, layout, kubectl_command(layout, tools).args(arguments))
}

/// Asks as long as there is somebody to ask: a node whose pid 1 is gone will never become ready; its log says why.
fn ask_command(node: &mut Child, layout: &Layout, command: &mut Command) -> Result<Result<String, NotYet>> {
    if node.try_wait().context("looking after the node")?.is_some() {
        let log = layout.logs().join("node.log");
        bail!("the node has ended; its log:\n{}", progress::tail(&log, 20));
    }
    progress::ask(command)
}

pub(crate) fn group_name(name: &ClusterName) -> String {
    resource_groups(&Layout::new(&name.folder())).name
}

/// Two checkouts may have clusters of the same name.
fn resource_groups(layout: &Layout) -> ResourceGroups {
    let folder = layout.folder.display().to_string();
    let name = layout.folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    ResourceGroups { name: format!("tapir-{name}-{}", hex::encode(&Sha256::digest(folder)[..4])) }
}

fn refuse_covered(folder: &Path) -> Result<()> {
    let cache = crate::paths::cache()?;
    for path in [folder, cache.as_path()] {
        if let Some(covered) = namespaces::COVERED.iter().find(|covered| path.starts_with(covered)) {
            bail!(
                "{} lies below {covered}, which the node replaces by its own: move the checkout, or set XDG_CACHE_HOME",
                path.display()
            );
        }
    }
    Ok(())
}
