//! Who may connect, and who may read and write what.

use std::sync::Arc;

use crate::bench::*;
use crate::running::*;
use jiff::Timestamp;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v5::{Packet, PubAckReason};
use rumqttc::{Event, PublishOptions};
use tapir_core_dev::clock::Clock;
use tapir_core_dev::pki::Pki;
use tapir_core_dev::tls;
use tapir_wire::event::topic;
use tapir_wire::jws::sign_flattened;

#[test]
fn a_broker_whose_port_is_taken_says_so() {
    let directory = tempfile::tempdir().unwrap();
    Pki::generate(Timestamp::now()).unwrap().write(directory.path()).unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let complaint = Broker::start_at(directory.path(), taken.local_addr().unwrap().port()).err().unwrap();
    assert!(complaint.contains("in use"), "{complaint}");
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
    let hours_ago = |hours| Timestamp::now() - jiff::SignedDuration::from_hours(hours);
    let (current, expired) = (running.certificate(NAME, Timestamp::now()), running.certificate(NAME, hours_ago(2)));
    let stranger = Pki::generate(Timestamp::now()).unwrap();
    for (case, identity, taken) in [
        ("a certificate of the node CA", Some((&current.0, &current.1)), true),
        ("no certificate", None, false),
        ("another CA's", Some((&stranger.bridge_certificate, &stranger.bridge_key)), false),
        ("a certificate past its end", Some((&expired.0, &expired.1)), false),
    ] {
        let identity = identity.map(|(chain, key)| (chain.as_str(), key.as_str()));
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
        assert_eq!(tokio::time::timeout(PATIENCE, connected).await.unwrap(), taken, "{case}");
    }
}

#[tokio::test]
async fn the_broker_refuses_older_tls() {
    let (running, broker) = start(&[]).await;
    let (chain, key) = running.certificate(NAME, Timestamp::now());
    let ca = &running.pki.node_root_certificate;
    assert!(by_hand(&broker, tls::client(ca, Some((&chain, &key)), &Clock::system(0)).unwrap()).await.is_ok());
    let error = by_hand(&broker, Arc::new(running.older_tls(ca, Some((&chain, &key))))).await.unwrap_err();
    assert!(error.to_string().contains("ProtocolVersion"), "{error}");
}
