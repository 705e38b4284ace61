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
use tapir_wire::jwk::DataKey;
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
    async fn observe(&self, name: &str) {
        let now = Timestamp::now().to_string();
        let entry = json!({"name": name, "time_added": now, "ttl": 600, "tag_mask": 1, "extended_tags": []});
        let payload = json!({
            "src_name": "dns-tapir", "creator": "observation-encoder", "msg_type": "observation", "list_type": "doubtlist",
            "added": [entry], "removed": [], "msg": "", "timestamp": now, "time_str": "",
        });
        let signed = jws::sign_flattened(payload.to_string().as_bytes(), &self.key);
        self.handle.publisher.publish("observations/down/tapir-pop", signed, Qos::AtLeastOnce).await.unwrap();
    }
}

fn identity(pop: &Pop, broker: &Broker, authority: &Authority, key: &DataKey) {
    let directory = pop.directory.path().join("config");
    write_node(&directory, authority, authority, NODE);
    let document = json!({"format": 1, "name": NODE, "mqttBroker": broker.url()});
    std::fs::write(directory.join("node.json"), document.to_string()).unwrap();
    std::fs::write(directory.join("trusted-jwks.json"), json!({"keys": [key.public_jwk()]}).to_string()).unwrap();
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
    let wanted = watch::channel(Some(settings(&broker.url(), &authority, &authority, "core")));
    let core = Core {
        handle: mqtt::spawn(wanted.1, shutdown.clone()),
        key: DataKey::generate(&NodeName::parse("core.test").unwrap()).unwrap(),
    };
    core.handle.publisher.connected().await;

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
    let before = std::time::Instant::now();
    pop.write_beside("list-own", "own.example\n");
    let own = POLICY.replace("core: {}}]", "core: {}}, {name: own, list: Deny, file: {path: list-own}}]");
    pop.configure("two", &format!("disabled: true\n{own}"));
    wait_for_connection(&pop, false);
    assert!(before.elapsed() < Duration::from_secs(2), "{:?}", before.elapsed());
    let connections = broker.log().matches(&format!("as {NODE}-pop-")).count();
    running.kill();
    let _running = pop.start();
    wait_for("both names in the zone", || blocked(&pop, "evil.example") && blocked(&pop, "worse.example"), |both| *both);
    assert!(get(pop.http, "/readyz").is_some());
    // Local lists are served on, and still change.
    assert!(blocked(&pop, "own.example"));
    pop.write_beside("list-own", "own.example\nlater.example\n");
    wait_for("later.example in the zone", || blocked(&pop, "later.example"), |blocked| *blocked);
    assert_eq!(pop.status().unwrap()["core"]["connected"], false);
    assert_eq!(broker.log().matches(&format!("as {NODE}-pop-")).count(), connections, "nobody connects any more");
    shutdown.trigger();
}
