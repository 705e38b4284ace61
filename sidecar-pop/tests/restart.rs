//! The real binary is killed, again and again: what was served last is served again at once, and no number stands for two zones.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "common/process.rs"]
#[allow(dead_code)]
mod process;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use process::{PATIENCE, Pop, wait_for};

const SOURCES: &str = "sources: [{name: own, list: Deny, match: Subtree, file: {path: own}}]\n";

/// Large enough that reading it takes longer than the zone of before may.
fn list(names: u32, from: u32) -> String {
    let mut text = String::new();
    for number in from..from + names {
        writeln!(text, "name-{number}.some-{}.example", number % 97).unwrap();
    }
    text
}

fn serial(pop: &Pop) -> Option<u32> {
    pop.dig(&["dnstapir.", "SOA", "+short", "+tries=1", "+time=1"]).split_whitespace().nth(2)?.parse().ok()
}

/// Serial and records, in order.
fn zone(pop: &Pop) -> Option<(u32, Vec<String>)> {
    let text = pop.dig(&["dnstapir.", "AXFR", "+tcp", "+noall", "+answer"]);
    let mut records: Vec<String> = text
        .lines()
        .filter(|line| line.contains("CNAME"))
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    records.sort_unstable();
    let serial = text.lines().find(|line| line.contains("SOA"))?.split_whitespace().nth(6)?.parse().ok()?;
    Some((serial, records))
}

#[test]
fn the_zone_of_before_is_served_within_a_second_after_a_kill() {
    let pop = Pop::new(None);
    pop.write_beside("own", &list(40_000, 0));
    pop.configure("one", SOURCES);
    let running = pop.start();
    pop.in_force("one");
    let before = zone(&pop).unwrap();
    assert_eq!(before.1.len(), 80_000);
    let (mut running, mut before) = (running, before);
    let mut quickest = Duration::MAX;
    for attempt in 1..=5 {
        running.kill();
        // Another list meanwhile: the zone of before comes first all the same, then one change.
        pop.write_beside("own", &list(40_000, attempt));
        let started = Instant::now();
        running = pop.start();
        let first = wait_for("anything served", || serial(&pop), Option::is_some).unwrap();
        let took = started.elapsed();
        pop.in_force("one");
        let after = zone(&pop).unwrap();
        assert!(after.0 != before.0 && after.1.len() == 80_000);
        let changed = pop.dig(&["dnstapir.", &format!("IXFR={}", before.0), "+tcp", "+noall", "+answer"]);
        assert_eq!(changed.lines().filter(|line| line.contains("CNAME")).count(), 4, "one name left and one came");
        // What else there is to do on this machine may take longer than that, but not each time.
        if first == before.0 {
            quickest = quickest.min(took);
        }
        before = after;
        if quickest < Duration::from_secs(1) {
            break;
        }
    }
    assert!(quickest < Duration::from_secs(1), "{quickest:?}");
    running.kill();

    // Nothing new: the number stays.
    let _running = pop.start();
    wait_for("the same version", || zone(&pop), |zone| zone.as_ref() == Some(&before));
    pop.in_force("one");
    assert_eq!(zone(&pop).unwrap(), before);
}

#[test]
fn killed_at_any_moment_no_number_stands_for_two_zones() {
    let pop = Pop::new(None);
    pop.write_beside("own", &list(500, 0));
    pop.configure("one", SOURCES);
    let mut seen: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    let mut last = None;
    let end = Instant::now() + 2 * PATIENCE;
    let mut rounds = 0_u32..;
    // A machine that is slow sees fewer versions in a round.
    while rounds.start < 12 || (seen.len() <= 12 && Instant::now() < end) {
        let round = rounds.next().unwrap() % 12;
        let running = pop.start();
        let mut look = || {
            let Some((serial, records)) = zone(&pop) else { return false };
            let known = seen.entry(serial).or_insert_with(|| records.clone());
            assert_eq!(*known, records, "{serial}");
            assert!(last.is_none_or(|last| serial >= last), "{serial} after {last:?}");
            last = Some(serial);
            true
        };
        wait_for("the zone", &mut look, |there| *there);
        // Changes come while it is looked at, and it ends in the midst of one.
        for change in 0..4 {
            pop.write_beside("own", &list(500, round * 100 + change * 10));
            std::thread::sleep(Duration::from_millis(u64::from(round * 7 + change * 13)));
            look();
        }
        running.kill();
    }
    assert!(seen.len() > 12, "{} versions", seen.len());
}

#[test]
fn what_an_earlier_release_kept_is_taken_over() {
    let pop = Pop::new(None);
    std::fs::create_dir(pop.state()).unwrap();
    let line = |name: &str, expires: &str| {
        format!(
            "{{\"name\":\"{name}\",\"added\":\"2026-01-01T00:00:00Z\",\"expires\":\"{expires}\",\"tags\":1,\"guard\":\"{expires}\"}}\n"
        )
    };
    let former =
        line("kept.example.", "2099-01-01T00:00:00Z") + &line("over.example.", "2026-01-02T00:00:00Z") + "{\"name\":\"torn";
    std::fs::write(pop.state().join("observations.jsonl"), former).unwrap();
    // Ahead of the clock by some days.
    let ahead = u32::try_from(jiff::Timestamp::now().as_millisecond() / 100 % (1 << 32)).unwrap().wrapping_add(5_000_000);
    std::fs::write(pop.state().join("serial.json"), format!("{{\"format\":1,\"serial\":{ahead},\"content\":\"abc\"}}")).unwrap();
    let policy =
        "sources: [{name: core, list: Doubt, core: {}}]\ndoubt: [{name: new, anyTags: [globally_new], action: NXDOMAIN}]\n";
    pop.configure("one", policy);
    for _ in 0..2 {
        let running = pop.start();
        pop.in_force("one");
        let (serial, records) = zone(&pop).unwrap();
        assert_eq!(records, ["kept.example.dnstapir. 3600 IN CNAME ."]);
        assert!((1..10).contains(&serial.wrapping_sub(ahead)), "{serial} after {ahead}");
        assert!(!pop.state().join("observations.jsonl").exists(), "once");
        running.kill();
    }
}

#[test]
fn damage_is_said_and_the_zone_made_anew_from_its_sources() {
    let pop = Pop::new(None);
    pop.write_beside("own", &list(5_000, 0));
    pop.configure("one", SOURCES);
    let running = pop.start();
    pop.in_force("one");
    let before = zone(&pop).unwrap();
    running.kill();
    let base = std::fs::read_dir(pop.state().join("zone")).unwrap().map(|entry| entry.unwrap().path());
    let base = base.filter(|path| path.extension().is_some_and(|extension| extension == "tab")).max().unwrap();
    let whole = std::fs::read(&base).unwrap();

    // Within a block, which shows when it is read; then all state is gone, and the clock alone decides; then cut off, which shows at once.
    let mut last = before.0;
    for round in 0..3 {
        let mut octets = whole.clone();
        match round {
            0 => octets[whole.len() / 2] ^= 1,
            _ => octets.truncate(whole.len() / 3),
        }
        if round != 1 {
            let now = std::fs::read_dir(pop.state().join("zone")).unwrap().map(|entry| entry.unwrap().path());
            let now = now.filter(|path| path.extension().is_some_and(|extension| extension == "tab")).max().unwrap();
            std::fs::write(now, octets).unwrap();
        } else {
            std::fs::remove_dir_all(pop.state()).unwrap();
        }
        let running = pop.start();
        pop.in_force("one");
        let good = |zone: &Option<(u32, Vec<String>)>| zone.as_ref().is_some_and(|zone| zone.1 == before.1);
        let (serial, _) = wait_for("the whole zone", || zone(&pop), good).unwrap();
        assert!(serial >= last, "{serial} after {last}");
        if round == 2 {
            let errors = pop.status().unwrap()["pop"]["errors"].to_string();
            assert!(errors.contains("base.broken"), "{errors}");
        }
        last = serial;
        running.kill();
    }
}
