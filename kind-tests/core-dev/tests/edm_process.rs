//! A whole EDM, in a process of its own, against this Core: what its resolver says arrives, verified; and what happens when it is told to end,
//! is killed, or has something panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "common/edm.rs"]
mod edm;
#[path = "../../../sidecar-edm/tests/support/histogram.rs"]
mod histogram;
#[path = "../../../sidecar-edm/tests/support/parquet.rs"]
mod parquet;
#[path = "common/running.rs"]
mod running;

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use edm::{Minimiser, Resolver};
use jiff::Timestamp;
use nix::sys::signal::Signal;
use running::{PATIENCE, Running};
use serde_json::Value;
use tapir_core_dev::encoding::from_base64;

const NODE: &str = "minimiser.edge.tapir.test";

/// The other process: an EDM. As a test it does nothing.
#[test]
fn the_other_process() {
    edm::run_if_told();
}

/// Announcements of aggregates: what was stored, each once.
async fn announced(core: &Running) -> Vec<Value> {
    let all = core.dump().await.into_iter().filter(|entry| entry["kind"] == "announcement");
    all.map(|entry| entry["data"].clone()).collect()
}

/// Answers by entry, of all that Core has stored. What was sent twice with equal octets counts once, as in Core.
async fn stored(core: &Running) -> BTreeMap<String, u64> {
    let uploads = core.dump().await.into_iter().filter(|entry| entry["service"] == "aggrec" && entry["status"] == 201);
    let bodies: std::collections::BTreeSet<Vec<u8>> =
        uploads.map(|entry| from_base64(entry["body"].as_str().unwrap()).unwrap()).collect();
    let mut all = BTreeMap::new();
    for (entry, answers) in bodies.iter().flat_map(|body| histogram::answers(body)) {
        *all.entry(entry).or_default() += answers;
    }
    all
}

async fn until(what: &str, patience: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + patience;
    while !holds().await {
        assert!(Instant::now() < end, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The clock's own minute, with a resolver that went idle long before.
#[tokio::test(flavor = "multi_thread")]
async fn a_minute_of_the_clock_arrives_by_itself() {
    let core = Running::start(&[]).await;
    let edm = Minimiser::start(&core, NODE).await;
    let mut resolver = Resolver::connect(&edm.socket());
    for number in 0..100 {
        resolver.answered(if number % 4 == 0 { "Www.Known.example" } else { "known.example" }, [198, 51, 100, number]);
    }
    // At most a minute until it ends.
    until("the aggregate", Duration::from_secs(60) + PATIENCE, async || !announced(&core).await.is_empty()).await;
    let announced = announced(&core).await.remove(0);
    assert_eq!(announced["creator"], NODE);
    let start: Timestamp = announced["aggregate_interval_start"].as_str().unwrap().parse().unwrap();
    let seconds = announced["aggregate_interval_duration"].as_i64().unwrap();
    assert_eq!((start.as_second() + seconds) % 60, 0, "{announced}");
    assert_eq!(stored(&core).await, BTreeMap::from([(".known.example.".to_owned(), 25), ("known.example.".to_owned(), 75)]));
    drop(resolver);
    assert!(edm.end(Signal::SIGTERM).success());
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_end_within_a_minute_it_brings_all_to_core_first() {
    let core = Running::start(&[]).await;
    let edm = Minimiser::start(&core, NODE).await;
    let mut resolver = Resolver::connect(&edm.socket());
    for number in 0..200 {
        resolver.answered("known.example", [198, 51, 100, number]);
    }
    // Whatever of that is still in the socket is read first.
    let begun = Instant::now();
    assert!(edm.end(Signal::SIGTERM).success(), "{}", edm.log());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(stored(&core).await, BTreeMap::from([("known.example.".to_owned(), 200)]));
    assert_eq!(announced(&core).await.len(), 1);
    assert!(!edm.socket().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_it_leaves_whole_files_and_sends_them_later() {
    const ROUNDS: u64 = 6;
    let core = Running::start(&[]).await;
    let edm = Minimiser::start(&core, NODE).await;
    // Nothing is sent meanwhile, so that files lie about.
    core.fault("status:500").await;
    let mut rotated = 0;
    for round in 0..ROUNDS {
        let mut resolver = Resolver::connect(&edm.socket());
        // Nobody knows where this kill falls: in counting, in a rotation, in writing a file.
        let kill = Instant::now() + Duration::from_millis(40 + 37 * round);
        while Instant::now() < kill {
            for number in 0..20 {
                resolver.answered("known.example", [198, 51, 100, number]);
            }
            rotated += u64::from(edm.rotate());
        }
        edm.end(Signal::SIGKILL);
        for file in edm.files() {
            // Whatever has its name is whole.
            if file.extension().is_some_and(|extension| extension == "parquet") {
                assert!(!histogram::answers(&fs::read(&file).unwrap()).is_empty(), "{}", file.display());
            }
        }
        edm.start_again();
    }
    assert!(rotated > ROUNDS, "{rotated}");
    core.fault("none").await;
    // It is in a pause that grows with each failure: the next start sends at once.
    assert!(edm.end(Signal::SIGTERM).success());
    edm.start_again();
    until("an empty outbox", PATIENCE, async || edm.files().is_empty()).await;
    assert!(edm.end(Signal::SIGTERM).success());
    let sent = edm.sent();
    assert!(sent >= ROUNDS as usize, "{sent}");
    assert_eq!(announced(&core).await.len(), sent, "each once");
}

/// Half a process would count on and send nothing, or the other way round.
#[tokio::test(flavor = "multi_thread")]
async fn a_panic_of_any_thread_ends_the_process() {
    let core = Running::start(&[]).await;
    let edm = Minimiser::prepare(&core, NODE).await;
    edm.start_panicking();
    let status = edm.ended();
    assert_eq!(status.code(), Some(1), "{}", edm.log());
    assert!(edm.log().contains("something panicked, stopping the process"), "{}", edm.log());
}
