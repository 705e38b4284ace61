//! `tapir-edm`.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tapir_edm::domains;
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
    /// Lists of domains: make and inspect their files.
    Domains {
        #[command(subcommand)]
        command: domains::Command,
    },
}

fn main() -> ExitCode {
    let config_file = match Arguments::parse().command {
        Command::Run { config_file } => config_file,
        Command::Domains { command } => return domains(&command),
    };
    let options = Options::new(config_file, tapir_runtime::instance::suffix());
    process::run("tapir-edm", &mut Builder::new_multi_thread(), |shutdown| run(options, shutdown))
}

fn domains(command: &domains::Command) -> ExitCode {
    match domains::run(command, &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell where this cannot be written either.
            _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}
