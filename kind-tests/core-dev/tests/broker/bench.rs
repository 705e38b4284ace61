//! A running Core with its broker, and clients of the broker.
#![allow(unreachable_pub)]

use std::sync::Arc;

use crate::running::*;
use jiff::Timestamp;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v5::Packet;
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, TlsConfiguration, Transport};
use serde_json::{Value, json};
use tapir_core_dev::clock::Clock;
use tapir_core_dev::pki::Pki;
use tapir_core_dev::tls;
use tapir_wire::event::NewQname;
use tapir_wire::jwk::TrustedKeys;
use tapir_wire::jws::verify;
use tapir_wire::observation::Message;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

pub const NAME: &str = "a.edge.tapir.test";
pub const OBSERVATIONS: &str = "observations/down/tapir-pop";

pub async fn start(more: &[&str]) -> (Running, Broker) {
    let directory = tempfile::tempdir().unwrap();
    let pki = Pki::generate(Timestamp::now()).unwrap();
    pki.write(directory.path()).unwrap();
    let broker = Broker::start(directory.path());
    let url = broker.url();
    let mut line = vec!["--mqtt-broker", &url];
    line.extend(more);
    let mut running = Running::start_with(directory, pki, &line).await;
    tokio::time::timeout(PATIENCE, running.core.bridge.wait_until_subscribed()).await.unwrap();
    (running, broker)
}

/// A client of the broker with that certificate.
pub fn connect(running: &Running, broker: &Broker, id: &str, identity: Option<(&str, &str)>) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new(id, ("localhost", broker.port));
    let config = tls::client(&running.pki.node_root_certificate, identity, &Clock::system(0)).unwrap();
    options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::clone(&config))));
    AsyncClient::builder(options).capacity(10).build()
}

/// Polls until a packet pleases `wanted`.
pub async fn next<T>(event_loop: &mut EventLoop, mut wanted: impl FnMut(Packet) -> Option<T>) -> T {
    let search = async {
        loop {
            if let Event::Incoming(packet) = event_loop.poll().await.unwrap()
                && let Some(found) = wanted(packet)
            {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, search).await.expect("the packet comes in time")
}

pub fn vector(path: &str) -> String {
    std::fs::read_to_string(format!("{}/../../tapir-wire/vectors/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

pub fn event(qname: &str) -> String {
    NewQname { flags: 33152, qclass: 1, qname: qname.into(), qtype: 1, timestamp: Timestamp::now() }.to_json()
}

/// Subscribes to observations as a POP does.
pub async fn pop(running: &Running, broker: &Broker, edge: &EnrolledEdge) -> (AsyncClient, EventLoop) {
    let key = edge.tls_key.pem();
    let (client, mut event_loop) = connect(running, broker, "pop", Some((edge.chain(), &key)));
    client.subscribe(OBSERVATIONS, QoS::ExactlyOnce).await.unwrap();
    next(&mut event_loop, |packet| matches!(packet, Packet::SubAck(_)).then_some(())).await;
    (client, event_loop)
}

pub async fn observation(event_loop: &mut EventLoop, edge: &EnrolledEdge) -> (Value, Message) {
    let publish = next(event_loop, |packet| if let Packet::Publish(publish) = packet { Some(publish) } else { None }).await;
    // As a POP of the real Core saw them arrive.
    let recorded: Value = serde_json::from_str(&vector("core/mqtt/observation.mqtt.json")).unwrap();
    for kind in recorded.as_object().unwrap().values() {
        let topic = std::str::from_utf8(&publish.topic).unwrap();
        assert_eq!(json!({"topic": topic, "qos": publish.qos as u8, "retain": publish.retain}), *kind);
    }
    let jws: Value = serde_json::from_slice(&publish.payload).unwrap();
    assert_eq!(jws.as_object().unwrap().keys().collect::<Vec<_>>(), ["payload", "protected", "signature"]);
    let keys = TrustedKeys::from_value(&edge.answer.configuration.trusted_jwks).unwrap();
    let payload = verify(&publish.payload, &keys).expect("the product takes the signature");
    (serde_json::from_slice(&payload).unwrap(), Message::parse(&payload).unwrap())
}

/// A TLS connection to the broker for octets by hand.
pub async fn by_hand(broker: &Broker, config: Arc<rustls::ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(("127.0.0.1", broker.port)).await?;
    tokio_rustls::TlsConnector::from(config).connect("localhost".try_into().unwrap(), stream).await
}
