//! The MQTT side: one client of the broker that takes events and publishes observations, at most once in both directions.

use std::sync::Arc;
use std::time::Duration;

use rumqttc::mqttbytes::QoS;
use rumqttc::{AsyncClient, IncomingPacketSizeLimit, MqttOptions, PublishOptions, TlsConfiguration, Transport};
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

mod connection;

use crate::analysis::Analysis;
use crate::clock::Clock;
use crate::events::UpBridge;
use crate::faults::{Fault, Faults};
use crate::nodeman::Nodeman;
use crate::observations::{self, CurrentKey, Observed};
use crate::published::Published;
use crate::record::Record;
use crate::schema::Schemas;
use connection::{Received, poll, subscribe};

/// All that the connection receives is recorded; only this is read.
const EVENTS: &str = "events/up/+/new_qname";
const MAXIMUM_PACKET: u32 = 1024 * 1024;
const QUEUE: usize = 1000;
const KEEP_ALIVE_SECONDS: u16 = 20;

/// Where the broker is and how to be recognised by it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Host name that its certificate must carry.
    pub host: String,
    /// Port.
    pub port: u16,
    /// With the bridge's own certificate.
    pub tls: Arc<rustls::ClientConfig>,
    /// Topic of observations.
    pub observations_topic: String,
    /// Seconds between ticker names; 0: none.
    pub ticker_seconds: u64,
}

/// The parts that the bridge works with.
#[derive(Debug)]
pub struct Parts {
    /// Knows the nodes' keys.
    pub nodeman: Nodeman,
    /// Analysts and encoder.
    pub analysis: Analysis,
    /// Signs observations.
    pub signing_key: CurrentKey,
    /// Compiled schemas for both directions.
    pub schemas: [Schemas; 2],
    /// Where messages are recorded.
    pub record: Arc<Record>,
    /// "offline" sends the bridge away.
    pub faults: Faults,
    /// The time.
    pub clock: Clock,
}

/// To hand payloads to a running bridge and to see its state.
#[derive(Clone, Debug)]
pub struct Handle {
    payloads: mpsc::Sender<String>,
    subscribed: watch::Receiver<bool>,
}

impl Handle {
    /// Queues an observation payload for signing and publishing; false when bridge or broker are away.
    #[must_use]
    pub fn publish(&self, payload: String) -> bool {
        *self.subscribed.borrow() && self.payloads.try_send(payload).is_ok()
    }

    /// Whether the bridge is connected and subscribed.
    #[must_use]
    pub fn is_subscribed(&self) -> bool {
        *self.subscribed.borrow()
    }

    /// Returns once that is so.
    pub async fn wait_until_subscribed(&mut self) {
        let _ = self.subscribed.wait_for(|subscribed| *subscribed).await;
    }
}

/// Starts the bridge.
#[must_use]
pub fn spawn(settings: Settings, parts: Parts, shutdown: CancellationToken) -> (Handle, JoinHandle<()>) {
    let (payload_sender, payloads) = mpsc::channel(QUEUE);
    let (subscribed_sender, subscribed) = watch::channel(false);
    let Parts { nodeman, analysis, signing_key, schemas: [up, down], record, faults, clock } = parts;
    let bridge = Bridge {
        settings,
        nodeman,
        analysis,
        signing_key,
        up: UpBridge::new(up),
        down,
        record,
        faults,
        clock,
        subscribed: subscribed_sender,
    };
    let task = tokio::spawn(bridge.run(payloads, shutdown));
    (Handle { payloads: payload_sender, subscribed }, task)
}

struct Bridge {
    settings: Settings,
    nodeman: Nodeman,
    analysis: Analysis,
    signing_key: CurrentKey,
    up: UpBridge,
    down: Schemas,
    record: Arc<Record>,
    faults: Faults,
    clock: Clock,
    subscribed: watch::Sender<bool>,
}

impl Bridge {
    async fn run(mut self, mut payloads: mpsc::Receiver<String>, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = self.faults.wait_until(|fault| fault != Fault::Offline) => {
                    if let Err(error) = self.online(&mut payloads, &shutdown).await {
                        tracing::error!(%error, "The bridge's settings are unusable; a human is needed");
                        return;
                    }
                }
            }
        }
    }

    /// From one "online" to the next "offline".
    async fn online(
        &mut self,
        payloads: &mut mpsc::Receiver<String>,
        shutdown: &CancellationToken,
    ) -> Result<(), rumqttc::ClientBuildError> {
        let (client, event_loop) = AsyncClient::builder(self.options()).capacity(QUEUE).try_build()?;
        let (packet_sender, mut packets) = mpsc::channel(QUEUE);
        // The event loop must not be dropped between two polls, hence a task of its own.
        let connection = tokio::spawn(poll(event_loop, packet_sender));
        let faults = self.faults.clone();
        let period = Duration::from_secs(self.settings.ticker_seconds.max(1));
        let mut ticker = interval_at(Instant::now() + period, period);
        ticker.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = faults.wait_until(|fault| fault == Fault::Offline) => break,
                packet = packets.recv() => match packet {
                    Some(Received::Message(message)) => self.message(&client, &message),
                    Some(Received::Connected) => subscribe(&client),
                    Some(Received::Subscribed) => { self.subscribed.send_replace(true); tracing::info!("Bridge subscribed"); }
                    Some(Received::Disconnected) => { self.subscribed.send_replace(false); }
                    None => break,
                },
                Some(payload) = payloads.recv() => self.publish(&client, &payload),
                _ = ticker.tick(), if self.settings.ticker_seconds > 0 => {
                    let observed = self.analysis.tick(self.clock.now());
                    self.publish_observed(&client, observed);
                }
            }
        }
        connection.abort();
        self.subscribed.send_replace(false);
        Ok(())
    }

    fn options(&self) -> MqttOptions {
        let mut options = MqttOptions::new(crate::pki::BRIDGE_NAME, (self.settings.host.as_str(), self.settings.port));
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::clone(&self.settings.tls))));
        options.set_keep_alive(KEEP_ALIVE_SECONDS);
        options.set_incoming_packet_size_limit(IncomingPacketSizeLimit::Bytes(MAXIMUM_PACKET));
        options
    }

    fn message(&mut self, client: &AsyncClient, message: &Published) {
        let now = self.clock.now();
        let topic = message.topic.as_str();
        if !is_event_topic(topic) {
            self.record.mqtt(now, message, "unread", None);
            return;
        }
        let nodeman = self.nodeman.clone();
        let checked = self.up.check(&message.payload, |name| nodeman.nodes().get(name).and_then(|node| node.public_key.clone()));
        match checked {
            Err(reason) => {
                tracing::info!(topic, %reason, "Event dropped");
                self.record.mqtt(now, message, reason.code(), Some(&reason.to_string()));
            }
            Ok(event) => match self.analysis.event(&event, now) {
                Err(reason) => {
                    tracing::info!(topic, %reason, "Event discarded by the analysts");
                    self.record.mqtt(now, message, "discarded", Some(&reason.to_string()));
                }
                Ok(observed) => {
                    self.record.mqtt(now, message, "accepted", None);
                    self.publish_observed(client, observed);
                }
            },
        }
    }

    fn publish_observed(&self, client: &AsyncClient, observed: Option<Observed>) {
        if let Some(observed) = observed {
            self.publish(client, &observations::message(&observed, self.clock.now()));
        }
    }

    fn publish(&self, client: &AsyncClient, payload: &str) {
        let violation = serde_json::from_str::<Value>(payload)
            .map_err(|_| "is no JSON".to_owned())
            .and_then(|value| self.down.check_observation(&value));
        if let Err(reason) = violation {
            tracing::warn!(reason, "Observation not sent");
            return;
        }
        if !*self.subscribed.borrow() {
            tracing::warn!("Observation lost: the broker is away");
            return;
        }
        match self.signing_key.sign(payload) {
            Ok(jws) => {
                if client
                    .try_publish(self.settings.observations_topic.as_str(), jws, PublishOptions::new(QoS::AtMostOnce))
                    .is_err()
                {
                    tracing::warn!("Observation lost: the queue is full");
                }
            }
            Err(error) => tracing::error!(%error, "Observation not signed"),
        }
    }
}

fn is_event_topic(topic: &str) -> bool {
    let mut levels = EVENTS.split('/').zip(topic.split('/'));
    topic.split('/').count() == EVENTS.split('/').count() && levels.all(|(filter, level)| filter == "+" || filter == level)
}
