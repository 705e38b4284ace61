//! Puts the tasks together.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tapir_runtime::http::Probe;
use tapir_runtime::shutdown::Shutdown;
use tapir_runtime::watch::DirectoryWatch;
use tapir_runtime::{http, instance, mqtt};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::engine::{Engine, Inputs};
use crate::feeds::rpz::Notified;
use crate::reload::{InForce, Loader};
use crate::sources::fetch;
use crate::status::Telemetry;
use crate::threads::Threads;
use crate::{admin, dns, feeds, global_config, notify, telemetry};

/// For DISCONNECT and the last writes.
const FAREWELL: Duration = Duration::from_secs(5);

/// Messages of Core that wait to be verified, which are bounded by their octets, too: half a second of 10 000 a second, for moments when the
/// processor has other things to do.
const WAITING: usize = 8192;

/// How to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// `pop.yaml`; its folder is watched and holds the identity.
    pub config_file: PathBuf,
    /// Upstream's configuration in place of it; the folder is watched in the same way.
    pub upstream_config: Option<PathBuf>,
    /// Where the last good configuration is kept.
    pub state_dir: PathBuf,
}

/// A task ended that never should: it panicked.
#[derive(Debug, thiserror::Error)]
#[error("a task ended before shutdown")]
pub struct TaskEnded;

/// Runs until shutdown. Local files first: the zone stands before any connection is tried.
pub async fn run(options: Options, shutdown: Shutdown) -> Result<(), TaskEnded> {
    let (mut loader, in_force) = Loader::new(options.config_file, &options.state_dir, instance::suffix());
    if let Some(folder) = &options.upstream_config {
        loader = loader.of_upstream(folder);
    }
    let notified = Notified::default();
    loader = loader.notifying(notified.clone());
    let folder = loader.directory();
    // Before the first reading, so that no change falls between.
    let directory = DirectoryWatch::new(loader.directory(), shutdown.reloads());
    let InForce { setup, keys, identity, mqtt: settings, listen, guard, http_listen, targets, sending } = in_force;

    let mqtt = mqtt::spawn_with_capacity(settings, shutdown.clone(), WAITING);
    let telemetry = Telemetry::new(Some(&mqtt.metrics), Some(mqtt.state));
    let metrics = Arc::new(telemetry.metrics.clone());
    metrics.queues.watch("received", mqtt.queue);
    loader.load(&telemetry);
    let (publish, published) = watch::channel(None);
    let (questions, asked) = mpsc::channel(admin::MOST_QUESTIONS);
    let (reloads, wishes) = mpsc::channel(1);
    let answers = admin::Sources {
        telemetry: Arc::clone(&telemetry),
        setup: setup.clone(),
        published: published.clone(),
        engine: questions,
        loader: reloads,
    };
    let (tell, news) = feeds::channel();
    metrics.queues.watch("news", tell.queue());
    telemetry.counting(tell.failures());
    let (tell_settings, settings_told) = mpsc::channel(global_config::WAITING);
    let loader = loader.answering(wishes).following(settings_told);

    let mut tasks = JoinSet::new();
    let (alive, ended) = oneshot::channel();
    let fetched = setup.clone();
    let inputs = Inputs { setup, keys, incoming: mqtt.incoming, news };
    let engine = Engine::new(publish, Arc::clone(&telemetry))
        .and_then(|engine| engine.answering(asked).telling_settings(tell_settings).spawn(inputs, shutdown.clone(), alive))
        .map_err(|error| {
            tracing::error!(%error, "the engine cannot be started");
            TaskEnded
        })?;
    // Sources and administration: they go to the disk.
    let threads = Threads::begin("aside");
    let aside = threads.handle();
    tasks.spawn_on(feeds::others::run(fetched.clone(), identity, answers.engine.clone(), tell.clone(), shutdown.clone()), &aside);
    tasks.spawn_on(fetch::run(fetched, folder, tell, notified, shutdown.clone()), &aside);
    tasks.spawn(async move {
        // Told nothing, ever: it is dropped with the engine.
        _ = ended.await;
    });
    tasks.spawn(dns::server::serve_guarded(listen, guard, published.clone(), Arc::clone(&telemetry), shutdown.clone()));
    tasks.spawn(notify::run(targets, published, metrics, shutdown.clone()));
    tasks.spawn(http::serve(http_listen, Arc::clone(&telemetry) as Arc<dyn Probe>, telemetry.http_state(), shutdown.clone()));
    tasks.spawn_on(admin::legacy::server::serve(answers.clone(), shutdown.clone()), &aside);
    tasks.spawn_on(admin::server::serve(answers, shutdown.clone()), &aside);
    tasks.spawn_on(telemetry::run(Arc::clone(&telemetry), sending, mqtt.publisher, shutdown.clone()), &aside);
    tasks.spawn_on(loader.run(directory, telemetry, shutdown.clone()), &aside);

    let outcome = tokio::select! {
        biased;
        () = shutdown.requested() => Ok(()),
        // None of them ends before shutdown, so one that did has panicked. The process ends, and who started it starts it anew.
        ended = tasks.join_next() => {
            tracing::error!(?ended, "a task ended, stopping the process");
            Err(TaskEnded)
        }
    };
    shutdown.trigger();
    let all = async {
        while tasks.join_next().await.is_some() {}
        let _ = mqtt.task.await;
        // It has ended by now, unless it is writing its last words.
        let _ = tokio::task::spawn_blocking(|| engine.join()).await;
    };
    if timeout(FAREWELL, all).await.is_err() {
        tracing::warn!("some tasks did not end in time");
    }
    outcome
}
