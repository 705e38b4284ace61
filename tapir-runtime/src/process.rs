//! The first and the last lines of a sidecar's `main`.

use std::fmt::Display;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use tokio::runtime::{Builder, Runtime};

use crate::logging::LevelFilter;
use crate::shutdown::Shutdown;
use crate::{crypto, logging};

/// What is still at it on threads of its own when the work has ended has this long at most: a disk that hangs would never let it end.
const LAST_WORK: Duration = Duration::from_secs(2);
/// And no longer than until so long after the signal: five seconds are what there is for everything.
const LATEST: Duration = Duration::from_millis(4600);

/// Begins this program once more, as the same process, with what glibc is to know of memory in its environment: it reads that when a program
/// begins (mallopt(3), "Memory Allocation Tunables" in its manual). Whoever has said one of these things stays with what was said.
pub fn tell_allocator(settings: &[(&str, &str)]) {
    if settings.iter().any(|(name, _)| std::env::var_os(name).is_some()) {
        return;
    }
    if let Ok(program) = std::env::current_exe() {
        // Where that cannot be, it costs memory or time and nothing else.
        _ = Command::new(program).args(std::env::args_os().skip(1)).envs(settings.iter().copied()).exec();
    }
}

/// SIGHUP, SIGTERM and SIGINT wait from now on, over [`tell_allocator`] too, until [`run`] listens to them: whoever asks a program to read its
/// files again must not end it because it has only just begun.
pub fn hold_signals() {
    _ = held().thread_block();
}

fn held() -> SigSet {
    [Signal::SIGHUP, Signal::SIGTERM, Signal::SIGINT].into_iter().collect()
}

/// Starts logging and cryptography, does `work` until a signal ends it, and says how it ended: 0 at a signal's wish.
pub fn run<E: Display, F: Future<Output = Result<(), E>>>(
    component: &str,
    runtime: &mut Builder,
    work: impl FnOnce(Shutdown) -> F,
) -> ExitCode {
    run_at(LevelFilter::INFO, component, runtime, work)
}

/// The same with another level of the log where the environment says none.
pub fn run_at<E: Display, F: Future<Output = Result<(), E>>>(
    level: LevelFilter,
    component: &str,
    runtime: &mut Builder,
    work: impl FnOnce(Shutdown) -> F,
) -> ExitCode {
    let _last_lines = logging::init_at(component, level);
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
    let threads = Threads { runtime: Some(runtime.enable_all().build()?), asked: Arc::default() };
    let asked = Arc::clone(&threads.asked);
    threads.block_on(async {
        let shutdown = Shutdown::on_signals()?;
        // This thread alone has to take them; what waited comes now.
        held().thread_unblock()?;
        let signal = shutdown.clone();
        tokio::spawn(async move {
            signal.requested().await;
            let _ = asked.set(Instant::now());
        });
        Ok(work(shutdown).await)
    })
}

/// Not waited for any longer than that when it is dropped, also when the work panics.
struct Threads {
    runtime: Option<Runtime>,
    /// When the end began.
    asked: Arc<OnceLock<Instant>>,
}

impl Threads {
    fn block_on<T>(&self, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        self.runtime.as_ref().ok_or(io::ErrorKind::NotFound)?.block_on(work)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(last_work(self.asked.get().map(Instant::elapsed)));
        }
    }
}

/// What is left so long after the signal; none where something else was the end.
fn last_work(asked: Option<Duration>) -> Duration {
    asked.map_or(LAST_WORK, |asked| LATEST.saturating_sub(asked).min(LAST_WORK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_waited_for_beyond_the_end() {
        let after = |milliseconds| last_work(Some(Duration::from_millis(milliseconds)));
        assert_eq!([last_work(None), after(0), after(2600)], [LAST_WORK; 3]);
        assert_eq!((after(4500), after(4600), after(9000)), (Duration::from_millis(100), Duration::ZERO, Duration::ZERO));
    }
}
