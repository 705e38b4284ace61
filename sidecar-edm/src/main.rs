//! `tapir-edm`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tapir_edm::run::{Options, run};
use tapir_runtime::process;
use tokio::runtime::Builder;

/// DNS TAPIR Edge DNSTAP Minimiser: dnstap in, minimised data out.
#[derive(Debug, Parser)]
#[command(name = "tapir-edm", version = tapir_version::LONG)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Receive dnstap and report to Core until SIGTERM.
    Run {
        /// Configuration file; list and identity lie in the same folder. All may be missing, and may come later.
        #[arg(long, value_name = "FILE", env = "TAPIR_EDM_CONFIG_FILE")]
        config_file: PathBuf,
    },
}

fn main() -> ExitCode {
    let Arguments { command: Command::Run { config_file } } = Arguments::parse();
    let options = Options::new(config_file, tapir_runtime::instance::suffix());
    process::run("tapir-edm", &mut Builder::new_multi_thread(), |shutdown| run(options, shutdown))
}
