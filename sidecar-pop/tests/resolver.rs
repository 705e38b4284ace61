//! The real binary with real clients: unbound, dig, and `kill -9`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "common/process.rs"]
mod process;

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use process::{Pop, Program, dig, free_port, get, program, rcode, wait_for};

const DENY: &str = "sources: [{name: deny, list: Deny, inline: {names: [evil.lab]}}]\ndeny: {action: NXDOMAIN}\n";

/// unbound with a zone `lab.` to answer from, and the policy zone from POP.
fn unbound(pop: &Pop, port: u16) -> Program {
    let directory = pop.directory.path().join("unbound");
    std::fs::create_dir(&directory).unwrap();
    let at = directory.display();
    let zone =
        "lab. 60 SOA ns.lab. h.lab. 1 60 60 60 60\nlab. 60 NS ns.lab.\n*.lab. 60 A 192.0.2.1\ngarden.lab. 60 A 192.0.2.53\n";
    std::fs::write(directory.join("lab.zone"), zone).unwrap();
    let config = format!(
        "server:\n  directory: \"{at}\"\n  chroot: \"\"\n  username: \"\"\n  pidfile: \"{at}/pid\"\n  use-syslog: no\n  logfile: \"{at}/log\"\n  \
           verbosity: 2\n  interface: 127.0.0.1\n  port: {port}\n  num-threads: 1\n  module-config: \"respip validator iterator\"\n\
         remote-control:\n  control-enable: no\n\
         auth-zone:\n  name: \"lab.\"\n  zonefile: \"lab.zone\"\n  for-downstream: no\n  for-upstream: yes\n\
         rpz:\n  name: \"dnstapir.\"\n  primary: 127.0.0.1@{}\n  zonefile: \"dnstapir.zone\"\n",
        pop.port
    );
    std::fs::write(directory.join("unbound.conf"), config).unwrap();
    Program::start(Command::new(program("unbound")).arg("-d").arg("-c").arg(directory.join("unbound.conf")))
}

#[test]
fn unbound_does_what_the_policy_says_and_hears_of_changes_at_once() {
    let port = free_port();
    let pop = Pop::new(Some(port));
    pop.configure("one", DENY);
    let running = pop.start();
    pop.in_force("one");
    let _unbound = unbound(&pop, port);
    let code = |name: &str| rcode(&dig(port, &[name, "A"])).to_owned();
    wait_for("evil.lab blocked", || code("evil.lab"), |code| code == "NXDOMAIN");
    assert_eq!(code("good.lab"), "NOERROR");
    assert_eq!(code("www.evil.lab"), "NOERROR", "an exact entry says nothing of names below");

    // unbound asks by itself once a minute only, so what is quicker came by NOTIFY.
    let changed = Instant::now();
    let policy = "sources:\n- {name: deny, list: Deny, match: Subtree, inline: {names: [evil.lab]}}\n\
                  - {name: allow, list: Allow, inline: {names: [ok.evil.lab, x.a.evil.lab]}}\ndeny: {action: NODATA}\n";
    pop.configure("two", policy);
    let empty = |answer: &String| rcode(answer) == "NOERROR" && answer.contains("ANSWER: 0");
    wait_for("www.evil.lab without data", || dig(port, &["www.evil.lab", "A"]), empty);
    assert!(empty(&dig(port, &["evil.lab", "A"])));
    assert!(dig(port, &["ok.evil.lab", "A"]).contains("192.0.2.1"), "an allowed name is not touched");
    assert!(dig(port, &["x.a.evil.lab", "A"]).contains("192.0.2.1"));
    assert!(empty(&dig(port, &["a.evil.lab", "A"])), "a name between an allowed one and the wildcard");
    assert!(empty(&dig(port, &["y.a.evil.lab", "A"])), "a name beside an allowed one");
    assert!(changed.elapsed() < Duration::from_secs(20), "{:?}", changed.elapsed());

    // Killed and started anew with the same files: the same zone is the same serial.
    let serial = pop.serial().unwrap();
    running.kill();
    assert!(empty(&dig(port, &["www.evil.lab", "A"])), "the resolver goes on by itself");
    let running = pop.start();
    wait_for("the zone served again", || pop.serial(), |now| *now == Some(serial));

    // Killed, changed while it was away: another zone is a later serial.
    running.kill();
    pop.configure("three", DENY);
    let _running = pop.start();
    pop.in_force("three");
    let later = wait_for("a later serial", || pop.serial(), |now| now.is_some_and(|now| now != serial)).unwrap();
    assert!(later.wrapping_sub(serial) < 1 << 31, "{later} after {serial}");
    wait_for("evil.lab blocked again", || code("evil.lab"), |code| code == "NXDOMAIN");
}

/// Everything of format 2 that decides, in one policy.
const FORMAT_2: &str = "sources:
- {name: own, list: Deny, match: Subtree, file: {path: list-own}}
- {name: first, list: Doubt, file: {path: list-first, format: Hosts}}
- {name: second, list: Doubt, inline: {names: [both.lab, only-second.lab]}}
- {name: allowed, list: Allow, inline: {names: [fine.evil.lab]}}
- {name: feed, list: Doubt, rpz: {primaries: ['192.0.2.9:53'], zone: feed.example.}}
deny: {action: Redirect, redirect: {name: garden.lab.}}
doubt:
- {name: agreed, minSources: 2, action: Redirect, redirect: {addresses: [192.0.2.77, '2001:db8::77']}}
recordTtlSeconds: 30
";

#[test]
fn unbound_takes_lists_from_files_and_redirects() {
    let port = free_port();
    let pop = Pop::new(Some(port));
    pop.write_beside("list-own", "# own\r\nEVIL.lab\r\nräksmörgås.lab\n");
    pop.write_beside("list-first", "127.0.0.1 localhost\n0.0.0.0 both.lab only-first.lab\nrubbish\n");
    pop.configure("one", FORMAT_2);
    let running = pop.start();
    pop.in_force("one");
    let _unbound = unbound(&pop, port);
    let answer = |name: &str, kind: &str| dig(port, &[name, kind, "+short", "+noidnin", "+noidnout"]);
    wait_for("evil.lab redirected", || answer("evil.lab", "A"), |answer| answer == "garden.lab.\n192.0.2.53\n");
    assert_eq!(answer("www.evil.lab", "A"), "garden.lab.\n192.0.2.53\n", "the whole subtree");
    assert_eq!(answer("xn--rksmrgs-5wao1o.lab", "A"), "garden.lab.\n192.0.2.53\n", "an international name");
    assert_eq!(answer("fine.evil.lab", "A"), "192.0.2.1\n", "an allowed name is not touched");
    assert_eq!(answer("both.lab", "A"), "192.0.2.77\n");
    assert_eq!(answer("both.lab", "AAAA"), "2001:db8::77\n");
    let other_type = dig(port, &["both.lab", "TXT"]);
    assert!(rcode(&other_type) == "NOERROR" && other_type.contains("ANSWER: 0"), "{other_type}");
    for one_list in ["only-first.lab", "only-second.lab"] {
        assert_eq!(answer(one_list, "A"), "192.0.2.1\n", "{one_list}");
    }
    let record = pop.dig(&["both.lab.dnstapir.", "A", "+noall", "+answer"]);
    assert!(record.split_whitespace().eq(["both.lab.dnstapir.", "30", "IN", "A", "192.0.2.77"]), "{record}");

    let sources = pop.status().unwrap()["pop"]["sources"].clone();
    let rows: Vec<_> =
        sources.as_array().unwrap().iter().map(|row| [&row["name"], &row["state"]].map(|v| v.as_str().unwrap())).collect();
    let expected = [["own", "Ready"], ["first", "Ready"], ["second", "Ready"], ["allowed", "Ready"]];
    assert_eq!(rows[..4], expected, "in the order of the policy");
    assert!(rows[4][0] == "feed" && rows[4][1] != "Ready", "nobody can be reached");
    assert_eq!(sources[1]["rejected"], 1);
    let reason = "the line does not begin with an address; lists of plain names say `format: Domains`";
    assert_eq!(sources[1]["rejectedLines"], serde_json::json!([{"line": 3, "reason": reason}]));

    // A list alone changes, then it vanishes, then POP is killed: what it held stays, and it is said.
    pop.write_beside("list-own", "other.lab\n");
    wait_for("other.lab redirected", || answer("other.lab", "A"), |answer| answer.starts_with("garden.lab."));
    wait_for("evil.lab free", || answer("www.evil.lab", "A"), |answer| answer == "192.0.2.1\n");
    std::fs::remove_file(pop.file().with_file_name("list-own")).unwrap();
    let own = || pop.status().map(|status| status["pop"]["sources"][0].clone());
    let stale = |row: &Option<serde_json::Value>| row.as_ref().is_some_and(|row| row["state"] == "Stale" && row["entries"] == 1);
    let row = wait_for("the missing list in the status", own, stale).unwrap();
    assert_eq!(row["error"], "list-own is missing");
    assert_eq!(answer("other.lab", "A"), "garden.lab.\n192.0.2.53\n");
    running.kill();
    let _running = pop.start();
    wait_for("the missing list in the status", own, stale);
    let kept = || pop.dig(&["other.lab.dnstapir.", "CNAME", "+short"]);
    wait_for("what it held in the zone", kept, |answer| answer == "garden.lab.\n");
}

fn stalled_reader(port: u16) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let request = b"\0\x1a\x12\x34\0\0\0\x01\0\0\0\0\0\0\x08dnstapir\0\0\xfc\0\x01";
    stream.write_all(request).unwrap();
    let mut first = [0; 2];
    stream.read_exact(&mut first).unwrap();
    stream
}

#[test]
fn dig_transfers_megabytes() {
    let pop = Pop::new(None);
    let mut names = String::from("sources:\n- name: deny\n  list: Deny\n  inline:\n    names:\n");
    // Long ones: as many octets as a hundred thousand short ones.
    for index in 0..30_000 {
        writeln!(names, "    - {index:063}.{index:040}.some-domain-{}.example.", index % 1000).unwrap();
    }
    pop.configure("many", &names);
    let _running = pop.start();
    pop.in_force("many");
    wait_for("published", || get(pop.http, "/readyz"), |answer| answer.as_deref().is_some_and(|answer| answer.contains("ok")));
    // Readers that ask for everything and take nothing hold up nobody.
    let stalled: Vec<_> = (0..4).map(|_| stalled_reader(pop.port)).collect();
    let transfer = pop.dig(&["dnstapir.", "AXFR", "+noidnout"]);
    drop(stalled);
    let records = transfer.lines().filter(|line| line.split_whitespace().skip(3).eq(["CNAME", "."])).count();
    assert_eq!(records, 30_000, "{}", transfer.lines().take(20).collect::<Vec<_>>().join("\n"));
    let size = transfer.lines().find(|line| line.contains("XFR size")).unwrap();
    assert!(size.contains("30004 records") && !size.contains("messages 1,"), "{size}");
    let several =
        pop.dig(&["+tcp", "+keepopen", "dnstapir.", "SOA", "+short", "dnstapir.", "NS", "+short", "DnsTapir.", "SOA", "+short"]);
    assert_eq!(several.lines().count(), 4, "several queries on one connection: {several}");
}

#[test]
fn a_bad_file_changes_nothing_not_even_over_a_restart() {
    let pop = Pop::new(None);
    pop.configure("one", DENY);
    let running = pop.start();
    pop.in_force("one");
    let blocked = || pop.dig(&["evil.lab.dnstapir.", "CNAME", "+short"]);
    wait_for("the zone served", blocked, |answer| answer.trim() == ".");

    pop.write("format: 1\ndeny: {action: EXPLODE}\n");
    let refused =
        |status: &Option<serde_json::Value>| status.as_ref().is_some_and(|status| status["config"]["error"].is_string());
    let status = wait_for("the error in the status", || pop.status(), refused).unwrap();
    assert!(status["config"]["error"].as_str().unwrap().contains("line 2"), "{status}");
    assert_eq!(status["config"]["revision"], "one");
    assert_eq!(blocked().trim(), ".");

    running.kill();
    let running = pop.start();
    wait_for("the error in the status", || pop.status(), refused);
    // The last good one came back.
    assert!(pop.in_force("one")["config"]["error"].is_string());
    wait_for("the zone served", blocked, |answer| answer.trim() == ".");

    std::fs::remove_file(pop.file()).unwrap();
    let missing = |status: &Option<serde_json::Value>| {
        status.as_ref().is_some_and(|status| status["config"]["error"].as_str().is_some_and(|error| error.contains("missing")))
    };
    wait_for("the missing file in the status", || pop.status(), missing);
    assert_eq!(blocked().trim(), ".", "a file that vanished changes nothing");
    pop.configure("two", "deny: {action: NXDOMAIN}\n");
    pop.in_force("two");
    wait_for(
        "an empty policy is an empty zone",
        || pop.dig(&["evil.lab.dnstapir.", "CNAME"]),
        |answer| rcode(answer) == "NXDOMAIN",
    );
    assert!(get(pop.http, "/metrics").unwrap().contains("tapir_pop_zone_serial"));
    drop(running);
}

#[test]
fn an_address_that_is_taken_is_waited_for() {
    let pop = Pop::new(None);
    let taken = std::net::TcpListener::bind(("127.0.0.1", pop.port)).unwrap();
    pop.configure("one", DENY);
    let _running = pop.start();
    pop.in_force("one");
    let failed = |log: &String| log.contains("cannot bind the address of the zone");
    wait_for("the error in the log", || std::fs::read_to_string(pop.directory.path().join("log")).unwrap(), failed);
    drop(taken);
    wait_for("the zone served", || pop.serial(), Option::is_some);
}
