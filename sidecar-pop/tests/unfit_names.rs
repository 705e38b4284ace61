//! Names that cannot be in the zone, told by Core and by a list: the zone stays one that can be transferred, as a whole and what changed,
//! and has the longest name that fits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "common/process.rs"]
#[allow(dead_code)]
mod process;
#[path = "common/running.rs"]
#[allow(dead_code)]
mod running;

use std::net::SocketAddr;
use std::sync::Arc;

use jiff::SignedDuration;
use process::{Pop, dig, free_port, wait_for};
use running::{TAGGED, entry, has, start};
use tapir_pop::dns::server;
use tapir_pop::status::Telemetry;
use tapir_runtime::http::Probe as _;
use tapir_runtime::shutdown::Shutdown;
use tokio::sync::watch;

/// Three labels of 63 octets and one more: with 52 octets it is as long as a name of `dnstapir.` can be (RFC 1035 section 2.3.4).
fn long(last: usize) -> String {
    format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(last))
}

/// None of these can be.
fn unfit() -> Vec<String> {
    let long_label = format!("{}.example", "a".repeat(64));
    let words = ["a..b.example", ".a.example", "a.example..", "..", ".", &long_label, "xn--\u{e4}\u{0}.example"];
    let long = [long(53), long(63), format!("{}.{}", long(60), "c".repeat(63)), "a.".repeat(128), "a".repeat(4000)];
    words.into_iter().map(str::to_owned).chain(long).collect()
}

/// Names that are blocked, by a transfer of all.
fn blocked(transfer: &str) -> Vec<&str> {
    let is_alias = |line: &&str| line.split_whitespace().nth(3) == Some("CNAME");
    let owners = transfer.lines().filter(is_alias).filter_map(|line| line.split_whitespace().next());
    let mut owners: Vec<_> = owners.filter_map(|owner| owner.strip_suffix(".dnstapir.")).collect();
    owners.sort_unstable();
    owners
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observation_that_cannot_be_in_the_zone_spoils_no_transfer() {
    let directory = tempfile::tempdir().unwrap();
    let mut pop = start(directory.path(), TAGGED);
    let first = pop.until(|zone| zone.size.records == 0).await;
    let port = free_port();
    let (listen, at) = watch::channel(vec![SocketAddr::from(([127, 0, 0, 1], port))]);
    tokio::spawn(server::serve(at, pop.published.clone(), Telemetry::new(None, None), Shutdown::manual().1));
    wait_for("the port", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok(), |open| *open);

    let minutes = SignedDuration::from_secs(300);
    // Together with a good one, and alone.
    let unfit: Vec<_> = unfit().iter().map(|name| entry(name, minutes, 1)).collect();
    let together: Vec<_> = unfit.iter().cloned().chain([entry(&long(52), minutes, 1)]).collect();
    pop.send(&together).await;
    for name in &unfit {
        pop.send(std::slice::from_ref(name)).await;
    }
    pop.send(&[entry("last.example", minutes, 1)]).await;
    pop.until(|zone| has(zone, "last.example.")).await;
    let longest = long(52);
    let all = dig(port, &["dnstapir.", "AXFR"]);
    assert!(all.contains("XFR size: 6 records"), "{all}");
    assert_eq!(blocked(&all), [&*longest, "last.example"]);
    let changed = dig(port, &["dnstapir.", &format!("IXFR={}", first.serial)]);
    assert_eq!(blocked(&changed), [&*longest, "last.example"], "{changed}");
    let counted = unfit.len() as u64 * 2;
    assert_eq!(pop.telemetry.document().pop.unwrap().sources[0].rejected, counted, "{}", pop.telemetry.metrics());
    // Nor does it after a start from what was kept.
    pop.kill().await;
    let mut pop = start(directory.path(), TAGGED);
    let again = pop.until(|zone| has(zone, "last.example.")).await;
    assert_eq!(running::content(&again).len(), 2);
    drop((listen, Arc::clone(&again)));
}

#[test]
fn a_line_that_cannot_be_in_the_zone_spoils_no_transfer() {
    let pop = Pop::new(None);
    let list = |more: &str| {
        let unfit = unfit().join("\n");
        pop.write_beside("list", &format!("first.example\n{unfit}\n{}\n{more}\n", long(52)));
    };
    list("");
    pop.configure("one", "sources: [{name: own, list: Deny, match: Subtree, file: {path: list}}]\n");
    let _running = pop.start();
    pop.in_force("one");
    // `*.` has no place before the longest one.
    let longest = long(52);
    let transfer = || pop.dig(&["dnstapir.", "AXFR"]);
    let all = wait_for("the zone", transfer, |all| all.contains("XFR size: 7 records"));
    assert_eq!(blocked(&all), ["*.first.example", &*longest, "first.example"]);
    let row = pop.status().unwrap()["pop"]["sources"][0].clone();
    assert_eq!((row["state"].as_str(), row["rejected"].as_u64()), (Some("Ready"), Some(unfit().len() as u64)), "{row}");
    let serial = pop.serial().unwrap();
    list("second.example");
    wait_for("the next version", || pop.serial(), |now| now.is_some_and(|now| now != serial));
    let changed = pop.dig(&["dnstapir.", &format!("IXFR={serial}")]);
    assert_eq!(blocked(&changed), ["*.second.example", "second.example"], "{changed}");
}
