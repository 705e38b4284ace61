//! Observations: what makes one, how it is sent, and what is never sent.

use crate::bench::*;
use crate::running::*;
use rumqttc::PublishOptions;
use rumqttc::mqttbytes::QoS;
use serde_json::json;
use tapir_wire::event::topic;
use tapir_wire::jws::sign_flattened;

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
async fn the_bridge_itself_sends_no_observation_that_breaks_the_schema() {
    let (running, broker) = start(&[]).await;
    let edge = running.enrol(NAME).await;
    let (_client, mut event_loop) = pop(&running, &broker, &edge).await;
    let good = json!({"src_name": "dns-tapir", "creator": "by hand", "msg_type": "observation", "list_type": "doubtlist", "added": [], "removed": [], "msg": "last", "timestamp": "2026-11-21T00:00:00Z", "time_str": ""});
    let mut bad = vec!["no JSON".to_owned(), "[]".to_owned()];
    for member in good.as_object().unwrap().keys() {
        let mut lacking = good.clone();
        lacking.as_object_mut().unwrap().remove(member);
        bad.push(lacking.to_string());
    }
    for (member, value) in [
        ("msg_type", json!("other")),
        ("list_type", json!("greylist")),
        ("added", json!({})),
        ("added", json!([5])),
        ("removed", json!([{"name": 5}])),
        ("added", json!([{"ttl": "long"}])),
        ("timestamp", json!(5)),
        ("message_id", json!(5)),
    ] {
        let mut broken = good.clone();
        broken[member] = value;
        bad.push(broken.to_string());
    }
    for payload in bad {
        // Past the control interface, which would say no before.
        assert!(running.core.bridge.publish(payload));
    }
    assert!(running.core.bridge.publish(good.to_string()));
    // Messages keep their order: had one of the bad ones been sent, it would come first.
    assert_eq!(observation(&mut event_loop, &edge).await.0, good);
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
async fn observations_are_signed_with_the_key_that_came_last() {
    let (running, broker) = start(&[]).await;
    let keys = format!("http://{}/keys", running.core.control);
    let rotated = running.client(None).post(&keys).json(&json!({"kid": "core-2027"})).send().await.unwrap();
    assert_eq!(rotated.status(), 200);
    for old in ["core-observations-ed25519", "core-observations-p256"] {
        assert_eq!(running.client(None).delete(format!("{keys}/{old}")).send().await.unwrap().status(), 200);
    }
    // It trusts the new key alone.
    let edge = running.enrol(NAME).await;
    let (_client, mut event_loop) = pop(&running, &broker, &edge).await;
    assert_eq!(running.observe(json!({"name": "bad.example", "ttl": 5, "tag_mask": 9})).await, 202);
    let (message, _) = observation(&mut event_loop, &edge).await;
    assert_eq!(message["added"][0]["name"], "bad.example");
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
