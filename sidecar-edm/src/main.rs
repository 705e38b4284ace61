//! `tapir-edm`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tapir_edm::run::{Options, run};
use tapir_runtime::shutdown::Shutdown;

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
    let _last_lines = tapir_runtime::logging::init("tapir-edm");
    tapir_runtime::crypto::install();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(error = %error, "cannot start the runtime");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(async {
        match Shutdown::on_signals() {
            Ok(shutdown) => match run(Options::new(config_file, tapir_runtime::instance::suffix()), shutdown).await {
                Ok(()) => {
                    tracing::info!("stopped");
                    ExitCode::SUCCESS
                }
                Err(error) => {
                    tracing::error!(error = %error, "stopped");
                    ExitCode::FAILURE
                }
            },
            Err(error) => {
                tracing::error!(error = %error, "cannot handle signals");
                ExitCode::FAILURE
            }
        }
    })
}
