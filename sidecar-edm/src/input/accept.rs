//! Accepts connections where they are wanted, until shutdown. Nothing that a resolver or the file system does ends it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tapir_runtime::back_off::{BackOff, Pauses};
use tapir_runtime::shutdown::Shutdown;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::connections::Connections;
use super::counts::Counts;
use super::endpoint::{Bound, Endpoint, follow};
use super::sink::FrameSink;

/// How often the socket's file is looked for. Without it no resolver can connect again.
const FILE_CHECK: Duration = Duration::from_secs(2);
/// As upstream: short, because a resolver that cannot connect loses everything meanwhile.
const ACCEPT_BACK_OFF: BackOff = BackOff { min: Duration::from_millis(5), max: Duration::from_secs(1) };

/// What one resolver may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once. A resolver has one for each of its threads at most.
    pub connections: usize,
    /// For TLS, for each frame of the handshake, and for each answer.
    pub handshake: Duration,
    /// For silence while data flows. Upstream has no limit, and a quiet resolver is a good one; a TCP peer that vanished is noticed anyway.
    pub idle: Option<Duration>,
    /// For the work on what one read brought; after that, others read and drop.
    pub stuck: Duration,
    /// For what was received before shutdown.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            handshake: Duration::from_secs(5),
            idle: None,
            stuck: Duration::from_millis(250),
            grace: Duration::from_secs(2),
        }
    }
}

/// Where the input stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InputState {
    /// Where resolvers can connect now.
    pub listening: Option<String>,
    /// Why that is not what is wanted.
    pub error: Option<String>,
}

/// Everything that the input needs. `sinks` makes a sink for each connection, on the connection's thread.
#[derive(Debug)]
pub struct Input<F> {
    /// Makes sinks.
    pub sinks: F,
    /// What is counted.
    pub counts: Counts,
    /// Where it stands.
    pub state: watch::Sender<InputState>,
    /// What one resolver may take. Other limits hold for those who connect from then on.
    pub limits: watch::Receiver<Limits>,
}

impl<S, F> Input<F>
where
    S: FrameSink,
    F: Fn() -> S + Clone + Send + Sync + 'static,
{
    /// Listens at the endpoint, and at the next one when it changes. Trouble with it is retried for ever, and the one before it stays in
    /// service meanwhile. Returns when all that was received before shutdown has been handed over, or the time for that is over.
    pub async fn run(self, mut endpoint: watch::Receiver<Endpoint>, shutdown: Shutdown) {
        let mut limits = self.limits.clone();
        let connections = Connections::new(*limits.borrow_and_update(), self.counts.clone());
        let mut pauses = BackOff::LOCAL.start();
        let mut serving = None;
        while !shutdown.is_triggered() {
            let wanted = endpoint.borrow_and_update().clone();
            let outcome = follow(&mut serving, &wanted).await;
            let again = self.tell(&wanted, serving.as_ref(), outcome, &mut pauses);
            tokio::select! {
                () = self.accept(serving.as_ref(), &connections) => {}
                () = again => {}
                Ok(()) = endpoint.changed() => pauses.reset(),
                Ok(()) = limits.changed() => connections.set_limits(*limits.borrow_and_update()),
                () = shutdown.requested() => {}
            }
        }
        drop(serving);
        let _ = tokio::task::spawn_blocking(move || connections.stop()).await;
    }

    /// Tells where it stands; gives the time until the next attempt, which is never when all is well.
    fn tell(
        &self,
        wanted: &Endpoint,
        serving: Option<&Bound>,
        outcome: io::Result<()>,
        pauses: &mut Pauses,
    ) -> impl Future<Output = ()> + use<S, F> {
        let mut state = InputState { listening: serving.map(Bound::place), error: None };
        let mut pause = None;
        match outcome {
            Ok(()) => pauses.reset(),
            Err(error) => {
                let next = pauses.next_pause();
                let in_service = state.listening.as_deref();
                tracing::error!(endpoint = %wanted, error = %error, in_service, pause_ms = next.as_millis(), "not listening for dnstap, trying again");
                let stays = in_service.map(|place| format!("; {place} stays in service")).unwrap_or_default();
                state.error = Some(format!("not listening on {wanted}: {error}{stays}"));
                pause = Some(next);
            }
        }
        self.state.send_if_modified(|present| {
            let is_new = *present != state;
            *present = state;
            is_new
        });
        async move {
            match pause {
                Some(pause) => sleep(pause).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Accepts until the socket's file is gone. Those who are connected stay: only new ones need the file.
    async fn accept(&self, serving: Option<&Bound>, connections: &Arc<Connections>) {
        let Some(bound) = serving else { return std::future::pending().await };
        let mut pauses = ACCEPT_BACK_OFF.start();
        let mut file_check = interval(FILE_CHECK);
        file_check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                accepted = bound.accept() => match accepted {
                    Ok((socket, tls)) => {
                        pauses.reset();
                        connections.start(socket, tls, self.sinks.clone());
                    }
                    Err(error) => {
                        // Out of file descriptors, say.
                        tracing::warn!(error = %error, "cannot accept a dnstap connection");
                        self.counts.accept_errors.inc();
                        sleep(pauses.next_pause()).await;
                    }
                },
                _ = file_check.tick() => if !bound.is_there() {
                    tracing::error!(endpoint = bound.place(), "the file of the dnstap socket is gone, making it again");
                    return;
                },
            }
        }
    }
}
