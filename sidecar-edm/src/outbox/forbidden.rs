//! What must not be sent any more and is not gone yet.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Until what was forbidden is removed nothing is sent: a disk that does not let go of it, or is slow, must not make it go out once sending is
/// allowed again. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub(super) struct Forbidden(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// How often it was said.
    said: watch::Sender<u64>,
    /// And done.
    done: AtomicU64,
    /// Files that may still be sent are moved by one at a time, so that whoever removes them all misses none.
    moving: Mutex<()>,
}

impl Forbidden {
    /// What is there up to now has to go.
    pub(super) fn say(&self) {
        self.0.said.send_modify(|said| *said += 1);
    }

    /// How often it was said: what is older than that has to go.
    pub(super) fn said(&self) -> u64 {
        *self.0.said.borrow()
    }

    /// Until it was said more often than that, however short nothing may be sent.
    pub(super) async fn said_again(&self, said: u64) {
        let _ = self.0.said.subscribe().wait_for(|now| *now != said).await;
    }

    /// All is gone that was there when it had been said so often.
    pub(super) fn done(&self, said: u64) {
        self.0.done.fetch_max(said, Ordering::AcqRel);
    }

    pub(super) fn is_due(&self) -> bool {
        self.0.done.load(Ordering::Acquire) < self.said()
    }

    pub(super) fn moving(&self) -> MutexGuard<'_, ()> {
        self.0.moving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
