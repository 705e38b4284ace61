//! The way of a message from the broker into the program: bounded by count and by octets.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{INCOMING_OCTETS, Incoming, MqttMetrics};

/// What a message costs beside its text: list entries and allocations, so that many empty ones are not for nothing.
const OVERHEAD: usize = 128;

/// The sending end of the queue.
#[derive(Debug)]
pub(super) struct Inlet {
    sender: mpsc::Sender<Incoming>,
    octets: Arc<Semaphore>,
    metrics: MqttMetrics,
}

impl Inlet {
    pub(super) fn new(sender: mpsc::Sender<Incoming>, metrics: MqttMetrics) -> Self {
        Self { sender, octets: Arc::new(Semaphore::new(INCOMING_OCTETS)), metrics }
    }

    /// Never waits: a slow program must not stop keep-alives and acknowledgements.
    pub(super) fn deliver(&self, topic: &[u8], payload: &[u8]) {
        self.metrics.received.inc();
        if self.sender.is_closed() {
            self.metrics.dropped.inc();
        } else if self.try_deliver(topic, payload).is_none() && self.metrics.dropped.inc() == 0 {
            tracing::error!("message from the broker dropped because the queue is full; further ones are only counted");
        }
    }

    fn try_deliver(&self, topic: &[u8], payload: &[u8]) -> Option<()> {
        let octets = u32::try_from(topic.len() + payload.len() + OVERHEAD).ok()?;
        let permit = Arc::clone(&self.octets).try_acquire_many_owned(octets).ok()?;
        // A copy, because the library's payload keeps the whole buffer that it was read into.
        let payload = Bytes::from_owner(Counted { octets: payload.into(), _permit: permit });
        let topic = String::from_utf8_lossy(topic).into_owned();
        match self.sender.try_send(Incoming { topic, payload }) {
            Ok(()) | Err(TrySendError::Closed(_)) => Some(()),
            Err(TrySendError::Full(_)) => None,
        }
    }
}

/// A payload that gives its share of the bound back when the program drops it.
struct Counted {
    octets: Box<[u8]>,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.octets
    }
}
