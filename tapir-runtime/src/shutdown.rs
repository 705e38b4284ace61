//! The end of the process, and reload on SIGHUP.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

/// Counts SIGHUPs; `changed()` resolves at the next one.
pub type Reloads = watch::Receiver<u64>;

/// Everyone who must end has a clone of this.
#[derive(Clone, Debug)]
pub struct Shutdown {
    token: CancellationToken,
    reloads: Reloads,
}

impl Shutdown {
    /// Triggered by SIGTERM or SIGINT; SIGHUP counts up [`Shutdown::reloads`].
    ///
    /// # Errors
    /// When the signal handlers cannot be installed.
    pub fn on_signals() -> std::io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let (count, shutdown) = Self::manual();
        let token = shutdown.token.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => break,
                    _ = interrupt.recv() => break,
                    () = token.cancelled() => return,
                    _ = hangup.recv() => {
                        tracing::info!("SIGHUP received, reloading");
                        count.send_modify(|count| *count += 1);
                    }
                }
            }
            tracing::info!("signal received, shutting down");
            token.cancel();
        });
        Ok(shutdown)
    }

    /// Without signals: triggered by hand, reloads counted up through the sender. For tests and tools.
    #[must_use]
    pub fn manual() -> (watch::Sender<u64>, Self) {
        let (count, reloads) = watch::channel(0);
        (count, Self { token: CancellationToken::new(), reloads })
    }

    /// Begins the end.
    pub fn trigger(&self) {
        self.token.cancel();
    }

    /// Whether the end has begun.
    #[must_use]
    pub fn is_triggered(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Resolves when the end begins.
    pub fn requested(&self) -> WaitForCancellationFuture<'_> {
        self.token.cancelled()
    }

    /// For libraries that want a token.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// SIGHUPs from now on.
    #[must_use]
    pub fn reloads(&self) -> Reloads {
        let mut reloads = self.reloads.clone();
        reloads.mark_unchanged();
        reloads
    }
}
