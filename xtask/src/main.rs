//! `cargo xtask …`: everything that a person or a pipeline does with this repository.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod bench;
mod checks;
mod cluster;
mod demo;
mod images;
mod interrupted;
mod report;
mod rig;
mod rights;
mod test;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use tapir_harness::progress::say;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", version = tapir_version::LONG, about = "Build, test, try out DNS TAPIR Edge for Kubernetes")]
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
    /// Measure the product
    Bench(bench::Arguments),
    /// A Kubernetes cluster for development
    Cluster(cluster::Arguments),
    /// Build container images without an engine
    Images(images::Arguments),
    /// Write the CustomResourceDefinitions from the types
    Crds,
    /// Pid 1 of a sealed node; started by `cluster up`
    #[command(hide = true, name = tapir_harness::cluster::NODE_COMMAND)]
    Node { folder: std::path::PathBuf },
}

impl Task {
    /// Whether the output is ours alone; that of another program goes through unchanged.
    fn speaks(&self) -> bool {
        !matches!(self, Self::Cluster(arguments) if arguments.passes_through())
    }
}

fn main() -> ExitCode {
    let command = Arguments::parse().command;
    if command.speaks() {
        say(&format!("tapir-operator {}", tapir_version::LONG));
    }
    let result = match command {
        Task::Demo(arguments) => demo::run(&arguments),
        Task::Test(arguments) => test::run(&arguments),
        Task::Bench(arguments) => bench::run(&arguments),
        Task::Cluster(arguments) => cluster::run(arguments),
        Task::Images(arguments) => images::run(&arguments),
        Task::Crds => crds(),
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

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::Arguments;

    fn speaks(line: &str) -> bool {
        Arguments::try_parse_from(line.split(' ')).unwrap().command.speaks()
    }

    #[test]
    fn version_and_commit_are_told() {
        let told = Arguments::try_parse_from(["xtask", "--version"]).unwrap_err().to_string();
        assert!(told.contains(tapir_version::LONG), "{told}");
        for line in ["xtask demo", "xtask test --fast", "xtask cluster up", "xtask cluster --name a down"] {
            assert!(speaks(line), "{line}");
        }
        for line in ["xtask cluster kubectl get pods --output=json", "xtask cluster exec cat /etc/hostname"] {
            assert!(!speaks(line), "{line} must print nothing but what the program prints");
        }
    }

    #[test]
    fn an_import_of_nothing_is_a_mistake() {
        assert!(Arguments::try_parse_from(["xtask", "cluster", "import"]).is_err());
    }
}
