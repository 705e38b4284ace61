//! Pid 1 of a sealed node: prepares its namespaces, starts the components, starts again what died, reaps.
//!
//! Nothing here ends the node: that is done from outside by killing this process, which takes everything with it.

use std::collections::HashMap;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use super::plan::{Component, Plan};
use super::{forward, namespaces};
use crate::progress::say;

/// A component that died is not started again before this.
const RESTART_AFTER: Duration = Duration::from_secs(1);

/// Runs until killed. Standard input is the listening socket of the API server's forwarder.
pub fn run(folder: &Path) -> Result<()> {
    let plan = Plan::read(folder)?;
    namespaces::prepare(&plan.layout, &plan.host_name)?;
    forward::start()?;
    supervise(&plan)
}

/// What is known of one component between two looks at it.
struct Running<'a> {
    component: &'a Component,
    pid: Option<i32>,
    not_before: Instant,
}

fn supervise(plan: &Plan) -> Result<()> {
    let mut all: Vec<Running<'_>> =
        plan.components.iter().map(|component| Running { component, pid: None, not_before: Instant::now() }).collect();
    loop {
        reap(&mut all);
        let mut answers: HashMap<SocketAddr, bool> = HashMap::new();
        for running in &mut all {
            if running.pid.is_some() || Instant::now() < running.not_before {
                continue;
            }
            let ready = running.component.after.is_none_or(|address| *answers.entry(address).or_insert_with(|| accepts(address)));
            if ready {
                running.pid = Some(start(plan, running.component)?);
            }
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn reap(all: &mut [Running<'_>]) {
    loop {
        let (pid, ending) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => (pid, format!("exit code {code}")),
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, format!("signal {signal}")),
            _ => return,
        };
        // All others are orphans of containers and helpers.
        if let Some(running) = all.iter_mut().find(|running| running.pid == Some(pid.as_raw())) {
            say(&format!("{} ended: {ending}; starting it again", running.component.name));
            running.pid = None;
            running.not_before = Instant::now() + RESTART_AFTER;
        }
    }
}

fn start(plan: &Plan, component: &Component) -> Result<i32> {
    let log = plan.layout.logs().join(format!("{}.log", component.name));
    let file = File::options().create(true).append(true).open(&log).with_context(|| format!("opening {}", log.display()))?;
    let both = file.try_clone().context("sharing a log file")?;
    let child = Command::new(&component.program)
        .args(&component.arguments)
        .env_clear()
        .envs(&plan.environment)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(both)
        .spawn()
        .with_context(|| format!("starting {}", component.program.display()))?;
    let pid = i32::try_from(child.id()).context("reading a process id")?;
    say(&format!("{} started, pid {pid}", component.name));
    fs::write(Path::new("/run").join(format!("{}.pid", component.name)), pid.to_string()).context("writing a pid file")?;
    Ok(pid)
}

fn accepts(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok()
}
