//! The MQTT side against a real mosquitto with the manifest's own configuration and access list.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "common/running.rs"]
mod running;

use std::sync::Arc;

use jiff::Timestamp;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v5::{Packet, PubAckReason};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, PublishOptions, TlsConfiguration, Transport};
use running::*;
use serde_json::{Value, json};
use tapir_core_dev::clock::Clock;
use tapir_core_dev::pki::Pki;
use tapir_core_dev::tls;
use tapir_wire::event::{NewQname, topic};
use tapir_wire::jwk::TrustedKeys;
use tapir_wire::jws::{sign_flattened, verify};
use tapir_wire::observation::Message;

const NAME: &str = "a.edge.tapir.test";
const OBSERVATIONS: &str = "observations/down/tapir-pop";

async fn start(more: &[&str]) -> (Running, Broker) {
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

#[test]
fn a_broker_whose_port_is_taken_says_so() {
    let directory = tempfile::tempdir().unwrap();
    Pki::generate(Timestamp::now()).unwrap().write(directory.path()).unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let complaint = Broker::start_at(directory.path(), taken.local_addr().unwrap().port()).err().unwrap();
    assert!(complaint.contains("in use"), "{complaint}");
}

/// A client of the broker with that certificate.
fn connect(running: &Running, broker: &Broker, id: &str, identity: Option<(&str, &str)>) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new(id, ("localhost", broker.port));
    let config = tls::client(&running.pki.node_root_certificate, identity, &Clock::system(0)).unwrap();
    options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::clone(&config))));
    AsyncClient::builder(options).capacity(10).build()
}

/// Polls until a packet pleases `wanted`.
async fn next<T>(event_loop: &mut EventLoop, mut wanted: impl FnMut(Packet) -> Option<T>) -> T {
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

fn event(qname: &str) -> String {
    NewQname { flags: 33152, qclass: 1, qname: qname.into(), qtype: 1, timestamp: Timestamp::now() }.to_json()
}

/// Subscribes to observations as a POP does.
async fn pop(running: &Running, broker: &Broker, edge: &EnrolledEdge) -> (AsyncClient, EventLoop) {
    let key = edge.tls_key.pem();
    let (client, mut event_loop) = connect(running, broker, "pop", Some((edge.chain(), &key)));
    client.subscribe(OBSERVATIONS, QoS::ExactlyOnce).await.unwrap();
    next(&mut event_loop, |packet| matches!(packet, Packet::SubAck(_)).then_some(())).await;
    (client, event_loop)
}

async fn observation(event_loop: &mut EventLoop, edge: &EnrolledEdge) -> (Value, Message) {
    let publish = next(event_loop, |packet| if let Packet::Publish(publish) = packet { Some(publish) } else { None }).await;
    assert_eq!((publish.topic.as_ref(), publish.retain, publish.qos), (OBSERVATIONS.as_bytes(), false, QoS::AtMostOnce));
    let jws: Value = serde_json::from_slice(&publish.payload).unwrap();
    assert_eq!(jws.as_object().unwrap().keys().collect::<Vec<_>>(), ["payload", "protected", "signature"]);
    let keys = TrustedKeys::from_value(&edge.answer.configuration.trusted_jwks).unwrap();
    let payload = verify(&publish.payload, &keys).expect("the product takes the signature");
    (serde_json::from_slice(&payload).unwrap(), Message::parse(&payload).unwrap())
}

#[tokio::test]
async fn the_loop_closes_for_what_the_product_signs() {
    let (running, broker) = start(&[]).await;
    let edge = running.enrol(NAME).await;
    let (client, mut event_loop) = pop(&running, &broker, &edge).await;
    let signed = sign_flattened(event("Unique-1.from-edge.looptest.dnstapir.se.").as_bytes(), &edge.data_key);
    client.publish(topic(NAME), signed.clone(), PublishOptions::new(QoS::AtLeastOnce)).await.unwrap();
    let (message, parsed) = observation(&mut event_loop, &edge).await;
    assert_eq!(parsed.added.len(), 1);
    assert_eq!(message["added"][0]["name"], "unique-1.from-edge.looptest.dnstapir.se");
    assert_eq!((&message["added"][0]["ttl"], &message["added"][0]["tag_mask"]), (&json!(67), &json!(1024)));
    let entry = running.recorded(|entry| entry["kind"] == "mqtt").await;
    assert_eq!((&entry["topic"], &entry["verdict"], &entry["text"]), (&json!(topic(NAME)), &json!("accepted"), &json!(signed)));
}

#[tokio::test]
async fn every_message_is_recorded_with_its_verdict() {
    let (running, broker) = start(&[]).await;
    let edge = running.enrol(NAME).await;
    let key = edge.tls_key.pem();
    let (client, mut event_loop) = connect(&running, &broker, "edm", Some((edge.chain(), &key)));
    let good = sign_flattened(event("www.example.org.").as_bytes(), &edge.data_key);
    let strict = sign_flattened(br#"{"type":"new_qname","version":0,"qname":"x.example.","further":1}"#, &edge.data_key);
    let schema = sign_flattened(br#"{"type":"new_qname","version":0}"#, &edge.data_key);
    let messages = [
        (topic(NAME), "no JWS".to_owned(), "no_jws"),
        (topic(NAME), schema, "schema"),
        (topic(NAME), strict, "discarded"),
        (format!("events/up/{NAME}/edm"), good.clone(), "unread"),
        (format!("status/up/{NAME}/tapir-pop"), "{}".into(), "unread"),
        (topic(NAME), good, "accepted"),
    ];
    let expected: Vec<&str> = messages.iter().map(|(_, _, verdict)| *verdict).collect();
    for (topic, payload, _) in &messages {
        client.publish(topic.clone(), payload.clone(), PublishOptions::new(QoS::AtLeastOnce)).await.unwrap();
        next(&mut event_loop, |packet| matches!(packet, Packet::PubAck(_)).then_some(())).await;
    }
    running.recorded(|entry| entry["verdict"] == "accepted").await;
    let dump = running.dump().await;
    let verdicts: Vec<&str> =
        dump.iter().filter(|entry| entry["kind"] == "mqtt").map(|entry| entry["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, expected);
}

#[tokio::test]
async fn a_node_writes_below_its_own_name_only_and_reads_no_events() {
    let (running, broker) = start(&[]).await;
    let edge = running.enrol(NAME).await;
    let (client, mut event_loop) = pop(&running, &broker, &edge).await;
    client.subscribe("events/up/#", QoS::AtMostOnce).await.unwrap();
    client.subscribe("#", QoS::AtMostOnce).await.unwrap();
    for _ in 0..2 {
        next(&mut event_loop, |packet| matches!(packet, Packet::SubAck(_)).then_some(())).await;
    }
    let signed = sign_flattened(event("acl.from-edge.looptest.dnstapir.se.").as_bytes(), &edge.data_key);
    for forbidden in [
        "events/up/b.edge.tapir.test/new_qname",
        "events/up/core-bridge/new_qname",
        "status/up/b.edge.tapir.test/tapir-pop",
        OBSERVATIONS,
        "config/down/tapir-pop",
        "other",
    ] {
        client.publish(forbidden, signed.clone(), PublishOptions::new(QoS::AtLeastOnce)).await.unwrap();
        let reason =
            next(&mut event_loop, |packet| if let Packet::PubAck(answer) = packet { Some(answer.reason) } else { None }).await;
        assert_eq!(reason, PubAckReason::NotAuthorized, "{forbidden}");
    }
    client.publish(topic(NAME), signed, PublishOptions::new(QoS::AtLeastOnce)).await.unwrap();
    // Were events readable, this one would arrive before the observation that follows from it.
    observation(&mut event_loop, &edge).await;
    let dump = running.dump().await;
    assert_eq!(dump.iter().filter(|entry| entry["kind"] == "mqtt").count(), 1, "nothing that was forbidden arrived");
}

#[tokio::test]
async fn the_broker_refuses_strangers() {
    let (running, broker) = start(&[]).await;
    let stranger = Pki::generate(Timestamp::now()).unwrap();
    for identity in [None, Some((stranger.bridge_certificate.as_str(), stranger.bridge_key.as_str()))] {
        let (_client, mut event_loop) = connect(&running, &broker, "stranger", identity);
        let connected = async {
            loop {
                match event_loop.poll().await {
                    Ok(Event::Incoming(Packet::ConnAck(_))) => return true,
                    Ok(_) => {}
                    Err(_) => return false,
                }
            }
        };
        assert!(!tokio::time::timeout(PATIENCE, connected).await.unwrap(), "certificate: {}", identity.is_some());
    }
}

#[tokio::test]
async fn observations_by_hand_and_the_other_signing_key() {
    let (running, broker) = start(&["--observation-key", "p256"]).await;
    let edge = running.enrol(NAME).await;
    let (_client, mut event_loop) = pop(&running, &broker, &edge).await;
    assert_eq!(running.observe(json!({"name": "bad.example", "ttl": 5, "tag_mask": 9})).await, 202);
    let (message, _) = observation(&mut event_loop, &edge).await;
    assert_eq!((&message["added"][0]["name"], &message["added"][0]["tag_mask"]), (&json!("bad.example"), &json!(9)));
    let whole = json!({"src_name": "dns-tapir", "creator": "by hand", "msg_type": "observation", "list_type": "doubtlist", "added": [], "removed": [{"name": "bad.example."}], "msg": "", "timestamp": "2026-11-21T00:00:00Z", "time_str": ""});
    assert_eq!(running.observe(whole.clone()).await, 202);
    assert_eq!(observation(&mut event_loop, &edge).await.0, whole);
}

#[tokio::test]
async fn the_ticker_needs_no_event() {
    let (running, broker) = start(&["--ticker", "1", "--looptest-ttl", "5", "--ttl-margin", "2"]).await;
    let edge = running.enrol(NAME).await;
    let (_client, mut event_loop) = pop(&running, &broker, &edge).await;
    let (message, _) = observation(&mut event_loop, &edge).await;
    let name = message["added"][0]["name"].as_str().unwrap();
    assert!(name.starts_with("epoch-") && name.ends_with(".ticker.looptest.dnstapir.se"), "{name}");
    assert_eq!(message["added"][0]["ttl"], 7);
}

#[tokio::test]
async fn offline_drops_the_bridges_connection_and_comes_back() {
    let (running, broker) = start(&[]).await;
    let edge = running.enrol(NAME).await;
    let (client, mut event_loop) = pop(&running, &broker, &edge).await;
    running.fault("offline").await;
    let mut bridge = running.core.bridge.clone();
    let end = std::time::Instant::now() + PATIENCE;
    while bridge.is_subscribed() {
        assert!(std::time::Instant::now() < end);
        tokio::task::yield_now().await;
    }
    assert_eq!(running.observe(json!({"name": "x.example", "ttl": 5, "tag_mask": 1})).await, 503);
    running.fault("none").await;
    tokio::time::timeout(PATIENCE, bridge.wait_until_subscribed()).await.unwrap();
    client
        .publish(
            topic(NAME),
            sign_flattened(event("back.from-edge.looptest.dnstapir.se.").as_bytes(), &edge.data_key),
            PublishOptions::new(QoS::AtLeastOnce),
        )
        .await
        .unwrap();
    observation(&mut event_loop, &edge).await;
}
