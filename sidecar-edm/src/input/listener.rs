//! The dnstap socket: kept where it is wanted, accepted from.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tapir_runtime::back_off::{BackOff, Pauses};
use tapir_runtime::shutdown::Shutdown;
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::FrameQueue;
use super::connection;
use super::end::End;
use super::socket::{self, BoundSocket};
use crate::metrics::{ClosedLabels, Metrics};

/// Connections at once. A resolver has one for each of its threads at most.
pub const MAX_CONNECTIONS: usize = 256;
/// How often the socket's file is looked for. Without it no resolver can connect again.
const FILE_CHECK: Duration = Duration::from_secs(2);
/// As upstream: short, because a resolver that cannot connect loses everything meanwhile.
const ACCEPT_BACK_OFF: BackOff = BackOff { min: Duration::from_millis(5), max: Duration::from_secs(1) };

/// Where the socket stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SocketState {
    /// Some socket is in service.
    pub listening: bool,
    /// Why it is not the one that is wanted.
    pub error: Option<String>,
}

/// Everything that listening needs.
#[derive(Debug)]
pub struct Listener {
    /// Where frames go.
    pub frames: FrameQueue,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Where it stands.
    pub state: watch::Sender<SocketState>,
    /// Connections at once.
    pub max_connections: usize,
    /// For each frame of a handshake, and for each answer.
    pub handshake_limit: Duration,
}

impl Listener {
    /// Listens at `path`, and at the next one when it changes, until shutdown. Trouble with the file is retried for ever, and
    /// the socket before it stays in service meanwhile.
    pub async fn run(self, mut path: watch::Receiver<PathBuf>, shutdown: Shutdown) {
        let permits = Arc::new(Semaphore::new(self.max_connections));
        let connections = Connections { tasks: TaskTracker::new(), stop: CancellationToken::new(), permits };
        let mut pauses = BackOff::LOCAL.start();
        let mut serving = None;
        while !shutdown.is_triggered() {
            let wanted = path.borrow_and_update().clone();
            let outcome = socket::follow(&mut serving, &wanted);
            let again = self.tell(&wanted, serving.as_ref(), outcome, &mut pauses);
            tokio::select! {
                () = self.accept(serving.as_ref(), &connections) => {}
                () = again => {}
                Ok(()) = path.changed() => pauses.reset(),
                () = shutdown.requested() => {}
            }
        }
        drop(serving);
        connections.stop.cancel();
        connections.tasks.close();
        connections.tasks.wait().await;
    }

    /// Tells where it stands; gives the time until the next attempt, which is never when all is well.
    fn tell(
        &self,
        wanted: &Path,
        serving: Option<&BoundSocket>,
        outcome: io::Result<()>,
        pauses: &mut Pauses,
    ) -> impl Future<Output = ()> + use<> {
        let mut state = SocketState { listening: serving.is_some(), error: None };
        let mut pause = None;
        match outcome {
            Ok(()) => pauses.reset(),
            Err(error) => {
                let next = pauses.next_pause();
                let (path, in_service) = (wanted.display(), serving.map(|socket| socket.path.display().to_string()));
                tracing::error!(%path, error = %error, in_service, pause_ms = next.as_millis(), "not listening for dnstap, trying again");
                let stays = in_service.map(|path| format!("; {path} stays in service")).unwrap_or_default();
                state.error = Some(format!("not listening on {path}: {error}{stays}"));
                pause = Some(next);
            }
        }
        self.state.send_replace(state);
        async move {
            match pause {
                Some(pause) => sleep(pause).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Accepts until the file is gone. Those who are connected stay: only new ones need the file.
    async fn accept(&self, serving: Option<&BoundSocket>, connections: &Connections) {
        let Some(socket) = serving else { return std::future::pending().await };
        let mut pauses = ACCEPT_BACK_OFF.start();
        let mut file_check = interval(FILE_CHECK);
        file_check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                accepted = socket.listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        pauses.reset();
                        self.start(stream, connections);
                    }
                    Err(error) => {
                        // Out of file descriptors, say.
                        tracing::warn!(error = %error, "cannot accept a dnstap connection");
                        self.metrics.accept_errors.inc();
                        sleep(pauses.next_pause()).await;
                    }
                },
                _ = file_check.tick() => if !socket.file_is_ours() {
                    tracing::error!(path = %socket.path.display(), "the file of the dnstap socket is gone, making it again");
                    return;
                },
            }
        }
    }

    fn start(&self, stream: UnixStream, connections: &Connections) {
        let Ok(permit) = Arc::clone(&connections.permits).try_acquire_owned() else {
            self.metrics.connections_closed.get_or_create(&ClosedLabels { end: End::Limit }).inc();
            return;
        };
        let frames = self.frames.clone();
        let metrics = Arc::clone(&self.metrics);
        let stop = connections.stop.clone();
        let limit = self.handshake_limit;
        connections.tasks.spawn(async move {
            metrics.connections.inc();
            let end = tokio::select! {
                end = connection::serve(stream, &frames, &metrics, limit) => end,
                () = stop.cancelled() => End::Shutdown,
            };
            metrics.connections.dec();
            metrics.connections_closed.get_or_create(&ClosedLabels { end }).inc();
            tracing::debug!(end = <&str>::from(end), "dnstap connection ended");
            drop(permit);
        });
    }
}

/// What all connections share, whichever socket file they came through.
struct Connections {
    tasks: TaskTracker,
    stop: CancellationToken,
    permits: Arc<Semaphore>,
}
