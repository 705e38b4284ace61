//! `kdig` beside `dig`: the zone of a real POP by AXFR and IXFR, with a key and without.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "common/process.rs"]
#[allow(dead_code)]
mod process;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::process::Command;

use process::{Pop, program, wait_for};

const KEY: &str = "hmac-sha512:xfr:c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3JldA==";
const OTHER: &str = "hmac-sha512:xfr:b3RoZXIgb3RoZXIgb3RoZXIgb3RoZXIgb3RoZXIgb3RoZXI=";
/// More than one message carries.
const NAMES: usize = 3000;

/// What it says and whether it was content.
fn kdig(pop: &Pop, arguments: &[&str]) -> (String, bool) {
    let port = pop.port.to_string();
    let fixed = ["@127.0.0.1", "-p", &port, "+retry=0", "+time=10"];
    let output = Command::new(program("kdig")).args(fixed).args(arguments).output().unwrap();
    (String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(), output.status.success())
}

/// Records that are no comment, in the order in which they came: owner, type, data.
fn records(answer: &str) -> Vec<(String, String, String)> {
    let lines = answer.lines().filter(|line| !line.starts_with(';') && !line.trim().is_empty() && !line.contains("\tTSIG\t"));
    lines
        .map(|line| {
            let mut parts = line.split_whitespace();
            let owner = parts.next().unwrap().to_owned();
            let kind = parts.nth(2).unwrap().to_owned();
            (owner, kind, parts.collect::<Vec<_>>().join(" "))
        })
        .collect()
}

fn owners(answer: &str) -> BTreeSet<String> {
    records(answer).into_iter().filter(|(_, kind, _)| kind == "CNAME").map(|(owner, ..)| owner).collect()
}

#[test]
fn kdig_takes_the_zone_and_what_changed_and_agrees_with_dig() {
    let pop = Pop::new(None);
    pop.write_beside("xfr.key", KEY);
    let list = |from: usize, to: usize| {
        let mut text = String::new();
        (from..to).for_each(|index| writeln!(text, "name-{index}.example").unwrap());
        pop.write_beside("list", &text);
    };
    let configure = |revision: &str, signed_only: bool| {
        pop.configure(
            revision,
            &format!(
                "access: {{tsigKeyFiles: [xfr.key], signedOnly: {signed_only}}}\n\
                 sources: [{{name: own, list: Deny, file: {{path: list}}}}]\n"
            ),
        );
    };
    list(0, NAMES);
    configure("one", false);
    let _running = pop.start();
    pop.in_force("one");
    let transfer = |key: &[&str], kind: &str| kdig(&pop, &[key, &["dnstapir.", kind]].concat());
    let (first, content) = wait_for("the zone", || transfer(&[], "AXFR"), |(answer, _)| owners(answer).len() == NAMES);
    assert!(content && first.contains("messages, ") && !first.contains("(1 messages"), "{:?}", first.lines().last());
    assert_eq!(owners(&first), owners(&pop.dig(&["dnstapir.", "AXFR"])));

    let (serial, signed) = (pop.serial().unwrap(), ["-y", KEY]);
    list(10, NAMES + 5);
    wait_for("the next version", || pop.serial(), |now| now.is_some_and(|now| now != serial));
    let (changed, content) = transfer(&signed, &format!("IXFR={serial}"));
    // Opening and closing SOA, one before what went, one before what came.
    let kinds: Vec<_> = records(&changed).into_iter().map(|(_, kind, _)| kind).collect();
    assert!(content && kinds.len() == 19 && kinds.iter().filter(|kind| *kind == "SOA").count() == 4, "{changed}");
    assert_eq!((&*kinds[1], &*kinds[12]), ("SOA", "SOA"), "ten went and five came: {changed}");
    let now = pop.serial().unwrap();
    let (current, content) = transfer(&signed, &format!("IXFR={now}"));
    assert!(content && records(&current).len() == 1, "{current}");

    configure("two", true);
    pop.in_force("two");
    wait_for("a refusal without a key", || transfer(&[], "AXFR"), |(answer, content)| !content && answer.contains("REFUSED"));
    let (all, content) = transfer(&signed, "AXFR");
    assert!(content && owners(&all).len() == NAMES - 5, "{:?}", all.lines().last());
    let (wrong, content) = transfer(&["-y", OTHER], "AXFR");
    assert!(!content && owners(&wrong).is_empty(), "{wrong}");
    let (soa, content) = kdig(&pop, &["+tcp", "-y", KEY, "dnstapir.", "SOA"]);
    assert!(content && soa.contains("TSIG") && records(&soa).iter().any(|(_, kind, _)| kind == "SOA"), "{soa}");
}
