//! The process is killed again and again while it makes events: what was taken more than a second before is not lost, no event comes twice, and
//! the names are known afterwards.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tapir_edm::events::limits::{Allowed, Rate};
use tapir_edm::events::queue::Writer;
use tapir_edm::events::{Candidate, Events, Outcome, Settings};
use tapir_edm::memory::Budget;
use tapir_edm::names::{Key, Presentation, WireName};

const FOLDER: &str = "TAPIR_TEST_EVENTS_FOLDER";
const FIRST: &str = "TAPIR_TEST_EVENTS_FIRST";
const ROUNDS: u64 = 8;
const LOST_AT_MOST: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(60);

fn open(folder: &Path) -> Events {
    let none = Rate::new(0, 0);
    let settings =
        Settings { sending: true, allowed: Allowed { all: none, domain: none, start_up: none }, ..Settings::default() };
    Events::open(folder, settings, &Budget::new(64 << 20))
}

fn offer(events: &Events, number: u64) -> Outcome {
    let label = format!("n{number}");
    let wire = [&[label.len() as u8], label.as_bytes(), b"\x07example\x03com\0"].concat();
    let (name, mut key) = (WireName::from_octets(&wire).unwrap(), Key::default());
    key.read(name);
    events.offer(&Candidate { name, key: &key, qtype: 1, qclass: 1, flags: 0x8180, time: None, client: &[], has_list: true })
}

/// Not a test: what is killed. Without its environment it is nothing.
#[test]
fn the_one_that_is_killed() {
    let (Ok(folder), Ok(first)) = (std::env::var(FOLDER), std::env::var(FIRST)) else { return };
    let events = open(Path::new(&folder));
    for number in first.parse().unwrap().. {
        // A disk that is busy with other tests.
        while offer(&events, number) == Outcome::Full {
            std::thread::sleep(Duration::from_millis(5));
        }
        if number % 50 == 0 {
            println!("\nat {number}");
            std::io::stdout().flush().unwrap();
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Lets it work until it has made events for so long, and kills it. Tells the number of an event that was taken early enough, and the last one.
fn killed(folder: &Path, first: u64, works_for: Duration) -> (u64, u64) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["the_one_that_is_killed", "--exact", "--nocapture"])
        .env(FOLDER, folder)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (told, progress) = mpsc::channel();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let reader = std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if let Some(number) = line.strip_prefix("at ") {
                let _ = told.send((Instant::now(), number.parse().unwrap()));
            }
        }
    });
    let mut seen: Vec<(Instant, u64)> = vec![progress.recv_timeout(PATIENCE).unwrap()];
    let end = seen[0].0 + works_for;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        seen.extend(progress.recv_timeout(left));
    }
    child.kill().unwrap();
    let killed_at = Instant::now();
    child.wait().unwrap();
    reader.join().unwrap();
    seen.extend(progress.try_iter());
    let early = seen.iter().rev().find(|(at, _)| *at + LOST_AT_MOST < killed_at).unwrap().1;
    (early, seen.last().unwrap().1)
}

fn waiting(folder: &Path) -> Vec<u64> {
    let (_, queue) = Writer::open(&folder.join("waiting"), 64 << 20);
    let mut text = Presentation::default();
    let blocks = std::iter::from_fn(|| Some(queue.read()).filter(|block| !block.is_empty()));
    let number = |name: &str| name.strip_prefix('n').unwrap().split('.').next().unwrap().parse().unwrap();
    blocks.flatten().map(|(_, event)| number(&event.new_qname(&mut text).qname)).collect()
}

#[test]
fn killed_at_any_moment_it_loses_the_last_second_at_most() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut next = 1;
    for round in 0..ROUNDS {
        let (early, last) = killed(folder, next, Duration::from_millis(1100 + 37 * round));
        let held = waiting(folder);
        let set: BTreeSet<u64> = held.iter().copied().collect();
        assert_eq!(set.len(), held.len(), "an event is there twice");
        let missing: Vec<u64> = (next..=early).filter(|number| !set.contains(number)).collect();
        assert!(missing.is_empty(), "{} of {} are lost, the first is {:?}", missing.len(), early - next, missing.first());
        assert!(early > next, "it did nothing");
        // Names are known, so they are not reported again; and those that are not waiting are not known.
        let events = open(folder);
        let known = |number: u64| offer(&events, number) == Outcome::Seen;
        assert!((next..=early).filter(|number| set.contains(number)).all(known), "a name is reported again");
        assert!(events.finish(PATIENCE));
        next = last + 1_000_000;
    }
}
