//! What `/metrics` tells of aggregates, events, memory and the input follows what happened.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;
#[path = "support/tls_receiver.rs"]
mod tls_receiver;

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use support::broker::Authority;
use support::broker::port::free_port;
use support::core::{Core, whole};
use support::{Edm, Files, Resolver, until};
use tapir_wire::jwk::DataKey;
use tls_receiver::TlsReceiver;
use tokio::io::AsyncWriteExt as _;

const CLIENT: &str = "198.51.100.77";
/// A minute of the clock, and as long again for a busy machine.
const TWO_MINUTES: Duration = Duration::from_secs(120);
const CONFIG: &str = "http-ca-file = \"core.crt\"\nenable-manual-parquet-rotation = true\n\
                      well-known-domains-file = \"well-known-domains.dawg\"\n";

/// Where aggregates go; nobody needs to be there.
fn whole_for(files: &Files, authority: &Authority, url: &str, more: &str) {
    let key = DataKey::generate(&support::NODE.parse().unwrap()).unwrap();
    files.write_list(&["example.com."]);
    files.write("core.crt", authority.pem().as_bytes());
    files.write_identity_for(authority, &format!(r#""mqttBroker":"mqtts://localhost:1","aggrecUrl":"{url}""#), &key);
    files.write_config(&format!("{CONFIG}{more}"));
}

/// Value of a line, name and labels without the `tapir_edm_` in front.
async fn value(edm: &Edm, line: &str) -> Option<f64> {
    let text = edm.get("/metrics").await;
    text.lines().find_map(|have| have.strip_prefix("tapir_edm_")?.strip_prefix(line)?.strip_prefix(' ')?.parse().ok())
}

async fn becomes(edm: &Edm, line: &str, holds: impl Fn(f64) -> bool) {
    until(line, async || value(edm, line).await.is_some_and(&holds)).await;
}

async fn counted(edm: &Edm, resolver: &mut Resolver, number: u64) {
    resolver.answered("example.com.", CLIENT).await;
    edm.metric_becomes("frames_total{outcome=\"well_known\"}", number).await;
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn octets_in(folder: &Path) -> u64 {
    files_in(folder).iter().map(|file| file.metadata().unwrap().len()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_aggregates_that_arrive_and_of_the_minute_that_ends_by_itself() {
    let authority = Authority::new("node CA");
    let receiver = TlsReceiver::start(&authority).await;
    let edm = Edm::start(|files| whole_for(files, &authority, &receiver.url(), "")).await;
    edm.status_becomes("/edm/wellKnownDomains", 1).await;
    edm.metric_becomes("well_known_domains", 1).await;
    for line in ["aggregates_written_total", "aggregates_sent_total", "aggregate_last_sent_seconds", "histogram_answers_total"] {
        assert_eq!(value(&edm, line).await, Some(0.0), "{line}");
    }
    let end = edm.status().await["identity"]["notAfter"].as_str().unwrap().parse::<Timestamp>().unwrap();
    for service in ["events", "aggregates"] {
        let line = format!("certificate_not_after_timestamp_seconds{{service=\"{service}\"}}");
        assert_eq!(value(&edm, &line).await, Some(end.as_second() as f64), "{service}");
    }
    assert!(value(&edm, "memory_bytes{part=\"lists\"}").await.unwrap() > 0.0);
    assert_eq!(value(&edm, "memory_bytes{part=\"rows\"}").await, Some(0.0));

    let mut resolver = edm.connect().await;
    let begun = Timestamp::now().as_second() as f64;
    counted(&edm, &mut resolver, 1).await;
    let rows = value(&edm, "memory_bytes{part=\"rows\"}").await.unwrap();
    assert!(rows > 0.0 && rows < value(&edm, "memory_bound_bytes").await.unwrap());
    edm.rotate().await;
    for line in ["aggregates_written_total", "aggregates_sent_total"] {
        becomes(&edm, line, |count| count >= 1.0).await;
    }
    becomes(&edm, "aggregates_waiting", |files| files == 0.0).await;
    assert_eq!(value(&edm, "histogram_answers_total").await, Some(1.0));
    let last = value(&edm, "aggregate_last_sent_seconds").await.unwrap();
    assert!((begun..=Timestamp::now().as_second() as f64).contains(&last), "{last}");

    // Nobody ends this one by hand.
    counted(&edm, &mut resolver, 2).await;
    let (rotations, waited) = (value(&edm, "rotations_total").await.unwrap(), Instant::now());
    while value(&edm, "rotations_total").await.unwrap() <= rotations {
        assert!(waited.elapsed() < TWO_MINUTES, "the clock ends no minute");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    becomes(&edm, "rotation_lag_seconds", |lag| lag > 0.0 && lag < TWO_MINUTES.as_secs_f64()).await;
    becomes(&edm, "histogram_answers_total", |answers| answers == 2.0).await;
    becomes(&edm, "aggregates_sent_total", |count| count == 2.0).await;
    assert_eq!(receiver.received(2).await.len(), 2);

    let errors = value(&edm, "reload_errors_total").await.unwrap();
    edm.files().write("well-known-domains.dawg", b"nonsense");
    becomes(&edm, "reload_errors_total", |count| count > errors).await;
    edm.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_aggregates_that_wait_and_are_lost() {
    let authority = Authority::new("node CA");
    let nobody = format!("https://localhost:{}", free_port());
    // An eighth of this is for what waits.
    let prepare = |files: &Files| whole_for(files, &authority, &nobody, "storage-mib = 64");
    let edm = Edm::start(prepare).await;
    let outbox = edm.files().data().join("parquet/histograms/outbox");
    edm.status_becomes("/edm/wellKnownDomains", 1).await;
    let mut resolver = edm.connect().await;
    for number in 1..=4 {
        counted(&edm, &mut resolver, number).await;
        edm.rotate().await;
        becomes(&edm, "aggregates_written_total", |count| count == number as f64).await;
    }
    becomes(&edm, "aggregate_send_failures_total", |count| count > 0.0).await;
    becomes(&edm, "aggregates_waiting", |count| count == 4.0).await;
    becomes(&edm, "aggregates_waiting_bytes", |octets| octets == octets_in(&outbox) as f64).await;
    assert_eq!(value(&edm, "aggregates_sent_total").await, Some(0.0));

    // A disk that takes nothing costs the minutes that there is no room for.
    let aside = edm.files().data().join("aside");
    std::fs::rename(&outbox, &aside).unwrap();
    std::fs::write(&outbox, "in the way").unwrap();
    assert_eq!(value(&edm, "aggregate_minutes_lost_total").await, Some(0.0));
    for number in 5..=8 {
        counted(&edm, &mut resolver, number).await;
        edm.rotate().await;
    }
    becomes(&edm, "aggregate_write_failures_total", |count| count > 0.0).await;
    becomes(&edm, "aggregate_minutes_lost_total", |count| count > 0.0).await;
    let folder = edm.stop_keeping().await;
    std::fs::remove_file(&outbox).unwrap();
    std::fs::rename(&aside, &outbox).unwrap();

    // One too old, and three that are too much together.
    let names = files_in(&outbox);
    assert_eq!(names.len(), 4);
    for name in &names {
        std::fs::File::options().write(true).open(name).unwrap().set_len(3 << 20).unwrap();
    }
    let long_ago = SystemTime::now() - Duration::from_secs(4 * 24 * 3600);
    std::fs::File::options().write(true).open(&names[0]).unwrap().set_modified(long_ago).unwrap();
    let edm = Edm::start_in(folder, prepare);
    becomes(&edm, "aggregates_dropped_old_total", |count| count == 1.0).await;
    becomes(&edm, "aggregates_dropped_room_total", |count| count == 1.0).await;
    becomes(&edm, "aggregates_waiting", |count| count == 2.0).await;
    becomes(&edm, "aggregates_waiting_bytes", |octets| octets == f64::from(6 << 20)).await;
    edm.stop().await;
}

/// So long that some thousands fill what there is for events that wait.
fn long_name(number: usize) -> String {
    format!("n{number}.{}example.", format!("{}.", "x".repeat(58)).repeat(4))
}

#[tokio::test(flavor = "multi_thread")]
async fn of_events_that_wait_and_are_displaced() {
    let core = Core::start().await;
    let edm = Edm::start(|files| {
        whole(&core)(files);
        files.write_identity(&core.authority, "mqtts://localhost:1", &core.key);
        files.write_config("well-known-domains-file = \"well-known-domains.dawg\"\nstorage-mib = 64\nnewqname-buffer = 100000");
    })
    .await;
    edm.status_becomes("/edm/wellKnownDomains", 1).await;
    for line in ["events_displaced_total", "events_unsendable_total", "events_unreadable_total", "events_queued_octets"] {
        assert_eq!(value(&edm, line).await, Some(0.0), "{line}");
    }
    let mut resolver = edm.connect().await;
    resolver.answered("first.example.", CLIENT).await;
    becomes(&edm, "events_queued", |events| events == 1.0).await;
    becomes(&edm, "events_queued_octets", |octets| octets > 0.0 && octets < 4096.0).await;

    let mut number = 0;
    until("more than there is room for", async || {
        for _ in 0..2000 {
            resolver.answered(&long_name(number), CLIENT).await;
            number += 1;
        }
        value(&edm, "events_displaced_total").await.is_some_and(|events| events > 0.0)
    })
    .await;
    let octets = value(&edm, "events_queued_octets").await.unwrap();
    assert!((f64::from(4 << 20)..=f64::from(8 << 20)).contains(&octets), "{octets}");
    // What comes all at once is more than the first read of a connection has room for, which shows.
    let mut other = edm.connect().await;
    let full = value(&edm, "input_full_reads_total").await.unwrap();
    other.stream.write_all(&[&[0, 0, 0, 1], &b"x"[..]].concat().repeat(20_000)).await.unwrap();
    becomes(&edm, "input_full_reads_total", |reads| reads > full).await;
    becomes(&edm, "input_waiting_octets", |octets| octets > 0.0).await;
    edm.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_events_that_the_disk_does_not_give_back() {
    let mut core = Core::start().await;
    let edm = Edm::start(whole(&core)).await;
    edm.status_becomes("/core/connected", true).await;
    core.broker.kill();
    edm.status_becomes("/core/connected", false).await;
    let mut resolver = edm.connect().await;
    resolver.answered("lost.example.", CLIENT).await;
    becomes(&edm, "events_queued", |events| events == 1.0).await;
    let waiting = edm.files().data().join("waiting");
    let mut damaged = 0;
    for file in files_in(&waiting) {
        let octets = std::fs::read(&file).unwrap();
        let Some(at) = octets.windows(4).position(|window| window == b"lost") else { continue };
        std::fs::File::options().write(true).open(&file).unwrap().write_all_at(b"LOST", at as u64).unwrap();
        damaged += 1;
    }
    assert_eq!(damaged, 1);
    core.broker.start_again();
    becomes(&edm, "events_unreadable_total", |events| events == 1.0).await;
    becomes(&edm, "events_queued", |events| events == 0.0).await;
    // What comes after it is not harmed.
    support::broker::soon("return of the eye", core.eye.state.wait_for(|state| state.connected)).await.unwrap();
    resolver.answered("other.example.", CLIENT).await;
    assert_eq!(core.name().await, "other.example.");
    edm.stop().await;
}
