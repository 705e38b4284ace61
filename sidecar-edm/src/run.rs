//! Wires everything together and keeps it running until shutdown.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tapir_runtime::http::{self, HttpState, Probe};
use tapir_runtime::mqtt;
use tapir_runtime::shutdown::Shutdown;
use tapir_wire::node::paths;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::config::ConfigFile;
use crate::input::{HANDSHAKE_LIMIT, Listener, MAX_CONNECTIONS, SocketState, frame_queue};
use crate::metrics::Metrics;
use crate::publisher::Publisher;
use crate::queue::EventQueue;
use crate::reload::{self, InForce, Reloader};
use crate::status::EdmProbe;
use crate::worker::Worker;

/// Time for DISCONNECT when everything else has ended.
const FAREWELL: Duration = Duration::from_secs(3);

/// What EDM is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Configuration; in the own form identity and lists lie in its folder.
    pub config_file: ConfigFile,
    /// What tells this instance from others of the same node.
    pub instance: String,
    /// Socket while no configuration says otherwise.
    pub default_socket: PathBuf,
    /// HTTP while no configuration says otherwise.
    pub default_http: SocketAddr,
}

impl Options {
    /// With the places that resolvers and operators know as constants.
    #[must_use]
    pub fn new(config_file: ConfigFile, instance: String) -> Self {
        Self {
            config_file,
            instance,
            default_socket: paths::DNSTAP_SOCKET.into(),
            default_http: SocketAddr::from(([0u16; 8], paths::EDM_HTTP_PORT)),
        }
    }
}

/// Runs EDM until shutdown.
///
/// Nothing that is missing or bad in files, network or Core ends it: the socket is served in any case.
pub async fn run(options: Options, shutdown: Shutdown) -> Result<(), TaskFailed> {
    let metrics = Arc::new(Metrics::default());
    let Options { config_file, instance, default_socket, default_http } = options;
    let mut reloader = Reloader::new(config_file);
    // Before the first reading, so that no change falls between.
    let watch = reload::directory_watch(&reloader, &shutdown);
    let first = Arc::new(reloader.read());
    let (in_force_sender, in_force) = watch::channel(Arc::clone(&first));
    let queue = Arc::new(EventQueue::new(1));
    let (settings_sender, settings) = watch::channel(None);
    let (path_sender, path) = watch::channel(default_socket);
    let (listen_sender, listen) = watch::channel(default_http);
    let followers = Followers {
        instance,
        queue: Arc::clone(&queue),
        metrics: Arc::clone(&metrics),
        settings: settings_sender,
        path: path_sender,
        listen: listen_sender,
    };
    followers.follow(&first);

    // Ends last, so that what waits can still be sent.
    let (_, mqtt_shutdown) = Shutdown::manual();
    let mqtt = mqtt::spawn(settings, mqtt_shutdown.clone());
    // EDM subscribes to nothing: whatever a broker sends all the same must not wait anywhere.
    drop(mqtt.incoming);
    let (socket_sender, socket) = watch::channel(SocketState::default());
    let (http_sender, http) = watch::channel(HttpState::default());
    let (frames_sender, frames) = frame_queue();
    let worker_gone = CancellationToken::new();
    let mut registry = tapir_runtime::metrics::registry("tapir_edm");
    metrics.register(&mut registry);
    mqtt.metrics.register(&mut registry);
    let probe: Arc<dyn Probe> = Arc::new(EdmProbe {
        started_at: Timestamp::now(),
        metrics: Arc::clone(&metrics),
        registry,
        in_force: in_force.clone(),
        core: mqtt.state.clone(),
        socket,
        http,
        queue: Arc::clone(&queue),
        worker_gone: worker_gone.clone(),
    });

    let listener = Listener {
        frames: frames_sender,
        metrics: Arc::clone(&metrics),
        state: socket_sender,
        max_connections: MAX_CONNECTIONS,
        handshake_limit: HANDSHAKE_LIMIT,
    };
    let worker = Worker::new(Arc::clone(&queue), Arc::clone(&metrics), in_force.clone());
    let publisher = Publisher {
        queue,
        metrics: Arc::clone(&metrics),
        in_force: in_force.clone(),
        mqtt: mqtt.publisher,
        connection: mqtt.state.clone(),
    };
    let guard = worker_gone.clone().drop_guard();
    let mut tasks = JoinSet::new();
    tasks.spawn(listener.run(path, shutdown.clone()));
    tasks.spawn(async move {
        worker.run(frames).await;
        drop(guard);
    });
    tasks.spawn(publisher.run(worker_gone, shutdown.clone()));
    tasks.spawn(reload::keep_reading(reloader, watch, in_force_sender, metrics, shutdown.clone()));
    tasks.spawn(followers.run(in_force, shutdown.clone()));
    tasks.spawn(http::serve(listen, probe, http_sender, shutdown.clone()));
    let outcome = wait_for_all(tasks, &shutdown).await;
    mqtt_shutdown.trigger();
    let _ = timeout(FAREWELL, mqtt.task).await;
    outcome
}

/// A task that failed.
#[derive(Debug, thiserror::Error)]
#[error("a task ended that must not end")]
pub struct TaskFailed;

/// No task ends before shutdown unless it panicked. Half a process is worse than none: the supervisor starts a whole one.
async fn wait_for_all(mut tasks: JoinSet<()>, shutdown: &Shutdown) -> Result<(), TaskFailed> {
    let mut outcome = Ok(());
    while let Some(ended) = tasks.join_next().await {
        if ended.is_err() || !shutdown.is_triggered() {
            outcome = Err(TaskFailed);
            shutdown.trigger();
        }
    }
    outcome
}

/// Those who do not look at what is in force themselves.
struct Followers {
    instance: String,
    queue: Arc<EventQueue>,
    metrics: Arc<Metrics>,
    settings: watch::Sender<Option<mqtt::MqttSettings>>,
    path: watch::Sender<PathBuf>,
    listen: watch::Sender<SocketAddr>,
}

impl Followers {
    async fn run(self, mut in_force: watch::Receiver<Arc<InForce>>, shutdown: Shutdown) {
        loop {
            tokio::select! {
                changed = in_force.changed() => if changed.is_err() {
                    return;
                },
                () = shutdown.requested() => return,
            }
            let now = Arc::clone(&in_force.borrow_and_update());
            self.follow(&now);
        }
    }

    fn follow(&self, in_force: &InForce) {
        if in_force.sending() {
            let capacity = in_force.config.as_ref().map_or(1, |config| config.newqname_buffer);
            let displaced = self.queue.open(capacity);
            self.metrics.events_displaced.inc_by(displaced as u64);
        } else {
            // Closed before the connection goes, so that nothing can slip out between.
            let forgotten = self.queue.close();
            self.metrics.events_disabled.inc_by(forgotten as u64);
        }
        let settings = in_force.mqtt_settings(&self.instance);
        self.settings.send_if_modified(|present| replace(present, settings));
        // Without a configuration the defaults stay: the resolver knows the socket as a constant.
        if let Some(config) = &in_force.config {
            self.path.send_if_modified(|present| replace(present, config.input_unix.clone()));
            self.listen.send_if_modified(|present| replace(present, config.http_listen));
        }
    }
}

fn replace<T: PartialEq>(present: &mut T, new: T) -> bool {
    let differs = *present != new;
    *present = new;
    differs
}
