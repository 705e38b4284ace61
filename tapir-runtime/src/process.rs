//! The first and the last lines of a sidecar's `main`.

use std::fmt::Display;
use std::io;
use std::process::ExitCode;

use tokio::runtime::Builder;

use crate::shutdown::Shutdown;
use crate::{crypto, logging};

/// Starts logging and cryptography, does `work` until a signal ends it, and says how it ended: 0 at a signal's wish.
pub fn run<E: Display, F: Future<Output = Result<(), E>>>(
    component: &str,
    runtime: &mut Builder,
    work: impl FnOnce(Shutdown) -> F,
) -> ExitCode {
    let _last_lines = logging::init(component);
    crypto::install();
    match run_in(runtime, work) {
        Ok(Ok(())) => {
            tracing::info!("stopped");
            ExitCode::SUCCESS
        }
        Ok(Err(error)) => {
            tracing::error!(error = %error, "stopped");
            ExitCode::FAILURE
        }
        Err(error) => {
            tracing::error!(error = %error, "threads or signal handlers are not to be had");
            ExitCode::FAILURE
        }
    }
}

fn run_in<F: Future>(runtime: &mut Builder, work: impl FnOnce(Shutdown) -> F) -> io::Result<F::Output> {
    runtime.enable_all().build()?.block_on(async {
        let shutdown = Shutdown::on_signals()?;
        Ok(work(shutdown).await)
    })
}
