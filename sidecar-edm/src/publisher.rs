//! The publisher: events out of the queue, signed, to the broker, off the queue at PUBACK.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tapir_runtime::back_off::BackOff;
use tapir_runtime::mqtt::{ConnectionState, MqttPublisher, PublishError, Qos};
use tapir_runtime::shutdown::Shutdown;
use tapir_wire::event;
use tapir_wire::jwk::DataKey;
use tapir_wire::jws;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::queue::{EventQueue, Ticket};
use crate::reload::InForce;

/// Events on their way at once: with 50 ms to the broker and back this is 640 events a second.
const WINDOW: usize = 32;

/// Time for what waits when EDM shuts down.
const LAST_MOMENT: Duration = Duration::from_secs(2);
/// How often the queue is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(10);

/// The publisher's state.
#[derive(Debug)]
pub struct Publisher {
    /// Where events come from.
    pub queue: Arc<EventQueue>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Whose key signs.
    pub in_force: watch::Receiver<Arc<InForce>>,
    /// The connection.
    pub mqtt: MqttPublisher,
    /// Where the connection stands.
    pub connection: watch::Receiver<ConnectionState>,
}

impl Publisher {
    /// Publishes until shutdown and, when the worker has put in its last event, for a moment more.
    pub async fn run(self, worker_gone: CancellationToken, shutdown: Shutdown) {
        let last_moment = async {
            shutdown.requested().await;
            let _ = timeout(LAST_MOMENT, self.emptied(worker_gone)).await;
        };
        tokio::select! {
            () = self.publish_for_ever() => {}
            () = last_moment => {}
        }
        let lost = self.queue.close();
        if lost > 0 {
            tracing::error!(events = lost, "events were not sent before the end");
        }
    }

    async fn emptied(&self, worker_gone: CancellationToken) {
        worker_gone.cancelled().await;
        while !self.queue.is_empty() && self.connection.borrow().connected {
            sleep(LOOK).await;
        }
    }

    async fn publish_for_ever(&self) {
        let mut pauses = BackOff::default().start();
        loop {
            self.mqtt.connected().await;
            let before = self.metrics.events_sent.get();
            let error = self.publish_while_it_works().await;
            self.queue.return_all();
            self.metrics.send_failures.inc();
            if self.metrics.events_sent.get() > before {
                pauses.reset();
            }
            let pause = pauses.next_pause();
            tracing::warn!(error = %error, pause_ms = pause.as_millis(), "event was not taken, trying again");
            sleep(pause).await;
        }
    }

    /// Keeps up to [`WINDOW`] events on their way. Ends at the first one that has to be tried again.
    async fn publish_while_it_works(&self) -> PublishError {
        let mut on_their_way = FuturesUnordered::new();
        loop {
            while on_their_way.len() < WINDOW {
                // Taken only while there is a key; without one there is no connection either, so this is a passing state.
                let Some(key) = self.data_key() else { break };
                let Some((ticket, event)) = self.queue.take() else { break };
                let message = jws::sign_flattened(event.to_json().as_bytes(), &key);
                on_their_way.push(self.send(ticket, event::topic(key.kid()), message));
            }
            tokio::select! {
                Some((ticket, sent)) = on_their_way.next() => if let Err(error) = self.settle(ticket, sent) {
                    return error;
                },
                () = self.queue.filled(), if on_their_way.len() < WINDOW => {}
            }
        }
    }

    async fn send(&self, ticket: Ticket, topic: String, message: String) -> (Ticket, Result<(), PublishError>) {
        (ticket, self.mqtt.publish(&topic, message, Qos::AtLeastOnce).await)
    }

    fn settle(&self, ticket: Ticket, sent: Result<(), PublishError>) -> Result<(), PublishError> {
        match sent {
            Ok(()) => {
                self.queue.finish(ticket);
                self.metrics.events_sent.inc();
                Ok(())
            }
            Err(PublishError::Invalid(_)) => {
                self.queue.finish(ticket);
                if self.metrics.events_unsendable.inc() == 0 {
                    tracing::error!("event cannot be sent and was dropped; further ones are only counted");
                }
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn data_key(&self) -> Option<Arc<DataKey>> {
        self.in_force.borrow().identity.as_ref().map(|identity| Arc::clone(&identity.data_key))
    }
}
