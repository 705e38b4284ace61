//! Aggregates from the last counted answer to Core, and the order of their end.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tapir_runtime::shutdown::Shutdown;
use tokio::sync::{Notify, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::instance::Instance;
use crate::minimiser::Rotation;
use crate::outbox::{Bounds, Counters, Folders, Pace, PresentBounds, Sender, SenderState, Store, Target};

/// For the last minute to be written.
const WRITING: Duration = Duration::from_secs(1);
/// How often one looks whether all is sent.
const LOOK: Duration = Duration::from_millis(20);

/// Where they are kept.
#[derive(Clone, Debug)]
pub struct Outbox {
    folders: Folders,
    bounds: PresentBounds,
    counters: Counters,
    news: Arc<Notify>,
}

impl Outbox {
    /// Below a data folder.
    #[must_use]
    pub fn below(data: &Path, bounds: Bounds, counters: Counters) -> Self {
        Self { folders: Folders::below(data), bounds: bounds.into(), counters, news: Arc::default() }
    }

    /// Other bounds from now on.
    pub fn set_bounds(&self, bounds: Bounds) {
        self.bounds.set(bounds);
    }

    /// Takes minutes.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn store(&self, instance: Instance) -> io::Result<Store> {
        Store::start(self.folders.clone(), self.bounds.clone(), instance, self.counters.clone(), Arc::clone(&self.news))
    }

    /// Brings them to Core, wherever that is at the time.
    #[must_use]
    pub fn sender(&self, target: watch::Receiver<Option<Arc<Target>>>, state: watch::Sender<SenderState>) -> Sender {
        Sender {
            folders: self.folders.clone(),
            bounds: self.bounds.clone(),
            counters: self.counters.clone(),
            target,
            news: Arc::clone(&self.news),
            pace: Pace::default(),
            state,
        }
    }
}

/// What has to happen at the end, in this order: the last minute ends, is written, and is sent if Core is there.
#[derive(Debug)]
pub struct LastMinute {
    /// Ends it.
    pub rotation: Rotation,
    /// Where it is written.
    pub outbox: Outbox,
    /// Where it goes.
    pub target: watch::Receiver<Option<Arc<Target>>>,
    /// How sending goes.
    pub state: watch::Receiver<SenderState>,
}

impl LastMinute {
    /// Sends until shutdown. After that waits until the input has ended, and does what has to be done until `grace` after shutdown.
    pub async fn send(self, sender: Sender, input_gone: CancellationToken, grace: Duration, shutdown: Shutdown) {
        let (_, end) = Shutdown::manual();
        let sending = tokio::spawn(sender.run(end.clone()));
        shutdown.requested().await;
        let deadline = Instant::now() + grace;
        let rotation = self.rotation.clone();
        let is_over = timeout_at(deadline, self.written_and_sent(input_gone.clone())).await.is_err();
        // They had all that time beside it.
        let left = deadline.saturating_duration_since(Instant::now());
        let are_written = spawn_blocking(move || rotation.sessions().is_written(left)).await.unwrap_or(false);
        let is_input_gone = input_gone.is_cancelled();
        if is_over && is_input_gone {
            tracing::warn!("histogram files stay on disk: the time for shutdown is over");
        }
        if let Some(lost) = lost(is_input_gone, are_written) {
            tracing::error!("{lost}");
        }
        end.trigger();
        let _ = timeout_at(deadline, sending).await;
    }

    async fn written_and_sent(self, input_gone: CancellationToken) {
        input_gone.cancelled().await;
        let rotation = self.rotation;
        let written = spawn_blocking(move || rotation.finish(Timestamp::now(), WRITING)).await.unwrap_or(false);
        if !written {
            tracing::error!("the disk does not take the last minute's histogram in time");
        }
        // Without a receiver, or where the last try failed, it is a matter of the next start.
        while self.target.borrow().is_some() && self.state.borrow().error.is_none() {
            let folders = self.outbox.folders.clone();
            if spawn_blocking(move || folders.is_sent()).await.unwrap_or(true) {
                return;
            }
            sleep(LOOK).await;
        }
    }
}

/// What is said at the end of what was not written in time. The disk has no part in what it was not given.
const fn lost(is_input_gone: bool, are_rows_written: bool) -> Option<&'static str> {
    match (is_input_gone, are_rows_written) {
        (false, _) => Some(
            "work on frames does not come back in time: what was counted since the last full minute is given up, session rows as well",
        ),
        (true, false) => Some("the disk does not take the last session rows in time"),
        (true, true) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_is_blamed_for_nothing_that_it_was_not_given() {
        assert!(lost(false, false).is_some_and(|lost| lost.contains("frames") && !lost.contains("disk")));
        assert!(lost(true, false).is_some_and(|lost| lost.contains("disk")));
        assert_eq!(lost(true, true), None);
    }
}
