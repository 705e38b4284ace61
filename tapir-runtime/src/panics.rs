//! What becomes of a process in which something panicked.
//!
//! A thread or a task that panicked does its work no more, and nobody else may notice: the process would go on as half of what it was. So it ends, and
//! who started it starts it anew ([`happened`]). What serves one connection ends alone ([`contained`]): nothing waits for it but who is connected, and he is not
//! to end the process. So does one attempt at what comes from outside, where somebody goes on with what was there before it ([`caught`]): the same
//! octets would end one process after the other.

use std::cell::Cell;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::LazyLock;
use std::task::Poll;

use tokio::sync::watch;

static COUNT: LazyLock<watch::Sender<u64>> = LazyLock::new(|| watch::channel(0).0);

thread_local! {
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Resolves when something panicked since the start of the process that it cannot do without. It takes a log that was begun
/// ([`crate::logging::init`]).
pub async fn happened() {
    let mut count = COUNT.subscribe();
    // Its sender is never dropped.
    _ = count.wait_for(|count| *count > 0).await;
}

/// Does the work; should it panic, it is missed by nobody.
pub async fn contained<F: Future>(work: F) -> F::Output {
    let mut work = pin!(work);
    poll_fn(|context| {
        let _inside = Inside::enter();
        work.as_mut().poll(context)
    })
    .await
}

/// Work that ended in the midst. Where, the log says; the text of it may quote what came from outside, and is told to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fault of this program: it panicked on what is there, the log says where")]
pub struct Panicked;

/// Does the work here and now; should it panic, only who asked for it misses it. What it had in hand has to be whole whenever it may panic.
///
/// # Errors
/// When it panicked.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    let _inside = Inside::enter();
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| Panicked)
}

/// The same for a task: it is dropped where it panicked.
///
/// # Errors
/// When it panicked.
pub async fn caught_task<F: Future>(work: F) -> Result<F::Output, Panicked> {
    let mut work = pin!(work);
    poll_fn(|context| match caught(|| work.as_mut().poll(context)) {
        Ok(poll) => poll.map(Ok),
        Err(panicked) => Poll::Ready(Err(panicked)),
    })
    .await
}

/// Called by whoever panics, before its stack goes.
pub(crate) fn count() {
    if !CONTAINED.try_with(Cell::get).unwrap_or_default() {
        COUNT.send_modify(|count| *count += 1);
    }
}

/// What this thread does belongs to contained work. It may be inside of other such work.
struct Inside(bool);

impl Inside {
    fn enter() -> Self {
        Self(CONTAINED.replace(true))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        CONTAINED.set(self.0);
    }
}
