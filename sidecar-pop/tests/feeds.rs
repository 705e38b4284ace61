//! Sources that are fetched, in the real binary: a POP that has another one as its feed, and lists in files of any size.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "common/process.rs"]
#[allow(dead_code)]
mod process;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use process::{Pop, get, wait_for};

fn record(pop: &Pop, name: &str) -> String {
    pop.dig(&[&format!("{name}.dnstapir."), "ANY", "+tcp", "+short"]).trim().to_owned()
}

fn source(pop: &Pop, name: &str) -> serde_json::Value {
    let status = pop.status().unwrap_or_default();
    let rows = status["pop"]["sources"].as_array().cloned().unwrap_or_default();
    rows.into_iter().find(|row| row["name"] == name).unwrap_or_default()
}

const OWN: &str = "sources: [{name: own, list: Deny, match: Subtree, file: {path: own}}]\n\
                   deny: {action: Redirect, redirect: {name: garden.example}}\n";

#[test]
fn a_feed_is_followed_by_notify_and_outlives_its_primary_and_a_kill() {
    let second = Pop::new(None);
    let first = Pop::new(Some(second.port));
    first.write_beside("own", "evil.example\n");
    first.configure("one", OWN);
    let primary = first.start();
    first.in_force("one");

    let feed = format!(
        "sources:\n- {{name: feed, list: Deny, keepAction: true, rpz: {{primaries: ['127.0.0.1:{}'], zone: dnstapir.}}}}\n\
         - {{name: ok, list: Allow, inline: {{names: [ok.evil.example]}}}}\n",
        first.port
    );
    second.configure("one", &feed);
    let running = second.start();
    second.in_force("one");
    wait_for("the feed's record", || record(&second, "evil.example"), |record| record == "garden.example.");
    assert_eq!(record(&second, "*.evil.example"), "garden.example.");
    assert_eq!(record(&second, "ok.evil.example"), "rpz-passthru.");
    wait_for("the row of the feed", || source(&second, "feed"), |row| row["state"] == "Ready" && row["serial"].is_u64());

    // The primary asks nobody to wait for the refresh of a minute.
    let changed = Instant::now();
    first.write_beside("own", "evil.example\nworse.example\n");
    wait_for("the other name", || record(&second, "worse.example"), |record| record == "garden.example.");
    assert!(changed.elapsed() < Duration::from_secs(20), "{:?}", changed.elapsed());
    let entries = |row: &serde_json::Value| row["entries"] == 2;
    wait_for("two entries", || source(&second, "feed"), entries);

    // Away: what it said stays, here and after a kill.
    primary.kill();
    running.kill();
    let _running = second.start();
    wait_for("the zone of before", || record(&second, "worse.example"), |record| record == "garden.example.");
    second.in_force("one");
    assert_eq!(record(&second, "evil.example"), "garden.example.");
    assert_eq!(record(&second, "ok.evil.example"), "rpz-passthru.");
}

#[test]
fn a_list_too_large_for_a_configuration_is_taken_and_followed() {
    let pop = Pop::new(None);
    let list = |names: u32| {
        let mut text = String::new();
        for number in 0..names {
            writeln!(text, "name-{number}.{}.example", "x".repeat(40)).unwrap();
        }
        text
    };
    let name = |number: u32| format!("name-{number}.{}.example", "x".repeat(40));
    pop.write_beside("own", &list(90_000));
    pop.configure("one", "sources: [{name: own, list: Deny, file: {path: own}}]\n");
    let _running = pop.start();
    wait_for("the last name", || record(&pop, &name(89_999)), |record| record == ".");
    pop.write_beside("own", &list(90_001));
    wait_for("one more", || record(&pop, &name(90_000)), |record| record == ".");
    // Short again: it comes with the configuration.
    pop.write_beside("own", &list(3));
    wait_for("the others gone", || record(&pop, &name(90_000)), String::is_empty);
    assert_eq!(record(&pop, &name(2)), ".");
    assert!(get(pop.http, "/readyz").is_some());
}

#[test]
fn a_short_list_in_another_folder_is_followed_too() {
    let (pop, elsewhere) = (Pop::new(None), tempfile::tempdir().unwrap());
    let path = elsewhere.path().join("own");
    std::fs::write(&path, "evil.example\n").unwrap();
    pop.configure("one", &format!("sources: [{{name: own, list: Deny, file: {{path: {}}}}}]\n", path.display()));
    let running = pop.start();
    wait_for("evil.example in the zone", || record(&pop, "evil.example"), |record| record == ".");
    std::fs::write(elsewhere.path().join("new"), "worse.example\n").unwrap();
    std::fs::rename(elsewhere.path().join("new"), &path).unwrap();
    wait_for("worse.example in the zone", || record(&pop, "worse.example"), |record| record == ".");
    assert_eq!(record(&pop, "evil.example"), "");
    // Its last good content is kept, also over a restart.
    std::fs::remove_file(&path).unwrap();
    running.kill();
    let _running = pop.start();
    wait_for("worse.example in the zone again", || record(&pop, "worse.example"), |record| record == ".");
    pop.in_force("one");
    assert_eq!(record(&pop, "worse.example"), ".");
}

/// Opcode of the answer to a NOTIFY over TCP from this address; `None`: no answer.
async fn notify_from(address: &str, port: u16) -> Option<u8> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
    let mut stream = socket.connect(([127, 0, 0, 1], port).into()).await.ok()?;
    let mut message = b"\x00\x00\x12\x34\x24\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03rpz\x04feed\x00\x00\x06\x00\x01".to_vec();
    message[1] = u8::try_from(message.len() - 2).unwrap();
    stream.write_all(&message).await.ok()?;
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).await.ok()?;
    Some(answer[5] & 15)
}

/// Knot DNS notifies over TCP, and a primary is seldom among those who may ask for the zone.
#[tokio::test]
async fn a_primary_may_come_over_tcp_to_notify_and_for_nothing_else() {
    let pop = Pop::new(None);
    let feed = "access: {from: ['127.0.0.1']}\n\
                sources: [{name: feed, list: Deny, rpz: {primaries: ['127.0.0.3:9'], zone: rpz.feed}}]\n";
    pop.configure("one", feed);
    let _running = pop.start();
    pop.in_force("one");
    let end = Instant::now() + Duration::from_secs(20);
    while notify_from("127.0.0.3", pop.port).await != Some(0) {
        assert!(Instant::now() < end, "NOTIFY not taken");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(notify_from("127.0.0.4", pop.port).await, None);
    assert_eq!(notify_from("127.0.0.1", pop.port).await, Some(9), "one who may ask and is no primary");
}
