//! Sending over whatever connection there is.

use bytes::Bytes;
use rumqttc::{AsyncClient, ClientError, PublishNoticeError, PublishOptions};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{ConnectionState, Qos};

/// Fixed header, topic length, packet identifier and an empty set of properties (MQTT 5.0 section 3.3) at most.
const PUBLISH_OVERHEAD: usize = 5 + 2 + 2 + 1;

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
    /// Not a topic name, or the message is longer than the broker's packet limit; trying again is of no use.
    #[error("the message cannot be sent: {0}")]
    Invalid(String),
}

/// One connection as publishers see it.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) client: AsyncClient,
    /// Largest packet that the broker takes.
    pub(super) max_packet_size: usize,
    /// Cancelled when the connection is gone.
    pub(super) ended: CancellationToken,
}

/// Sends messages over whatever connection there is. Cloning is cheap; clones may send at the same time.
#[derive(Clone, Debug)]
pub struct MqttPublisher {
    link: watch::Receiver<Option<Link>>,
    state: watch::Receiver<ConnectionState>,
}

impl MqttPublisher {
    pub(super) const fn new(link: watch::Receiver<Option<Link>>, state: watch::Receiver<ConnectionState>) -> Self {
        Self { link, state }
    }

    /// Publishes. QoS 1 resolves at the broker's PUBACK, QoS 0 when the message went into the connection.
    ///
    /// # Errors
    /// See [`PublishError`]; nothing is kept over a broken connection.
    pub async fn publish(&self, topic: &str, payload: impl Into<Bytes> + Send, qos: Qos) -> Result<(), PublishError> {
        let payload = payload.into();
        let link = self.link.borrow().clone();
        let Some(Link { client, max_packet_size, ended }) = link else {
            return Err(PublishError::NotConnected);
        };
        // A packet that is too large would break the connection for all other messages.
        let size = topic.len() + payload.len() + PUBLISH_OVERHEAD;
        if size > max_packet_size {
            return Err(PublishError::Invalid(format!("{size} bytes, the broker takes {max_packet_size}")));
        }
        let queued = tokio::select! {
            biased;
            queued = client.publish_tracked(topic, payload, PublishOptions::new(qos.into())) => queued,
            () = ended.cancelled() => return Err(PublishError::ConnectionLost),
        };
        let notice = queued.map_err(|error| match error {
            ClientError::InvalidRequest(_) => PublishError::Invalid("not a topic name".to_owned()),
            _ => PublishError::ConnectionLost,
        })?;
        // The library's queue keeps requests, and with them their notices, for as long as there is a sender.
        drop(client);
        tokio::select! {
            biased;
            done = notice.wait_completion_async() => done.map_err(|error| match error {
                PublishNoticeError::V5PubAck(reason) => PublishError::Refused(format!("{reason:?}")),
                _ => PublishError::ConnectionLost,
            }),
            () = ended.cancelled() => Err(PublishError::ConnectionLost),
        }
    }

    /// Resolves when there is a connection; never, after shutdown.
    pub async fn connected(&self) {
        let mut state = self.state.clone();
        if state.wait_for(|state| state.connected).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
