//! Wires everything together and keeps it running until shutdown.

mod followers;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use tapir_runtime::http::{self, HttpState};
use tapir_runtime::shutdown::Shutdown;
use tapir_runtime::{mqtt, panics, telemetry};
use tapir_wire::config::edm::Form;
use tapir_wire::node::paths;
use tokio::sync::watch;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::aggregates::{LastMinute, Outbox};
use crate::config::ConfigFile;
use crate::dump::Dump;
use crate::events::{self, Broker, Events};
use crate::fetched::{Fetcher, Fetching};
use crate::input::{Endpoint, Input, InputState};
use crate::instance::Instance;
use crate::memory::Budget;
use crate::metrics::Metrics;
use crate::minimiser::{Minimiser, Rotation};
use crate::outbox::{SenderState, Store};
use crate::reload::{self, InForce, Reloader, Watches};
use crate::sessions::{self, Switch};
use crate::settings;
use crate::status::EdmProbe;
use crate::telemetry::Told;
use followers::Followers;

/// For what was counted and what waits, after shutdown.
const GRACE: Duration = Duration::from_secs(3);
/// For all tasks to end, after shutdown.
const END: Duration = Duration::from_millis(3500);
/// For DISCONNECT when everything else has ended.
const FAREWELL: Duration = Duration::from_millis(500);

/// What EDM is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Configuration; in the own form identity and lists lie in its folder.
    pub config_file: ConfigFile,
    /// What tells this instance from others of the same node; none where that is a number that it draws.
    pub instance: Option<String>,
    /// Socket while no configuration says otherwise.
    pub default_socket: PathBuf,
    /// HTTP while no configuration says otherwise.
    pub default_http: SocketAddr,
    /// Folder of everything that is kept, unless the configuration that is there at the start names another.
    pub default_data: PathBuf,
}

impl Options {
    /// With the places that resolvers and operators know as constants.
    #[must_use]
    pub fn new(config_file: ConfigFile, instance: Option<String>) -> Self {
        Self {
            config_file,
            instance,
            default_socket: paths::DNSTAP_SOCKET.into(),
            default_http: SocketAddr::from(([0u16; 8], paths::EDM_HTTP_PORT)),
            default_data: paths::EDM_STATE_DIRECTORY.into(),
        }
    }
}

/// Why it ended without being told to.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// Something ended that never should.
    #[error("something ended before shutdown that nothing goes on without")]
    Task,
    /// In upstream's form: something that is needed could not be had at the start.
    #[error("{0}")]
    Start(String),
}

/// What was read and opened before the first connection.
struct Prepared {
    reloader: Reloader,
    first: InForce,
    data: PathBuf,
    instance: Instance,
    events: Events,
    sessions: Switch,
    outbox: Outbox,
    store: Store,
}

/// Runs EDM until shutdown.
///
/// Nothing that is missing or bad in files, network or Core ends it: the socket is served in any case. In upstream's form it ends, as upstream, where it
/// cannot listen or keep anything when it starts: its service manager starts it again, and says so.
///
/// # Errors
/// When something panicked, or a task ended by itself: half a process is worse than none, and whoever started it starts a whole one.
pub async fn run(options: Options, shutdown: Shutdown) -> Result<(), Ended> {
    let (metrics, budget) = (Arc::new(Metrics::default()), Budget::of_this_container());
    let Options { config_file, instance, default_socket, default_http, default_data } = options;
    let reloader = Reloader::new(config_file, Arc::clone(&budget));
    // Before the first reading, so that no change falls between.
    let watches = Watches::new(reloader.directory(), &shutdown);
    let (told, charged) = (Arc::clone(&metrics), Arc::clone(&budget));
    // The disk may hang from the beginning.
    let prepared = tokio::select! {
        prepared = spawn_blocking(move || prepare(reloader, &default_data, &told, &charged)) => prepared,
        () = shutdown.requested() => {
            tracing::warn!("ending before the configuration was read");
            return Ok(());
        }
    };
    let Prepared { reloader, first, data, instance: drawn, events, sessions, outbox, store } =
        prepared.map_err(|_| Ended::Task)??;

    let lag = Arc::clone(&metrics.input.lag);
    let minimiser = Minimiser::new(events.clone(), sessions, metrics.frames.clone(), lag, Arc::clone(&budget));
    let rotation = Rotation::new(minimiser.clone(), metrics.rotation.clone(), store);
    let (limits_sender, limits) = watch::channel(settings::limits(first.config.as_deref()));
    let is_daemon = is_daemon(&first);
    let (in_force_sender, in_force) = watch::channel(Arc::default());
    let (mqtt_sender, mqtt_settings) = watch::channel(None);
    let (endpoint_sender, endpoint) = watch::channel(Endpoint::unix(default_socket));
    let (listen_sender, listen) = watch::channel(default_http);
    let (target_sender, target) = watch::channel(None);
    let kept_below = data.clone();
    let dump = Dump::new(metrics.dumped.clone());
    let (telemetry_sender, telling) = watch::channel(None);
    let (to_fetch_sender, wanted) = watch::channel(None);
    let followers = Arc::new(Followers {
        instance: instance.unwrap_or_else(|| drawn.short()),
        data,
        rotation: rotation.clone(),
        outbox: outbox.clone(),
        events: events.clone(),
        in_force: in_force_sender,
        mqtt: mqtt_sender,
        endpoint: endpoint_sender,
        limits: limits_sender,
        listen: listen_sender,
        target: target_sender,
        telemetry: telemetry_sender,
        dump: dump.clone(),
        to_fetch: to_fetch_sender,
        aimed_at: Mutex::default(),
    });
    followers.follow(first);

    // Ends last, so that what waits can still be sent.
    let (_, mqtt_shutdown) = Shutdown::manual();
    let mqtt = mqtt::spawn(mqtt_settings, mqtt_shutdown.clone());
    // EDM subscribes to nothing: whatever a broker sends all the same must not wait anywhere.
    drop(mqtt.incoming);
    let (state_sender, input_state) = watch::channel(InputState::default());
    let (http_sender, http) = watch::channel(HttpState::default());
    let (sending_sender, sending) = watch::channel(SenderState::default());
    let mut registry = metrics.own(&events);
    mqtt.metrics.register(&mut registry);
    let (fetching_sender, fetching) = watch::channel(Fetching::default());
    let probe = Arc::new(EdmProbe {
        started_at: Timestamp::now(),
        registries: [registry, metrics.upstream(&events)],
        metrics: Arc::clone(&metrics),
        in_force: in_force.clone(),
        core: mqtt.state.clone(),
        input: input_state.clone(),
        http,
        sending: sending.clone(),
        events: events.clone(),
        minimiser: minimiser.clone(),
        rotation: rotation.clone(),
        data: kept_below,
        fetching,
        incidents: metrics.incidents.clone(),
        budget,
    });

    let input = Input {
        sinks: move || dump.clone().before(minimiser.sink()),
        counts: metrics.input.clone(),
        state: state_sender,
        limits,
    };
    let key = move || in_force.borrow().events().map(|link| Arc::clone(&link.data_key));
    let publisher = events.publisher(Broker { mqtt: mqtt.publisher.clone(), connection: mqtt.state.clone(), key: Box::new(key) });
    let sender = outbox.sender(target.clone(), sending_sender);
    let last_minute = LastMinute { rotation: rotation.clone(), outbox, target, state: sending };
    let input_gone = CancellationToken::new();
    let guard = input_gone.clone().drop_guard();
    let ending = shutdown.clone();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        input.run(endpoint, ending).await;
        drop(guard);
    });
    tasks.spawn(rotation.run(shutdown.clone()));
    tasks.spawn(last_minute.send(sender, input_gone.clone(), GRACE, shutdown.clone()));
    tasks.spawn(publisher.run(input_gone, shutdown.clone()));
    let fetcher = Fetcher::new(wanted, fetching_sender, metrics.fetches.clone(), watches.news());
    tasks.spawn(fetcher.run(shutdown.clone()));
    tasks.spawn(telemetry::run(Arc::new(Told(Arc::clone(&probe))), telling, mqtt.publisher, shutdown.clone()));
    let take_up = move |read| followers.follow(read);
    tasks.spawn(reload::keep_reading(reloader, watches, take_up, metrics.reload_errors.clone(), shutdown.clone()));
    tasks.spawn(http::serve(listen, probe, http_sender, shutdown.clone()));
    let outcome = until_the_end(tasks, cannot_listen(is_daemon, input_state), &shutdown).await;
    finish(&events).await;
    mqtt_shutdown.trigger();
    let _ = timeout_at(Instant::now() + FAREWELL, mqtt.task).await;
    outcome
}

/// Reads and opens what lies on the disk.
fn prepare(mut reloader: Reloader, default_data: &Path, metrics: &Metrics, budget: &Arc<Budget>) -> Result<Prepared, Ended> {
    let first = reloader.read();
    let config = first.config.as_deref();
    let data = config.map_or(default_data, |config| &config.data_dir).to_owned();
    reloader.keep_below(&data);
    let outbox = Outbox::below(&data, settings::bounds(config), metrics.aggregates.clone());
    let instance = Instance::load(&data);
    let store = outbox.store(instance.clone()).map_err(|error| {
        tracing::error!(%error, "no thread for the outbox");
        Ended::Task
    })?;
    let events = Events::open(&data, config.map(events::Settings::of).unwrap_or_default(), budget);
    // Its thread keeps what is there within its bound before anything is configured.
    let kept = config.map_or_else(|| sessions::Settings::new(&data), settings::session_files);
    let sessions = Switch::open(kept, metrics.sessions.clone(), budget);
    let sessions = sessions.map_err(|error| {
        tracing::error!(%error, "no thread for session files");
        Ended::Task
    })?;
    match events.unusable().filter(|_| is_daemon(&first)) {
        Some(reason) => Err(Ended::Start(format!("data-dir {}: {reason}", data.display()))),
        None => Ok(Prepared { reloader, first, data, instance, events, sessions, outbox, store }),
    }
}

/// Upstream's form: no Pod has it.
fn is_daemon(read: &InForce) -> bool {
    read.config.as_ref().is_some_and(|config| config.form == Form::Upstream)
}

/// Why a daemon cannot listen when it starts. What goes wrong later is tried again, as everything in a Pod is.
async fn cannot_listen(is_daemon: bool, mut input: watch::Receiver<InputState>) -> String {
    let first = input.wait_for(|state| *state != InputState::default()).await.map(|state| state.clone()).unwrap_or_default();
    match first {
        InputState { listening: None, error: Some(error) } if is_daemon => error,
        _ => std::future::pending().await,
    }
}

/// No task ends before shutdown unless it panicked.
async fn until_the_end(
    mut tasks: JoinSet<()>,
    cannot_listen: impl Future<Output = String>,
    shutdown: &Shutdown,
) -> Result<(), Ended> {
    let outcome = tokio::select! {
        biased;
        () = panics::happened() => {
            tracing::error!("something panicked, stopping the process");
            Err(Ended::Task)
        }
        () = shutdown.requested() => Ok(()),
        error = cannot_listen => Err(Ended::Start(error)),
        ended = tasks.join_next() => {
            tracing::error!(?ended, "a task ended, stopping the process");
            Err(Ended::Task)
        }
    };
    shutdown.trigger();
    let deadline = Instant::now() + END;
    let mut outcome = outcome;
    while let Ok(Some(ended)) = timeout_at(deadline, tasks.join_next()).await {
        if ended.is_err() {
            outcome = Err(Ended::Task);
        }
    }
    if !tasks.is_empty() {
        tracing::warn!(tasks = tasks.len(), "some tasks did not end in time");
    }
    outcome
}

/// Brings events that wait to the disk.
async fn finish(events: &Events) {
    let events = events.clone();
    if !spawn_blocking(move || events.finish(FAREWELL)).await.unwrap_or(false) {
        tracing::error!("the disk does not take the events that wait in time");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A quarter of what the configuration allows, and not of what is usual.
    #[test]
    fn session_files_within_the_bound_outlast_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let (config, data) = (folder.path().join("edm.toml"), folder.path().join("data"));
        std::fs::write(&config, format!("format = 2\nstorage-mib = 8192\ndata-dir = '{}'\n", data.display())).unwrap();
        let sessions = sessions::Settings::new(&data).folder;
        std::fs::create_dir_all(&sessions).unwrap();
        let names = ["a", "b", "c"].map(|name| format!("dns_session_block-{name}.parquet"));
        for name in &names {
            // Of nothing but holes.
            std::fs::File::create(sessions.join(name)).unwrap().set_len(300 << 20).unwrap();
        }
        let budget = Budget::new(64 << 20);
        let reloader = Reloader::new(ConfigFile::new(config), Arc::clone(&budget));
        let prepared = prepare(reloader, Path::new("elsewhere"), &Metrics::default(), &budget).ok().unwrap();
        prepared.sessions.close(Timestamp::now());
        assert!(prepared.sessions.is_written(Duration::from_secs(60)));
        assert!(names.iter().all(|name| sessions.join(name).exists()));
    }

    #[test]
    fn a_list_is_kept_where_everything_is_although_the_configuration_comes_later() {
        let folder = tempfile::tempdir().unwrap();
        let (config, data) = (folder.path().join("edm.toml"), folder.path().join("data"));
        let budget = Budget::new(64 << 20);
        let reloader = Reloader::new(ConfigFile::new(config.clone()), Arc::clone(&budget));
        let mut prepared = prepare(reloader, &data, &Metrics::default(), &budget).ok().unwrap();
        let list =
            format!("well-known-domains-url = 'https://lists.example/'\nwell-known-domains-sha256 = '{}'\n", "0a".repeat(32));
        std::fs::write(&config, format!("format = 2\ndata-dir = '{}/other'\n{list}", folder.path().display())).unwrap();
        let wanted = prepared.reloader.read().to_fetch.unwrap();
        assert!(wanted.file.starts_with(&data), "{wanted:?}");
    }
}
