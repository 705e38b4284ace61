//! The list of well-known domains from a web server: the real program, and a real TLS server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/process.rs"]
mod process;
mod support;
#[path = "support/web.rs"]
mod web;

use process::Process;
use serde_json::Value;
use support::broker::Authority;
use support::{Files, until};
use tapir_runtime::https::sha256;
use web::Web;

fn list(words: &[&str]) -> Vec<u8> {
    tapir_wire::dawg::compile(words.iter().copied()).unwrap()
}

/// A configuration that wants what has this hash from the server.
fn wants(files: &Files, authority: &Authority, url: &str, hash: &str) {
    files.write("lists-ca.crt", authority.pem().as_bytes());
    files.write_config(&format!(
        "well-known-domains-url = \"{url}\"\nwell-known-domains-sha256 = \"{hash}\"\nwell-known-domains-ca-file = \"lists-ca.crt\"\n\
         storage-mib = 64\n"
    ));
}

/// Files that are kept, whole or not.
fn kept(edm: &Process) -> Vec<String> {
    let Ok(folder) = std::fs::read_dir(edm.files().data().join("well-known-domains")) else { return Vec::new() };
    folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_fetched_proven_kept_and_needs_no_network_at_the_next_start() {
    let (authority, octets) = (Authority::new("lists"), list(&["a.example.", "b.example."]));
    let (web, hash) = (Web::start(&authority).await, sha256(&octets));
    // Not there yet: tried again.
    let edm = Process::start(|files| wants(files, &authority, &web.url("/list"), &hash));
    edm.is_wrong("well-known-domains-url: the server answers 404").await;
    edm.is_wrong("not fetched yet").await;
    web.put("/list", &octets);
    edm.status_becomes("/edm/wellKnownDomains", 2).await;
    edm.status_becomes("/config/error", Value::Null).await;
    edm.metric_becomes("tapir_edm_list_fetches_total", 1).await;
    assert_eq!(kept(&edm), [format!("{hash}.dawg")]);
    let asked = web.asked();

    // What is kept is enough, and the server is not even asked.
    web.remove("/list");
    let edm = edm.again(|_| ()).await;
    edm.status_becomes("/edm/wellKnownDomains", 2).await;
    edm.status_becomes("/config/error", Value::Null).await;
    assert_eq!(web.asked(), asked);

    // A file that is not what it was is fetched once more.
    web.put("/list", &octets);
    let other = list(&["c.example."]);
    let edm =
        edm.again(|files| std::fs::write(files.data().join(format!("well-known-domains/{hash}.dawg")), &other).unwrap()).await;
    edm.status_becomes("/edm/wellKnownDomains", 2).await;
    edm.status_becomes("/config/error", Value::Null).await;
    edm.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_one_is_taken_up_without_a_gap_and_what_is_not_the_one_is_refused() {
    let (authority, first) = (Authority::new("lists"), list(&["known.example."]));
    let second = list(&["known.example.", "other.example."]);
    let web = Web::start(&authority).await;
    web.put("/1", &first);
    web.put("/2", &first);
    let edm = Process::start(|files| wants(files, &authority, &web.url("/1"), &sha256(&first)));
    edm.status_becomes("/edm/wellKnownDomains", 1).await;
    let mut resolver = edm.connect().await;
    resolver.answered("known.example.", "198.51.100.77").await;
    edm.metric_becomes("tapir_edm_frames_total{outcome=\"well_known\"}", 1).await;

    // What the server has is something else: said, and the last good one stays.
    wants(&edm.files(), &authority, &web.url("/2"), &sha256(&second));
    edm.is_wrong(&format!("the list is not the one whose SHA-256 is given; it has {}", sha256(&first))).await;
    assert_eq!(edm.status().await["edm"]["wellKnownDomains"], 1);
    resolver.answered("known.example.", "198.51.100.77").await;
    edm.metric_becomes("tapir_edm_frames_total{outcome=\"well_known\"}", 2).await;
    assert_eq!(kept(&edm), [format!("{}.dawg", sha256(&first))], "what was refused is not kept");

    web.put("/2", &second);
    edm.status_becomes("/edm/wellKnownDomains", 2).await;
    edm.status_becomes("/config/error", Value::Null).await;
    assert_eq!(kept(&edm), [format!("{}.dawg", sha256(&second))], "and the one before goes");

    // The right octets, and no list: refused, and not fetched again and again.
    let nonsense = b"no list".to_vec();
    web.put("/3", &nonsense);
    wants(&edm.files(), &authority, &web.url("/3"), &sha256(&nonsense));
    edm.is_wrong("list of well-known-domains-url: ").await;
    edm.metric_becomes("tapir_edm_list_fetches_total", 3).await;
    edm.files().write("touched", b"");
    assert_eq!(edm.status().await["edm"]["wellKnownDomains"], 2);
    // At a start, too.
    let edm = edm.again(|_| ()).await;
    edm.is_wrong("list of well-known-domains-url: ").await;
    edm.status_becomes("/edm/wellKnownDomains", 2).await;

    // A URL that is not wanted any more, for a file.
    edm.files().write_list(&["a.example.", "b.example.", "c.example."]);
    edm.files().write_config("well-known-domains-file = \"well-known-domains.dawg\"");
    edm.status_becomes("/edm/wellKnownDomains", 3).await;
    edm.status_becomes("/config/error", Value::Null).await;
    edm.metric_becomes("tapir_edm_list_fetches_total", 0).await;
    edm.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_are_not_trusted_break_off_or_send_without_end_are_refused() {
    let (authority, octets) = (Authority::new("lists"), list(&["a.example."]));
    let (web, hash) = (Web::start(&authority).await, sha256(&octets));
    web.put("/list", &octets);
    let stranger = Authority::new("a stranger");
    let edm = Process::start(|files| wants(files, &stranger, &web.url("/list"), &hash));
    edm.is_wrong("well-known-domains-url: the server was not reached").await;
    assert_eq!(web.asked(), 0, "nothing was asked of a server that is not trusted");

    web.endless("/endless");
    wants(&edm.files(), &authority, &web.url("/endless"), &hash);
    // A sixteenth of the 64 MiB that may be kept at all.
    edm.is_wrong("is larger than").await;
    web.cut("/cut", &octets);
    wants(&edm.files(), &authority, &web.url("/cut"), &hash);
    edm.is_wrong("well-known-domains-url: the server was not reached: ").await;
    // No redirection leads out of TLS.
    web.redirect("/away", "http://127.0.0.1:1/list?token=hush");
    wants(&edm.files(), &authority, &web.url("/away"), &hash);
    edm.is_wrong("well-known-domains-url: the server was not reached: error following redirect").await;
    assert!(!edm.get("/status").await.contains("hush"), "where it would have led to is nobody's business");
    web.redirect("/there", "/list");
    wants(&edm.files(), &authority, &web.url("/there"), &hash);
    edm.status_becomes("/edm/wellKnownDomains", 1).await;
    edm.status_becomes("/config/error", Value::Null).await;
    assert!(!web.referred());
    until("one file", async || kept(&edm).len() == 1).await;
    edm.stop().await;
}
