//! The bridge's connection to the broker: an event loop in a task of its own.

use std::time::Duration;

use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v5::{ConnectReturnCode, Packet};
use rumqttc::{AsyncClient, Event, EventLoop, SubscribeFilterInput};
use tokio::sync::mpsc;

use crate::published::Published;

/// Everything below is received and recorded.
const RECORDED: [&str; 2] = ["events/up/#", "status/up/#"];
const RECONNECT_FIRST: Duration = Duration::from_millis(250);
const RECONNECT_LAST: Duration = Duration::from_secs(5);

/// What the connection has to say.
pub(super) enum Received {
    Connected,
    Subscribed,
    Disconnected,
    Message(Published),
}

/// Asks for messages as they were published: with another quality of service, or without "retain as published", the broker would
/// change what an edge sent before it is recorded.
pub(super) fn subscribe(client: &AsyncClient) {
    for filter in RECORDED {
        let unchanged = SubscribeFilterInput::new(filter, QoS::ExactlyOnce).preserve_retain(true);
        if client.try_subscribe_many([unchanged]).is_err() {
            tracing::warn!(filter, "Subscription not queued");
        }
    }
}

/// Connects for ever; only its task being aborted, or nobody listening any more, ends it.
pub(super) async fn poll(mut event_loop: EventLoop, packets: mpsc::Sender<Received>) {
    let mut pause = RECONNECT_FIRST;
    let mut awaited = RECORDED.len();
    loop {
        let received = match event_loop.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(answer))) if answer.code == ConnectReturnCode::Success => {
                pause = RECONNECT_FIRST;
                awaited = RECORDED.len();
                Some(Received::Connected)
            }
            Ok(Event::Incoming(Packet::SubAck(_))) => {
                awaited = awaited.saturating_sub(1);
                (awaited == 0).then_some(Received::Subscribed)
            }
            Ok(Event::Incoming(Packet::Publish(message))) => Some(Received::Message(message.into())),
            Ok(_) => None,
            Err(error) => {
                tracing::warn!(%error, "Broker connection lost");
                if packets.send(Received::Disconnected).await.is_err() {
                    return;
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(RECONNECT_LAST);
                None
            }
        };
        if let Some(received) = received
            && packets.send(received).await.is_err()
        {
            return;
        }
    }
}
