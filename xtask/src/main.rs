//! `cargo xtask …`: everything that a person or a pipeline does with this repository.

mod cluster;
mod images;

use std::process::ExitCode;

use anyhow::Result;
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
    /// A Kubernetes cluster for development
    Cluster(cluster::Arguments),
    /// Build container images without an engine
    Images(images::Arguments),
    /// Pid 1 of a sealed node; started by `cluster up`
    #[command(hide = true, name = tapir_harness::cluster::NODE_COMMAND)]
    Node { folder: std::path::PathBuf },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Task::Cluster(arguments) => cluster::run(arguments),
        Task::Images(arguments) => images::run(&arguments),
        Task::Node { folder } => tapir_harness::cluster::run_node(&folder).map(|()| ExitCode::SUCCESS),
    };
    report(result)
}

fn report(result: Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        say(&format!("error: {error:#}"));
        ExitCode::FAILURE
    })
}
