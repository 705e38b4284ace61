//! From Core's message to the published zone and back out of it: the engine with everything but the network.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tapir_pop::dns::server::Published;
use tapir_pop::engine::{Engine, Inputs};
use tapir_pop::setup::{NoFiles, Setup};
use tapir_pop::status::Telemetry;
use tapir_pop::zone::Snapshot;
use tapir_runtime::mqtt::Incoming;
use tapir_runtime::shutdown::Shutdown;
use tapir_wire::jwk::{DataKey, TrustedKeys};
use tapir_wire::jws;
use tapir_wire::name::Name;
use tapir_wire::node_name::NodeName;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

const PATIENCE: Duration = Duration::from_secs(30);
const TAGGED: &str =
    "sources: [{name: core-feed, list: Doubt, core: {}}]\ndoubt: [{name: new, anyTags: [globally_new], action: NXDOMAIN}]\n";

struct Running {
    key: DataKey,
    setup: watch::Sender<Option<Arc<Setup>>>,
    messages: mpsc::Sender<Incoming>,
    published: Published,
    telemetry: Arc<Telemetry>,
    task: JoinHandle<()>,
}

fn setup(directory: &Path, rest: &str) -> Option<Arc<Setup>> {
    let text = format!("format: 1\ndataDir: {}\n{rest}", directory.display());
    Some(Arc::new(Setup::parse(&text, &mut NoFiles).unwrap().0))
}

fn start(directory: &Path, rest: &str) -> Running {
    let key = DataKey::generate(&NodeName::parse("core.test").unwrap()).unwrap();
    let keys = TrustedKeys::from_value(&json!({"keys": [key.public_jwk()]})).unwrap();
    let (setup, setups) = watch::channel(setup(directory, rest));
    let (messages, incoming) = mpsc::channel(1024);
    let (publish, published) = watch::channel(None);
    let telemetry = Telemetry::new(None, None);
    let engine = Engine::new(publish, Arc::clone(&telemetry));
    let inputs = Inputs { setup: setups, keys: watch::channel(Some(Arc::new(keys))).1, incoming };
    let task = tokio::spawn(engine.run(inputs, Shutdown::manual().1));
    Running { key, setup, messages, published, telemetry, task }
}

impl Running {
    async fn send(&self, entries: &[Value]) {
        let payload = json!({
            "src_name": "dns-tapir", "creator": "observation-encoder", "msg_type": "observation", "list_type": "doubtlist",
            "added": entries, "removed": [], "msg": "", "timestamp": Timestamp::now().to_string(), "time_str": "",
        });
        let signed = jws::sign_flattened(payload.to_string().as_bytes(), &self.key);
        self.messages.send(Incoming { topic: "t".to_owned(), payload: signed.into() }).await.unwrap();
    }

    async fn until(&mut self, good: impl Fn(&Snapshot) -> bool) -> Arc<Snapshot> {
        let found = self.published.wait_for(|snapshot| snapshot.as_ref().is_some_and(|snapshot| good(snapshot)));
        timeout(PATIENCE, found).await.unwrap().unwrap().clone().unwrap()
    }

    /// As `kill -9`: nothing more is written.
    async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// As Core sends it: no final dot.
fn entry(name: &str, lifetime: SignedDuration, tag_mask: u32) -> Value {
    let ttl = 60;
    let time_added = Timestamp::now().checked_add(lifetime).unwrap().checked_sub(SignedDuration::from_secs(ttl)).unwrap();
    json!({"name": name, "time_added": time_added.to_string(), "ttl": ttl, "tag_mask": tag_mask, "extended_tags": []})
}

fn has(snapshot: &Snapshot, name: &str) -> bool {
    snapshot.content.records.contains_key(&Name::parse(name).unwrap())
}

#[tokio::test]
async fn an_observation_is_in_the_zone_at_once_and_leaves_on_time() {
    let directory = tempfile::tempdir().unwrap();
    let mut pop = start(directory.path(), TAGGED);
    pop.until(|zone| zone.content.records.is_empty()).await;
    let sent = Instant::now();
    pop.send(&[entry("evil.example", SignedDuration::from_secs(2), 1), entry("other.example", SignedDuration::from_secs(50), 8)])
        .await;
    let there = pop.until(|zone| has(zone, "evil.example.")).await;
    assert!(!has(&there, "other.example."), "its tag is in no rule");
    assert!(sent.elapsed() < Duration::from_secs(1), "{:?}", sent.elapsed());
    let gone = pop.until(|zone| !has(zone, "evil.example.")).await;
    assert!((Duration::from_millis(1900)..Duration::from_secs(3)).contains(&sent.elapsed()), "{:?}", sent.elapsed());
    assert!(gone.serial.is_after(there.serial));
}

#[tokio::test]
async fn a_loop_test_is_seen_and_blocks_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let policy = "sources: [{name: c, list: Doubt, core: {}}]\ndoubt: [{name: any, minTags: 1, action: DROP}]\n";
    let mut pop = start(directory.path(), policy);
    pop.send(&[entry("x.from-edge.looptest.dnstapir.se", SignedDuration::from_secs(60), 1024)]).await;
    pop.send(&[entry("evil.example", SignedDuration::from_secs(60), 2)]).await;
    let zone = pop.until(|zone| has(zone, "evil.example.")).await;
    assert_eq!(zone.content.records.len(), 1);
    let status = pop.telemetry.document().pop.unwrap();
    assert!(status.last_looptest.is_some());
    assert_eq!((status.sources[0].entries, status.records, status.serial), (2, 1, zone.serial.0));
}

#[tokio::test]
async fn what_was_published_is_published_again_after_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let mut pop = start(directory.path(), TAGGED);
    pop.send(&[entry("short.example", SignedDuration::from_secs(1), 1), entry("long.example", SignedDuration::from_secs(50), 1)])
        .await;
    let before = pop.until(|zone| has(zone, "short.example.")).await;
    pop.kill().await;

    let mut pop = start(directory.path(), TAGGED);
    let again = pop.until(|_| true).await;
    assert!(has(&again, "long.example."), "no protection is lost, and the first zone has it");
    assert!(again == before || again.serial.is_after(before.serial), "the same zone, or a later serial");
    let later = pop.until(|zone| !has(zone, "short.example.")).await;
    assert!(has(&later, "long.example."));
    pop.kill().await;

    let mut pop = start(directory.path(), TAGGED);
    assert_eq!(pop.until(|_| true).await, later, "the same content keeps its serial");
}

#[tokio::test]
async fn a_stream_of_changes_shares_serials_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut pop = start(directory.path(), TAGGED);
    let started = Instant::now();
    for index in 0..500 {
        pop.send(&[entry(&format!("name{index}.example"), SignedDuration::from_secs(55), 1)]).await;
    }
    pop.until(|zone| zone.content.records.len() == 500).await;
    let versions = pop.telemetry.metrics.publications.get();
    let most = started.elapsed().as_millis() / 100 + 3;
    assert!(u128::from(versions) <= most, "{versions} versions in {:?}", started.elapsed());
}

#[tokio::test]
async fn messages_that_do_not_count_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut pop = start(directory.path(), TAGGED);
    let first = pop.until(|_| true).await;
    let trusted = std::mem::replace(&mut pop.key, DataKey::generate(&NodeName::parse("core.test").unwrap()).unwrap());
    pop.send(&[entry("forged.example", SignedDuration::from_secs(55), 1)]).await;
    pop.key = trusted;
    pop.messages.send(Incoming { topic: "t".to_owned(), payload: "{}".into() }).await.unwrap();
    let unfit = ["*.example", "32.1.2.0.192.rpz-ip", "."].map(|name| entry(name, SignedDuration::from_secs(55), 1));
    pop.send(&unfit).await;
    pop.send(&[entry("over.example", SignedDuration::from_secs(-1), 1)]).await;
    pop.send(&[entry("evil.example", SignedDuration::from_secs(55), 1)]).await;
    let zone = pop.until(|zone| zone.serial != first.serial).await;
    assert_eq!(zone.content.records.len(), 1, "{:?}", zone.content.records);
    assert_eq!(pop.telemetry.document().pop.unwrap().sources[0].rejected, 4);
}

#[tokio::test]
async fn a_new_policy_decides_anew_what_is_known() {
    let directory = tempfile::tempdir().unwrap();
    let mut pop = start(directory.path(), TAGGED);
    pop.send(&[entry("evil.example", SignedDuration::from_secs(55), 1)]).await;
    let before = pop.until(|zone| has(zone, "evil.example.")).await;
    let allow = "- {name: allow, list: Allow, match: Subtree, inline: {names: [example]}}";
    pop.setup.send_replace(setup(
        directory.path(),
        &TAGGED.replace("sources: [{", "sources:\n- {").replace("}]\ndoubt", &format!("}}\n{allow}\ndoubt")),
    ));
    let after = pop.until(|zone| zone.content.records.is_empty()).await;
    assert!(after.serial.is_after(before.serial));
    // Without a source for them observations stay known and come back with it.
    pop.setup.send_replace(setup(directory.path(), "sources: []\n"));
    pop.setup.send_replace(setup(directory.path(), TAGGED));
    pop.until(|zone| has(zone, "evil.example.")).await;
}

/// What the operator reads as "in force" is what resolvers get.
#[tokio::test(flavor = "multi_thread")]
async fn a_revision_is_in_force_when_its_zone_is_served_and_not_before() {
    let directory = tempfile::tempdir().unwrap();
    let pop = start(directory.path(), "revision: first\n");
    let mut times = Vec::new();
    for number in 0..10 {
        let name = format!("name{number}.example.");
        let list = format!("sources: [{{name: deny, list: Deny, inline: {{names: [{name}]}}}}]");
        let before = Timestamp::now();
        pop.setup.send_replace(setup(directory.path(), &format!("revision: r{number}\n{list}\n")));
        let config = timeout(PATIENCE, async {
            loop {
                let config = pop.telemetry.document().config;
                if config.revision == format!("r{number}") {
                    return config;
                }
                tokio::task::yield_now().await;
            }
        });
        let config = config.await.unwrap();
        assert!(has(pop.published.borrow().as_ref().unwrap(), &name), "{name}");
        assert!(config.loaded_at.is_some_and(|loaded_at| loaded_at >= before && loaded_at <= Timestamp::now()));
        times.extend(config.loaded_at);
    }
    assert!(times.is_sorted());
    // A policy that makes the same zone comes into force too.
    let serial = pop.published.borrow().as_ref().unwrap().serial;
    let same = "sources: [{name: deny, list: Deny, inline: {names: [name9.example.]}}]";
    pop.setup.send_replace(setup(directory.path(), &format!("revision: last\n{same}\n")));
    let last = async {
        while pop.telemetry.document().config.revision != "last" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, last).await.unwrap();
    assert_eq!(pop.published.borrow().as_ref().unwrap().serial, serial);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_serial_that_could_not_be_written_down_is_written_when_the_disk_is_back() {
    let directory = tempfile::tempdir().unwrap();
    let in_the_way = directory.path().join("serial.new");
    std::fs::create_dir(&in_the_way).unwrap();
    let mut pop = start(directory.path(), TAGGED);
    let zone = pop.until(|_| true).await;
    std::fs::remove_dir(in_the_way).unwrap();
    let written = async {
        while !directory.path().join("serial.json").exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, written).await.unwrap();
    pop.kill().await;
    assert_eq!(start(directory.path(), TAGGED).until(|_| true).await, zone, "the same content keeps its serial");
}

#[tokio::test]
async fn a_journal_that_cannot_be_read_is_said_in_the_status_and_holds_up_nothing() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("observations.jsonl")).unwrap();
    let mut pop = start(directory.path(), TAGGED);
    pop.send(&[entry("evil.example", SignedDuration::from_secs(55), 1)]).await;
    pop.until(|zone| has(zone, "evil.example.")).await;
    let errors = pop.telemetry.document().pop.unwrap().errors;
    assert!(errors.iter().any(|error| error.contains("observations.broken-")), "{errors:?}");
    pop.kill().await;
    let mut pop = start(directory.path(), TAGGED);
    pop.until(|zone| has(zone, "evil.example.")).await;
    assert!(pop.telemetry.document().pop.unwrap().errors.is_empty());
}
