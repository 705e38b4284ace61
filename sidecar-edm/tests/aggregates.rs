//! dnstap in at one end, histograms out at a receiver of aggregates at the other, through a whole EDM.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/histogram.rs"]
mod histogram;
#[path = "support/parquet.rs"]
mod parquet;
#[path = "support/receiver.rs"]
mod receiver;
mod support;

use std::collections::BTreeMap;
use std::time::Instant;

use histogram::{answers, rows};
use jiff::Timestamp;
use receiver::{Act, Receiver};
use serde_json::Value;
use support::broker::Authority;
use support::{Edm, Files, Resolver, until};
use tapir_edm::histogram_file::Interval;
use tapir_wire::jwk::DataKey;

const CLIENT: &str = "198.51.100.77";

const CONFIG: &str = "http-ca-file = \"core.crt\"\nenable-manual-parquet-rotation = true\n\
                      well-known-domains-file = \"well-known-domains.dawg\"\n";

/// An identity that Core told of this receiver; one in the clear, which no configuration may name.
fn identity(files: &Files, receiver: &Receiver) {
    let (authority, key) = (Authority::new("node CA"), DataKey::generate(&support::NODE.parse().unwrap()).unwrap());
    let told = format!(r#""mqttBroker":"mqtts://localhost:1","aggrecUrl":"{}""#, receiver.url());
    files.write("core.crt", authority.pem().as_bytes());
    files.write_identity_for(&authority, &told, &key);
}

/// A configuration folder that lacks nothing but a broker.
fn whole(files: &Files, receiver: &Receiver, more: &str) {
    files.write_list(&[".below.example.", "known.example."]);
    identity(files, receiver);
    files.write_config(&format!("{CONFIG}{more}"));
}

async fn start(receiver: &Receiver, more: &str) -> Edm {
    let edm = Edm::start(|files| whole(files, receiver, more)).await;
    edm.status_becomes("/edm/wellKnownDomains", 2).await;
    edm
}

async fn all_read(edm: &Edm, frames: u64) {
    edm.status_becomes("/edm/frames", frames).await;
    let looked_at = async || {
        let text = edm.get("/metrics").await;
        text.lines()
            .filter_map(|line| line.strip_prefix("tapir_edm_frames_total{")?.split_once("} ")?.1.parse::<u64>().ok())
            .sum::<u64>()
    };
    until("all looked at", async || looked_at().await == frames).await;
}

fn counted(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
    pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_is_what_arrives() {
    let receiver = Receiver::start(&[]).await;
    let edm = start(&receiver, "").await;
    // One of them is idle when the minute ends, one is gone.
    let (mut idle, mut busy, mut gone) = (edm.connect().await, edm.connect().await, edm.connect().await);
    let begun = Timestamp::now();
    idle.answered("Known.example.", CLIENT).await;
    gone.answered("known.EXAMPLE.", "2001:db8::1").await;
    gone.stop().await;
    for number in 0..40 {
        busy.answered(&format!("n{number}.below.example."), &format!("198.51.100.{number}")).await;
    }
    busy.answered("below.example.", CLIENT).await;
    busy.send(b"not protobuf").await;
    all_read(&edm, 44).await;
    edm.rotate().await;

    let request = receiver.received(1).await.remove(0);
    assert_eq!(request.line, "POST /base/api/v1/aggregate/histogram HTTP/1.1");
    let rows = rows(&request.body);
    assert_eq!(rows.len(), 2);
    let known = &rows["known.example."];
    assert_eq!((known.types[0], known.codes[0], known.status_bits, known.clients), (2, 2, 1, [1, 1]));
    assert_eq!(known.sketches, [None, None], "so few could be told apart");
    let below = &rows[".below.example."];
    assert_eq!((below.types[0], below.status_bits, below.clients[1]), (40, 2, 0));
    assert!((36..=44).contains(&below.clients[0]), "{}", below.clients[0]);
    assert!(below.sketches[0].as_ref().is_some_and(|sketch| sketch[0] == 0x13) && below.sketches[1].is_none());
    let interval = request.headers["aggregate-interval"].split_once('/').unwrap().0.parse::<Timestamp>().unwrap();
    assert!(interval <= begun && begun.duration_since(interval).as_secs() < 60, "{interval}");

    for (line, value) in [("well_known", 42), ("other_name", 1), ("undecodable", 1)] {
        edm.metric_becomes(&format!("frames_total{{outcome=\"{line}\"}}"), value).await;
    }
    let text = edm.get("/metrics").await;
    assert!(text.lines().any(|line| line == "edm_processed_dnstap_total 44"), "upstream's name");
    edm.status_becomes("/edm/aggregates/sent", 1).await;
    let sent = edm.files().data().join("parquet/histograms/sent");
    assert_eq!(std::fs::read_dir(sent).unwrap().count(), 1);
    let status = edm.status().await["edm"].clone();
    assert_eq!(status["aggregates"]["waiting"], 0);
    assert!(status["memory"]["lists"].as_u64().unwrap() > 0 && status["memory"]["rows"] == 0);

    // What was counted is not counted again; a minute without an answer makes no file.
    edm.rotate().await;
    idle.answered("known.example.", CLIENT).await;
    all_read(&edm, 45).await;
    assert!(edm.status().await["edm"]["memory"]["rows"].as_u64().unwrap() > 0);
    edm.rotate().await;
    let again = receiver.received(2).await.remove(1);
    assert_eq!(answers(&again.body), counted(&[("known.example.", 1)]));
    edm.stop().await;
    assert_eq!(receiver.requests().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_minute_is_written_and_sent_before_the_end() {
    let receiver = Receiver::start(&[]).await;
    let edm = start(&receiver, "").await;
    let mut resolver = edm.connect().await;
    for _ in 0..500 {
        resolver.answered("known.example.", CLIENT).await;
    }
    // Not all of them are read by now; the socket is drained first.
    let begun = Instant::now();
    edm.stop().await;
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    let requests = receiver.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(answers(&requests[0].body), counted(&[("known.example.", 500)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sent_before_the_end_stays_for_the_next_start() {
    let receiver = Receiver::start(&[Act::Silence; 8]).await;
    let edm = start(&receiver, "").await;
    let mut resolver = edm.connect().await;
    resolver.answered("known.example.", CLIENT).await;
    all_read(&edm, 1).await;
    let outbox = edm.files().data().join("parquet/histograms/outbox");
    let (begun, folder) = (Instant::now(), edm.stop_keeping().await);
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    let names: Vec<_> =
        std::fs::read_dir(&outbox).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names.len(), 1);
    assert!(Interval::of_file_name(&names[0]).is_ok());
    assert_eq!(answers(&std::fs::read(outbox.join(&names[0])).unwrap()), counted(&[("known.example.", 1)]));

    let open = Receiver::start(&[]).await;
    let edm = Edm::start_in(folder, |files| whole(files, &open, ""));
    assert_eq!(answers(&open.received(1).await[0].body), counted(&[("known.example.", 1)]));
    edm.stop().await;
}

/// Entries have numbers by their order, and all of them change.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_list_is_taken_up_at_once_and_no_row_has_a_wrong_name() {
    let receiver = Receiver::start(&[]).await;
    let edm = start(&receiver, "").await;
    let mut resolver = edm.connect().await;
    resolver.answered("known.example.", CLIENT).await;
    all_read(&edm, 1).await;

    edm.files().write("well-known-domains.dawg", b"nonsense");
    until("refusal", async || {
        edm.status().await["config"]["error"].as_str().is_some_and(|error| error.contains("well-known-domains.dawg"))
    })
    .await;
    resolver.answered("known.example.", CLIENT).await;
    all_read(&edm, 2).await;

    edm.files().write_list(&["a.example.", "b.example.", "known.example."]);
    edm.status_becomes("/edm/wellKnownDomains", 3).await;
    for name in ["a.example.", "known.example.", "x.below.example.", "b.example."] {
        resolver.answered(name, CLIENT).await;
    }
    all_read(&edm, 6).await;
    edm.rotate().await;
    let first = receiver.received(1).await.remove(0);
    assert_eq!(answers(&first.body), counted(&[("a.example.", 1), ("b.example.", 1), ("known.example.", 3)]));
    edm.metric_becomes("frames_total{outcome=\"other_name\"}", 1).await;
    edm.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_and_names_are_left_out_as_their_files_say() {
    let receiver = Receiver::start(&[]).await;
    let edm = start(&receiver, "ignored-client-ips-file = \"clients\"\nignored-question-names-file = \"names.txt\"").await;
    let mut resolver = edm.connect().await;
    let outcome = async |outcome: &str, count| edm.metric_becomes(&format!("frames_total{{outcome=\"{outcome}\"}}"), count).await;
    // There is no such file yet, which is told; nobody knows what is to be left out, so nothing is counted.
    until("told", async || {
        edm.status().await["config"]["error"]
            .as_str()
            .is_some_and(|error| error.contains("clients") && error.contains("names.txt"))
    })
    .await;
    resolver.answered("known.example.", CLIENT).await;
    outcome("not_sending", 1).await;

    edm.files().write("names.txt", b"# ours\n.below.example.\n");
    edm.status_becomes("/edm/ignoredNames", 1).await;
    resolver.answered("known.example.", CLIENT).await;
    outcome("not_sending", 2).await;
    edm.files().write("clients", b"198.51.100.77/32\n");
    edm.status_becomes("/edm/ignoredClients", 1).await;
    edm.status_becomes("/edm/ignoredNames", 1).await;
    edm.status_becomes("/config/error", Value::Null).await;
    resolver.answered("known.example.", CLIENT).await;
    resolver.answered("known.example.", "198.51.100.78").await;
    resolver.answered("x.below.example.", "198.51.100.78").await;
    outcome("client_ignored", 1).await;
    outcome("well_known", 1).await;
    outcome("name_ignored", 1).await;

    edm.files().write("clients", b"198.51.100.77\n");
    until("refusal", async || edm.status().await["config"]["error"].as_str().is_some_and(|error| error.contains("line 1"))).await;
    assert_eq!(edm.status().await["edm"]["ignoredClients"], 1, "the last good one stays");
    edm.files().write("clients", b"");
    edm.status_becomes("/edm/ignoredClients", 0).await;
    resolver.answered("known.example.", CLIENT).await;
    outcome("well_known", 2).await;
    let text = edm.get("/metrics").await;
    for line in ["edm_ignored_client_ip_total 1", "edm_ignored_question_name_total 1"] {
        assert!(text.lines().any(|have| have == line), "{line} not in\n{text}");
    }
    edm.rotate().await;
    assert_eq!(answers(&receiver.received(1).await[0].body), counted(&[("known.example.", 2)]));
    edm.stop().await;
}

/// Lists need not lie where the configuration does.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_in_another_folder_is_followed() {
    let (receiver, elsewhere) = (Receiver::start(&[]).await, tempfile::tempdir().unwrap());
    let file = elsewhere.path().join("clients");
    std::fs::write(&file, "192.0.2.0/24\n").unwrap();
    let edm = start(&receiver, &format!("ignored-client-ips-file = \"{}\"", file.display())).await;
    edm.status_becomes("/edm/ignoredClients", 1).await;
    for prefixes in [2, 3] {
        std::fs::write(&file, "192.0.2.0/24\n".repeat(prefixes)).unwrap();
        edm.status_becomes("/edm/ignoredClients", prefixes).await;
    }
    edm.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_must_not_send_counts_nothing_and_sends_nothing() {
    let receiver = Receiver::start(&[]).await;
    let edm = start(&receiver, "disabled = true").await;
    let mut resolver = edm.connect().await;
    resolver.answered("known.example.", CLIENT).await;
    edm.metric_becomes("frames_total{outcome=\"not_sending\"}", 1).await;
    edm.rotate().await;
    edm.files().write_config(&format!("{CONFIG}revision = \"on\""));
    edm.status_becomes("/config/revision", "on").await;
    resolver.answered("known.example.", CLIENT).await;
    edm.metric_becomes("frames_total{outcome=\"well_known\"}", 1).await;
    edm.rotate().await;
    assert_eq!(answers(&receiver.received(1).await[0].body), counted(&[("known.example.", 1)]));

    // Without the option there is no such path.
    edm.files().write_config("revision = \"plain\"");
    edm.status_becomes("/config/revision", "plain").await;
    assert_eq!(support::ask(edm.port(), "POST", "/debug/rotate-parquet").await, "not found\n");
    edm.stop().await;
}

/// A receiver that moves is followed, and one that cannot be addressed leaves the one before.
#[tokio::test(flavor = "multi_thread")]
async fn aggregates_follow_their_receiver() {
    let (first, second) = (Receiver::start(&[]).await, Receiver::start(&[]).await);
    let edm = start(&first, "").await;
    let mut resolver = edm.connect().await;
    let count_one = async |resolver: &mut Resolver, number| {
        resolver.answered("known.example.", CLIENT).await;
        all_read(&edm, number).await;
        edm.rotate().await;
    };
    count_one(&mut resolver, 1).await;
    first.received(1).await;
    edm.files().write("core.crt", b"nonsense");
    let error = async || edm.status().await["edm"]["aggregates"]["error"].as_str().map(str::to_owned);
    until("refusal", async || error().await.is_some_and(|error| error.contains("http-ca-file"))).await;
    assert!(edm.status().await["identityError"].is_null(), "nothing is wrong with who this is");
    count_one(&mut resolver, 2).await;
    first.received(2).await;
    identity(&edm.files(), &second);
    // The files come one after the other, so one more may go to the old place.
    let mut count = 2;
    while second.requests().is_empty() {
        count += 1;
        count_one(&mut resolver, count).await;
        edm.status_becomes("/edm/aggregates/sent", count).await;
    }
    let all = [first.requests(), second.requests()].concat();
    assert_eq!(all.iter().map(|request| answers(&request.body)["known.example."]).sum::<u64>(), count);
    edm.stop().await;
}

/// What was gathered before is forgotten, and nothing of it comes when sending is allowed again: neither what was counted nor what waits.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_counted_is_forgotten_when_sending_is_forbidden() {
    let receiver = Receiver::start(&[]).await;
    let held = "disable-histogram-sender = true\n";
    let edm = start(&receiver, held).await;
    let mut resolver = edm.connect().await;
    let outbox = edm.files().data().join("parquet/histograms/outbox");
    let files = || std::fs::read_dir(&outbox).into_iter().flatten().count();
    resolver.answered("known.example.", CLIENT).await;
    all_read(&edm, 1).await;
    edm.rotate().await;
    until("a file", async || files() == 1).await;
    resolver.answered("known.example.", CLIENT).await;
    all_read(&edm, 2).await;
    edm.files().write_config(&format!("{CONFIG}disabled = true\nrevision = \"off\"\n"));
    edm.status_becomes("/config/revision", "off").await;
    until("no file", async || files() == 0).await;
    // Also those of a process before, whatever the time between.
    let folder = edm.stop_keeping().await;
    std::fs::write(outbox.join(Interval { start: Timestamp::UNIX_EPOCH, stop: Timestamp::now() }.file_name(0)), "x").unwrap();
    let edm = Edm::start_in(folder, |_| ());
    until("no file", async || files() == 0).await;
    edm.files().write_config(&format!("{CONFIG}revision = \"on\"\n"));
    edm.status_becomes("/config/revision", "on").await;
    let mut resolver = edm.connect().await;
    resolver.answered("known.example.", CLIENT).await;
    all_read(&edm, 1).await;
    edm.rotate().await;
    assert_eq!(answers(&receiver.received(1).await[0].body), counted(&[("known.example.", 1)]));
    edm.stop().await;
}
