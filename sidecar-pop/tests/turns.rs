//! What happens in which turn of the engine: what comes early finds its source, and little waits outside the base.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "common/running.rs"]
#[allow(dead_code)]
mod running;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use running::{TAGGED, entry, has, setup, start};
use tapir_pop::feeds::SourceNews;
use tapir_wire::name::Name;
use tapir_wire::observation::{Entry, ListType, Message};

fn message(source: &str, added: Vec<Entry>, removed: Vec<Entry>) -> SourceNews {
    let (src_name, list_type) = (source.to_owned(), ListType::Doubt);
    SourceNews::Observed(Box::new(Message { src_name, list_type, timestamp: None, added, removed, rejected: [].into() }))
}

fn seen(name: &str, before: i64) -> Entry {
    let time_added = Timestamp::now() - SignedDuration::from_secs(before);
    Entry { name: Name::parse(name).unwrap(), time_added, ttl: 60, tag_mask: 1 }
}

/// Peers and Core's messages are heard by others than the engine, who may know a new source before it does. Nobody repeats what they say.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_of_a_source_that_was_just_configured_is_not_lost() {
    let directory = tempfile::tempdir().unwrap();
    let mut pop = start(directory.path(), "sources: []\n");
    pop.until(|_| true).await;
    for round in 0..24 {
        let source = format!("core-{round}");
        let name = format!("name{round}.example");
        pop.setup.send_replace(setup(directory.path(), &TAGGED.replace("core-feed", &source)));
        assert!(pop.news.tell(&Arc::from(source.as_str()), message(&source, vec![seen(&name, 0)], Vec::new())).await);
        pop.until(|zone| has(zone, &name)).await;
    }
}

/// One peer has heard that a name was taken back, another has not: it stays out, whoever tells first, and over a restart.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_back_is_not_blocked_by_who_missed_that() {
    let directory = tempfile::tempdir().unwrap();
    let source: Arc<str> = Arc::from("core-feed");
    let mut pop = start(directory.path(), TAGGED);
    pop.until(|_| true).await;
    let over = seen("over.example", 5);
    assert!(pop.news.tell(&source, message(&source, Vec::new(), vec![over.clone()])).await);
    for round in 0..2 {
        let last = format!("last{round}.example");
        assert!(pop.news.tell(&source, message(&source, vec![over.clone(), seen(&last, 1)], Vec::new())).await);
        let zone = pop.until(|zone| has(zone, &last)).await;
        assert!(!has(&zone, "over.example."), "{round}");
        pop.kill().await;
        pop = start(directory.path(), TAGGED);
    }
}

/// A start reads all that changed since the base was written.
#[tokio::test(flavor = "multi_thread")]
async fn what_changed_is_soon_in_the_base() {
    // Few enough at a time to be decided in place, and all of them together enough for a base.
    const PARTS: u64 = 6;
    const PART: u64 = 1_600;
    let directory = tempfile::tempdir().unwrap();
    let mut pop = start(directory.path(), TAGGED);
    let mut zone = pop.until(|zone| zone.size.records == 0).await;
    for part in 0..PARTS {
        let name = |index| entry(&format!("name{part}-{index}.example"), SignedDuration::from_secs(300), 1);
        pop.send(&(0..PART).map(name).collect::<Vec<_>>()).await;
        zone = pop.until(|zone| zone.size.records == (part + 1) * PART).await;
    }
    let deadline = Instant::now() + running::PATIENCE;
    let in_base = || {
        let manifest = std::fs::read(directory.path().join("zone/manifest.json")).ok()?;
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).ok()?;
        manifest["serial"].as_u64()
    };
    while in_base() != Some(u64::from(zone.serial.0)) {
        assert!(Instant::now() < deadline, "{:?} is in the base, and not {}", in_base(), zone.serial);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
