//! Which connections may be closed when others want their place.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Connections that wait for a request, or for their turn to be sent the zone. Whoever opens thousands and says nothing takes nobody's place: the one that has waited
/// longest goes when another one comes.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    connections: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    next: u64,
    /// The oldest first.
    waiting: BTreeMap<u64, Arc<Notify>>,
}

/// A connection that waits, until dropped.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    waiting: &'a Waiting,
    number: u64,
    gone: Arc<Notify>,
}

impl Waiting {
    pub(super) fn begin(&self) -> Turn<'_> {
        let gone = Arc::new(Notify::new());
        let mut known = self.known();
        known.next += 1;
        let number = known.next;
        known.waiting.insert(number, Arc::clone(&gone));
        Turn { waiting: self, number, gone }
    }

    /// Tells the one that has waited longest to go, if there is one.
    pub(super) fn dismiss_one(&self) {
        if let Some((_, gone)) = self.known().waiting.pop_first() {
            gone.notify_one();
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// Returns when another connection needs the place.
    pub(super) async fn dismissed(&self) {
        self.gone.notified().await;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.waiting.known().waiting.remove(&self.number);
    }
}
