//! What happens at a sidecar and should not, and what Core is told of it (`spec/pop.md` 8.1 and 8.4).
//!
//! Each part of a sidecar is well, warned of, or failed. A part that becomes worse is an exceptional event: it gets an identifier under which it
//! stands in the log, in `/status`, and in what Core is told. Core is told at the start, at each event, and once a minute, in upstream's
//! form: counters and states, never a name that somebody asked for, nor any address.

mod events;
mod history;
mod report;
mod state;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};
use tapir_wire::jwk::DataKey;
use tapir_wire::jws;
use tapir_wire::status::EventStatus;
use tokio::sync::watch;
use tokio::time::{Instant, interval, timeout};

use crate::mqtt::{MqttPublisher, Qos};
use crate::shutdown::Shutdown;
pub use events::{Row, Watch};
pub use history::History;
pub use report::{Shown, counters, report};
pub use state::{BROKER, CERTIFICATE, Part, Parts, START, State, certificate, connection};

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
    /// Tells this sidecar from all others.
    pub function_id: String,
    /// What it is signed with.
    pub key: Arc<DataKey>,
}

/// A sidecar, as far as this looks at it.
pub trait Teller: Send + Sync + 'static {
    /// The program, as upstream's consumers know it.
    fn function(&self) -> &'static str;
    /// Who has the certificate; empty while nobody knows.
    fn node(&self) -> String;
    /// How each part is.
    fn parts(&self, now: Timestamp) -> Parts;
    /// For metrics: the part is so.
    fn is_so(&self, part: &'static str, state: State);
    /// An event, for metrics and `/status`.
    fn happened(&self, event: EventStatus);
    /// What happened, the newest last.
    fn events(&self) -> Vec<EventStatus>;
    /// Whether there is a broker to tell.
    fn is_connected(&self) -> bool;
    /// The figures that are told.
    fn counters(&self) -> Map<String, Value>;
}

/// Looks, and tells, until shutdown. Nothing waits for this.
pub async fn run(
    teller: Arc<impl Teller>,
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
        let parts = teller.parts(now);
        for (part, (state, _)) in &parts {
            teller.is_so(part, *state);
        }
        for event in watched.look(&parts, &teller.node(), now) {
            teller.happened(event);
            due = Instant::now();
        }
        let Some(to) = sending.borrow_and_update().clone() else { continue };
        if due > Instant::now() || !teller.is_connected() {
            continue;
        }
        let told = report(&*teller, &watched, &to.function_id).to_string();
        let signed = jws::sign_flattened(told.as_bytes(), &to.key);
        let sent = tokio::select! {
            () = shutdown.requested() => return,
            sent = timeout(PATIENCE, publisher.publish(&to.topic, signed, Qos::AtLeastOnce)) => sent,
        };
        due = Instant::now() + HEARTBEAT;
        if !matches!(sent, Ok(Ok(()))) {
            tracing::debug!(?sent, "Core could not be told how this sidecar is");
            due = Instant::now() + AGAIN;
        }
    }
}
