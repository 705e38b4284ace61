//! Sends what lies in the outbox, one file at a time.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tapir_runtime::back_off::{BackOff, Pauses};
use tapir_runtime::shutdown::Shutdown;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use super::answer::{Answer, Verdict};
use super::body::{FileBody, digest};
use super::connection::{Connection, SendError};
use super::counters::RefusalLabels;
use super::request::request;
use super::target::Target;
use super::{Counters, Folders, PresentBounds, Refusal};
use crate::disk::{Entry, Failpoint, move_into};
use crate::histogram_file::Interval;

/// How often things happen.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Between looks at the outbox when nobody tells of a new file.
    pub look: Duration,
    /// For one file: connection, request, answer.
    pub deadline: Duration,
    /// After failures.
    pub back_off: BackOff,
    /// Between looks at the bounds of the folders.
    pub tidy: Duration,
    /// Until what was refused with 401 is tried again.
    pub again: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            look: Duration::from_secs(10),
            deadline: Duration::from_secs(120),
            back_off: BackOff { min: Duration::from_secs(1), max: Duration::from_secs(300) },
            tidy: Duration::from_secs(60),
            again: Duration::from_secs(3600),
        }
    }
}

/// Where the sending stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SenderState {
    /// When Core last took a file.
    pub last_sent: Option<Timestamp>,
    /// Why the newest try failed; none after a success.
    pub error: Option<String>,
    /// The newest refusal, until Core takes a file again.
    pub refused: Option<String>,
}

/// The task.
#[derive(Debug)]
pub struct Sender {
    /// What it sends from.
    pub folders: Folders,
    /// What the folders may hold.
    pub bounds: PresentBounds,
    /// What it counts.
    pub counters: Counters,
    /// Where to, as whom; none: nowhere.
    pub target: watch::Receiver<Option<Arc<Target>>>,
    /// Notified of new files.
    pub news: Arc<Notify>,
    /// How often.
    pub pace: Pace,
    /// What others are told.
    pub state: watch::Sender<SenderState>,
}

/// Why a file did not get an answer.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("reading the file: {0}")]
    File(#[from] io::Error),
    #[error("making the request: {0}")]
    Request(#[from] hyper::http::Error),
    #[error(transparent)]
    Send(#[from] SendError),
}

/// What is kept from one turn to the next.
struct Turn {
    target: Arc<Target>,
    connection: Option<Connection>,
    pauses: Pauses,
    /// The file that failed last: the next one has its turn first, so that none stands in the way of all.
    failed: Option<String>,
    tidy: Instant,
    again: Instant,
}

impl Sender {
    /// Sends until shutdown. What is on its way then is sent again at the next start; Core knows it by its digest.
    pub async fn run(mut self, shutdown: Shutdown) {
        tokio::select! {
            () = shutdown.requested() => {}
            () = self.send_for_ever() => {}
        }
    }

    async fn send_for_ever(&mut self) {
        loop {
            let target = self.target.borrow_and_update().clone();
            match target {
                Some(target) => self.send_to(target).await,
                None if self.target.changed().await.is_err() => return std::future::pending().await,
                None => {}
            }
        }
    }

    /// Until there is another target. A request that is on its way ends first, unless there is no target any more: nothing may be sent then.
    /// Its connection ends here.
    async fn send_to(&mut self, target: Arc<Target>) {
        let now = Instant::now();
        let mut turn = Turn { target, connection: None, pauses: self.pace.back_off.start(), failed: None, tidy: now, again: now };
        while !self.target.has_changed().unwrap_or(false) {
            let mut targets = self.target.clone();
            // What was found before that may have to go.
            let said = self.folders.forbidden.said();
            let pause = match self.next(&mut turn).await {
                Some(file) => tokio::select! {
                    biased;
                    Ok(_) = targets.wait_for(Option::is_none) => return,
                    () = self.folders.forbidden.said_again(said) => return,
                    pause = self.attempt(&mut turn, file) => pause,
                },
                None => Some(self.pace.look),
            };
            let Some(pause) = pause else { continue };
            let idle = turn.failed.is_none();
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                // After a failure a new file is no reason to hurry.
                () = self.news.notified(), if idle => {}
                Ok(()) = self.target.changed() => {
                    // Seen by whoever looks next, too.
                    self.target.mark_changed();
                }
            }
        }
    }

    /// The file whose turn it is; none while what was forbidden is still there. On the way the folders are looked after.
    async fn next(&self, turn: &mut Turn) -> Option<Entry> {
        if self.folders.forbidden.is_due() {
            return None;
        }
        let now = Instant::now();
        let (tidy, again) = (now >= turn.tidy, now >= turn.again);
        if tidy {
            turn.tidy = now + self.pace.tidy;
        }
        if again {
            turn.again = now + self.pace.again;
        }
        let (folders, bounds, counters) = (self.folders.clone(), self.bounds.get(), self.counters.clone());
        let looked = blocking(move || {
            if again {
                let files = folders.try_again()?;
                if files > 0 {
                    tracing::info!(files, "histogram files that Core refused with 401 are tried again");
                }
            }
            if tidy {
                folders.tidy(&bounds, &counters)?;
            }
            folders.settled()
        });
        match looked.await {
            Ok(files) => {
                self.counters.waits(&files);
                after(files, turn.failed.as_deref())
            }
            Err(error) => {
                tracing::warn!(%error, "the outbox cannot be read");
                None
            }
        }
    }

    /// One file; gives how long to wait before the next.
    async fn attempt(&self, turn: &mut Turn, file: Entry) -> Option<Duration> {
        let answer = match timeout(self.pace.deadline, self.send(turn, &file.name)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(Trouble::File(error))) if error.kind() == io::ErrorKind::NotFound => return None,
            Ok(Err(trouble)) => Err(trouble),
            Err(_) => Err(Trouble::Send(SendError::Deadline)),
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(trouble) => return Some(self.later(turn, file.name, trouble.to_string())),
        };
        match answer.verdict() {
            Verdict::Stored => self.stored(turn, &file.name, answer).await,
            Verdict::Refused(refusal) => self.refused(turn, &file.name, refusal, &answer).await,
            Verdict::Later => Some(self.later(turn, file.name, format!("Core answers {}: {}", answer.status, answer.text))),
        }
    }

    async fn send(&self, turn: &mut Turn, name: &str) -> Result<Answer, Trouble> {
        let path = self.folders.outbox.join(name);
        let interval = Interval::of_file_name(name).map_err(io::Error::other)?;
        let content = digest(&path).await?;
        loop {
            let body = FileBody::open(&path, content.length).await?;
            let request = request(&turn.target, &content, &interval, Timestamp::now(), body)?;
            let mut connection = match turn.connection.take().filter(Connection::is_open) {
                Some(connection) => connection,
                None => Connection::open(&turn.target).await?,
            };
            let reused = connection.used;
            Failpoint::SendBefore.pass();
            match connection.send(request).await {
                Ok(answer) => {
                    Failpoint::SendAnswered.pass();
                    turn.connection = Some(connection);
                    return Ok(answer);
                }
                // A server may close a connection that was idle at any time, also just now.
                Err(SendError::Http(_)) if reused => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn stored(&self, turn: &mut Turn, name: &str, answer: Answer) -> Option<Duration> {
        turn.pauses.reset();
        turn.failed = None;
        self.counters.sent.inc();
        let now = Timestamp::now();
        self.counters.last_sent.set(now.as_second());
        self.state.send_replace(SenderState { last_sent: Some(now), error: None, refused: None });
        tracing::info!(file = name, location = answer.location, "histogram sent");
        let moved = {
            let (folders, name) = (self.folders.clone(), name.to_owned());
            blocking(move || move_into(&folders.outbox, &name, &folders.sent)).await
        };
        // It is sent again then, and Core takes it for what it has.
        moved.err().map(|error| self.later(turn, name.to_owned(), format!("moving a file that was sent: {error}")))
    }

    async fn refused(&self, turn: &mut Turn, name: &str, refusal: Refusal, answer: &Answer) -> Option<Duration> {
        self.counters.refused.get_or_create(&RefusalLabels { status: refusal }).inc();
        let reason = format!("Core refuses {name} with {}: {}", answer.status, answer.text);
        tracing::error!(
            file = name,
            status = answer.status,
            answer = answer.text,
            "Core refuses a histogram file; it is kept apart"
        );
        self.state.send_modify(|state| state.refused = Some(reason.clone()));
        let moved = {
            let (folders, name) = (self.folders.clone(), name.to_owned());
            blocking(move || folders.refuse(&name, refusal)).await
        };
        match (moved, refusal) {
            (Err(error), _) => Some(self.later(turn, name.to_owned(), format!("moving a file that was refused: {error}"))),
            // The next one will fare no better: it is the node that Core does not know.
            (Ok(()), Refusal::Unauthorized) => Some(self.later(turn, name.to_owned(), reason)),
            (Ok(()), _) => None,
        }
    }

    /// Says why, and for how long.
    fn later(&self, turn: &mut Turn, name: String, reason: String) -> Duration {
        let pause = turn.pauses.next_pause();
        self.counters.send_failures.inc();
        tracing::warn!(
            file = name,
            reason,
            pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
            "histogram not sent"
        );
        self.state.send_modify(|state| state.error = Some(reason));
        turn.failed = Some(name);
        pause
    }
}

/// The first behind the one that failed; from the beginning again after the last.
fn after(mut files: Vec<Entry>, failed: Option<&str>) -> Option<Entry> {
    let place = failed.and_then(|failed| files.iter().position(|file| file.name.as_str() > failed)).unwrap_or_default();
    (place < files.len()).then(|| files.swap_remove(place))
}

/// What may wait for the disk.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
