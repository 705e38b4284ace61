//! What came over MQTT is recorded whole, with the bridge's verdict.

use crate::bench::*;
use rumqttc::PublishOptions;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v5::{Packet, PublishProperties};
use serde_json::{Value, json};
use tapir_core_dev::clock::Clock;
use tapir_core_dev::tls;
use tapir_wire::event::topic;
use tapir_wire::jws::sign_flattened;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

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
async fn octets_of_upstreams_client_reach_core_as_they_were_sent() {
    let vectors: Value = serde_json::from_str(&vector("edm/mqtt.json")).unwrap();
    let text = |member: &str| vectors[member].as_str().unwrap();
    let octets = |member: &str| hex::decode(text(member)).unwrap();
    let (running, broker) = start(&["--service-domain", "example.com"]).await;
    let edge = running.enrol("node1.example.com").await;
    let key = edge.tls_key.pem();
    let config = tls::client(&running.pki.node_root_certificate, Some((edge.chain(), &key)), &Clock::system(0)).unwrap();
    let mut stream = by_hand(&broker, config).await.unwrap();
    stream.write_all(&octets("connect_hex")).await.unwrap();
    let mut head = [0; 2];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(head[0], 0x20, "CONNACK");
    let mut answer = vec![0; head[1].into()];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer[..2], [0, 0], "no session, success");
    stream.write_all(&octets("publish_hex")).await.unwrap();
    stream.write_all(&octets("pingreq_hex")).await.unwrap();
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(head, [0xd0, 0], "PINGRESP");
    stream.write_all(&octets("disconnect_hex")).await.unwrap();
    let entry = running.recorded(|entry| entry["kind"] == "mqtt").await;
    assert_eq!((&entry["topic"], &entry["text"]), (&json!(text("publish_topic")), &json!(text("publish_payload"))));
    assert_eq!((&entry["qos"], &entry["retain"], &entry["properties"]), (&json!(0), &json!(false), &json!({})));
    // Its signature is a stand-in.
    assert_eq!(entry["verdict"], "signature");
}

#[tokio::test]
async fn what_stands_beside_a_payload_is_in_the_record() {
    let (running, broker) = start(&[]).await;
    let edge = running.enrol(NAME).await;
    let key = edge.tls_key.pem();
    let (client, mut event_loop) = connect(&running, &broker, "edm", Some((edge.chain(), &key)));
    let properties = PublishProperties {
        payload_format_indicator: Some(1),
        message_expiry_interval: Some(3600),
        content_type: Some("application/jose+json".into()),
        response_topic: Some("events/down/x".into()),
        correlation_data: Some(vec![0, 255].into()),
        user_properties: vec![("client".into(), "192.0.2.1".into()), ("client".into(), "2001:db8::1".into())],
        ..PublishProperties::default()
    };
    let options = PublishOptions::new(QoS::ExactlyOnce).retained().properties(properties);
    client.publish(topic(NAME), "{}", options).await.unwrap();
    next(&mut event_loop, |packet| matches!(packet, Packet::PubComp(_)).then_some(())).await;
    let entry = running.recorded(|entry| entry["kind"] == "mqtt").await;
    assert_eq!((&entry["qos"], &entry["retain"]), (&json!(2), &json!(true)));
    let mut properties = entry["properties"].clone();
    // The broker counts it down.
    let expiry = properties.as_object_mut().unwrap().remove("message_expiry_interval").unwrap();
    assert!((3590..=3600).contains(&expiry.as_u64().unwrap()), "{expiry}");
    assert_eq!(
        properties,
        json!({
            "payload_format_indicator": 1, "content_type": "application/jose+json", "response_topic": "events/down/x",
            "correlation_data": "AP8=", "user_properties": [["client", "192.0.2.1"], ["client", "2001:db8::1"]],
        })
    );
    let dump = running.dump().await;
    assert_eq!((&dump[0]["kind"], &dump[0]["complete"]), (&json!("record"), &json!(true)));
}
