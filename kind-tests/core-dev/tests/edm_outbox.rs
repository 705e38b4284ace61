//! EDM's outbox against this Core, which verifies digest and signature with code of its own; and EDM killed at each of its failpoints.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../../sidecar-edm/tests/support/minutes.rs"]
mod minutes;
#[path = "../../../sidecar-edm/tests/support/parquet.rs"]
mod parquet;
#[path = "common/running.rs"]
mod running;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use minutes::Sample;
use running::{EnrolledEdge, PATIENCE, Running};
use serde_json::{Value, json};
use strum::IntoEnumIterator as _;
use tapir_core_dev::clock::Clock;
use tapir_core_dev::encoding::from_base64;
use tapir_core_dev::tls;
use tapir_edm::disk::Failpoint;
use tapir_edm::instance::Instance;
use tapir_edm::outbox::{Bounds, Counters, Folders, Pace, Refusal, Sender, SenderState, Store, Target};
use tapir_runtime::back_off::BackOff;
use tapir_runtime::shutdown::Shutdown;
use tapir_wire::jwk::DataKey;
use tokio::sync::{Notify, watch};

const NODE: &str = "outbox.edge.tapir.test";
/// What the second process is told, in the environment.
const CHILD: &str = "TAPIR_TEST_OUTBOX";

/// Everything that an EDM needs to send, also in another process.
fn identity(core: &Running, edge: &EnrolledEdge) -> Value {
    json!({
        "url": core.aggrec("/"), "ca": core.pki.web_ca_certificate, "chain": edge.chain(), "key": edge.tls_key.pem().as_str(),
        "jwk": edge.data_key.to_jwk().as_str(),
    })
}

fn target(identity: &Value) -> Arc<Target> {
    let text = |member: &str| identity[member].as_str().unwrap();
    let tls = tls::client(text("ca"), Some((text("chain"), text("key"))), &Clock::system(0)).unwrap();
    Arc::new(Target::new(text("url"), tls, Arc::new(DataKey::from_jwk(text("jwk")).unwrap())).unwrap())
}

fn put(folder: &Path, bounds: Bounds, minutes: &[i64]) {
    for minute in minutes {
        let (folders, instance) = (Folders::below(folder), Instance::load(folder));
        let store = Store::start(folders, bounds, instance, Counters::default(), Arc::default()).unwrap();
        store.put(Box::new(Sample::new(*minute, 50)));
        assert!(store.finish(PATIENCE));
    }
}

/// Starts to send; ends with what it gives.
fn send(folder: &Path, identity: &Value) -> (Shutdown, watch::Receiver<SenderState>) {
    let (_, shutdown) = Shutdown::manual();
    let (states, state) = watch::channel(SenderState::default());
    let back_off = BackOff { min: Duration::from_millis(10), max: Duration::from_millis(100) };
    let sender = Sender {
        folders: Folders::below(folder),
        bounds: Bounds::default().into(),
        counters: Counters::default(),
        target: watch::channel(Some(target(identity))).1,
        news: Arc::new(Notify::new()),
        pace: Pace { look: Duration::from_millis(20), back_off, ..Pace::default() },
        state: states,
    };
    tokio::spawn(sender.run(shutdown.clone()));
    (shutdown, state)
}

fn names(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < end, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn until_empty(folder: &Path) {
    until("an empty outbox", async || names(&Folders::below(folder).outbox).is_empty()).await;
}

/// Announcements of aggregates: what was stored, each once.
async fn announced(core: &Running) -> Vec<Value> {
    let all = core.dump().await.into_iter().filter(|entry| entry["kind"] == "announcement");
    all.map(|entry| entry["data"].clone()).collect()
}

/// Bodies of the uploads that met this status.
async fn bodies(core: &Running, status: u16) -> Vec<Vec<u8>> {
    let uploads = core.dump().await.into_iter().filter(|entry| entry["service"] == "aggrec" && entry["status"] == status);
    uploads.map(|entry| from_base64(entry["body"].as_str().unwrap()).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn aggregates_are_verified_and_announced_and_pods_do_not_hide_each_other() {
    let core = Running::start(&[]).await;
    let identity = identity(&core, &core.enrol(NODE).await);
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for folder in [first.path(), second.path()] {
        put(folder, Bounds::default(), &[0]);
        let _sending = send(folder, &identity);
        until_empty(folder).await;
    }
    let announced = announced(&core).await;
    assert_eq!(announced.len(), 2, "equal minutes of two Pods are two aggregates");
    assert_eq!((&announced[0]["creator"], &announced[0]["aggregate_interval_duration"]), (&json!(NODE), &json!(60)));
    assert_eq!(announced[0]["aggregate_interval_start"], "2026-05-28T12:00:00Z");
    assert_eq!(parquet::File::read(&bodies(&core, 201).await[0]).rows.len(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_core_cost_time_and_no_aggregate() {
    let core = Running::start(&[]).await;
    let identity = identity(&core, &core.enrol(NODE).await);
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), Bounds::default(), &[0]);
    core.fault("status:500").await;
    let (_sending, _state) = send(folder.path(), &identity);
    until("a failure", async || !bodies(&core, 500).await.is_empty()).await;
    core.fault("none").await;
    until_empty(folder.path()).await;
    assert_eq!(bodies(&core, 500).await[0], bodies(&core, 201).await[0]);

    // Stored, and the answer lost: sent again, and one aggregate all the same.
    core.fault("lose-answer").await;
    put(folder.path(), Bounds::default(), &[1]);
    until("the lost answer", async || announced(&core).await.len() == 2).await;
    for fault in ["offline", "no-location"] {
        core.fault(fault).await;
    }
    until_empty(folder.path()).await;
    assert_eq!(announced(&core).await.len(), 2);
    core.fault("none").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_core_refuses_is_kept_apart_and_tried_again_by_the_next_run() {
    let core = Running::start(&[]).await;
    let identity = identity(&core, &core.enrol(NODE).await);
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), Bounds::default(), &[0, 1]);
    core.fault("refuse").await;
    let (first_run, mut state) = send(folder.path(), &identity);
    until_empty(folder.path()).await;
    let folders = Folders::below(folder.path());
    until("both refused", async || names(&folders.refused(Refusal::Unauthorized)).len() == 2).await;
    let told = state.wait_for(|state| state.refused.is_some()).await.unwrap().refused.clone().unwrap();
    assert!(told.contains("with 401"), "{told}");
    first_run.trigger();
    core.fault("none").await;
    let _second_run = send(folder.path(), &identity);
    until("both sent", async || names(&folders.sent).len() == 2).await;
    assert_eq!(announced(&core).await.len(), 2);
}

/// The other process: puts its minutes, then sends until nothing is left. As a test it does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn the_other_process() {
    let Ok(order) = std::env::var(CHILD) else { return };
    let order: Value = serde_json::from_str(&order).unwrap();
    let folder = Path::new(order["folder"].as_str().unwrap());
    let mut bounds = Bounds::default();
    bounds.outbox.files = usize::try_from(order["files"].as_u64().unwrap()).unwrap();
    let minutes: Vec<i64> = serde_json::from_value(order["minutes"].clone()).unwrap();
    put(folder, bounds, &minutes);
    let store =
        Store::start(Folders::below(folder), bounds, Instance::load(folder), Counters::default(), Arc::default()).unwrap();
    assert!(store.finish(PATIENCE));
    let _sending = send(folder, &order["identity"]);
    until_empty(folder).await;
}

fn run(order: &Value, failpoint: Option<Failpoint>) -> std::process::ExitStatus {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "the_other_process", "--nocapture"]).env(CHILD, order.to_string());
    if let Some(failpoint) = failpoint {
        command.env("TAPIR_FAILPOINT", failpoint.as_ref());
    }
    command.output().unwrap().status
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_anywhere_it_tears_nothing_and_loses_nothing_that_has_its_name() {
    let core = Running::start(&[]).await;
    let identity = identity(&core, &core.enrol(NODE).await);
    let mut stored = 0;
    for (place, failpoint) in (0..).zip(Failpoint::iter()) {
        let folder = tempfile::tempdir().unwrap();
        let folders = Folders::below(folder.path());
        // The number of this instance is a file, too, and not what is killed here.
        let _ = Instance::load(folder.path());
        let files = if failpoint == Failpoint::DropBefore { 2 } else { 100 };
        let first = place * 10;
        // One is there before; then the process dies over one of three.
        put(folder.path(), Bounds::default(), &[first]);
        let order = |minutes: &[i64], files: u64| json!({"folder": folder.path(), "files": files, "identity": identity, "minutes": minutes});
        let status = run(&order(&[first + 1, first + 2, first + 3], files), Some(failpoint));
        assert_eq!(status.signal(), Some(9), "{failpoint:?}: {status}");

        let (mut waiting, sent) = (names(&folders.outbox), names(&folders.sent));
        let unfinished: Vec<String> = waiting.iter().filter(|name| name.ends_with(".tmp")).cloned().collect();
        waiting.retain(|name| !unfinished.contains(name));
        for (folder, name) in
            waiting.iter().map(|name| (&folders.outbox, name)).chain(sent.iter().map(|name| (&folders.sent, name)))
        {
            assert_eq!(parquet::File::read(&fs::read(folder.join(name)).unwrap()).rows.len(), 50, "{failpoint:?}");
        }
        let in_writing =
            matches!(failpoint, Failpoint::FileCreated | Failpoint::FileHalf | Failpoint::FileWritten | Failpoint::FileSynced);
        assert_eq!(unfinished.len(), usize::from(in_writing), "{failpoint:?}");

        // With room for all of them: the bound holds from the start on.
        assert!(run(&order(&[], 100), None).success(), "{failpoint:?}");
        let now_sent = names(&folders.sent);
        assert_eq!(names(&folders.outbox), BTreeSet::new(), "{failpoint:?}");
        assert!(now_sent.is_superset(&sent) && now_sent.is_superset(&waiting), "{failpoint:?}: {waiting:?} {now_sent:?}");
        stored += now_sent.len();
        assert_eq!(announced(&core).await.len(), stored, "{failpoint:?}: each once");
    }
    assert!(stored >= 20, "{stored}");
}
