//! `cargo xtask cluster …`

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use tapir_harness::cluster::{self, Cluster, State};
use tapir_harness::images;
use tapir_harness::paths::ClusterName;
use tapir_harness::progress::say;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Several clusters can run side by side
    #[arg(long, global = true, default_value = "dev", value_parser = ClusterName::parse)]
    name: ClusterName,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make the cluster; builds what it needs first
    Up,
    /// Remove the cluster and everything that belongs to it
    Down,
    /// Say what is there and where
    Status,
    /// Run kubectl in the cluster
    #[command(disable_help_flag = true)]
    Kubectl {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Load images: an archive file, or the name of an image of this repository
    Import {
        #[arg(required = true, value_name = "IMAGE")]
        images: Vec<String>,
    },
    /// Run a command on the node
    Exec {
        program: String,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

impl Arguments {
    pub(crate) fn passes_through(&self) -> bool {
        matches!(self.action, Action::Kubectl { .. } | Action::Exec { .. })
    }
}

pub(crate) fn run(arguments: Arguments) -> Result<ExitCode> {
    let Arguments { name, action } = arguments;
    match action {
        Action::Up => {
            let cluster = Cluster::up(&name)?;
            say(&format!("\n{}", cluster.describe()?));
        }
        Action::Down => cluster::down(&name)?,
        Action::Status => match cluster::state(&name) {
            State::Up => say(&Cluster::open(&name)?.describe()?),
            State::Broken => say("broken: left by an interrupted run; `cluster up` or `cluster down` clears it"),
            State::Absent => say("absent"),
        },
        Action::Kubectl { arguments } => return pass_through(Cluster::open(&name)?.kubectl().args(arguments)),
        Action::Import { images } => import(&Cluster::open(&name)?, &images)?,
        Action::Exec { program, arguments } => return pass_through(Cluster::open(&name)?.on_node(&program)?.args(arguments)),
    }
    Ok(ExitCode::SUCCESS)
}

fn import(cluster: &Cluster, names: &[String]) -> Result<()> {
    for name in names {
        let archive = PathBuf::from(name);
        if archive.is_file() {
            cluster.import_archive(&archive)?;
            continue;
        }
        let built =
            images::build(&[name]).with_context(|| format!("{name} is no file, so it should be an image of this repository"))?;
        cluster.import(&built)?;
        for image in &built {
            say(&format!("{} is in the cluster as {}", image.name, image.written.reference));
        }
    }
    Ok(())
}

/// The command's own output and exit code.
fn pass_through(command: &mut Command) -> Result<ExitCode> {
    let status = command.status().context("starting the command")?;
    Ok(u8::try_from(status.code().unwrap_or(1)).map_or(ExitCode::FAILURE, ExitCode::from))
}
