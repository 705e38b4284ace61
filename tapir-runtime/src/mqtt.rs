//! The connection to Core's broker: MQTT 5, one task that owns it.
//!
//! The task connects, subscribes, and starts again with a pause when anything breaks, for ever. New settings (usually a new
//! certificate) end the present connection in order and start the next one; the channels of [`MqttHandle`] outlive all that.
//! Nothing of the client library shows here.
//!
//! # Limitations
//! * QoS 2 is neither offered nor asked for: Core publishes with QoS 0, and events may arrive twice.
//! * A message that was not acknowledged when the connection broke is not sent again here. Its publisher learns of it and
//!   decides, because only there is a bounded queue that knows what is worth keeping.

pub(crate) mod address;
mod connection;
mod incoming;
mod publisher;
mod settings;
mod task;

use bytes::Bytes;
use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, watch};

use crate::shutdown::Shutdown;

pub use publisher::{MqttPublisher, PublishError};
pub use settings::{MqttSettings, Qos};

/// Messages that wait for the program at most. Observations come in bursts of some hundred; at 1 KiB each this is 1 MiB.
pub const INCOMING_CAPACITY: usize = 1024;

/// Octets of such messages at most. Nothing is verified yet where they wait, so whoever may publish to us must not be able to
/// fill the memory with messages of the largest size.
pub const INCOMING_OCTETS: usize = 4 * 1024 * 1024;

/// A message from the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// Where it was published.
    pub topic: String,
    /// What was published.
    pub payload: Bytes,
}

/// Where the connection stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionState {
    /// Connected, and every subscription granted that there must be.
    pub connected: bool,
    /// Since when `connected` is what it is.
    pub since: Option<Timestamp>,
    /// Why the last connection or attempt failed; kept while not connected.
    pub error: Option<String>,
    /// Serial of the certificate that the connection was made with, [`MqttSettings::certificate_serial`].
    pub certificate_serial: Option<String>,
    /// Filters of [`MqttSettings::optional_subscriptions`] that the broker did not grant.
    pub refused: Vec<String>,
}

impl From<&ConnectionState> for tapir_wire::status::CoreStatus {
    fn from(state: &ConnectionState) -> Self {
        let ConnectionState { connected, since, error, certificate_serial, refused: _ } = state.clone();
        Self { connected, since, error, certificate_serial }
    }
}

/// Counters of one connection task. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct MqttMetrics {
    /// Messages taken from the broker, dropped ones included.
    pub received: Counter,
    /// Messages from the broker that found the queue full, or nobody who wants them, and were dropped.
    pub dropped: Counter,
    /// Connections made.
    pub connects: Counter,
    /// Attempts that failed and connections that broke.
    pub failures: Counter,
    /// 1 while connected and subscribed.
    pub connected: Gauge,
}

impl MqttMetrics {
    /// Registers everything under `mqtt_…`.
    pub fn register(&self, registry: &mut Registry) {
        let Self { received, dropped, connects, failures, connected } = self.clone();
        registry.register("mqtt_received", "Messages taken from the broker", received);
        registry.register("mqtt_dropped", "Messages from the broker that found the queue full or nobody who wants them", dropped);
        registry.register("mqtt_connects", "Connections made to the broker", connects);
        registry.register("mqtt_failures", "Attempts to connect that failed and connections that broke", failures);
        registry.register("mqtt_connected", "Connected to the broker and subscribed", connected);
    }
}

/// What the rest of the program holds of the connection.
#[derive(Debug)]
pub struct MqttHandle {
    /// Messages from the broker; the same channel over all reconnects. When it is full, by [`INCOMING_OCTETS`] or by count, the
    /// newest message is dropped and counted. Drop the receiver when nothing is expected: what comes is then discarded at once.
    pub incoming: mpsc::Receiver<Incoming>,
    /// The other end of it, for who looks how much waits there.
    pub queue: mpsc::WeakSender<Incoming>,
    /// Where the connection stands.
    pub state: watch::Receiver<ConnectionState>,
    /// For sending.
    pub publisher: MqttPublisher,
    /// Counters, to be registered by the caller.
    pub metrics: MqttMetrics,
    /// Ends after shutdown, when DISCONNECT was sent or given up.
    pub task: tokio::task::JoinHandle<()>,
}

/// Starts the task that keeps the connection. `None` means: no connection wanted (no identity yet, or switched off).
#[must_use]
pub fn spawn(settings: watch::Receiver<Option<MqttSettings>>, shutdown: Shutdown) -> MqttHandle {
    spawn_with_capacity(settings, shutdown, INCOMING_CAPACITY)
}

/// [`spawn`] with another bound of the incoming queue.
#[must_use]
pub fn spawn_with_capacity(settings: watch::Receiver<Option<MqttSettings>>, shutdown: Shutdown, capacity: usize) -> MqttHandle {
    let (incoming_sender, incoming) = mpsc::channel(capacity.max(1));
    let (state_sender, state) = watch::channel(ConnectionState::default());
    let (link_sender, link) = watch::channel(None);
    let publisher = MqttPublisher::new(link, state.clone());
    let (metrics, queue) = (MqttMetrics::default(), incoming_sender.downgrade());
    let outlets = connection::Outlets {
        incoming: incoming::Inlet::new(incoming_sender, metrics.clone()),
        state: state_sender,
        link: link_sender,
        metrics: metrics.clone(),
    };
    let task = tokio::spawn(task::run(settings, std::sync::Arc::new(outlets), shutdown));
    MqttHandle { incoming, queue, state, publisher, metrics, task }
}
