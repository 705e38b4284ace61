//! Connection after connection, until shutdown.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::connection::{self, Outlets};
use super::{ConnectionState, MqttSettings};
use crate::shutdown::Shutdown;

/// Ends only at shutdown; if nobody can change the settings any more, the last ones stay.
pub(super) async fn run(mut settings: watch::Receiver<Option<MqttSettings>>, outlets: Arc<Outlets>, shutdown: Shutdown) {
    while !shutdown.is_triggered() {
        let current = settings.borrow_and_update().clone();
        let changed = different(&mut settings, &current);
        match &current {
            None => {
                disconnected(&outlets, None);
                tokio::select! {
                    () = changed => {}
                    () = shutdown.requested() => {}
                }
            }
            Some(wanted) => {
                let stop = CancellationToken::new();
                let keeping = keep(wanted, &outlets, &stop);
                let stopping = async {
                    tokio::select! {
                        () = changed => tracing::info!("settings of the broker connection changed"),
                        () = shutdown.requested() => {}
                    }
                    stop.cancel();
                };
                tokio::join!(keeping, stopping);
            }
        }
    }
    disconnected(&outlets, None);
}

/// One settings' life: connect again and again until `stop`.
async fn keep(settings: &MqttSettings, outlets: &Arc<Outlets>, stop: &CancellationToken) {
    let mut pauses = settings.back_off.start();
    while !stop.is_cancelled() {
        let started = Instant::now();
        let Err(failure) = connection::run(settings, outlets, stop).await else {
            disconnected(outlets, None);
            return;
        };
        outlets.metrics.failures.inc();
        let was_connected = outlets.state.borrow().connected;
        // A broker that accepts and at once throws out (two clients of one id, say) must not be asked every second.
        if was_connected && started.elapsed() >= settings.back_off.max {
            pauses.reset();
        }
        let pause = pauses.next_pause();
        let error = failure.to_string();
        tracing::warn!(error, broker = settings.url, pause_ms = pause.as_millis(), "no connection to the broker, trying again");
        disconnected(outlets, Some(error));
        tokio::select! {
            () = sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}

fn disconnected(outlets: &Outlets, error: Option<String>) {
    outlets.metrics.connected.set(0);
    outlets.state.send_if_modified(|state| {
        let next = ConnectionState {
            connected: false,
            since: if state.connected || state.since.is_none() { Some(Timestamp::now()) } else { state.since },
            error,
            certificate_serial: None,
            refused: Vec::new(),
        };
        let modified = *state != next;
        *state = next;
        modified
    });
}

/// Resolves when the settings are others than `current`; a reload that brought the same does not count.
async fn different(settings: &mut watch::Receiver<Option<MqttSettings>>, current: &Option<MqttSettings>) {
    if settings.wait_for(|settings| settings != current).await.is_err() {
        std::future::pending::<()>().await;
    }
}
