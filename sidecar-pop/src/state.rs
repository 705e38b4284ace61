//! What survives a restart. Missing, unreadable or unwritable state is reported and counted, never fatal.

pub(crate) mod failpoint;
pub mod file;
pub mod former;
pub mod manifest;
pub mod numbers;
pub mod observation_log;
pub mod scribe;
pub mod unwritten;
pub mod zone_log;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

/// Work that computes long or waits for the disk: the runtime gives the other tasks of this thread, DNS among them, to another.
pub fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => block_in_place(work),
        _ => work(),
    }
}
