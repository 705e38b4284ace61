//! What scripts, dashboards and brokers around upstream's minimiser rely on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/dnstap.rs"]
mod dnstap;
#[path = "support/histogram.rs"]
mod histogram;
#[path = "support/parquet.rs"]
mod parquet;
#[path = "support/process.rs"]
mod process;
#[path = "support/receiver.rs"]
mod receiver;
mod support;

use std::collections::BTreeMap;

use dnstap::Response;
use histogram::answers;
use nix::sys::signal::Signal;
use process::Process;
use receiver::Receiver;
use serde_json::Value;
use support::broker::Authority;
use support::core::{Core, whole};
use support::{Edm, Files, NODE, until};
use tapir_wire::jwk::DataKey;

const CLIENT: &str = "198.51.100.77";

#[tokio::test(flavor = "multi_thread")]
async fn the_client_id_is_upstreams_where_that_is_wanted() {
    let mut core = Core::start().await;
    let edm = Edm::start(|files| {
        whole(&core)(files);
        files.write_config("mqtt-bare-client-id = true\nwell-known-domains-file = \"well-known-domains.dawg\"");
    })
    .await;
    edm.status_becomes("/core/connected", true).await;
    core.broker.logged(&format!("as {NODE}-edm (")).await;
    edm.connect().await.answered("a.example.", CLIENT).await;
    assert_eq!(core.name().await, "a.example.");
    // And with the suffix of the instance where it is not.
    edm.files().write_config("well-known-domains-file = \"well-known-domains.dawg\"");
    core.broker.logged(&format!("as {NODE}-edm-x1 (")).await;
    edm.stop().await;
}

/// Names that begin with two dots are the kubelet's own: a watch does not look at what is in them, SIGHUP does.
#[tokio::test(flavor = "multi_thread")]
async fn at_sighup_everything_is_read_again_and_no_row_has_a_wrong_name() {
    let receiver = Receiver::start(&[]).await;
    let dawg = |words: &[&str]| tapir_wire::dawg::compile(words.iter().copied()).unwrap();
    let edm = Process::start(|files| {
        let other = files.data().with_file_name("other");
        std::fs::create_dir(&other).unwrap();
        std::fs::write(other.join("..list.dawg"), dawg(&["known.example."])).unwrap();
        std::fs::write(other.join("..clients"), "192.0.2.0/24\n").unwrap();
        let (authority, key) = (Authority::new("node CA"), DataKey::generate(&NODE.parse().unwrap()).unwrap());
        files.write("core.crt", authority.pem().as_bytes());
        let told = format!(r#""mqttBroker":"mqtts://localhost:1","aggrecUrl":"{}""#, receiver.url());
        files.write_identity_for(&authority, &told, &key);
        files.write_config(&format!(
            "well-known-domains-file = \"{0}/..list.dawg\"\nignored-client-ips-file = \"{0}/..clients\"\n\
             http-ca-file = \"core.crt\"\nenable-manual-parquet-rotation = true",
            other.display()
        ));
    });
    let other = edm.path().join("other");
    edm.status_becomes("/edm/wellKnownDomains", 1).await;
    edm.status_becomes("/edm/ignoredClients", 1).await;
    let mut resolver = edm.connect().await;
    resolver.answered("known.example.", CLIENT).await;
    edm.metric_becomes("tapir_edm_frames_total{outcome=\"well_known\"}", 1).await;

    // A damaged one is refused, and the last good one stays.
    std::fs::write(other.join("..list.dawg"), "nonsense").unwrap();
    assert_eq!(edm.status().await["config"]["error"], Value::Null);
    edm.signal(Signal::SIGHUP);
    edm.is_wrong("..list.dawg").await;
    resolver.answered("known.example.", CLIENT).await;
    edm.metric_becomes("tapir_edm_frames_total{outcome=\"well_known\"}", 2).await;

    // Numbers of entries go by their order, and all of them change.
    std::fs::write(other.join("..list.dawg"), dawg(&["a.example.", "b.example.", "known.example."])).unwrap();
    std::fs::write(other.join("..clients"), "192.0.2.0/24\n203.0.113.0/24\n").unwrap();
    assert_eq!(edm.status().await["edm"]["wellKnownDomains"], 1);
    edm.signal(Signal::SIGHUP);
    edm.status_becomes("/edm/wellKnownDomains", 3).await;
    edm.status_becomes("/edm/ignoredClients", 2).await;
    edm.status_becomes("/config/error", Value::Null).await;
    for name in ["a.example.", "known.example.", "b.example."] {
        resolver.answered(name, CLIENT).await;
    }
    resolver.answered("known.example.", "203.0.113.1").await;
    edm.metric_becomes("tapir_edm_frames_total{outcome=\"client_ignored\"}", 1).await;
    edm.metric_becomes("tapir_edm_frames_total{outcome=\"well_known\"}", 5).await;
    assert_eq!(support::ask(edm.port(), "POST", "/debug/rotate-parquet").await, "rotation requested\n");
    let mut rows = BTreeMap::new();
    for request in receiver.received(1).await {
        for (name, count) in answers(&request.body) {
            *rows.entry(name).or_insert(0) += count;
        }
    }
    let expected = [("a.example.", 1), ("b.example.", 1), ("known.example.", 3)].map(|(name, count)| (name.to_owned(), count));
    assert_eq!(rows, BTreeMap::from(expected));
    edm.stop().await;
}

async fn upstreams(edm: &Edm, name: &str, value: u64) {
    let line = format!("edm_{name} {value}");
    until(&line, async || edm.get("/metrics").await.lines().any(|have| have == line)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_upstreams_metrics_counts_what_it_says() {
    let edm = Edm::start(|files: &Files| {
        files.write_list(&["known.example."]);
        files.write("clients", b"192.0.2.0/24\n");
        files.write_config(
            "well-known-domains-file = \"well-known-domains.dawg\"\nignored-client-ips-file = \"clients\"\nqname-seen-entries = 16",
        );
    })
    .await;
    edm.status_becomes("/edm/wellKnownDomains", 1).await;
    let zero = [
        "new_qname_queued_total",
        "new_qname_discarded_total",
        "seen_qname_lru_evicted_total",
        "new_qname_ch_len",
        "ignored_client_ip_total",
        "ignored_client_ip_error_total",
        "ignored_question_name_total",
        "ignored_dns_parse_error_total",
        "ignored_empty_question_section_total",
        "ignored_invalid_question_name_total",
        "processed_dnstap_total",
    ];
    for name in zero {
        upstreams(&edm, name, 0).await;
    }
    let mut resolver = edm.connect().await;
    let client = CLIENT.parse().unwrap();
    let nobody = Response { client: None, ..Response::to(client, dnstap::answer(b"a.example.")) };
    resolver.send(&nobody.frame()).await;
    upstreams(&edm, "ignored_client_ip_error_total", 1).await;
    resolver.answered("a.example.", "192.0.2.7").await;
    upstreams(&edm, "ignored_client_ip_total", 1).await;
    for broken in [&b"no DNS"[..], &dnstap::answer(b"a.example.")[..16]] {
        resolver.send(&Response::to(client, broken.to_vec()).frame()).await;
    }
    upstreams(&edm, "ignored_dns_parse_error_total", 2).await;
    resolver.send(&Response::to(client, vec![0x12, 0x34, 0x81, 0x80, 0, 0, 0, 0, 0, 0, 0, 0]).frame()).await;
    upstreams(&edm, "ignored_empty_question_section_total", 1).await;
    upstreams(&edm, "processed_dnstap_total", 5).await;
    // Nobody is there who could take them.
    for number in 0..5 {
        resolver.answered(&format!("n{number}.example."), CLIENT).await;
    }
    resolver.answered("n0.example.", CLIENT).await;
    upstreams(&edm, "new_qname_queued_total", 5).await;
    upstreams(&edm, "new_qname_ch_len", 5).await;
    upstreams(&edm, "seen_qname_lru_evicted_total", 0).await;
    // More names than are remembered.
    for number in 5..500 {
        resolver.answered(&format!("n{number}.example."), CLIENT).await;
    }
    upstreams(&edm, "new_qname_queued_total", 500).await;
    let evicted = async || {
        let text = edm.get("/metrics").await;
        text.lines().find_map(|line| line.strip_prefix("edm_seen_qname_lru_evicted_total ")?.parse::<u64>().ok()).unwrap()
    };
    until("names that had to go", async || evicted().await > 400).await;
    upstreams(&edm, "new_qname_discarded_total", 0).await;
    upstreams(&edm, "ignored_invalid_question_name_total", 0).await;
    edm.stop().await;
}

/// Where the disk takes nothing a MiB of events waits in memory.
#[tokio::test(flavor = "multi_thread")]
async fn events_that_found_no_room_are_discarded_by_upstreams_name() {
    let edm = Edm::start(|files: &Files| {
        std::fs::create_dir_all(files.data()).unwrap();
        std::fs::write(files.data().join("waiting"), "in the way").unwrap();
        files.write_list(&["known.example."]);
        files.write_config("well-known-domains-file = \"well-known-domains.dawg\"");
    })
    .await;
    edm.status_becomes("/edm/wellKnownDomains", 1).await;
    let mut resolver = edm.connect().await;
    let tail = vec!["x".repeat(60); 3].join(".");
    let discarded = async || {
        let text = edm.get("/metrics").await;
        text.lines().find_map(|line| line.strip_prefix("edm_new_qname_discarded_total ")?.parse::<u64>().ok()).unwrap_or(0)
    };
    let mut number = 0;
    while discarded().await == 0 {
        assert!(number < 100_000, "none was discarded");
        for _ in 0..500 {
            number += 1;
            resolver.answered(&format!("n{number}.{tail}.example."), CLIENT).await;
        }
    }
    edm.stop().await;
}

/// An identity that cannot be read any more is the one of before; what it may be used for says the newest configuration.
#[tokio::test(flavor = "multi_thread")]
async fn sending_is_switched_off_whatever_the_identity_is() {
    let mut core = Core::start().await;
    let receiver = Receiver::start(&[]).await;
    let list = "well-known-domains-file = \"well-known-domains.dawg\"\nenable-manual-parquet-rotation = true\nhttp-ca-file = \"core.crt\"\n";
    let edm = Edm::start(|files| {
        files.write_list(&["known.example."]);
        files.write("core.crt", core.authority.pem().as_bytes());
        let told = format!(r#""mqttBroker":"{}","aggrecUrl":"{}""#, core.broker.url(), receiver.url());
        files.write_identity_for(&core.authority, &told, &core.key);
        files.write_config(list);
    })
    .await;
    edm.status_becomes("/core/connected", true).await;
    edm.status_becomes("/edm/wellKnownDomains", 1).await;
    let mut resolver = edm.connect().await;
    resolver.answered("known.example.", CLIENT).await;
    edm.metric_becomes("frames_total{outcome=\"well_known\"}", 1).await;
    edm.rotate().await;
    receiver.received(1).await;

    edm.files().write("tls.crt", b"nothing that could be read");
    until("a bad identity", async || edm.status().await["identityError"].is_string()).await;
    edm.files().write_config(&format!("{list}disable-mqtt = true\ndisable-histogram-sender = true\n"));
    edm.status_becomes("/core/connected", false).await;
    resolver.answered("known.example.", CLIENT).await;
    resolver.answered("other.example.", CLIENT).await;
    edm.metric_becomes("frames_total{outcome=\"other_name\"}", 1).await;
    edm.rotate().await;
    edm.status_becomes("/edm/aggregates/waiting", 1).await;
    core.nothing_more().await;
    assert_eq!(receiver.requests().len(), 1);
    assert!(edm.status().await["identityError"].is_string());
    edm.stop().await;
}
