//! `/metrics` of the real binary: what docs/pop.md lists and nothing else, with the figures of what was done.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "common/process.rs"]
#[allow(dead_code)]
mod process;
#[path = "../../tapir-runtime/tests/support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::UdpSocket;

use jiff::Timestamp;
use process::{Pop, get, wait_for};
use serde_json::{Value, json};
use support::{Authority, Broker, settings, write_node};
use tapir_runtime::mqtt::{self, MqttHandle, Qos};
use tapir_runtime::shutdown::Shutdown;
use tapir_wire::jwk::DataKey;
use tapir_wire::jws;
use tapir_wire::node_name::NodeName;
use tapir_wire::tags::{Tag, mask};
use tokio::sync::watch;

const NODE: &str = "edge1.edge.tapir.test";
const POLICY: &str = "sources:
- {name: own, list: Deny, file: {path: list-own}}
- {name: tree, list: Deny, match: Subtree, inline: {names: [tree.example]}}
- {name: fine, list: Allow, inline: {names: [fine.example]}}
- {name: heard, list: Doubt, core: {}}
- {name: gone, list: Deny, file: {path: /nowhere/at/all}}
deny: {action: NODATA}
doubt:
- {name: new, anyTags: [globally_new], action: NXDOMAIN}
- {name: worse, anyTags: [bit9], action: DROP}
";

/// Series by name and labels, as they stand in an exposition.
fn series(text: &str) -> BTreeMap<String, f64> {
    let rows = text.lines().filter(|line| !line.starts_with('#')).map(|line| line.rsplit_once(' ').unwrap());
    rows.map(|(name, figure)| (name.strip_prefix("tapir_pop_").unwrap().to_owned(), figure.parse().unwrap())).collect()
}

struct Scraped<'a>(&'a Pop);

impl Scraped<'_> {
    fn all(&self) -> BTreeMap<String, f64> {
        series(&get(self.0.http, "/metrics").unwrap())
    }

    fn of(&self, name: &str) -> f64 {
        *self.all().get(name).unwrap_or_else(|| panic!("{name} is not there"))
    }

    /// Waits until all of these are as they should be.
    fn are(&self, expected: &[(&str, f64)]) {
        let wanted: BTreeMap<String, f64> = expected.iter().map(|(name, figure)| ((*name).to_owned(), *figure)).collect();
        let shown =
            || -> BTreeMap<String, f64> { self.all().into_iter().filter(|(name, _)| wanted.contains_key(name)).collect() };
        wait_for(&format!("{wanted:?}"), shown, |shown| *shown == wanted);
    }
}

/// What is documented: name as it is scraped, and labels.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/pop.md")).unwrap();
    let section = guide.split("\n## Health and metrics\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let mut all = BTreeMap::new();
    for row in section.lines().filter(|line| line.starts_with("| `tapir_pop_")) {
        let mut cells = row.split('|').skip(1);
        let (names, labels) = (cells.next().unwrap(), cells.next().unwrap());
        // Values stand in brackets.
        let mut depth = 0;
        let labels: String = labels
            .chars()
            .filter(|character| {
                depth += i32::from(*character == '(') - i32::from(*character == ')');
                depth == 0
            })
            .collect();
        let labels: BTreeSet<String> = labels.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        for name in names.split('`').skip(1).step_by(2) {
            assert!(all.insert(name.to_owned(), labels.clone()).is_none(), "{name} stands there twice");
        }
    }
    all
}

/// What is scraped, likewise.
fn exposed(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut all = BTreeMap::<String, BTreeSet<String>>::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        let suffix = if matches!(kind, "counter") {
            "_total"
        } else if kind == "info" {
            "_info"
        } else {
            ""
        };
        let shown = format!("{name}{suffix}");
        let sample = if kind == "histogram" { format!("{name}_count") } else { shown.clone() };
        let of_it = |line: &&str| line.split(['{', ' ']).next() == Some(&sample);
        let labels = text.lines().find(of_it).and_then(|line| line.split_once('{')).map_or("", |(_, labels)| labels);
        let keys = labels.split("=\"").map(|part| part.rsplit([',', '"']).next().unwrap().to_owned());
        let mut keys: BTreeSet<String> = keys.collect();
        keys.retain(|key| !key.is_empty() && key.chars().all(|character| character.is_ascii_lowercase() || character == '_'));
        all.insert(shown, keys);
    }
    all
}

fn entry(name: &str, age: i64, ttl: i64, tags: u32) -> Value {
    let added = Timestamp::from_second(Timestamp::now().as_second() - age).unwrap();
    json!({"name": name, "time_added": added, "ttl": ttl, "tag_mask": tags, "extended_tags": []})
}

struct Core(MqttHandle);

impl Core {
    async fn says(&self, added: &[Value], removed: &[Value], key: &DataKey) {
        let payload = json!({
            "src_name": "dns-tapir", "creator": "c", "msg_type": "observation", "list_type": "doubtlist",
            "added": added, "removed": removed, "msg": "", "timestamp": Timestamp::now(), "time_str": "",
        });
        let signed = jws::sign_flattened(payload.to_string().as_bytes(), key);
        self.0.publisher.publish("observations/down/tapir-pop", signed, Qos::AtLeastOnce).await.unwrap();
    }
}

fn key(name: &str) -> DataKey {
    DataKey::generate(&NodeName::parse(name).unwrap()).unwrap()
}

/// A resolver that acknowledges every NOTIFY.
fn acknowledge(socket: UdpSocket) {
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            buffer[2] |= 0x80;
            _ = socket.send_to(&buffer[..length], from);
        }
    });
}

/// Octets that dig says it was sent, each message behind its length.
fn transferred(pop: &Pop, arguments: &[&str]) -> f64 {
    let text = pop.dig(arguments);
    let size = text.split("messages ").nth(1).unwrap_or_else(|| panic!("{text}")).split(')').next().unwrap();
    let (messages, octets) = size.split_once(", bytes ").unwrap();
    octets.parse::<f64>().unwrap() + 2.0 * messages.parse::<f64>().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_are_those_of_what_was_done() {
    tapir_runtime::crypto::install();
    let begun = Timestamp::now().as_second();
    let (authority, core_key) = (Authority::new("node CA"), key("core.test"));
    let broker = Broker::start(&authority);
    let shutdown = Shutdown::manual().1;
    let wanted = watch::channel(Some(settings(&broker.url(), &authority, &authority, "core")));
    let core = Core(mqtt::spawn(wanted.1, shutdown.clone()));
    core.0.publisher.connected().await;
    let resolver = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    let target = resolver.local_addr().unwrap();
    acknowledge(resolver);

    let pop = Pop::new(Some(target.port()));
    let folder = pop.directory.path().join("config");
    write_node(&folder, &authority, &authority, NODE);
    let renewal = json!({"due": "2040-01-01T00:00:00Z", "overdue": "2040-02-01T00:00:00Z"});
    let document = json!({"format": 1, "name": NODE, "mqttBroker": broker.url(), "renewal": renewal});
    std::fs::write(folder.join("node.json"), document.to_string()).unwrap();
    std::fs::write(folder.join("trusted-jwks.json"), json!({"keys": [core_key.public_jwk()]}).to_string()).unwrap();
    pop.write_beside("list-own", "own.example\nalso.example\n..\n");
    pop.configure("one", POLICY);
    let _running = pop.start();
    pop.in_force("one");
    let metrics = Scraped(&pop);
    let records = |action: &str, owner: &str| format!("zone_records{{action=\"{action}\",owner=\"{owner}\"}}");

    // What the files say.
    metrics.are(&[
        ("source_names{source=\"own\",list=\"Deny\"}", 2.0),
        ("source_rejected{source=\"own\",list=\"Deny\"}", 1.0),
        ("source_names{source=\"fine\",list=\"Allow\"}", 1.0),
        ("source_names{source=\"heard\",list=\"Doubt\"}", 0.0),
        ("source_state{source=\"own\",state=\"Ready\"}", 1.0),
        ("source_state{source=\"heard\",state=\"Ready\"}", 1.0),
        ("source_state{source=\"gone\",state=\"Failed\"}", 1.0),
        (&records("NODATA", "name"), 3.0),
        (&records("NODATA", "wildcard"), 1.0),
        (&records("NXDOMAIN", "name"), 0.0),
        (&records("PASSTHRU", "name"), 0.0),
        ("dns_listening", 1.0),
        ("config_generation", 1.0),
        ("config_refused", 0.0),
        ("trusted_keys", 1.0),
        ("certificate_renewal_due_timestamp_seconds", 2_208_988_800.0),
        ("certificate_renewal_overdue_timestamp_seconds", 2_211_667_200.0),
        ("mqtt_connected", 1.0),
        ("observed_names{state=\"live\"}", 0.0),
        ("last_looptest_timestamp_seconds", 0.0),
    ]);
    assert!(metrics.of("source_failures_total{source=\"gone\",list=\"Deny\"}") >= 1.0);
    let status = pop.status().unwrap();
    let end: Timestamp = status["identity"]["notAfter"].as_str().unwrap().parse().unwrap();
    assert_eq!(metrics.of("certificate_not_after_timestamp_seconds"), end.as_second() as f64);
    let quiet = || {
        (metrics.of("zone_publications_total"), metrics.of("policy_decisions_total{list=\"Deny\",rule=\"\",occasion=\"all\"}"))
    };
    let (versions, _) = quiet();
    assert!(quiet().1 >= 3.0);

    // What Core says, with what nobody may say among it.
    let (new, worse) = (1, mask(["bit9"]).unwrap());
    assert_eq!(mask(["globally_new"]).unwrap(), new);
    let added = [
        entry("a.example", 0, 600, new),
        entry("b.example", 0, 600, new | worse),
        entry("fine.example", 0, 600, new),
        entry("old.example", 700, 600, new),
        entry("", 0, 600, new),
        entry("*.c.example", 0, 600, new),
    ];
    core.says(&added, &[], &core_key).await;
    core.says(&added[..1], &[], &key("stranger.test")).await;
    core.says(&[entry("loop.example", 0, 600, Tag::LOOPTEST.mask())], &[], &core_key).await;
    let decided =
        |list: &str, rule: &str| format!("policy_decisions_total{{list=\"{list}\",rule=\"{rule}\",occasion=\"change\"}}");
    let outcome = |family: &str, outcome: &str| format!("{family}_total{{outcome=\"{outcome}\"}}");
    metrics.are(&[
        ("mqtt_received_total", 3.0),
        ("mqtt_dropped_total", 0.0),
        (&outcome("messages", "accepted"), 2.0),
        (&outcome("messages", "unknown_key"), 1.0),
        (&outcome("messages", "bad_signature"), 0.0),
        ("verification_seconds_count", 3.0),
        (&outcome("observations", "added"), 4.0),
        (&outcome("observations", "expired"), 1.0),
        (&outcome("observations", "no_name"), 1.0),
        (&outcome("observations", "wildcard"), 1.0),
        (&outcome("observations", "removed"), 0.0),
        ("observed_names{state=\"live\"}", 4.0),
        ("source_names{source=\"heard\",list=\"Doubt\"}", 4.0),
        ("source_rejected{source=\"heard\",list=\"Doubt\"}", 3.0),
        (&records("NXDOMAIN", "name"), 1.0),
        (&records("DROP", "name"), 1.0),
        (&records("NODATA", "name"), 3.0),
        (&decided("Doubt", "new"), 1.0),
        (&decided("Doubt", "worse"), 1.0),
        (&decided("Doubt", ""), 1.0),
        (&decided("Allow", ""), 1.0),
        ("queue_length{queue=\"received\"}", 0.0),
        ("queue_length{queue=\"verified\"}", 0.0),
        ("queue_length{queue=\"news\"}", 0.0),
    ]);
    let looptest = metrics.of("last_looptest_timestamp_seconds");
    assert!(looptest >= begun as f64 && looptest <= Timestamp::now().as_second() as f64, "{looptest}");

    // One version more, told to the resolver, with history; and one when its name ends.
    let told = |outcome: &str| format!("notifies_total{{target=\"{target}\",outcome=\"{outcome}\"}}");
    let acknowledged =
        || (metrics.of("zone_publications_total"), metrics.of(&told("acknowledged")), metrics.of("journal_versions"));
    // A version that came while the one before was being told takes its place.
    let settled = |(published, told, _): &(f64, f64, f64)| *told > 0.0 && *published >= versions + 1.0;
    let before = wait_for("the versions so far", acknowledged, settled);
    let serial = pop.serial().unwrap();
    core.says(&[], &[entry("b.example", 0, 600, 0)], &core_key).await;
    metrics.are(&[
        (&outcome("observations", "removed"), 1.0),
        ("observed_names{state=\"live\"}", 3.0),
        ("observed_names{state=\"remembered\"}", 1.0),
        (&records("DROP", "name"), 0.0),
        ("zone_publications_total", before.0 + 1.0),
        ("journal_versions", before.2 + 1.0),
    ]);
    wait_for("the version told", acknowledged, |after| after.1 > before.1);
    let all = metrics.all();
    let of = |outcome: &str| all[&told(outcome)];
    assert!(of("sent") >= of("acknowledged") && of("sent") - of("timeout") <= all["zone_publications_total"], "{all:?}");
    assert_eq!((of("refused"), of("given_up")), (0.0, 0.0));
    assert!(all["journal_octets"] > 0.0);
    assert_eq!(all["zone_serial"], f64::from(pop.serial().unwrap()));
    let changed = all["zone_changed_timestamp_seconds"];
    assert!(changed >= begun as f64 && changed <= Timestamp::now().as_second() as f64, "{changed}");
    assert_eq!(all["expiry_lag_seconds_count"], 0.0);
    core.says(&[entry("short.example", 0, 6, new)], &[], &core_key).await;
    metrics.are(&[("expiry_lag_seconds_count", 1.0), (&records("NXDOMAIN", "name"), 1.0)]);

    // Questions, transfers, and one who may not ask.
    let before = metrics.all();
    (0..3).for_each(|_| _ = pop.dig(&["dnstapir.", "SOA"]));
    let whole = transferred(&pop, &["dnstapir.", "AXFR"]) + transferred(&pop, &["dnstapir.", "AXFR"]);
    let changes = transferred(&pop, &["dnstapir.", &format!("IXFR={serial}")]);
    let unknown = transferred(&pop, &["dnstapir.", "IXFR=1"]);
    _ = pop.dig(&["-y", "hmac-sha256:x:c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3JldA==", "dnstapir.", "SOA"]);
    let more = |name: &str, count: f64| (name.to_owned(), before[name] + count);
    let transfers = |kind: &str| format!("dns_transfers_total{{kind=\"{kind}\",outcome=\"done\"}}");
    let octets = |kind: &str| format!("dns_transfer_octets_total{{kind=\"{kind}\"}}");
    let expected = [
        more("dns_queries_total{transport=\"udp\"}", 4.0),
        more("dns_queries_total{transport=\"tcp\"}", 4.0),
        more("dns_refused_total{transport=\"udp\"}", 1.0),
        more("dns_refused_total{transport=\"tcp\"}", 0.0),
        more("dns_dropped_total", 0.0),
        more(&transfers("axfr"), 2.0),
        more(&transfers("ixfr"), 1.0),
        more(&transfers("ixfr_whole"), 1.0),
        more(&octets("axfr"), whole),
        more(&octets("ixfr"), changes),
        more(&octets("ixfr_whole"), unknown),
    ];
    metrics.are(&expected.iter().map(|(name, figure)| (name.as_str(), *figure)).collect::<Vec<_>>());

    // A part that fails, and a configuration that is refused.
    metrics.are(&[("events_total{component=\"rpz-inbound\"}", 1.0), ("component_state{component=\"rpz-inbound\"}", 2.0)]);
    let events = pop.status().unwrap()["pop"]["events"].as_array().unwrap().len();
    let counted = metrics.all().iter().filter(|(name, _)| name.starts_with("events_total")).map(|(_, count)| count).sum::<f64>();
    assert_eq!(counted, events as f64);
    pop.configure("two", "no: thing\n");
    metrics.are(&[("config_refused", 1.0), ("config_generation", 1.0)]);
    pop.configure("three", &POLICY.replace("- {name: tree, list: Deny, match: Subtree, inline: {names: [tree.example]}}\n", ""));
    metrics.are(&[
        ("config_refused", 0.0),
        ("config_generation", 2.0),
        (&records("NODATA", "name"), 2.0),
        (&records("NODATA", "wildcard"), 0.0),
    ]);
    let all = get(pop.http, "/metrics").unwrap();
    assert!(!all.contains("source=\"tree\""), "what is not configured any more is not shown: {all}");
    for secret in ["example", "127.0.0.1:1", NODE] {
        let shown = all.replace(&target.to_string(), "");
        assert!(!shown.contains(secret), "{secret} is in {shown}");
    }
    let (scraped, documented) = (exposed(&all), documented());
    let names = |all: &BTreeMap<String, BTreeSet<String>>| all.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&scraped), names(&documented), "on the left what is scraped, on the right what docs/pop.md says");
    for (name, labels) in scraped {
        // These two are of feeds, of which there is none.
        let unused = ["tapir_pop_source_serial", "tapir_pop_source_expires_timestamp_seconds"].contains(&name.as_str());
        assert!(unused || labels == documented[&name], "{name} has {labels:?}");
    }
    shutdown.trigger();
}

#[test]
fn alerts_ask_for_what_there_is() {
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md")).unwrap();
    let documented = documented();
    let asked: BTreeSet<&str> = guide
        .split("tapir_pop_")
        .skip(1)
        .map(|rest| rest.split(|end: char| !end.is_ascii_alphanumeric() && end != '_').next().unwrap())
        .collect();
    assert!(asked.len() > 5, "{asked:?}");
    for name in asked {
        let name = format!("tapir_pop_{}", name.strip_suffix("_bucket").unwrap_or(name));
        assert!(documented.contains_key(&name), "an alert asks for {name}");
    }
}

/// What is restored at a start is counted without a look at the zone.
#[test]
fn records_are_counted_right_after_a_restart_too() {
    let pop = Pop::new(None);
    pop.configure(
        "one",
        "sources: [{name: own, list: Deny, match: Subtree, inline: {names: [a.example, b.example]}}]\ndeny: {action: DROP}\n",
    );
    let running = pop.start();
    pop.in_force("one");
    let of_kind = |text: &str| -> BTreeMap<String, f64> {
        series(text).into_iter().filter(|(name, figure)| name.starts_with("zone_records") && *figure > 0.0).collect()
    };
    let count = || of_kind(&get(pop.http, "/metrics").unwrap_or_default());
    let expected = ["name", "wildcard"].map(|owner| (format!("zone_records{{action=\"DROP\",owner=\"{owner}\"}}"), 2.0));
    wait_for("records", count, |count| *count == BTreeMap::from(expected.clone()));
    running.kill();
    let manifest = pop.state().join("zone/manifest.json");
    let kept: Value = serde_json::from_slice(&std::fs::read(manifest).unwrap()).unwrap();
    assert_eq!(kept["records"].as_array().unwrap().iter().filter_map(Value::as_u64).sum::<u64>(), 4, "{kept}");
    // The source is of no use any more: what is served is what was kept.
    let _running = pop.start();
    wait_for("records of before", count, |count| *count == BTreeMap::from(expected.clone()));
}
