//! The publisher: events out of the queue, signed, to the broker, off the queue at PUBACK.
//!
//! Reading and signing are done on a thread of their own, a batch ahead of what is being sent; many events go into one write.
//!
//! # Departures
//! Upstream sends with QoS 0 and takes an event off its queue when it is written; that is a setting here. The client identifier is
//! `<kid>-edm-<instance>`, since the Pods of one edge would otherwise disconnect each other.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::future::OptionFuture;
use futures::stream::FuturesUnordered;
use tapir_runtime::back_off::BackOff;
use tapir_runtime::mqtt::{ConnectionState, MqttPublisher, PublishError, Qos};
use tapir_runtime::shutdown::Shutdown;
use tapir_wire::event;
use tapir_wire::jwk::DataKey;
use tapir_wire::jws;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::gate::Events;
use super::pace::Pace;
use super::queue::{Event, Ticket};
use crate::names::Presentation;

/// Events on their way at once: with 50 ms to the broker and back this is 20 000 events a second.
pub const WINDOW: u16 = 1024;
/// Events signed at once: some milliseconds.
const BATCH: usize = 128;

/// Time for what is on its way when no more is taken. A broken connection tells at once; this is for a broker that is silent.
const SETTLE_AT_MOST: Duration = Duration::from_secs(10);

/// Refusals of one event, each while the broker took others, after which it is given up.
const REFUSALS: u32 = 5;

/// Refusals after which no more are sent for now.
const REFUSED: usize = 16;
/// And how long after the first refusal: however many others come, it is to be tried again.
const REFUSED_FOR: Duration = Duration::from_secs(5);
/// A round this long was without a refusal for most of it.
const LONG: Duration = Duration::from_secs(60);

/// What became of one event.
type Sent = (Ticket, Result<(), PublishError>);

/// Time for what waits when EDM shuts down; what is left then waits on disk for the next start.
const LAST_MOMENT: Duration = Duration::from_secs(2);
/// How often the queue is looked at meanwhile, and for a key that is not there.
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
    events: Events,
    broker: Broker,
}

impl Publisher {
    pub(super) const fn new(events: Events, broker: Broker) -> Self {
        Self { events, broker }
    }

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
        let waiting = self.events.held().events;
        if waiting > 0 {
            tracing::info!(events = waiting, "events wait for the next start");
        }
    }

    async fn emptied(&self, input_gone: CancellationToken) {
        input_gone.cancelled().await;
        while !self.events.is_empty() && self.broker.connection.borrow().connected {
            sleep(LOOK).await;
        }
    }

    async fn publish_for_ever(&self) {
        let mut pauses = BackOff::default().start();
        let mut refusals = Refusals::default();
        loop {
            self.broker.mqtt.connected().await;
            let counters = self.events.counters();
            let (before, begun) = (counters.sent.get(), Instant::now());
            let publish =
                |topic: Arc<str>, message: String, qos| async move { self.broker.mqtt.publish(&topic, message, qos).await };
            let error = round(&self.events, &self.broker.key, &mut refusals, publish).await;
            counters.send_failures.inc();
            if went_well(&error, counters.sent.get() > before, begun.elapsed()) {
                pauses.reset();
            }
            let pause = pauses.next_pause();
            tracing::warn!(error = %error, pause_ms = pause.as_millis(), "event was not taken, trying again");
            sleep(pause).await;
        }
    }
}

/// A broker that takes some and refuses others must not be asked every second; one that refuses now and then need not be waited for.
fn went_well(error: &PublishError, took_some: bool, lasted: Duration) -> bool {
    took_some && (!matches!(error, PublishError::Refused(_)) || lasted >= LONG)
}

/// What comes of reading and signing.
struct Batch {
    topic: Arc<str>,
    messages: Vec<(Ticket, String)>,
    /// What was read and not signed yet.
    rest: VecDeque<(Ticket, Event)>,
}

/// Reads if nothing is left, and signs. May wait for the disk, and takes 25 µs for an event.
fn prepare(events: &Events, key: &DataKey, lower_case: bool, mut rest: VecDeque<(Ticket, Event)>, most: usize) -> Batch {
    if rest.is_empty() {
        rest = events.queue().read().into();
    }
    let mut text = Presentation::default();
    let now = rest.len().min(most);
    let sign = |(ticket, event): (Ticket, Event)| {
        let mut event = event.new_qname(&mut text);
        if lower_case {
            event.qname.make_ascii_lowercase();
        }
        (ticket, jws::sign_flattened(event.to_json().as_bytes(), key))
    };
    let messages = rest.drain(..now).map(sign).collect();
    Batch { topic: event::topic(key.kid()).into(), messages, rest }
}

/// Keeps up to [`WINDOW`] events on their way until one has to be tried again. Then takes no more, and waits for what is on its
/// way before it returns the rest to the queue: what the broker has is not sent twice.
async fn round<F: Future<Output = Result<(), PublishError>>>(
    events: &Events,
    key: &(dyn Fn() -> Option<Arc<DataKey>> + Send + Sync),
    refusals: &mut Refusals,
    publish: impl Fn(Arc<str>, String, Qos) -> F,
) -> PublishError {
    let mut on_their_way = FuturesUnordered::new();
    let mut tally = Tally::default();
    let mut pace = Pace::new(Instant::now());
    let mut rest = VecDeque::new();
    let mut preparing: OptionFuture<JoinHandle<Batch>> = None.into();
    let mut is_preparing = 0;
    // Nothing was there the last time.
    let mut idle = false;
    let error = loop {
        // Those that were refused do not keep the others from being sent for a while, unless there are many of them.
        let is_late = tally.over_at.is_some_and(|at| Instant::now() >= at);
        let is_over = is_late || tally.refused.len() >= REFUSED || idle && on_their_way.is_empty();
        if let Some(error) = tally.error.take_if(|_| is_over) {
            break error;
        }
        let settings = events.settings();
        let has_room = !idle && on_their_way.len() + BATCH <= usize::from(WINDOW);
        let mut look_again = None;
        if is_preparing == 0 && has_room {
            let key = key();
            let wanted = if key.is_some() { BATCH } else { 0 };
            let granted = pace.take(wanted, settings.sent_a_second, Instant::now());
            // Not the pace alone: without a limit, or without a key, it lies in the past.
            look_again = Some(if key.is_some() { pace.next() } else { Instant::now() + LOOK });
            if granted > 0
                && let Some(key) = key
            {
                let (events, rest, lower_case) = (events.clone(), std::mem::take(&mut rest), settings.lower_case);
                preparing = Some(tokio::task::spawn_blocking(move || prepare(&events, &key, lower_case, rest, granted))).into();
                is_preparing = granted;
            }
        }
        let look_again = look_again.filter(|_| is_preparing == 0);
        tokio::select! {
            Some(sent) = on_their_way.next() => if let Err(error) = tally.settle(sent, events) {
                break error;
            },
            Some(batch) = &mut preparing, if is_preparing > 0 => {
                // A panic while signing: as if nothing had been there, and the round is tried again.
                let Batch { topic, mut messages, rest: later } = match batch {
                    Ok(batch) => batch,
                    Err(error) => break PublishError::Invalid(error.to_string()),
                };
                // What was forgotten since it was read does not leave any more.
                events.queue().retain_held(&mut messages);
                pace.give_back(is_preparing.saturating_sub(messages.len()));
                (is_preparing, rest) = (0, later);
                idle = messages.is_empty();
                let qos = if settings.at_most_once { Qos::AtMostOnce } else { Qos::AtLeastOnce };
                for (ticket, message) in messages {
                    let sending = publish(Arc::clone(&topic), message, qos);
                    on_their_way.push(async move { (ticket, sending.await) });
                }
            }
            () = events.queue().filled(), if idle => idle = false,
            Some(()) = OptionFuture::from(look_again.map(|at| sleep_until(at.into()))) => {}
            Some(()) = OptionFuture::from(tally.over_at.map(|at| sleep_until(at.into()))) => {}
        }
    };
    if is_preparing > 0 {
        let _ = (&mut preparing).await;
    }
    let remaining = async {
        while let Some(sent) = on_their_way.next().await {
            // The first failure is the one that is told.
            let _ = tally.settle(sent, events);
        }
    };
    let _ = timeout(SETTLE_AT_MOST, remaining).await;
    refusals.add(&tally, events);
    events.queue().return_all();
    error
}

/// What became of the events of a round.
#[derive(Debug, Default)]
struct Tally {
    taken: bool,
    refused: Vec<Ticket>,
    /// The last refusal.
    error: Option<PublishError>,
    /// When no more are sent for the first one.
    over_at: Option<Instant>,
}

impl Tally {
    fn settle(&mut self, (ticket, sent): Sent, events: &Events) -> Result<(), PublishError> {
        match sent {
            Ok(()) => {
                self.taken = true;
                events.queue().finish(ticket);
                events.counters().acknowledged();
                Ok(())
            }
            Err(PublishError::Invalid(_)) => {
                unsendable(ticket, events);
                Ok(())
            }
            Err(error @ PublishError::Refused(_)) => {
                self.refused.push(ticket);
                self.over_at.get_or_insert_with(|| Instant::now() + REFUSED_FOR);
                self.error = Some(error);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

/// How often each event was refused. Of those of the last round only: the others were taken, or given up.
#[derive(Debug, Default)]
struct Refusals(BTreeMap<Ticket, u32>);

impl Refusals {
    /// An event that is refused again and again while others are taken would stand in their way for ever. Where all are refused
    /// the reason is not in the event (rights, a quota), and all wait.
    fn add(&mut self, tally: &Tally, events: &Events) {
        if !tally.taken {
            return;
        }
        let before = std::mem::take(&mut self.0);
        for ticket in &tally.refused {
            let count = before.get(ticket).copied().unwrap_or(0) + 1;
            if count >= REFUSALS {
                unsendable(*ticket, events);
            } else {
                self.0.insert(*ticket, count);
            }
        }
    }
}

fn unsendable(ticket: Ticket, events: &Events) {
    events.queue().finish(ticket);
    if events.counters().unsendable.inc() == 0 {
        tracing::error!("event cannot be sent and was dropped; further ones are only counted");
    }
}

#[cfg(test)]
#[path = "publisher_tests.rs"]
mod tests;
