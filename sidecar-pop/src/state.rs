//! What survives a restart. Missing, unreadable or unwritable state is reported and counted, never fatal.

pub mod file;
pub mod journal;
pub mod serial;
pub mod unwritten;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::block_in_place;

/// Work that computes long or waits for the disk: the runtime gives the other tasks of this thread, DNS among them, to another.
pub fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => block_in_place(work),
        _ => work(),
    }
}
