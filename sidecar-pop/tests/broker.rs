//! The real binary and a real broker: from Core's signature to the answer of `dig`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "common/process.rs"]
#[allow(dead_code)]
mod process;
#[path = "../../tapir-runtime/tests/support/mod.rs"]
mod support;

use std::time::Duration;

use jiff::Timestamp;
use process::{Pop, get, wait_for};
use serde_json::json;
use support::{Authority, Broker, settings, write_node};
use tapir_runtime::mqtt::{self, MqttHandle, Qos};
use tapir_runtime::shutdown::Shutdown;
use tapir_wire::jwk::{DataKey, TrustedKeys};
use tapir_wire::jws;
use tapir_wire::node_name::NodeName;
use tokio::sync::watch;

const NODE: &str = "edge1.edge.tapir.test";
const POLICY: &str =
    "sources: [{name: dns-tapir, list: Doubt, core: {}}]\ndoubt: [{name: new, anyTags: [globally_new], action: NXDOMAIN}]\n";
const CONNECTED: &str = "\"connected\":true";

struct Core {
    handle: MqttHandle,
    key: DataKey,
}

impl Core {
    async fn start(authority: &Authority, broker: &Broker, hears: &[&str], shutdown: &Shutdown) -> Self {
        let mut settings = settings(&broker.url(), authority, authority, "core");
        settings.subscriptions = hears.iter().map(|topic| ((*topic).to_owned(), Qos::AtLeastOnce)).collect();
        let wanted = watch::channel(Some(settings));
        let handle = mqtt::spawn(wanted.1, shutdown.clone());
        handle.publisher.connected().await;
        Self { handle, key: DataKey::generate(&NodeName::parse("core.test").unwrap()).unwrap() }
    }

    async fn say(&self, topic: &str, payload: &serde_json::Value, key: &DataKey) {
        let signed = jws::sign_flattened(payload.to_string().as_bytes(), key);
        self.handle.publisher.publish(topic, signed, Qos::AtLeastOnce).await.unwrap();
    }

    async fn observe(&self, name: &str) {
        self.observe_on("observations/down/tapir-pop", name).await;
    }

    async fn observe_on(&self, topic: &str, name: &str) {
        let now = Timestamp::now().to_string();
        let entry = json!({"name": name, "time_added": now, "ttl": 600, "tag_mask": 1, "extended_tags": []});
        let payload = json!({
            "src_name": "dns-tapir", "creator": "observation-encoder", "msg_type": "observation", "list_type": "doubtlist",
            "added": [entry], "removed": [], "msg": "", "timestamp": now, "time_str": "",
        });
        self.say(topic, &payload, &self.key).await;
    }
}

fn identity(pop: &Pop, broker: &Broker, authority: &Authority, key: &DataKey) {
    let directory = pop.directory.path().join("config");
    write_node(&directory, authority, authority, NODE);
    let document = json!({"format": 1, "name": NODE, "mqttBroker": broker.url()});
    std::fs::write(directory.join("node.json"), document.to_string()).unwrap();
    std::fs::write(directory.join("trusted-jwks.json"), json!({"keys": [key.public_jwk()]}).to_string()).unwrap();
}

fn log(pop: &Pop) -> String {
    std::fs::read_to_string(pop.directory.path().join("log")).unwrap()
}

fn blocked(pop: &Pop, name: &str) -> bool {
    pop.dig(&[&format!("{name}.dnstapir."), "CNAME", "+short"]).trim() == "."
}

fn wait_for_connection(pop: &Pop, wanted: bool) {
    let connected = || get(pop.http, "/status").is_some_and(|status| status.replace(' ', "").contains(CONNECTED));
    wait_for("connection to the broker", connected, |connected| *connected == wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_core_says_is_blocked_through_broker_trouble_and_after_the_end_of_the_edge() {
    tapir_runtime::crypto::install();
    let authority = Authority::new("node CA");
    let mut broker = Broker::start(&authority);
    let shutdown = Shutdown::manual().1;
    let core = Core::start(&authority, &broker, &[], &shutdown).await;

    let pop = Pop::new(None);
    pop.configure("one", POLICY);
    let running = pop.start();
    pop.in_force("one");
    // The identity comes later, as it does for a Pod that is older than the enrolment.
    identity(&pop, &broker, &authority, &core.key);
    wait_for_connection(&pop, true);
    core.observe("evil.example").await;
    wait_for("evil.example in the zone", || blocked(&pop, "evil.example"), |blocked| *blocked);
    broker.logged(&format!("{NODE}-pop-")).await;

    // A certificate that was renewed, then a broker that was away.
    let serials = || {
        pop.status().map(|status| (status["identity"]["certificateSerial"].clone(), status["core"]["certificateSerial"].clone()))
    };
    let (old, in_use) = serials().unwrap();
    assert!(old.is_string() && old == in_use, "{old} {in_use}");
    identity(&pop, &broker, &authority, &core.key);
    let renewed = |serials: &Option<(serde_json::Value, serde_json::Value)>| {
        serials.as_ref().is_some_and(|(there, in_use)| there == in_use && *in_use != old)
    };
    wait_for("the new certificate in use", serials, renewed);
    wait_for("a second connection", || broker.log().matches(&format!("as {NODE}-pop-")).count(), |connections| *connections >= 2);
    broker.kill();
    wait_for_connection(&pop, false);
    assert!(blocked(&pop, "evil.example"));
    broker.start_again();
    wait_for_connection(&pop, true);
    core.handle.publisher.connected().await;
    core.observe("worse.example").await;
    wait_for("worse.example in the zone", || blocked(&pop, "worse.example"), |blocked| *blocked);

    // Offboarded: off within a second of the file, and what was learnt counts on, also after a restart.
    pop.write_beside("list-own", "own.example\n");
    let own = POLICY.replace("core: {}}]", "core: {}}, {name: own, list: Deny, file: {path: list-own}}]");
    let off = || {
        let before = std::time::Instant::now();
        pop.configure("two", &format!("disabled: true\n{own}"));
        wait_for_connection(&pop, false);
        before.elapsed()
    };
    let mut took = off();
    // A machine that has other things to do may take longer, but not each time.
    for _ in 0..4 {
        if took < Duration::from_secs(2) {
            break;
        }
        pop.configure("one", POLICY);
        wait_for_connection(&pop, true);
        took = took.min(off());
    }
    assert!(took < Duration::from_secs(2), "{took:?}");
    let connections = broker.log().matches(&format!("as {NODE}-pop-")).count();
    running.kill();
    let _running = pop.start();
    wait_for("both names in the zone", || blocked(&pop, "evil.example") && blocked(&pop, "worse.example"), |both| *both);
    wait_for("readiness", || get(pop.http, "/readyz"), |answer| answer.as_ref().is_some_and(|answer| answer.contains("ok")));
    // Local lists are served on, and still change.
    wait_for("own.example in the zone", || blocked(&pop, "own.example"), |blocked| *blocked);
    pop.write_beside("list-own", "own.example\nlater.example\n");
    wait_for("later.example in the zone", || blocked(&pop, "later.example"), |blocked| *blocked);
    assert_eq!(pop.status().unwrap()["core"]["connected"], false);
    assert_eq!(broker.log().matches(&format!("as {NODE}-pop-")).count(), connections, "nobody connects any more");
    shutdown.trigger();
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_core_are_followed_within_bounds_and_bad_ones_change_nothing() {
    const SETTINGS: &str = "config/down/tapir-pop";
    const NEXT: &str = "observations/down/next";
    tapir_runtime::crypto::install();
    let authority = Authority::new("node CA");
    let broker = Broker::start(&authority);
    let shutdown = Shutdown::manual().1;
    let core = Core::start(&authority, &broker, &[], &shutdown).await;
    let pop = Pop::new(None);
    identity(&pop, &broker, &authority, &core.key);
    pop.configure("one", &format!("{POLICY}globalConfig: {{enabled: true}}\n"));
    let _running = pop.start();
    pop.in_force("one");
    wait_for_connection(&pop, true);
    let told = || pop.status().unwrap()["pop"]["coreSettings"].clone();
    let of = |version: &str, topics: &[&str]| {
        let topics: Vec<_> = topics.iter().map(|topic| json!({"Topic": topic, "PubKeyName": "", "PrivKeyName": ""})).collect();
        json!({"TapirConfigVersion": version, "ObservationTopics": topics, "StatusTopics": []})
    };

    // Upstream ends its process over the first one.
    let mut refused = 0;
    for (settings, error) in [
        (of("17", &[]), "name no topic"),
        (of("17", &["events/up/somebody/new_qname"]), "globalConfig.topicPrefix"),
        (of("17", &["observations/down/#"]), "a topic that is none"),
        (json!([]), "no JSON object"),
    ] {
        core.say(SETTINGS, &settings, &core.key).await;
        wait_for("the refusal", told, |told| told["error"].as_str().is_some_and(|said| said.contains(error)));
        refused += 1;
    }
    let stranger = DataKey::generate(&NodeName::parse("stranger.test").unwrap()).unwrap();
    core.say(SETTINGS, &of("17", &[NEXT]), &stranger).await;
    let metrics = || get(pop.http, "/metrics").unwrap();
    wait_for("the stranger's refusal", metrics, |text| text.contains("tapir_pop_messages_total{outcome=\"unknown_key\"} 1"));
    assert!(metrics().contains(&format!("what=\"settings\",outcome=\"refused\"}} {refused}")), "{}", metrics());
    assert_eq!(told()["version"], "");
    core.observe("evil.example").await;
    wait_for("evil.example in the zone", || blocked(&pop, "evil.example"), |blocked| *blocked);

    core.say(SETTINGS, &of("17", &[NEXT]), &core.key).await;
    wait_for("the settings in force", told, |told| {
        told["version"] == "17" && told["topics"] == json!([NEXT]) && told["error"].is_null()
    });
    broker.logged(&format!("{NEXT} (QoS 1)")).await;
    wait_for_connection(&pop, true);
    core.observe_on(NEXT, "next.example").await;
    wait_for("next.example in the zone", || blocked(&pop, "next.example"), |blocked| *blocked);
    // The one of before is still heard: nothing is lost while Core moves.
    core.observe("worse.example").await;
    wait_for("worse.example in the zone", || blocked(&pop, "worse.example"), |blocked| *blocked);
    core.say(SETTINGS, &of("16", &["observations/down/older"]), &core.key).await;
    wait_for("the refusal", told, |told| told["error"].as_str().is_some_and(|said| said.contains("older than version 17")));
    assert_eq!(told()["topics"], json!([NEXT]));

    // Off where nothing is said, and then what Core said counts no more.
    pop.configure("two", POLICY);
    pop.in_force("two");
    wait_for("no settings of Core", told, serde_json::Value::is_null);
    wait_for_connection(&pop, true);
    // Also where the broker still sends it, as it does for a moment.
    core.observe_on(NEXT, "unheard.example").await;
    core.observe("heard.example").await;
    wait_for("heard.example in the zone", || blocked(&pop, "heard.example"), |blocked| *blocked);
    assert!(!blocked(&pop, "unheard.example") && blocked(&pop, "next.example"));
    shutdown.trigger();
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_come_before_the_keys_count_when_the_keys_come() {
    const SETTINGS: &str = "config/down/tapir-pop";
    tapir_runtime::crypto::install();
    let authority = Authority::new("node CA");
    let broker = Broker::start(&authority);
    let shutdown = Shutdown::manual().1;
    let core = Core::start(&authority, &broker, &[], &shutdown).await;
    let pop = Pop::new(None);
    identity(&pop, &broker, &authority, &core.key);
    let keys = pop.directory.path().join("config/trusted-jwks.json");
    let trusted = std::fs::read_to_string(&keys).unwrap();
    std::fs::remove_file(&keys).unwrap();
    pop.configure("one", &format!("{POLICY}globalConfig: {{enabled: true}}\n"));
    let _running = pop.start();
    pop.in_force("one");
    wait_for_connection(&pop, true);
    let told = || pop.status().unwrap()["pop"]["coreSettings"].clone();
    let of = |version: &str| json!({"TapirConfigVersion": version, "ObservationTopics": [{"Topic": "observations/down/next"}]});
    let metrics = || get(pop.http, "/metrics").unwrap();
    let refused = |reason: &str, times: u32| {
        let line = format!("tapir_pop_messages_total{{outcome=\"{reason}\"}} {times}");
        wait_for(&line.clone(), metrics, |text| text.contains(&line));
    };
    core.say(SETTINGS, &of("7"), &core.key).await;
    refused("no_keys", 1);
    assert_eq!(told()["version"], "");
    std::fs::write(&keys, trusted).unwrap();
    wait_for("the settings in force", told, |told| told["version"] == "7");

    // A key that comes later than those that are known; and what it signed counts by its version.
    let next = DataKey::generate(&NodeName::parse("next.test").unwrap()).unwrap();
    wait_for_connection(&pop, true);
    core.say(SETTINGS, &of("8"), &next).await;
    refused("unknown_key", 1);
    assert_eq!(told()["version"], "7");
    let both = json!({"keys": [core.key.public_jwk(), next.public_jwk()]}).to_string();
    std::fs::write(&keys, both).unwrap();
    wait_for("the newer settings in force", told, |told| told["version"] == "8");
    shutdown.trigger();
}

#[tokio::test(flavor = "multi_thread")]
async fn core_is_told_how_pop_is_and_once_of_the_renewal_that_did_not_happen() {
    tapir_runtime::crypto::install();
    let authority = Authority::new("node CA");
    let broker = Broker::start(&authority);
    let shutdown = Shutdown::manual().1;
    let mut core = Core::start(&authority, &broker, &["status/up/#"], &shutdown).await;
    let pop = Pop::new(None);
    identity(&pop, &broker, &authority, &core.key);
    let with_renewal = |overdue: Timestamp| {
        let renewal = json!({"due": "2026-01-01T00:00:00Z", "overdue": overdue});
        json!({"format": 1, "name": NODE, "mqttBroker": broker.url(), "renewal": renewal}).to_string()
    };
    let soon = Timestamp::from_second(Timestamp::now().as_second() + 4).unwrap();
    pop.write_beside("node.json", &with_renewal(soon));
    pop.configure("one", &format!("{POLICY}telemetry: {{enabled: true}}\n"));
    let _running = pop.start();
    pop.in_force("one");
    // What it is signed with is missing: said, and nothing else is the worse for it.
    let errors = || pop.status().unwrap()["pop"]["errors"].to_string();
    wait_for("the missing key", errors, |errors| errors.contains("datakey.jwk is missing"));
    wait_for_connection(&pop, true);
    let key = DataKey::generate(&NodeName::parse(NODE).unwrap()).unwrap();
    pop.write_beside("datakey.jwk", &key.to_jwk());

    let trusted = TrustedKeys::from_value(&json!({"keys": [key.public_jwk()]})).unwrap();
    let mut next = async || {
        let message = support::soon("telemetry", core.handle.incoming.recv()).await.unwrap();
        assert_eq!(message.topic, format!("status/up/{NODE}/tapir-pop"));
        serde_json::from_slice::<serde_json::Value>(&jws::verify(&message.payload, &trusted).unwrap()).unwrap()
    };
    let first = next().await;
    assert!(
        first["Function"] == "tapir-pop" && first["FunctionID"].as_str().unwrap().starts_with(&format!("{NODE}-")),
        "{first}"
    );
    assert_eq!(first["ComponentStatus"]["main-boot"]["Status"], 2);
    assert!(first["Counters"]["zone_serial"].is_i64(), "{first}");
    let late = "should have been renewed by";
    let second = if first["Events"].to_string().contains(late) { first } else { next().await };
    assert_eq!(second["ComponentStatus"]["cert-status"]["Status"], 1, "{second}");
    let event = second["Events"].as_array().unwrap().iter().find(|event| event["Component"] == "cert-status").unwrap();
    let id = event["Id"].as_str().unwrap();
    let seen = pop.status().unwrap()["pop"]["events"].clone();
    assert!(seen.as_array().unwrap().iter().any(|event| event["id"] == id), "{seen}");
    // Whoever writes the log does it when there is time for it.
    let lines = || log(&pop).lines().filter(|line| line.contains(late)).map(str::to_owned).collect::<Vec<_>>();
    let told = wait_for("the event in the log", lines, |lines| !lines.is_empty());
    assert!(told.len() == 1 && told[0].contains(id), "{told:?}");

    // Something else goes wrong: told at once, and the renewal is not told of again.
    std::fs::write(pop.directory.path().join("in-the-way"), "").unwrap();
    let place = pop.directory.path().join("in-the-way/zone");
    pop.configure("two", &format!("{POLICY}telemetry: {{enabled: true}}\nzoneFile: {{path: {}}}\n", place.display()));
    let third = next().await;
    assert_eq!(third["ComponentStatus"]["rpz"]["Status"], 1, "{third}");
    assert!(third["Events"].to_string().contains("the file of the zone cannot be written"), "{third}");
    assert!(!third.to_string().contains("in-the-way"), "paths stay here: {third}");
    // A certificate that was renewed after all: well again, without an event.
    identity(&pop, &broker, &authority, &core.key);
    pop.write_beside("node.json", &with_renewal(Timestamp::from_second(soon.as_second() + 3600).unwrap()));
    pop.configure("three", &format!("{POLICY}telemetry: {{enabled: true}}\n"));
    pop.in_force("three");
    assert_eq!(log(&pop).matches(late).count(), 1);
    shutdown.trigger();
}
