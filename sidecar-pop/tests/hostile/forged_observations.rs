//! Observations that somebody recorded and sends again, signs again, or makes up.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tapir_runtime::mqtt::{self, MqttHandle, Qos};
use tapir_runtime::shutdown::Shutdown;
use tapir_wire::jwk::DataKey;
use tapir_wire::jws;
use tapir_wire::node_name::NodeName;
use tokio::sync::watch;

use crate::probe::{Probe, forget_peak, memory, zone};
use crate::process::{Pop, get, wait_for};
use crate::support::{Authority, Broker, settings, write_node};

const NODE: &str = "edge1.edge.tapir.test";
const TOPIC: &str = "observations/down/tapir-pop";
const POLICY: &str = "sources: [{name: dns-tapir, list: Doubt, core: {}}]\ndoubt: [{name: any, minTags: 1, action: NXDOMAIN}]\n";
const ROUNDS: usize = 300;
const MOST_GROWTH_KIBIBYTES: usize = 24 * 1024;

fn key(name: &str) -> DataKey {
    DataKey::generate(&NodeName::parse(name).unwrap()).unwrap()
}

fn entry(name: &str, added: Timestamp) -> Value {
    json!({"name": name, "time_added": added, "ttl": 3600, "tag_mask": 1, "extended_tags": []})
}

fn message(added: &[Value], removed: &[Value]) -> Value {
    json!({
        "src_name": "dns-tapir", "creator": "c", "msg_type": "observation", "list_type": "doubtlist",
        "added": added, "removed": removed, "msg": "", "timestamp": Timestamp::now(), "time_str": "",
    })
}

async fn send(core: &MqttHandle, message: impl Into<String>) {
    core.publisher.publish(TOPIC, message.into(), Qos::AtLeastOnce).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn replayed_and_forged_observations_change_nothing() {
    tapir_runtime::crypto::install();
    let authority = Authority::new("node CA");
    let broker = Broker::start(&authority);
    let shutdown = Shutdown::manual().1;
    let wanted = watch::channel(Some(settings(&broker.url(), &authority, &authority, "core")));
    let core = mqtt::spawn(wanted.1, shutdown.clone());
    core.publisher.connected().await;
    let (own, stranger) = (key("core.test"), key("stranger.test"));
    let sign = |payload: &Value, key: &DataKey| jws::sign_flattened(payload.to_string().as_bytes(), key);

    let pop = Pop::new(None);
    let folder = pop.file().parent().unwrap().to_owned();
    write_node(&folder, &authority, &authority, NODE);
    std::fs::write(folder.join("node.json"), json!({"format": 1, "name": NODE, "mqttBroker": broker.url()}).to_string()).unwrap();
    std::fs::write(folder.join("trusted-jwks.json"), json!({"keys": [own.public_jwk()]}).to_string()).unwrap();
    pop.configure("one", POLICY);
    let running = pop.start();
    wait_for("a connection", || pop.status().is_some_and(|status| status["core"]["connected"] == true), |connected| *connected);

    // One name stays, one is taken back; what was said first is recorded by somebody.
    let then = Timestamp::now() - SignedDuration::from_secs(30);
    let first = sign(&message(&[entry("stays.example", then), entry("gone.example", then)], &[]), &own);
    send(&core, first.clone()).await;
    let records = || pop.status().unwrap()["pop"]["records"].as_u64();
    wait_for("both names", records, |records| *records == Some(2));
    send(&core, sign(&message(&[], &[entry("gone.example", Timestamp::now())]), &own)).await;
    wait_for("one name", records, |records| *records == Some(1));
    let (before, serial, pid) = (zone(&pop), pop.serial(), running.0.id());

    let probe = Probe::start(pop.port);
    let rest = forget_peak(pid);
    let evil = || message(&[entry("evil.example", Timestamp::now())], &[entry("stays.example", Timestamp::now())]);
    let with = |name: &str, value: &str| {
        let mut message = evil();
        message[name] = value.into();
        message
    };
    let mut tampered: Value = serde_json::from_str(&first).unwrap();
    let last = sign(&evil(), &own);
    tampered["payload"] = serde_json::from_str::<Value>(&last).unwrap()["payload"].clone();
    let mut unsigned: Value = serde_json::from_str(&last).unwrap();
    // {"alg":"none"}
    unsigned["protected"] = "eyJhbGciOiJub25lIn0".into();
    unsigned["signature"] = "".into();
    let far = Timestamp::now() + SignedDuration::from_hours(24);
    let refused = [
        sign(&evil(), &stranger),
        tampered.to_string(),
        unsigned.to_string(),
        sign(&with("src_name", "another"), &own),
        sign(&with("list_type", "allowlist"), &own),
        sign(&with("list_type", "denylist"), &own),
        sign(&with("msg_type", "other"), &own),
        sign(
            &message(&[entry("later.example", far), entry("*.wild.example", then), entry(".", then), entry("a..b", then)], &[]),
            &own,
        ),
        sign(&message(&[entry(&format!("{}.example", "l".repeat(64)), then)], &[]), &own),
        sign(&json!({"src_name": "dns-tapir", "added": "x".repeat(60_000)}), &own),
        format!("{{\"payload\":{}", "[".repeat(60_000)),
        "\u{0}".repeat(1000),
    ];
    for _ in 0..ROUNDS {
        // Older than what is known of both names.
        send(&core, first.clone()).await;
        for message in &refused {
            send(&core, message.clone()).await;
        }
    }
    // What comes last has passed all others.
    send(&core, sign(&message(&[entry("last.example", Timestamp::now())], &[]), &own)).await;
    wait_for("the last name", records, |records| *records == Some(2));
    let grown = memory(pid, "VmHWM").saturating_sub(rest);
    probe.end(&format!("{} forged and replayed observations, {grown} KiB more", ROUNDS * (refused.len() + 1)));
    assert!(grown < MOST_GROWTH_KIBIBYTES, "{grown} KiB");
    let mut after = zone(&pop);
    assert!(after.iter().any(|record| record.starts_with("last.example.dnstapir.")), "{after:?}");
    after.retain(|record| !record.starts_with("last.example.dnstapir."));
    assert_eq!(after, before);
    assert_ne!(pop.serial(), serial);
    let metrics = get(pop.http, "/metrics").unwrap();
    for outcome in ["unknown_key", "bad_signature", "wrong_source", "wrong_list", "not_jws"] {
        let none = format!("tapir_pop_messages_total{{outcome=\"{outcome}\"}} 0\n");
        assert!(!metrics.contains(&none), "{outcome}: {metrics}");
    }
    shutdown.trigger();
}
