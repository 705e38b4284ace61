//! `tapir-pop`: the worker of the POP sidecar.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tapir_pop::app::{self, Options};
use tapir_runtime::process;
use tapir_wire::node::paths;
use tokio::runtime::Builder;

/// DNS TAPIR Policy Processor: intelligence in, response policy zone out.
#[derive(Debug, Parser)]
#[command(name = "tapir-pop", version = tapir_version::LONG)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the zone until told to stop.
    Run {
        /// Configuration; its folder is watched, and holds the node's identity too.
        #[arg(long, env = "TAPIR_POP_CONFIG", default_value_os_t = default_config())]
        config_file: PathBuf,
        /// Where the last good configuration is kept for a restart.
        #[arg(long, env = "TAPIR_POP_STATE_DIR", default_value = paths::POP_STATE_DIRECTORY)]
        state_dir: PathBuf,
    },
}

fn default_config() -> PathBuf {
    PathBuf::from(paths::POP_CONFIG_DIRECTORY).join(paths::POP_CONFIG_FILE)
}

fn main() -> ExitCode {
    let Arguments { command: Command::Run { config_file, state_dir } } = Arguments::parse();
    // The engine may be busy with one thread for a while; DNS and probes need another.
    let mut runtime = Builder::new_multi_thread();
    runtime.worker_threads(2);
    process::run("tapir-pop", &mut runtime, |shutdown| app::run(Options { config_file, state_dir }, shutdown))
}
