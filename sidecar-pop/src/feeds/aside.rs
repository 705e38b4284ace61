//! Work of sources that waits, on a thread of its own, and what becomes of a source whose work panics.
//!
//! What a source has comes from outside and is there after a restart, too: a panic on it ends this attempt, and neither the process nor the
//! source. What it held stays, it is told and counted, and tried again, less and less often.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tapir_runtime::back_off::BackOff;
use tapir_runtime::panics::{Panicked, caught, caught_task};
use tapir_runtime::shutdown::Shutdown;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::{Health, NewsSender, SourceNews};

/// Pauses after a panic.
pub(super) const AGAIN: BackOff = BackOff { min: Duration::from_secs(5), max: Duration::from_secs(600) };

/// Done elsewhere; nothing but a panic keeps it from being done.
pub(super) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Panicked> {
    lent((), |()| work()).await.1
}

/// The same with something that is given away meanwhile, and that comes back, whatever happens.
pub(super) async fn lent<S: Send + 'static, T: Send + 'static>(
    mut what: S,
    work: impl FnOnce(&mut S) -> T + Send + 'static,
) -> (S, Result<T, Panicked>) {
    let done = spawn_blocking(move || {
        let done = caught(|| work(&mut what));
        (what, done)
    });
    match done.await {
        Ok(back) => back,
        // Nothing is begun any more: the runtime ends, and who waits here with it.
        Err(_) => pending().await,
    }
}

/// Until the work is done, or the shutdown. After a panic in it, wherever that was, it is begun anew.
pub(crate) async fn again_and_again<W: Future<Output = ()>>(
    source: Option<Arc<str>>,
    tell: NewsSender,
    shutdown: Shutdown,
    mut work: impl FnMut() -> W,
) {
    let mut pauses = AGAIN.start();
    loop {
        let begun = Instant::now();
        let Err(error) = caught_task(work()).await else { return };
        if let Some(source) = &source {
            tell.panicked(source);
            let news = SourceNews::Health(Health::bad(error.to_string(), Timestamp::now(), None));
            if !tell.tell(source, news).await {
                return;
            }
        }
        if begun.elapsed() > AGAIN.max {
            pauses.reset();
        }
        tokio::select! {
            () = shutdown.requested() => return,
            () = sleep(pauses.next_pause()) => {}
        }
    }
}
