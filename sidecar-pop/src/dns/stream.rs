//! Sending a transfer as the reader takes it.
//!
//! A window of 128 KiB is filled and written; when the socket takes no more, the transfer waits, and after a while gives the window
//! to others and keeps no more than what is not sent yet. So a reader that is slow or stalled costs 128 KiB and an open connection,
//! holds up nobody, and is closed when it makes no progress.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tapir_table::ReadError;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use super::render::Window;
use super::transfer::Outgoing;

/// How long a reader may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Until it loses its window.
    pub keep_window: Duration,
    /// Without taking anything.
    pub stalled: Duration,
    /// For [`Limits::least`] octets.
    pub slow: Duration,
    /// Octets that have to be taken in that time.
    pub least: u64,
    /// For all of it.
    pub longest: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            keep_window: Duration::from_secs(1),
            stalled: Duration::from_secs(10),
            slow: Duration::from_secs(30),
            least: 64 << 10,
            longest: Duration::from_secs(600),
        }
    }
}

/// Why a transfer ended before its end. Variant names serve as metric labels.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum SendError {
    /// The reader is gone.
    #[error("the reader went away")]
    Gone(#[source] io::Error),
    /// The reader takes nothing, or too little.
    #[error("the reader is too slow")]
    Slow,
    /// The zone cannot be read: what the reader has so far is no whole transfer, and it keeps what it had.
    #[error("the zone cannot be read")]
    Unreadable(#[from] ReadError),
}

/// Windows that are shared by all transfers. Whoever waits for one gets it in order.
#[derive(Debug)]
pub struct Windows {
    permits: Semaphore,
    free: Mutex<Vec<Window>>,
}

struct Taken<'a> {
    windows: &'a Windows,
    window: Option<Window>,
    _permit: SemaphorePermit<'a>,
}

impl Windows {
    /// So many at most; made when they are needed first.
    #[must_use]
    pub const fn new(most: usize) -> Self {
        Self { permits: Semaphore::const_new(most), free: Mutex::new(Vec::new()) }
    }

    async fn take(&self) -> Option<Taken<'_>> {
        // Never closed.
        let permit = self.permits.acquire().await.ok()?;
        let window = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Some(Taken { windows: self, window: Some(window.unwrap_or_default()), _permit: permit })
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.windows.free.lock().unwrap_or_else(PoisonError::into_inner).extend(self.window.take());
    }
}

/// Sends all of it: octets that went out, however it ended.
pub async fn send(
    stream: &TcpStream,
    outgoing: &mut dyn Outgoing,
    windows: &Windows,
    limits: &Limits,
) -> (u64, Result<(), SendError>) {
    let mut pace = Pace::new(limits);
    let ended = pace.all(stream, outgoing, windows).await;
    (pace.sent, ended)
}

/// What the reader took, and by when it has to take more.
struct Pace<'a> {
    limits: &'a Limits,
    sent: u64,
    /// What was sent when the present stretch began, and when it ends.
    mark: (u64, Instant),
    end: Instant,
}

impl<'a> Pace<'a> {
    fn new(limits: &'a Limits) -> Self {
        let now = Instant::now();
        Self { limits, sent: 0, mark: (0, now + limits.slow), end: now + limits.longest }
    }

    async fn all(&mut self, stream: &TcpStream, outgoing: &mut dyn Outgoing, windows: &Windows) -> Result<(), SendError> {
        loop {
            let waited = Instant::now();
            let Some(mut taken) = windows.take().await else { return Ok(()) };
            // That others had the windows is not the reader's fault.
            self.forgive(waited.elapsed());
            let Some(window) = &mut taken.window else { return Ok(()) };
            if !outgoing.fill(window)? {
                return Ok(());
            }
            let octets = window.as_bytes();
            let written = self.write(stream, octets, Some(self.limits.keep_window)).await?;
            if written < octets.len() {
                let rest = octets.get(written..).unwrap_or_default().to_vec();
                drop(taken);
                self.write(stream, &rest, None).await?;
            }
        }
    }

    fn forgive(&mut self, waited: Duration) {
        self.mark.1 += waited;
        self.end += waited;
    }

    /// Writes everything, or as much as is taken before one wait lasts longer than `patience`.
    async fn write(&mut self, stream: &TcpStream, octets: &[u8], patience: Option<Duration>) -> Result<usize, SendError> {
        let mut written = 0;
        while let Some(rest) = octets.get(written..).filter(|rest| !rest.is_empty()) {
            match stream.try_write(rest) {
                Ok(0) => return Err(SendError::Gone(io::ErrorKind::WriteZero.into())),
                Ok(count) => {
                    written += count;
                    self.took(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let now = Instant::now();
                    let due = (now + self.limits.stalled).min(self.mark.1).min(self.end);
                    let until = patience.map_or(due, |patience| due.min(now + patience));
                    match timeout_at(until, stream.writable()).await {
                        Ok(ready) => ready.map_err(SendError::Gone)?,
                        Err(_) if until < due => return Ok(written),
                        // It may have taken enough for this stretch.
                        Err(_) if until == self.mark.1 && until < self.end && self.is_fast_enough() => self.next_stretch(),
                        Err(_) => return Err(SendError::Slow),
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(SendError::Gone(error)),
            }
        }
        Ok(written)
    }

    /// Whether it was enough is asked when the reader lets us wait.
    fn took(&mut self, count: usize) {
        self.sent += u64::try_from(count).unwrap_or(u64::MAX);
        if Instant::now() >= self.mark.1 && self.is_fast_enough() {
            self.next_stretch();
        }
    }

    const fn is_fast_enough(&self) -> bool {
        self.sent - self.mark.0 >= self.limits.least
    }

    fn next_stretch(&mut self) {
        self.mark = (self.sent, Instant::now() + self.limits.slow);
    }
}
