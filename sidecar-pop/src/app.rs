//! Puts the tasks together.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tapir_runtime::http::Probe;
use tapir_runtime::shutdown::Shutdown;
use tapir_runtime::watch::DirectoryWatch;
use tapir_runtime::{http, instance, mqtt, panics, telemetry as reports};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;

use crate::engine::{Engine, Inputs};
use crate::feeds::rpz::Notified;
use crate::reload::{InForce, Loader};
use crate::sources::fetch;
use crate::status::Telemetry;
use crate::threads::Threads;
use crate::{admin, dns, feeds, global_config, notify};

/// For DISCONNECT and the last writes.
const FAREWELL: Duration = Duration::from_secs(5);
/// The same where the process is to be started anew, which serves the zone again.
const QUICK: Duration = Duration::from_millis(500);

/// What may be missed that the engine writes.
const VERSIONS: &str = "versions of the zone, observations, and the number that was used last";
/// What sources write.
const COPIES: &str = "new copies of sources";
/// What follows a configuration that was taken.
const CONFIGURATION: &str = "the configuration that was taken last";

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

/// Something ended that never should.
#[derive(Debug, thiserror::Error)]
#[error("something ended before shutdown that nothing goes on without")]
pub struct TaskEnded;

/// What runs, each with what it writes to the disk.
type Tasks = JoinSet<&'static str>;

/// Nothing that could be missed.
const NOTHING: &str = "";

async fn writing(what: &'static str, work: impl Future<Output = ()>) -> &'static str {
    work.await;
    what
}

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
    // The disk may hang from the beginning.
    let told = Arc::clone(&telemetry);
    let loaded = spawn_blocking(move || {
        loader.load(&told);
        loader
    });
    let loader = tokio::select! {
        loaded = loaded => loaded.map_err(|_| TaskEnded)?,
        () = shutdown.requested() => {
            tracing::warn!("ending before the configuration was read");
            return Ok(());
        }
    };
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

    let mut tasks = Tasks::new();
    let (alive, ended) = oneshot::channel();
    let fetched = setup.clone();
    let inputs = Inputs { setup, keys, incoming: mqtt.incoming, news };
    let engine = Engine::new(publish, Arc::clone(&telemetry))
        .and_then(|engine| engine.answering(asked).telling_settings(tell_settings).spawn(inputs, shutdown.clone(), alive));
    // It is woken through this.
    let _engine = engine.map_err(|error| {
        tracing::error!(%error, "the engine cannot be started");
        TaskEnded
    })?;
    // Sources and administration: they go to the disk.
    let threads = Threads::begin("aside");
    let aside = threads.handle();
    let (identified, questions) = (identity, answers.engine.clone());
    let others = feeds::others::run(fetched.clone(), identified, questions, tell.clone(), shutdown.clone());
    tasks.spawn_on(writing(NOTHING, others), &aside);
    tasks.spawn_on(writing(COPIES, fetch::run(fetched, folder, tell, notified, shutdown.clone())), &aside);
    tasks.spawn(writing(VERSIONS, async move {
        // Told nothing, ever: it is dropped with the engine.
        _ = ended.await;
    }));
    let served = dns::server::serve_guarded(listen, guard, published.clone(), Arc::clone(&telemetry), shutdown.clone());
    tasks.spawn(writing(NOTHING, served));
    tasks.spawn(writing(NOTHING, notify::run(targets, published, metrics, shutdown.clone())));
    let probed = http::serve(http_listen, Arc::clone(&telemetry) as Arc<dyn Probe>, telemetry.http_state(), shutdown.clone());
    tasks.spawn(writing(NOTHING, probed));
    tasks.spawn(writing(NOTHING, async move { _ = mqtt.task.await }));
    tasks.spawn_on(writing(NOTHING, admin::legacy::server::serve(answers.clone(), shutdown.clone())), &aside);
    tasks.spawn_on(writing(NOTHING, admin::server::serve(answers, shutdown.clone())), &aside);
    let sent = reports::run(Arc::clone(&telemetry), sending, mqtt.publisher, shutdown.clone());
    tasks.spawn_on(writing(NOTHING, sent), &aside);
    tasks.spawn_on(writing(CONFIGURATION, loader.run(directory, telemetry, shutdown.clone())), &aside);

    let outcome = tokio::select! {
        biased;
        // Whatever it was that panicked: the process ends, and who started it starts it anew.
        () = panics::happened() => {
            tracing::error!("something panicked, stopping the process");
            Err(TaskEnded)
        }
        () = shutdown.requested() => Ok(()),
        // None of them ends before shutdown.
        ended = tasks.join_next() => {
            tracing::error!(?ended, "a task ended, stopping the process");
            Err(TaskEnded)
        }
    };
    shutdown.trigger();
    farewell(tasks, if outcome.is_ok() { FAREWELL } else { QUICK }).await;
    outcome
}

/// Waits for all, and not for long: a disk that hangs keeps nobody from ending.
async fn farewell(mut tasks: Tasks, time: Duration) {
    let mut left = vec![VERSIONS, COPIES, CONFIGURATION];
    let all = async {
        while let Some(ended) = tasks.join_next().await {
            left.retain(|what| ended.as_ref().ok() != Some(what));
        }
    };
    if timeout(time, all).await.is_ok() {
        return;
    }
    if left.is_empty() {
        tracing::warn!("some tasks did not end in time");
    } else {
        tracing::error!(unwritten = left.join("; "), "ending without waiting any longer for the disk: this may not be written");
    }
}

#[cfg(test)]
mod panic_tests;
