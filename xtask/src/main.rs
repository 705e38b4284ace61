//! `cargo xtask …`: everything that a person or a pipeline does with this repository.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod checks;
mod cluster;
mod demo;
mod images;
mod interrupted;
mod report;
mod test;

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use tapir_harness::progress::say;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Build, test, try out DNS TAPIR Edge for Kubernetes")]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Show the whole product at work on a real cluster
    Demo(demo::Arguments),
    /// Check everything
    Test(test::Arguments),
    /// A Kubernetes cluster for development
    Cluster(cluster::Arguments),
    /// Build container images without an engine
    Images(images::Arguments),
    /// Write the CustomResourceDefinitions from the types
    Crds,
    /// Measure something
    Bench { name: Option<String> },
    /// Pid 1 of a sealed node; started by `cluster up`
    #[command(hide = true, name = tapir_harness::cluster::NODE_COMMAND)]
    Node { folder: std::path::PathBuf },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Task::Demo(arguments) => demo::run(&arguments),
        Task::Test(arguments) => test::run(&arguments),
        Task::Cluster(arguments) => cluster::run(arguments),
        Task::Images(arguments) => images::run(&arguments),
        Task::Crds => crds(),
        Task::Bench { name } => bench(name.as_deref()),
        Task::Node { folder } => tapir_harness::cluster::run_node(&folder).map(|()| ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|error| {
        say(&format!("error: {error:#}"));
        ExitCode::FAILURE
    })
}

/// The test that compares files and types is also what writes them.
fn crds() -> Result<ExitCode> {
    let mut command = checks::cargo();
    command.args(["test", "--package", "tapir-operator", "--lib", "--", "crds"]).env("UPDATE_CRDS", "1");
    checks::succeed("write crds/ and the chart's copy", &mut command)?;
    Ok(ExitCode::SUCCESS)
}

fn bench(name: Option<&str>) -> Result<ExitCode> {
    match name {
        None => say("there are no benchmarks yet"),
        Some(name) => bail!("no benchmark {name:?}: there are none yet"),
    }
    Ok(ExitCode::SUCCESS)
}
