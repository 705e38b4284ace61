//! Logs: one JSON object a line on standard output.
//!
//! Messages are fixed sentences, data goes into fields. ERROR means that data was lost or a person is needed, WARN that
//! something went wrong and was got over.
//!
//! Nobody waits for the reader of the log: while it stalls, lines are dropped and counted, and that is told when it reads again.

mod lines;

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::panic::{Location, PanicHookInfo};
use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tracing_subscriber::EnvFilter;
pub use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use crate::panics;
use lines::{Entrance, Lines};

/// Time for the last lines at the end of the process.
const LAST_LINES: Duration = Duration::from_secs(1);
/// The same when some thread panics: if the process is about to end with it, there is no other moment.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Of the whole process, as standard output is.
static LINES: LazyLock<Lines> = LazyLock::new(Lines::default);
/// Whether there is a thread that writes them.
static STARTED: LazyLock<bool> = LazyLock::new(|| start().is_ok());

/// Puts another filter in place of the one that is in force.
static CHANGE: OnceLock<Box<dyn Fn(EnvFilter) + Send + Sync>> = OnceLock::new();

/// Writes out what waits when it is dropped, if somebody reads. To be held until the end of `main`.
#[derive(Debug)]
#[must_use = "the last lines are lost without it"]
pub struct LastLines(());

impl Drop for LastLines {
    fn drop(&mut self) {
        LINES.flush(LAST_LINES);
    }
}

/// Starts logging and writes the first record: version and commit of this build.
///
/// The filter is `TAPIR_LOG`, else `RUST_LOG`, else `info`. A second call changes nothing.
pub fn init(component: &str) -> LastLines {
    init_at(component, LevelFilter::INFO)
}

/// The same with another level where neither variable says one.
pub fn init_at(component: &str, level: LevelFilter) -> LastLines {
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(writer())
        .with_env_filter(filter(said().as_deref(), level))
        .with_filter_reloading();
    let handle = subscriber.reload_handle();
    if tracing::subscriber::set_global_default(subscriber.finish()).is_ok() {
        let change = move |filter| {
            // It fails only where there is no log any more.
            let _ = handle.reload(filter);
        };
        let _ = CHANGE.set(Box::new(change));
        std::panic::set_hook(Box::new(tell));
        tracing::info!(component, version = tapir_version::VERSION, commit = tapir_version::COMMIT, "starting");
    }
    LastLines(())
}

/// Another level from now on. Where the environment says one, that stays.
pub fn set_level(level: LevelFilter) {
    if let Some(change) = CHANGE.get().filter(|_| said().is_none()) {
        change(filter(None, level));
    }
}

/// What the environment says.
fn said() -> Option<String> {
    std::env::var("TAPIR_LOG").or_else(|_| std::env::var("RUST_LOG")).ok()
}

/// Lines that were dropped because nobody read them.
#[must_use]
pub fn dropped() -> Counter {
    LINES.dropped.clone()
}

/// A process that gets no thread will not come far. That it can say.
fn writer() -> BoxMakeWriter {
    if *STARTED { BoxMakeWriter::new(|| Entrance(&LINES)) } else { BoxMakeWriter::new(io::stdout) }
}

fn start() -> io::Result<()> {
    // Past the standard library's lock, which the end of the process would want while a write still waits.
    let output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let write = || LINES.write_for_ever(output, |lines| tracing::warn!(lines, "lines of this log were lost, nobody read them"));
    std::thread::Builder::new().name("log".to_owned()).spawn(write).map(drop)
}

/// In place of the standard hook, which waits for the reader of standard error, and which shows the text of the panic: that may
/// quote what came from outside. Only a fixed text is shown.
fn tell(panic: &PanicHookInfo<'_>) {
    let message = panic.payload().downcast_ref::<&'static str>();
    let backtrace = std::backtrace::Backtrace::capture();
    let backtrace = (backtrace.status() == std::backtrace::BacktraceStatus::Captured).then(|| backtrace.to_string());
    let place = panic.location().map(Location::to_string);
    tracing::error!(place, reason = message, backtrace, thread = std::thread::current().name(), "panic");
    LINES.flush(LAST_WORDS);
    panics::count();
}

/// Directives that do not parse are left out rather than fatal: a typing mistake in a log level must not stop a sidecar.
fn filter(directives: Option<&str>, level: LevelFilter) -> EnvFilter {
    EnvFilter::builder().with_default_directive(level.into()).parse_lossy(directives.unwrap_or_default())
}
