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

use super::Counters;
use crate::queue::{EventQueue, Ticket};

/// Events on their way at once: with 50 ms to the broker and back this is 640 events a second.
const WINDOW: usize = 32;

/// Time for what is on its way when no more is taken. A broken connection tells at once; this is for a broker that is silent.
const SETTLE_AT_MOST: Duration = Duration::from_secs(10);

/// Refusals of one event, each while the broker took others, after which it is given up.
const REFUSALS: u32 = 5;

/// What became of one event.
type Sent = (Ticket, Result<(), PublishError>);

/// Time for what waits when EDM shuts down.
const LAST_MOMENT: Duration = Duration::from_secs(2);
/// How often the queue is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(10);

/// What the publisher has of the connection to Core.
pub struct Broker {
    /// The connection.
    pub mqtt: MqttPublisher,
    /// Where it stands.
    pub connection: watch::Receiver<ConnectionState>,
    /// The key that signs at this moment.
    pub key: Box<dyn Fn() -> Option<Arc<DataKey>> + Send + Sync>,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Broker").field("connected", &self.connection.borrow().connected).finish_non_exhaustive()
    }
}

/// The way of events to Core.
#[derive(Debug)]
pub struct Publisher {
    pub(super) queue: Arc<EventQueue>,
    pub(super) counters: Counters,
    pub(super) broker: Broker,
}

impl Publisher {
    /// Publishes until shutdown and, when the last event was put in, for a moment more.
    pub async fn run(self, input_gone: CancellationToken, shutdown: Shutdown) {
        let last_moment = async {
            shutdown.requested().await;
            let _ = timeout(LAST_MOMENT, self.emptied(input_gone)).await;
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

    async fn emptied(&self, input_gone: CancellationToken) {
        input_gone.cancelled().await;
        while !self.queue.is_empty() && self.broker.connection.borrow().connected {
            sleep(LOOK).await;
        }
    }

    async fn publish_for_ever(&self) {
        let mut pauses = BackOff::default().start();
        loop {
            self.broker.mqtt.connected().await;
            let before = self.counters.sent.get();
            let error = round(&self.queue, &self.counters, || self.start_next()).await;
            self.counters.send_failures.inc();
            // A broker that takes some and refuses others must not be asked every second.
            if !matches!(error, PublishError::Refused(_)) && self.counters.sent.get() > before {
                pauses.reset();
            }
            let pause = pauses.next_pause();
            tracing::warn!(error = %error, pause_ms = pause.as_millis(), "event was not taken, trying again");
            sleep(pause).await;
        }
    }

    fn start_next(&self) -> Option<impl Future<Output = Sent>> {
        // Taken only while there is a key; without one there is no connection either, so this is a passing state.
        let key = (self.broker.key)()?;
        let (ticket, event) = self.queue.take()?;
        let message = jws::sign_flattened(event.to_json().as_bytes(), &key);
        let topic = event::topic(key.kid());
        Some(async move { (ticket, self.broker.mqtt.publish(&topic, message, Qos::AtLeastOnce).await) })
    }
}

/// Keeps up to [`WINDOW`] events on their way until one has to be tried again. Then takes no more, and waits for what is on its
/// way before it returns the rest to the queue: what the broker has is not sent twice.
async fn round<F: Future<Output = Sent>>(
    queue: &EventQueue,
    counters: &Counters,
    mut start_next: impl FnMut() -> Option<F>,
) -> PublishError {
    let mut on_their_way = FuturesUnordered::new();
    let mut tally = Tally::default();
    let error = loop {
        while on_their_way.len() < WINDOW {
            let Some(sending) = start_next() else { break };
            on_their_way.push(sending);
        }
        tokio::select! {
            Some(sent) = on_their_way.next() => if let Err(error) = tally.settle(sent, queue, counters) {
                break error;
            },
            () = queue.filled(), if on_their_way.len() < WINDOW => {}
        }
    };
    let rest = async {
        while let Some(sent) = on_their_way.next().await {
            // The first failure is the one that is told.
            let _ = tally.settle(sent, queue, counters);
        }
    };
    let _ = timeout(SETTLE_AT_MOST, rest).await;
    tally.give_up_on_refused(queue, counters);
    queue.return_all();
    error
}

/// What became of the events of a round.
#[derive(Debug, Default)]
struct Tally {
    taken: bool,
    refused: Vec<Ticket>,
}

impl Tally {
    fn settle(&mut self, (ticket, sent): Sent, queue: &EventQueue, counters: &Counters) -> Result<(), PublishError> {
        match sent {
            Ok(()) => {
                self.taken = true;
                queue.finish(ticket);
                counters.sent.inc();
                Ok(())
            }
            Err(PublishError::Invalid(_)) => {
                unsendable(ticket, queue, counters);
                Ok(())
            }
            Err(error) => {
                if matches!(error, PublishError::Refused(_)) {
                    self.refused.push(ticket);
                }
                Err(error)
            }
        }
    }

    /// An event that is refused again and again while others are taken would stand in their way for ever. Where all are refused
    /// the reason is not in the event (rights, a quota), and all wait.
    fn give_up_on_refused(&self, queue: &EventQueue, counters: &Counters) {
        for ticket in self.refused.iter().filter(|_| self.taken) {
            if queue.refused(*ticket) >= REFUSALS {
                unsendable(*ticket, queue, counters);
            }
        }
    }
}

fn unsendable(ticket: Ticket, queue: &EventQueue, counters: &Counters) {
    queue.finish(ticket);
    if counters.unsendable.inc() == 0 {
        tracing::error!("event cannot be sent and was dropped; further ones are only counted");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Queued;

    fn filled(names: &[&str]) -> EventQueue {
        let queue = EventQueue::new(10);
        queue.open(10);
        for name in names {
            let qname = (*name).to_owned();
            let event = event::NewQname { flags: 0, qclass: 1, qname, qtype: 1, timestamp: jiff::Timestamp::UNIX_EPOCH };
            queue.push(Queued { event, key: (*name).to_owned() });
        }
        queue
    }

    /// A broker that answers later the longer the name is, and refuses `bad` names.
    async fn send(ticket: Ticket, name: String, error: Option<PublishError>) -> Sent {
        for _ in 0..name.len() {
            tokio::task::yield_now().await;
        }
        (ticket, if name.contains("bad") { error.map_or(Ok(()), Err) } else { Ok(()) })
    }

    async fn one_round(queue: &EventQueue, counters: &Counters, error: &PublishError) {
        let start = || queue.take().map(|(ticket, event)| send(ticket, event.qname, Some(error.clone())));
        assert_eq!(round(queue, counters, start).await, *error);
    }

    fn waiting(queue: &EventQueue) -> Vec<String> {
        let names = std::iter::from_fn(|| queue.take()).map(|(_, event)| event.qname).collect();
        queue.return_all();
        names
    }

    #[tokio::test]
    async fn only_what_failed_is_tried_again() {
        for error in [PublishError::Refused("x".to_owned()), PublishError::ConnectionLost, PublishError::NotConnected] {
            let (queue, counters) = (filled(&["one-that-takes-long.", "bad.", "another-that-takes-long."]), Counters::default());
            one_round(&queue, &counters, &error).await;
            assert_eq!(waiting(&queue), ["bad."], "{error}");
            assert_eq!(counters.sent.get(), 2);
        }
    }

    #[tokio::test]
    async fn what_is_refused_while_others_are_taken_is_given_up_at_last() {
        let (queue, counters) = (filled(&[]), Counters::default());
        let refused = PublishError::Refused("x".to_owned());
        let push = |name: &str| {
            for queued in std::iter::from_fn(|| filled(&[name]).take()).take(1) {
                queue.push(Queued { event: queued.1, key: name.to_owned() });
            }
        };
        push("bad.");
        for _ in 0..10 {
            one_round(&queue, &counters, &refused).await;
        }
        assert_eq!(waiting(&queue), ["bad."], "all are refused, so the reason is another one");
        for round in 1..=REFUSALS {
            assert_eq!(counters.unsendable.get(), 0, "round {round}");
            push("good.");
            one_round(&queue, &counters, &refused).await;
        }
        assert_eq!((waiting(&queue).len(), counters.unsendable.get()), (0, 1));
    }
}
