//! `cargo xtask bench NAME`: figures of the product, measured on this machine with release builds, beside their goals.

mod figures;
mod real_pods;

use std::fs;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use tapir_harness::paths;
use tapir_harness::progress::{Step, say};
use tapir_harness::test_programs;

use crate::checks;
use figures::Figures;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// What to measure
    bench: Bench,
    /// For the operator: resolver Pods of one edge on a real node; 0: none
    #[arg(long, default_value_t = 50)]
    real_pods: usize,
    /// Handed to the bench; `-- --help` lists what it knows
    #[arg(last = true)]
    rest: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Bench {
    /// Thousands of edges and Pods on a real API server
    Operator,
    /// POP with a million names, a real broker and readers that are not the bottleneck
    Pop,
    /// EDM with a million names, frames through its socket, a real broker
    Edm,
}

impl Bench {
    const fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Pop => "pop",
            Self::Edm => "edm",
        }
    }

    /// What is built for it.
    const fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Operator => &["tapir-operator", "tapir-core-dev", "tapir-bench"],
            Self::Pop => &["tapir-pop", "tapir-bench"],
            Self::Edm => &["tapir-edm", "tapir-bench"],
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let bench = arguments.bench;
    let mut build = checks::cargo();
    build.args(["build", "--release", "--locked"]);
    for package in bench.packages() {
        build.args(["--package", package]);
    }
    checks::succeed("build release binaries", &mut build)?;

    let mut figures = Figures::default();
    if bench == Bench::Operator && arguments.real_pods > 0 {
        real_pods::run(arguments.real_pods, |line| figures.read(line))?;
    }
    let programs = paths::target().join("release");
    let mut command = std::process::Command::new(programs.join("tapir-bench"));
    command.arg(bench.name()).args(&arguments.rest).current_dir(paths::repository()).env("TAPIR_PROGRAMS", &programs);
    if bench != Bench::Operator {
        command.env("PATH", test_programs::path()?);
    }
    let mut step = Step::begin(format!("bench {}", bench.name()));
    let status = step.stream(&mut command, |line| figures.read(line))?;
    step.end();
    if !status.success() {
        bail!("bench {}: {status}", bench.name());
    }
    let folder = paths::target().join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let path = folder.join(format!("{}.json", bench.name()));
    fs::write(&path, figures.json(tapir_version::LONG)).with_context(|| format!("writing {}", path.display()))?;
    say(&format!("\n{}\nkept in {}\n", figures.table(), path.display()));
    // Last, for programs.
    for line in figures.lines() {
        say(&line);
    }
    Ok(ExitCode::SUCCESS)
}
