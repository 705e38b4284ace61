//! Process around the operator: arguments, signals, leadership, exit code.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser as _;
use tapir_operator::settings::{Arguments, Command, Settings};
use tapir_operator::{crds, operator, telemetry};

/// Exit code after the lease was lost: not an error of this process, and still it must end.
const LEASE_LOST: u8 = 3;
/// For threads that wait for the system.
const LAST_THREADS: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.command.unwrap_or(Command::Run) {
        Command::Run => run(arguments),
        Command::Crds => print_crds(),
    };
    result.unwrap_or_else(|error| {
        tracing::error!(error = format!("{error:#}"), "ending");
        ExitCode::FAILURE
    })
}

fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    telemetry::logging::init();
    let settings = Settings::try_from(arguments.run)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().context("starting the runtime")?;
    let end = runtime.block_on(operator::run(settings));
    // A name that the resolver is asked for cannot be called back: it must not hold up the end.
    runtime.shutdown_timeout(LAST_THREADS);
    match end? {
        operator::End::Stopped => Ok(ExitCode::SUCCESS),
        operator::End::LeaseLost => Ok(ExitCode::from(LEASE_LOST)),
    }
}

fn print_crds() -> anyhow::Result<ExitCode> {
    use std::io::Write as _;
    let mut output = std::io::stdout().lock();
    for (_, definition) in crds::all()? {
        writeln!(output, "---\n{}", serde_saphyr::to_string(&definition)?)?;
    }
    Ok(ExitCode::SUCCESS)
}
