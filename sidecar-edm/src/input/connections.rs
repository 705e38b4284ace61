//! All connections: a thread for each, and one more that stands in where a thread is busy for too long.
//!
//! A resolver must never wait for what happens behind its socket. While frames are worked on, nobody reads; usually that takes far less
//! than a millisecond. Where it takes longer than [`Limits::stuck`], another thread reads in its place and drops what comes.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use tapir_runtime::panics;

use super::Limits;
use super::counts::Counts;
use super::end::End;
use super::line::{Line, Turn};
use super::peer::Socket;
use super::sink::{FrameSink, hand_over};
use super::suspects::{ONCE_MORE, Suspects};

/// Enough for a sink that keeps what is large elsewhere.
const STACK: usize = 1024 * 1024;
/// How often one looks at a socket whose own thread does not come back.
const OFTEN: Duration = Duration::from_millis(2);

#[derive(Debug)]
pub(super) struct Connections {
    open: Mutex<Open>,
    gone: Condvar,
    limits: Mutex<Limits>,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    lines: BTreeMap<u64, Arc<Line>>,
    is_closed: bool,
}

impl Connections {
    pub(super) fn new(limits: Limits, counts: Counts) -> Arc<Self> {
        let connections = Arc::new(Self { open: Mutex::default(), gone: Condvar::new(), limits: Mutex::new(limits), counts });
        let weak = Arc::downgrade(&connections);
        let pause = (limits.stuck / 2).max(OFTEN);
        let started = thread::Builder::new().name("dnstap-stand-in".to_owned()).spawn(move || stand_in(&weak, pause));
        if let Err(error) = started {
            tracing::error!(error = %error, "no thread that stands in: a fault of ours can make the resolver wait");
        }
        connections
    }

    /// Others from now on, for those who come from now on.
    pub(super) fn set_limits(&self, limits: Limits) {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    fn limits(&self) -> Limits {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves this one, if there is room; what is refused is counted.
    pub(super) fn start<S: FrameSink>(
        self: &Arc<Self>,
        socket: Socket,
        tls: Option<Arc<ServerConfig>>,
        sink: impl FnOnce() -> S + Send + 'static,
    ) {
        if let Err(end) = self.try_start(socket, tls, sink) {
            tracing::debug!(end = <&str>::from(end), "dnstap connection refused");
            self.counts.ended(end);
        }
    }

    fn try_start<S: FrameSink>(
        self: &Arc<Self>,
        socket: Socket,
        tls: Option<Arc<ServerConfig>>,
        sink: impl FnOnce() -> S + Send + 'static,
    ) -> Result<(), End> {
        let limits = self.limits();
        let place = {
            let mut open = self.open();
            if open.is_closed || open.lines.len() >= limits.connections {
                return Err(if open.is_closed { End::Shutdown } else { End::Limit });
            }
            let line = Arc::new(Line::new(socket, tls, limits, &self.counts)?);
            let number = open.next;
            open.next += 1;
            open.lines.insert(number, Arc::clone(&line));
            self.counts.connections.inc();
            Place { connections: Arc::clone(self), number, line }
        };
        let thread = thread::Builder::new().name("dnstap".to_owned()).stack_size(STACK);
        let serving = thread.spawn(move || {
            // The same frames would end one process after the other.
            let end = panics::caught(|| serve(&place.line, sink())).unwrap_or(End::Failed);
            place.line.close();
            let counts = place.connections.counts.clone();
            drop(place);
            counts.ended(end);
            tracing::debug!(end = <&str>::from(end), "dnstap connection ended");
        });
        serving.map(|_| ()).map_err(|_| End::Failed)
    }

    /// Lets nobody in any more, reads what has been received, and waits for all to end, for so long.
    pub(super) fn stop(&self) {
        let grace = self.limits().grace;
        let mut open = self.open();
        open.is_closed = true;
        for line in open.lines.values() {
            line.stop(grace);
        }
        let waited = self.gone.wait_timeout_while(open, grace, |open| !open.lines.is_empty());
        let left = waited.unwrap_or_else(PoisonError::into_inner).0.lines.len();
        if left > 0 {
            tracing::error!(connections = left, "dnstap frames that were read are given up: the time for shutdown is over");
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place, until dropped.
struct Place {
    connections: Arc<Connections>,
    number: u64,
    line: Arc<Line>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.open().lines.remove(&self.number);
        self.connections.counts.connections.dec();
        self.connections.gone.notify_all();
    }
}

fn serve(line: &Line, mut sink: impl FrameSink) -> End {
    line.worked_on_here();
    if let Err(end) = line.shake_hands() {
        return end;
    }
    let mut turn = Turn::default();
    loop {
        let end = line.turn(&mut turn);
        hand_over(turn.buffer.unread(), &turn.places, &mut sink);
        line.done();
        if let Some(end) = end {
            return end;
        }
    }
}

/// Drops what nobody else reads.
fn stand_in(connections: &Weak<Connections>, pause: Duration) {
    let (mut is_said, mut suspects) = (false, Suspects::default());
    while let Some(connections) = connections.upgrade() {
        let since = |(number, line): (&u64, &Arc<Line>)| line.stuck_since().map(|since| ((*number, since), Arc::clone(line)));
        let seem = connections.open().lines.iter().filter_map(since).collect();
        drop(connections);
        let stuck = suspects.look(Instant::now(), seem, |line| line.worker_seen());
        for line in &stuck {
            line.drain();
        }
        if !stuck.is_empty() && !is_said {
            tracing::error!(connections = stuck.len(), "work on dnstap frames does not come back: frames are dropped meanwhile");
        }
        is_said = !stuck.is_empty();
        thread::sleep(match (stuck.is_empty(), suspects.is_empty()) {
            (false, _) => OFTEN,
            (true, false) => pause.min(ONCE_MORE),
            (true, true) => pause,
        });
    }
}
