//! Threads of their own for what may hold up a thread.
//!
//! Who asks for a name or for the number of the version, is told of a new one, or probes, is to be answered whatever else goes on. So that has a runtime for
//! itself. Transfers, which leave a thread to nobody else for long, have another one; so have sources and administration, which go to the disk. Where
//! the disk hangs they do not come back, and nothing else notices.

use std::io;

use tapir_runtime::panics::contained;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinSet;

/// Threads of each.
const THREADS: usize = 2;

/// What runs there ends with it.
#[derive(Debug)]
pub struct Threads(Option<Runtime>);

impl Threads {
    /// How much later than everything else these come. Answers and NOTIFY come first, and the resolver beside us too.
    const NICE: i32 = 5;

    /// Some with this name; where there can be none of their own, those of everything else do it.
    #[must_use]
    pub fn begin(name: &str) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name(name)
            .on_thread_start(|| _ = rustix::process::nice(Self::NICE))
            .enable_all()
            .build();
        Self(runtime.inspect_err(|error| tracing::warn!(%error, name, "no threads of their own")).ok())
    }

    /// Where to spawn.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.0.as_ref().map_or_else(Handle::current, |runtime| runtime.handle().clone())
    }
}

impl Drop for Threads {
    /// One of them may be waiting for a disk that hangs: nobody waits for it.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Does the work of a connection there, for as long as somebody waits for it.
///
/// # Errors
/// When it panics, or the threads end.
pub async fn run<T: Send + 'static>(threads: &Handle, work: impl Future<Output = T> + Send + 'static) -> io::Result<T> {
    let mut tasks = JoinSet::new();
    tasks.spawn_on(contained(work), threads);
    match tasks.join_next().await {
        Some(Ok(done)) => Ok(done),
        Some(Err(error)) => Err(io::Error::other(error)),
        None => Err(io::ErrorKind::NotFound.into()),
    }
}
