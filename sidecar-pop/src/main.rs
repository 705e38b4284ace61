//! `tapir-pop`: the worker of the POP sidecar.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use tapir_pop::app::{self, Options};
use tapir_runtime::shutdown::Shutdown;
use tapir_runtime::{crypto, logging};
use tapir_wire::node::paths;

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

fn main() -> anyhow::Result<()> {
    let Arguments { command: Command::Run { config_file, state_dir } } = Arguments::parse();
    let _last_lines = logging::init("pop");
    crypto::install();
    // The engine may be busy with one thread for a while; DNS and probes need another.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let shutdown = Shutdown::on_signals()?;
        app::run(Options { config_file, state_dir }, shutdown).await?;
        anyhow::Ok(())
    })
}
