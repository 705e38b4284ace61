//! `cargo xtask test`: every check, then every scenario on a real cluster.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use tapir_harness::cluster::{self, Before, Cluster, State};
use tapir_harness::deploy::{Environment, Serves};
use tapir_harness::evidence;
use tapir_harness::images::{self, Image};
use tapir_harness::paths::{self, ClusterName};
use tapir_harness::progress::say;

use crate::report::{Counts, Report};
use crate::{checks, demo, interrupted, rig, rights};

/// Scenarios side by side: each waits for kubelet and network most of its time.
const SIDE_BY_SIDE: usize = 3;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Leave out everything that needs a cluster or an API server
    #[arg(long, conflicts_with = "all")]
    fast: bool,
    /// Also what waits on the clock
    #[arg(long)]
    all: bool,
    /// Keep the cluster for a look
    #[arg(long)]
    keep: bool,
    /// Only scenarios whose name contains this
    #[arg(long)]
    scenario: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let mut report = Report::begin();
    if arguments.scenario.is_none() {
        checks::run(arguments.all, &mut report);
    }
    if !arguments.fast && arguments.scenario.is_none() {
        rig::step(arguments.all, &mut report);
    }
    if !arguments.fast {
        scenarios(arguments, &mut report)?;
    }
    Ok(if report.close() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn scenarios(arguments: &Arguments, report: &mut Report) -> Result<()> {
    let name = ClusterName::parse("test")?;
    let artifacts = artifacts()?;
    let before = Before::look();
    let mut images = Vec::new();
    let mut cluster = None;
    let ready = report.step("images", |_| {
        images = images::build(&[])?;
        images::write_index(&images).map(|_| ())
    }) && report.step("cluster up", |_| {
        cluster = Some(with_evidence(&name, &artifacts.join("deploy"), || Cluster::up(&name))?);
        Ok(())
    });
    match (ready, &cluster) {
        (true, Some(cluster)) => {
            // The environment is part of the step: a scenario without it would only fail again.
            report.step("scenarios", |counts| {
                with_evidence(&name, &artifacts.join("deploy"), || Environment::new(cluster, &images)?.deploy(Serves::All))?;
                with_evidence(&name, &artifacts.join("cluster"), || {
                    run_scenarios(arguments, cluster, &images, &artifacts, counts)
                })
            });
            if arguments.scenario.is_none() {
                report.step("rights granted and used", |_| {
                    rights::check(cluster, &rights::Subject::OPERATOR, &rights::logs(cluster)?)
                });
            }
        }
        _ => report.not_run("scenarios", "there is no cluster"),
    }
    if arguments.keep {
        say(&format!("the cluster stays: cargo xtask cluster --name {} status", name.as_str()));
        return Ok(());
    }
    report.step("cluster down", |_| {
        cluster::down(&name)?;
        nothing_left(&before, &name)
    });
    if ready && arguments.scenario.is_none() {
        interrupted::step(report, &artifacts);
    }
    if ready && arguments.scenario.is_none() {
        report.step("demo, and demo --down", |_| {
            let (name, before) = (demo::cluster_name()?, Before::look());
            let shown = with_evidence(&name, &artifacts.join("demo"), demo::show);
            // Also after a failure; the first error is the one that matters.
            let removed = demo::down().and_then(|()| nothing_left(&before, &name));
            shown.and(removed)
        });
    }
    Ok(())
}

/// Collects evidence while the cluster is still there.
pub(crate) fn with_evidence<T>(name: &ClusterName, folder: &Path, run: impl FnOnce() -> Result<T>) -> Result<T> {
    run().inspect_err(|_| evidence::collect(name, folder))
}

fn run_scenarios(
    arguments: &Arguments,
    cluster: &Cluster,
    images: &[Image],
    artifacts: &Path,
    counts: &mut Counts,
) -> Result<()> {
    let mut command = checks::cargo();
    command.args(["test", "--package", "tapir-scenarios", "--locked", "--no-fail-fast", "--"]);
    command.arg(format!("--test-threads={SIDE_BY_SIDE}"));
    if arguments.all {
        command.arg("--include-ignored");
    }
    command.args(&arguments.scenario);
    command
        .env("TAPIR_KUBECONFIG", cluster.kubeconfig())
        .env("TAPIR_IMAGES", images::write_index(images)?)
        .env("TAPIR_BIN_DIR", cluster.tools()?)
        .env("TAPIR_AUDIT_LOG", cluster.audit_log())
        .env("TAPIR_ARTIFACTS", artifacts)
        .env("TAPIR_REPO", paths::repository());
    let result = checks::tests("scenarios", &mut command, counts);
    if result.is_err() {
        say(&format!("evidence of failed scenarios: {}", artifacts.display()));
    }
    result
}

/// Empty at the start of each run, so that what lies there belongs to the last one.
fn artifacts() -> Result<PathBuf> {
    let folder = paths::target().join("scenarios");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("clearing {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    Ok(folder)
}

pub(crate) fn nothing_left(before: &Before, name: &ClusterName) -> Result<()> {
    if cluster::state(name) != State::Absent {
        bail!("cluster {} is still there", name.as_str());
    }
    let traces = before.traces(name);
    if !traces.is_empty() {
        bail!("cluster {} has left traces:\n{}", name.as_str(), traces.join("\n"));
    }
    Ok(())
}
