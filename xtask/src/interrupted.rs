//! A `cluster up` that is killed midway: the next one makes the cluster nevertheless, and `down` leaves nothing of either.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tapir_harness::cluster::{self, Before, Cluster, State};
use tapir_harness::paths::ClusterName;

use crate::report::Report;
use crate::test::{nothing_left, with_evidence};

const STEP: &str = "cluster up, killed midway";
/// Nothing is to be built any more.
const MIDWAY_WITHIN: Duration = Duration::from_secs(60);

pub(crate) fn step(report: &mut Report, artifacts: &Path) {
    if !cluster::is_sealed() {
        return report.not_run(STEP, "a kind cluster is made by kind");
    }
    report.step(STEP, |_| {
        let name = ClusterName::parse("interrupted")?;
        let before = Before::look();
        let result = with_evidence(&name, &artifacts.join("interrupted"), || twice(&name, artifacts));
        let removed = cluster::down(&name).and_then(|()| nothing_left(&before, &name));
        result.and(removed)
    });
}

fn twice(name: &ClusterName, artifacts: &Path) -> Result<()> {
    // Else an earlier run's leftover would be taken for the half-made one.
    cluster::down(name)?;
    let log = File::create(artifacts.join("interrupted.log")).context("creating the log of the interrupted run")?;
    let mut command = Command::new(std::env::current_exe().context("finding this program")?);
    command.args(["cluster", "--name", name.as_str(), "up"]).stdin(Stdio::null());
    command.stdout(log.try_clone().context("sharing a log file")?).stderr(log);
    let mut child = command.spawn().context("starting `cluster up`")?;
    let midway = wait_until_midway(name, &mut child);
    // SIGKILL: it can tidy nothing up.
    let killed = child.kill().and_then(|()| child.wait());
    midway?;
    killed.context("killing `cluster up`")?;
    if cluster::state(name) != State::Broken {
        bail!("a cluster that was killed midway is taken for {:?}", cluster::state(name));
    }
    Cluster::up(name)?;
    if cluster::state(name) != State::Up {
        bail!("after the second `up` the cluster is {:?}", cluster::state(name));
    }
    Ok(())
}

/// The node runs and its API server is starting: processes, mounts, control groups and files are all there, half of them unfinished.
fn wait_until_midway(name: &ClusterName, child: &mut Child) -> Result<()> {
    let sign = name.folder().join("log/kube-apiserver.log");
    let begun = Instant::now();
    while !sign.exists() {
        if let Some(status) = child.try_wait().context("looking after `cluster up`")? {
            bail!("`cluster up` ended before it could be killed: {status}");
        }
        if begun.elapsed() > MIDWAY_WITHIN {
            bail!("`cluster up` did not come to its API server");
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
