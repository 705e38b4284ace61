//! Work under a lease: from its beginning to an orderly end, or to the loss of the lease.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Held;

/// What was begun may end within this time, once the end is asked for: a call to Core, and what follows from its answer. A Pod has 30 s in
/// all, of which giving up the lease takes its part.
pub const DRAIN_LIMIT: Duration = Duration::from_secs(20);
/// How long giving up the lease may take at the end.
pub const RELEASE_LIMIT: Duration = Duration::from_secs(3);

/// How the work of a leader ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served<T> {
    /// By itself; the lease is released.
    Done(T),
    /// It did not end in time after it was asked to, and was dropped; the lease is released.
    CutShort,
    /// Somebody else may lead now.
    LeaseLost,
}

/// Does `work`, which ends some time after `stop`, while the lease is held. Work that is cut short is left as a crash would leave it.
pub async fn serve<T>(held: Held, work: impl Future<Output = T>, stop: &CancellationToken) -> Served<T> {
    let released = CancellationToken::new();
    let mut keeping = tokio::spawn(held.keep(released.clone()));
    let served = {
        // Gone at the end of this block: no part of it runs on beside a successor.
        let mut work = pin!(work);
        let drained = async {
            stop.cancelled().await;
            sleep(DRAIN_LIMIT).await;
        };
        tokio::select! {
            // Only the loss of the lease can come from there: nobody gives it up before the work has ended.
            _ = &mut keeping => return Served::LeaseLost,
            result = work.as_mut() => Served::Done(result),
            () = drained => Served::CutShort,
        }
    };
    released.cancel();
    if timeout(RELEASE_LIMIT, keeping).await.is_err() {
        tracing::warn!("the leader's lease was not released in time: a successor waits out its term");
    }
    served
}
