//! What happens and should not, and what Core is told of it (`telemetry`, off where nothing is said).
//!
//! Each part of POP is well, warned of, or failed. A part that becomes worse is an exceptional event: it gets an identifier under which it
//! stands in the log, in `/status`, and in what Core is told. Core is told at the start, at each event, and once a minute, in upstream's
//! form: counters and states, never a name that somebody asked for, nor any address.

mod events;
mod parts;
mod report;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tapir_runtime::mqtt::{MqttPublisher, Qos};
use tapir_runtime::shutdown::Shutdown;
use tapir_wire::jwk::DataKey;
use tapir_wire::jws;
use tokio::sync::watch;
use tokio::time::{Instant, interval, timeout};

use crate::status::Telemetry;
use events::Watch;
pub(crate) use parts::{COMPONENTS, Parts, Seen, State, parts};

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(1);
/// How often Core is told if nothing happens.
const HEARTBEAT: Duration = Duration::from_secs(60);
/// Pause after a message that could not be sent.
const AGAIN: Duration = Duration::from_secs(10);
/// For the broker to take one.
const PATIENCE: Duration = Duration::from_secs(10);

/// How Core is told.
#[derive(Clone, Debug)]
pub struct Sending {
    /// Where.
    pub topic: String,
    /// Tells this POP from all others.
    pub function_id: String,
    /// What it is signed with.
    pub key: Arc<DataKey>,
}

/// Looks, and tells, until shutdown. Nothing waits for this.
pub async fn run(
    telemetry: Arc<Telemetry>,
    mut sending: watch::Receiver<Option<Sending>>,
    publisher: MqttPublisher,
    shutdown: Shutdown,
) {
    let (mut watched, mut look) = (Watch::default(), interval(LOOK));
    // Due at once; events make it due again.
    let mut due = Instant::now();
    loop {
        tokio::select! {
            () = shutdown.requested() => return,
            _ = look.tick() => {}
            Ok(()) = sending.changed() => {}
        }
        let now = Timestamp::now();
        let parts = telemetry.parts(now);
        for (part, (state, _)) in &parts {
            telemetry.metrics.component(part, *state);
        }
        for event in watched.look(&parts, &telemetry.node(), now) {
            telemetry.event(event);
            due = Instant::now();
        }
        let Some(to) = sending.borrow_and_update().clone() else { continue };
        if due > Instant::now() || !telemetry.is_connected() {
            continue;
        }
        let told = report::report(&telemetry, &watched, &to.function_id).to_string();
        let signed = jws::sign_flattened(told.as_bytes(), &to.key);
        let sent = tokio::select! {
            () = shutdown.requested() => return,
            sent = timeout(PATIENCE, publisher.publish(&to.topic, signed, Qos::AtLeastOnce)) => sent,
        };
        due = Instant::now() + HEARTBEAT;
        if !matches!(sent, Ok(Ok(()))) {
            tracing::debug!(?sent, "Core could not be told how this POP is");
            due = Instant::now() + AGAIN;
        }
    }
}
