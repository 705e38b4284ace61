//! The unix socket: made, watched over, accepted from.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tapir_runtime::back_off::BackOff;
use tapir_runtime::shutdown::Shutdown;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::FrameQueue;
use super::connection::{self, End};
use crate::metrics::{ClosedLabels, Metrics};

/// Connections at once. A resolver has one for each of its threads at most.
pub const MAX_CONNECTIONS: usize = 256;
/// How often the socket's file is looked for. Without it no resolver can connect again.
const FILE_CHECK: Duration = Duration::from_secs(2);
/// The resolver runs as another user in another container, and the folder is shared by these two alone.
const SOCKET_MODE: u32 = 0o666;
/// As upstream: short, because a resolver that cannot connect loses everything meanwhile.
const ACCEPT_BACK_OFF: BackOff = BackOff { min: Duration::from_millis(5), max: Duration::from_secs(1) };

/// Everything that listening needs.
#[derive(Debug)]
pub struct Listener {
    /// Where frames go.
    pub frames: FrameQueue,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Where it stands, for readiness: `Ok` while listening.
    pub state: watch::Sender<Result<(), String>>,
    /// Connections at once.
    pub max_connections: usize,
}

impl Listener {
    /// Listens at `path`, and at the next one when it changes, until shutdown. Trouble with the file is retried for ever.
    pub async fn run(self, mut path: watch::Receiver<PathBuf>, shutdown: Shutdown) {
        let permits = Arc::new(Semaphore::new(self.max_connections));
        let connections = Connections { tasks: TaskTracker::new(), stop: CancellationToken::new(), permits };
        let mut pauses = BackOff::LOCAL.start();
        while !shutdown.is_triggered() {
            let current = path.borrow_and_update().clone();
            let error = match BoundSocket::bind(&current) {
                Ok(socket) => {
                    tracing::info!(path = %current.display(), "listening for dnstap");
                    let _ = self.state.send_replace(Ok(()));
                    match self.accept(&socket, &connections, &mut path, &shutdown).await {
                        AcceptEnd::Moved => continue,
                        AcceptEnd::FileGone => "the socket's file is gone".to_owned(),
                    }
                }
                Err(error) => error.to_string(),
            };
            let pause = pauses.next_pause();
            tracing::error!(path = %current.display(), error, pause_ms = pause.as_millis(), "not listening for dnstap, trying again");
            let _ = self.state.send_replace(Err(format!("not listening on {}: {error}", current.display())));
            tokio::select! {
                () = sleep(pause) => {}
                Ok(()) = path.changed() => pauses.reset(),
                () = shutdown.requested() => {}
            }
        }
        connections.stop.cancel();
        connections.tasks.close();
        connections.tasks.wait().await;
    }

    /// Accepts until the path changes, the file is gone, or shutdown. Those who are connected stay: only new ones need the file.
    async fn accept(
        &self,
        socket: &BoundSocket,
        connections: &Connections,
        path: &mut watch::Receiver<PathBuf>,
        shutdown: &Shutdown,
    ) -> AcceptEnd {
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
                    return AcceptEnd::FileGone;
                },
                Ok(()) = path.changed() => return AcceptEnd::Moved,
                () = shutdown.requested() => return AcceptEnd::Moved,
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
        connections.tasks.spawn(async move {
            metrics.connections.inc();
            let end = tokio::select! {
                end = connection::serve(stream, &frames, &metrics) => end,
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

enum AcceptEnd {
    Moved,
    FileGone,
}

/// A listening socket and the file that leads to it.
struct BoundSocket {
    listener: UnixListener,
    path: PathBuf,
    identity: (u64, u64),
}

impl BoundSocket {
    fn bind(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        remove_stale(path)?;
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE))?;
        let metadata = std::fs::symlink_metadata(path)?;
        Ok(Self { listener, path: path.to_owned(), identity: (metadata.dev(), metadata.ino()) })
    }

    fn file_is_ours(&self) -> bool {
        std::fs::symlink_metadata(&self.path).is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.identity)
    }
}

impl Drop for BoundSocket {
    /// Leaves the file alone when another process has put its own there.
    fn drop(&mut self) {
        if self.file_is_ours() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Removes what an earlier process left, but nothing that is not a socket: a wrong path must not cost a file.
fn remove_stale(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => std::fs::remove_file(path),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is not a socket")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
