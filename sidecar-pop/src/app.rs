//! Puts the tasks together.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tapir_runtime::http::Probe;
use tapir_runtime::shutdown::Shutdown;
use tapir_runtime::watch::DirectoryWatch;
use tapir_runtime::{http, instance, mqtt};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::engine::{Engine, Inputs};
use crate::reload::{InForce, Loader};
use crate::status::Telemetry;
use crate::{dns, notify};

/// For DISCONNECT and the last writes.
const FAREWELL: Duration = Duration::from_secs(5);

/// How to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// `pop.yaml`; its folder is watched and holds the identity.
    pub config_file: PathBuf,
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
    // Before the first reading, so that no change falls between.
    let directory = DirectoryWatch::new(loader.directory(), shutdown.reloads());
    let InForce { setup, keys, mqtt: settings, listen, http_listen, targets } = in_force;

    let mqtt = mqtt::spawn(settings, shutdown.clone());
    let telemetry = Telemetry::new(Some(&mqtt.metrics), Some(mqtt.state));
    let metrics = Arc::new(telemetry.metrics.clone());
    loader.load(&telemetry);
    let (publish, published) = watch::channel(None);
    let engine = Engine::new(publish, Arc::clone(&telemetry));

    let mut tasks = JoinSet::new();
    tasks.spawn(engine.run(Inputs { setup, keys, incoming: mqtt.incoming }, shutdown.clone()));
    tasks.spawn(dns::server::serve(listen, published.clone(), Arc::clone(&telemetry), shutdown.clone()));
    tasks.spawn(notify::run(targets, published, metrics, shutdown.clone()));
    tasks.spawn(http::serve(http_listen, Arc::clone(&telemetry) as Arc<dyn Probe>, telemetry.http_state(), shutdown.clone()));
    tasks.spawn(loader.run(directory, telemetry, shutdown.clone()));

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
    };
    if timeout(FAREWELL, all).await.is_err() {
        tracing::warn!("some tasks did not end in time");
    }
    outcome
}
