//! Process 1 of the sidecar images: starts the worker, forwards signals, reaps, and starts the worker again when it ends.
//!
//! A container that is not running makes its Pod NotReady and takes the resolver beside it out of service. So this program ends
//! for one reason only, which is that it was told to; a worker that crashes, hangs up or cannot even be started is a line in the
//! log and another attempt.
//!
//! # Limitations
//! * One worker. No dependencies, no readiness: whoever needs those uses a service manager.
//! * The worker's standard output is its own; lines of this program stand between the worker's.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod arguments;
mod back_off;
mod log;
mod signal_worker;
mod supervise;
mod worker;

use std::io::Write;
use std::process::ExitCode;

use arguments::Arguments;

fn main() -> ExitCode {
    match arguments::parse(std::env::args_os().skip(1)) {
        Ok(Arguments::Supervise { command, grace }) => {
            supervise::run(&command, grace);
            ExitCode::SUCCESS
        }
        Ok(Arguments::Signal { signal, supervisor }) => match signal_worker::run(signal, supervisor) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => complain(&error.to_string(), 1),
        },
        Ok(Arguments::Version) => say(&format!("tapir-init {}", tapir_version::LONG)),
        Ok(Arguments::Help) => say(arguments::USAGE),
        Err(error) => complain(&format!("{error}\n\n{}", arguments::USAGE), 2),
    }
}

fn say(text: &str) -> ExitCode {
    let written = writeln!(std::io::stdout(), "{text}");
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn complain(text: &str, code: u8) -> ExitCode {
    // Where standard error is closed the exit code has to do.
    let _ = writeln!(std::io::stderr(), "tapir-init: {text}");
    ExitCode::from(code)
}
