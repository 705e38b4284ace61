//! The operator as a whole: HTTP server, leadership, and under it controllers and poller.

use std::sync::Arc;

use ::http::header::{HeaderValue, USER_AGENT};
use anyhow::Context as _;
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::Api;
use kube::runtime::events::Reporter;
use kube::{Client, Config};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::api_client::{ClientError, Clients};
use crate::apply::Memory;
use crate::cache::{Cache, Feed, OwnWrites};
use crate::edge::{self, Context, Evictions, Settled, Touches};
use crate::http::{self, Readiness};
use crate::identity::attempts::Attempts;
use crate::identity::board::IdentityBoard;
use crate::identity::keeper::Keeper;
use crate::leader::{self, Leadership, Served};
use crate::leftovers::Stuck;
use crate::policy::Counts;
use crate::rollout::{Answers, Rollouts};
use crate::runner::Watched;
use crate::settings::Settings;
use crate::sidecars::{Board, EdgeKey, Poller, Question};
use crate::telemetry::events::Events;
use crate::telemetry::metrics::Metrics;
use crate::{identity, leftovers, policy, webhook};

const LEASE_SEEN: &str = "leader's lease";

/// How the operator ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// A signal asked for it.
    Stopped,
    /// Somebody else may lead now.
    LeaseLost,
}

/// Runs until a signal or the loss of the lease.
///
/// # Errors
/// When the surroundings are not fit: no API server configured, port taken.
pub async fn run(settings: Settings) -> anyhow::Result<End> {
    // A provider that is installed already, as in tests, is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let stop = CancellationToken::new();
    stop_on_signals(stop.clone())?;
    let (metrics, readiness) = (Metrics::default(), Readiness::default());
    readiness.expect(LEASE_SEEN);
    let listener = http::bind(settings.http_listen).await.with_context(|| format!("listening on {}", settings.http_listen))?;
    tokio::spawn(http::serve(listener, readiness.clone(), metrics.clone(), stop.clone()));

    let mut config = Config::infer().await.context("finding the API server")?;
    config.headers.push((USER_AGENT, agent(&settings.pod_name)?));
    let clients = Clients::new(config, metrics.clone()).context("preparing the clients")?;
    let answering = webhook::answer(&clients.requests(), &settings, &metrics, &readiness, &stop).await?;
    let end = take_part(clients, settings, metrics, readiness, stop).await?;
    if end == End::Stopped {
        answering.ended().await;
    }
    Ok(end)
}

/// Tells the API server's audit log, and whoever reads it, which replica asked.
fn agent(pod: &str) -> anyhow::Result<HeaderValue> {
    let name = format!("tapir-operator/{} ({pod})", tapir_version::VERSION);
    HeaderValue::try_from(name).with_context(|| format!("POD_NAME {pod:?} is no name of a Pod"))
}

/// Waits for the lease, and works under it.
async fn take_part(
    clients: Clients,
    settings: Settings,
    metrics: Metrics,
    readiness: Readiness,
    stop: CancellationToken,
) -> anyhow::Result<End> {
    let lease = settings.lease_name.clone();
    metrics.leads(&lease, false);
    let leases: Api<Lease> = Api::namespaced(clients.requests(), &settings.pod_namespace);
    let held = tokio::select! {
        held = leader::campaign(leases, &lease, &settings.pod_name, || readiness.reached(LEASE_SEEN)) => held,
        () = stop.cancelled() => return Ok(End::Stopped),
    };
    metrics.leads(&lease, true);
    let leadership = held.leadership();
    let work = lead(clients, settings, leadership, metrics.clone(), readiness, stop.clone());
    match leader::serve(held, work, &stop).await {
        Served::Done(result) => result.map(|()| End::Stopped),
        Served::CutShort => {
            tracing::warn!("what was under way did not end in time: it is left as it is, and the next leader goes on from there");
            Ok(End::Stopped)
        }
        Served::LeaseLost => {
            tracing::warn!("the leader's lease is lost: ending, so that nothing of this process acts beside a new leader");
            metrics.leads(&lease, false);
            Ok(End::LeaseLost)
        }
    }
}

async fn lead(
    clients: Clients,
    settings: Settings,
    leadership: Leadership,
    metrics: Metrics,
    readiness: Readiness,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let reporter = Reporter { controller: "dnstapir.se/tapir-operator".to_owned(), instance: Some(settings.pod_name.clone()) };
    let (board, cache, own) = (Board::default(), Cache::default(), OwnWrites::default());
    metrics.tell_of_edges(&cache);
    let scopes = Watched::of(&settings.scope).into_iter().map(|watched| Ok((watched, clients.watches()?)));
    let scopes: Vec<(Watched, Client)> =
        scopes.collect::<Result<_, ClientError>>().context("preparing the clients of watches")?;
    // What goes on beside the fence: Events, which say what was done, and the webhook's certificate, which looks at the lease itself.
    let open = clients.requests();
    let client = leader::fenced(&open, leadership.clone());
    let settings = Arc::new(settings);
    let question = Question::new().context("preparing the client for sidecars")?;
    let rollouts = Rollouts::new(Arc::clone(&settings), Answers::by(question.clone()), cache.changed_edges().clone());
    let certificate = webhook::keep(&open, &settings, leadership.clone(), readiness.clone(), stop.clone());
    let context = Arc::new(Context {
        keeper: Keeper::new(client.clone(), leadership, metrics.clone()).with_calls_per_second(settings.core_requests_per_second),
        events: Events::new(open.clone(), reporter),
        settings: Arc::clone(&settings),
        board: board.clone(),
        evictions: Evictions::default(),
        attempts: Attempts::default(),
        identities: IdentityBoard::new(cache.changed_edges().clone()),
        counts: Counts::default(),
        applied: Memory::default(),
        stuck: Stuck::default(),
        touches: Touches::new(own.clone()),
        own,
        rollouts,
        leading_since: Timestamp::now(),
        settled: Settled::default(),
        settled_identities: Settled::default(),
        cache: cache.clone(),
        metrics: metrics.clone(),
        client: client.clone(),
    });
    let feed = Feed {
        scopes: scopes.clone(),
        bindings: settings.injection.binds().is_some(),
        client: client.clone(),
        cache: cache.clone(),
        readiness,
        gone: {
            let context = Arc::clone(&context);
            Arc::new(move |edge: &EdgeKey| context.forget(edge))
        },
    };
    let leftovers = scopes.into_iter().map(|scope| leftovers::run(scope, Arc::clone(&context), stop.clone()));
    let poller = Poller { board, question, metrics, cache };
    futures::join!(
        feed.run(stop.clone()),
        join_all(leftovers),
        edge::run(Arc::clone(&context), stop.clone()),
        identity::run(Arc::clone(&context), stop.clone()),
        policy::run(Arc::clone(&context), stop.clone()),
        poller.run(stop.clone()),
        certificate,
    );
    Ok(())
}

fn stop_on_signals(stop: CancellationToken) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for signals")?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("asked to stop");
        stop.cancel();
    });
    Ok(())
}
