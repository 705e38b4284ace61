//! The debug dump of the real program.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/dnstap.rs"]
mod dnstap;
#[path = "support/process.rs"]
mod process;
mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use dnstap::Response;
use process::Process;
use serde_json::Value;
use support::{Files, until};

const CLIENT: &str = "198.51.100.77";

fn place(edm: &Process) -> PathBuf {
    edm.path().join("dump")
}

fn asked(files: &Files, more: &str) {
    let dump = files.data().with_file_name("dump");
    files.write_config(&format!("debug-dnstap-filename = \"{}\"\n{more}", dump.display()));
}

async fn lines(edm: &Process, count: usize) -> Vec<Value> {
    let read = || std::fs::read_to_string(place(edm)).unwrap_or_default();
    until(&format!("{count} lines"), async || read().lines().count() == count).await;
    read().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_frame_has_a_line_and_addresses_are_there_only_where_that_is_confirmed() {
    let edm = Process::start(|files| asked(files, ""));
    edm.logged("every dnstap frame is written to a file").await;
    let mut resolver = edm.connect().await;
    let cookie = dnstap::with_options(dnstap::answer(b"www.example."), &[(10, b"abcdefgh"), (8, &[0, 1, 24, 0, 198, 51, 100])]);
    let whole = Response {
        identity: Some(b"ns1".to_vec()),
        server: Some(vec![192, 0, 2, 53]),
        ..Response::to(CLIENT.parse().unwrap(), cookie)
    };
    resolver.send(&whole.frame()).await;
    let bare = lines(&edm, 1).await.remove(0);
    assert_eq!((&bare["type"], &bare["identity"]), (&"MESSAGE".into(), &"ns1".into()));
    assert_eq!(bare["message"]["type"], "CLIENT_RESPONSE");
    assert!(bare["message"]["response_message"].as_str().unwrap().contains(";www.example.\tIN\tA"), "{bare}");
    let text = std::fs::read_to_string(place(&edm)).unwrap();
    for secret in [CLIENT, "198.51", "192.0.2.53", "c63364", "abcdefgh", "6162636465"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    assert_eq!(std::fs::metadata(place(&edm)).unwrap().permissions().mode() & 0o777, 0o600);

    // Confirmed while it runs; what is there stays.
    asked(&edm.files(), "debug-dnstap-real-addresses = true\nrevision = \"real\"");
    edm.status_becomes("/config/revision", "real").await;
    edm.logged("WITH THE ADDRESSES OF CLIENTS").await;
    resolver.send(&whole.frame()).await;
    let real = lines(&edm, 2).await.remove(1);
    assert_eq!((&real["message"]["query_address"], &real["message"]["response_address"]), (&CLIENT.into(), &"192.0.2.53".into()));
    assert!(real["message"]["response_message"].as_str().unwrap().contains("6162636465666768"), "{real}");
    edm.metric_becomes("tapir_edm_dumped_frames_total", 2).await;

    // And off again.
    edm.files().write_config("revision = \"off\"");
    edm.status_becomes("/config/revision", "off").await;
    resolver.send(&whole.frame()).await;
    edm.status_becomes("/edm/frames", 3).await;
    edm.metric_becomes("tapir_edm_dumped_frames_total", 2).await;
    edm.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_that_cannot_be_written_costs_nothing_but_itself() {
    let edm = Process::start(|files| files.write_config("debug-dnstap-filename = \"/nowhere/at/all\""));
    let mut resolver = edm.connect().await;
    resolver.answered("www.example.", CLIENT).await;
    edm.metric_becomes("tapir_edm_dump_dropped_frames_total", 1).await;
    edm.logged("the debug dump cannot be written").await;
    edm.metric_becomes("tapir_edm_frames_total{outcome=\"other_name\"}", 1).await;
    edm.stop().await;
}
