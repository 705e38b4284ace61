//! Frames as resolvers send them, through sinks into minutes and events.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::*;
use crate::domains;
use crate::events::{self, Outcome};
use crate::histogram_file::Interval;
use crate::input::sink::{FrameSink as _, GROUP};
use crate::instance::Instance;
use crate::list::{Clients, List};
use crate::outbox::{Bounds, Counters, Folders, Store};
use crate::sessions::Settings as SessionSettings;
use crate::vectors;

const A: u16 = 1;
const AAAA: u16 = 28;
const CLIENT: [u8; 4] = [198, 51, 100, 20];

/// An answer to these questions.
fn message(names: &[&str], qtype: u16, rcode: u8) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 0x81, 0x80 | rcode, 0, names.len() as u8, 0, 0, 0, 0, 0, 0];
    for name in names {
        for label in name.split('.').filter(|label| !label.is_empty()) {
            message.push(label.len() as u8);
            message.extend_from_slice(label.as_bytes());
        }
        message.extend_from_slice(&[0, 0, qtype as u8, 0, 1]);
    }
    message
}

/// dnstap of type `kind`, octet by octet.
fn frame(kind: u8, client: &[u8], message: &[u8]) -> Vec<u8> {
    let mut inner = vec![0x08, kind];
    for (tag, octets) in [(0x22, client), (0x72, message)] {
        assert!(octets.len() < 128);
        inner.extend_from_slice(&[tag, octets.len() as u8]);
        inner.extend_from_slice(octets);
    }
    let mut frame = vec![0x72, (inner.len() & 0x7f | 0x80) as u8, (inner.len() >> 7) as u8];
    frame.append(&mut inner);
    frame.extend_from_slice(&[0x78, 1]);
    frame
}

fn answer(name: &str) -> Vec<u8> {
    frame(6, &CLIENT, &message(&[name], A, 0))
}

fn list(words: &[&str]) -> Arc<List> {
    let file = domains::compile(words.join("\n").as_bytes(), domains::Source::Text).unwrap().file;
    Arc::new(List::from_dawg(&file).unwrap())
}

fn lists(words: &[&str]) -> Lists {
    Lists { well_known: Some(list(words)), ..Lists::default() }
}

fn sending() -> Policy {
    Policy { sending: true, ..Policy::default() }
}

struct Scene {
    folder: tempfile::TempDir,
    minimiser: Minimiser,
    rotation: Rotation,
    counts: FrameCounts,
    events: Events,
}

impl Scene {
    fn new(lists: &Lists) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (counts, budget) = (FrameCounts::default(), Budget::new(1 << 24));
        let settings = events::Settings { sending: true, ..events::Settings::default() };
        let events = Events::open(folder.path(), settings, &budget);
        let store =
            Store::start(Folders::below(folder.path()), Bounds::default(), Instance::draw(), Counters::default(), Arc::default());
        let sessions = Switch::open(SessionSettings::new(folder.path()), Default::default(), &budget).unwrap();
        let minimiser = Minimiser::new(events.clone(), sessions, counts.clone(), Arc::default(), budget);
        let rotation = Rotation::new(minimiser.clone(), RotationCounts::default(), store.unwrap());
        rotation.take_up(sending(), lists);
        Self { folder, minimiser, rotation, counts, events }
    }

    fn fate(&self, lists: &Lists, policy: Policy, octets: &[u8]) -> Fate {
        self.rotation.take_up(policy, lists);
        let before: Vec<u64> = <Fate as strum::IntoEnumIterator>::iter().map(|fate| self.counts.of(fate)).collect();
        self.minimiser.sink().frames(&[octets]);
        let mut more =
            <Fate as strum::IntoEnumIterator>::iter().zip(before).filter(|(fate, before)| self.counts.of(*fate) > *before);
        let (fate, before) = more.next().unwrap();
        assert!(self.counts.of(fate) == before + 1 && more.next().is_none());
        fate
    }

    /// Entry in its labels from the top, and the counters of A and AAAA answers.
    fn rows(&self) -> Vec<(String, u64, u64)> {
        let minute = self.minimiser.collect();
        let mut rows: Vec<_> = minute
            .rows()
            .map(|row| (row.labels.iter().flatten().collect::<Vec<_>>().join("/"), row.counters[0], row.counters[1]))
            .collect();
        rows.sort();
        rows
    }

    fn files(&self) -> Vec<String> {
        let outbox = Folders::below(self.folder.path()).outbox;
        let mut names: Vec<_> = std::fs::read_dir(outbox)
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

#[test]
fn recorded_frames_meet_the_recorded_fates() {
    let vector = vectors::load("dnstap_frames.json");
    let scene = Scene::new(&lists(&["nothing.example."]));
    for entry in vector["vectors"].as_array().unwrap() {
        let fate = scene.fate(
            &lists(&["nothing.example."]),
            Policy { types: CountedTypes::ALL_RESPONSES, ..sending() },
            &vectors::octets(&entry["frame_hex"]),
        );
        let expected = entry["expect"].as_str().unwrap();
        let is_counted = ["processed", "accepted", "HLL"].iter().any(|word| expected.starts_with(word));
        assert_eq!(fate == Fate::OtherName, is_counted, "{}: {fate:?}", entry["desc"]);
    }
}

/// Upstream's order: what is wrong first decides.
#[test]
fn each_reason_in_its_turn() {
    let scene = Scene::new(&Lists::default());
    let clients = |text: &str| Arc::new(Clients::parse(text.as_bytes()).unwrap());
    let with = |ignored: &str| Lists {
        ignored_names: Some(list(&["left-out.example.", ".below.example."])),
        ignored_clients: clients(ignored),
        ..lists(&["known.example."])
    };
    let (nobody, all) = (with(""), with("198.51.100.0/24"));
    let check = |lists: &Lists, octets: &[u8], expected| assert_eq!(scene.fate(lists, sending(), octets), expected);
    check(&nobody, b"not protobuf", Fate::Undecodable);
    check(&all, &frame(5, &CLIENT, b"bad"), Fate::TypeNotCounted);
    check(&all, &frame(6, &CLIENT, b"bad"), Fate::ClientIgnored);
    check(&all, &frame(6, &[], b"bad"), Fate::ClientUnknown);
    check(&nobody, &frame(6, &CLIENT, b"bad"), Fate::DnsTruncated);
    check(&nobody, &frame(6, &CLIENT, &message(&[], A, 0)), Fate::NoQuestion);
    check(&nobody, &answer("Left-Out.example"), Fate::NameIgnored);
    check(&nobody, &answer("x.below.example"), Fate::NameIgnored);
    check(&nobody, &frame(6, &CLIENT, &message(&["known.example", "left-out.example"], A, 0)), Fate::NameIgnored);
    check(&nobody, &answer("KNOWN.example"), Fate::WellKnown);
    check(&nobody, &answer("below.example"), Fate::OtherName);
    let silent = Policy { sending: false, ..sending() };
    assert_eq!(scene.fate(&nobody, silent, &answer("known.example")), Fate::NotSending);
    assert_eq!(scene.fate(&all, silent, &answer("known.example")), Fate::ClientIgnored);
    assert_eq!(scene.events.counters().counted(Outcome::Queued), 1);
}

/// `spec/edm.md` 15, end-to-end case 1.
#[test]
fn two_entries_and_names_beside_them() {
    let scene = Scene::new(&lists(&["example.com.", ".example.net."]));
    let other = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let frames = [
        answer("example.com"),
        frame(6, &[198, 51, 100, 21], &message(&["Example.COM"], A, 0)),
        frame(6, &other, &message(&["example.com"], A, 0)),
        frame(6, &CLIENT, &message(&["www.example.net"], AAAA, 3)),
        answer("example.net"),
        answer("www.example.com"),
        answer("WWW.example.com"),
    ];
    scene.minimiser.sink().frames(&frames.each_ref().map(Vec::as_slice));
    let rows: Vec<_> = scene.minimiser.collect().rows().collect();
    let [com, net] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!((com.counters, com.status_bits, com.v4.count, com.v6.count), ([3, 0, 0, 0, 0, 0, 3, 0, 0, 0], 1, 2, 1));
    assert_eq!((net.counters, net.status_bits, net.v4.count, net.v6.count), ([0, 1, 0, 0, 0, 0, 0, 1, 0, 0], 2, 1, 0));
    assert_eq!(net.labels.get(2), Some(""));
    let events = scene.events.counters();
    assert_eq!((events.counted(Outcome::Queued), events.counted(Outcome::Seen)), (2, 1));
    assert_eq!((scene.counts.of(Fate::WellKnown), scene.counts.of(Fate::OtherName)), (4, 3));
}

/// Whole groups, with good and bad ones mixed: nothing is counted for a neighbour.
#[test]
fn groups_keep_their_frames_apart() {
    let names: Vec<String> = (0..8).map(|number| format!("n{number}.example.")).collect();
    let words: Vec<&str> = names.iter().map(String::as_str).collect();
    let scene = Scene::new(&lists(&words));
    let frames: Vec<Vec<u8>> = (0..GROUP)
        .map(|place| match place % 4 {
            0 => b"bad".to_vec(),
            1 => answer("other.example"),
            _ => answer(&names[place / 2]),
        })
        .collect();
    let mut sink = scene.minimiser.sink();
    let group: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    for _ in 0..3 {
        sink.frames(&group);
    }
    let expected: Vec<_> = (0..8).filter(|number| number % 2 == 1).map(|number| (format!("example/n{number}"), 6, 0)).collect();
    assert_eq!(scene.rows(), expected);
    assert_eq!([Fate::Undecodable, Fate::OtherName, Fate::WellKnown].map(|fate| scene.counts.of(fate)), [12, 12, 24]);
}

/// As unbound tells of expired and then of fresh data.
#[test]
fn a_second_response_counts_once_where_that_is_wanted() {
    let known = lists(&["known.example."]);
    let scene = Scene::new(&known);
    let recorded = vectors::load("dnstap_frames.json")["vectors"][0]["frame_hex"].clone();
    let octets = vectors::octets(&recorded);
    let mut sink = scene.minimiser.sink();
    sink.frames(&[&octets, &octets]);
    assert_eq!((scene.counts.of(Fate::OtherName), scene.counts.of(Fate::Duplicate)), (2, 0));
    scene.rotation.take_up(Policy { once: true, ..sending() }, &known);
    sink.frames(&[&octets, &octets]);
    sink.frames(&[&octets]);
    assert_eq!((scene.counts.of(Fate::OtherName), scene.counts.of(Fate::Duplicate)), (3, 2));
}

#[test]
fn without_a_list_nothing_is_counted_and_looptest_names_make_events() {
    let scene = Scene::new(&Lists::default());
    let mut sink = scene.minimiser.sink();
    sink.frames(&[&answer("x.looptest.dnstapir.se"), &answer("www.example")]);
    let events = scene.events.counters();
    assert_eq!((events.counted(Outcome::Queued), events.counted(Outcome::NoList)), (1, 1));
    assert_eq!((scene.rows(), scene.minimiser.held()), (vec![], Held::default()));
}

/// The list changes under connections that are busy and idle: no row comes under a wrong name, and the second change ends the interval.
#[test]
fn a_new_list_is_used_at_once_and_rows_keep_their_names() {
    let scene = Scene::new(&lists(&["a.example.", "b.example."]));
    let (mut idle, mut busy) = (scene.minimiser.sink(), scene.minimiser.sink());
    idle.frames(&[&answer("b.example")]);
    busy.frames(&[&answer("a.example")]);
    scene.rotation.take_up(sending(), &lists(&["0.example.", "b.example."]));
    busy.frames(&[&answer("0.example"), &answer("a.example"), &answer("b.example")]);
    assert_eq!(scene.counts.of(Fate::OtherName), 1, "the old list's name is another name now");
    let rows = |rows: &[(&str, u64)]| rows.iter().map(|(name, count)| ((*name).to_owned(), *count, 0)).collect::<Vec<_>>();
    assert_eq!(scene.rows(), rows(&[("example/0", 1), ("example/a", 1), ("example/b", 2)]));

    busy.frames(&[&answer("b.example")]);
    scene.rotation.take_up(sending(), &lists(&["c.example."]));
    assert!(scene.rotation.finish(Timestamp::now(), Duration::from_secs(60)));
    assert_eq!(scene.files().len(), 1, "the second change since the last rotation");
}

#[test]
fn an_interval_begins_where_the_last_one_ended() {
    let scene = Scene::new(&lists(&["a.example."]));
    let mut sink = scene.minimiser.sink();
    let second = |seconds| Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
    let ends = [second(60), second(120), second(180), second(90)];
    for (number, end) in ends.into_iter().enumerate() {
        // Nothing in the second one: no file, and the next begins all the same where it ended.
        let files = scene.files().len() + usize::from(number != 1);
        if number != 1 {
            sink.frames(&[&answer("a.example")]);
        }
        scene.rotation.rotate(end);
        let patience = std::time::Instant::now() + Duration::from_secs(60);
        while scene.files().iter().filter(|name| Interval::of_file_name(name).is_ok()).count() < files {
            assert!(std::time::Instant::now() < patience, "no file");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    assert!(scene.rotation.finish(second(100), Duration::from_secs(60)));
    let intervals: Vec<_> = scene.files().iter().map(|name| Interval::of_file_name(name).unwrap()).collect();
    let stops: Vec<_> = intervals.iter().map(|interval| interval.stop.as_second()).collect();
    assert_eq!(stops.len(), 3);
    assert!(stops.contains(&ends[0].as_second()) && stops.contains(&ends[2].as_second()));
    let third = intervals.iter().find(|interval| interval.stop.as_second() == ends[2].as_second()).unwrap();
    assert_eq!(third.start.as_second(), ends[1].as_second());
    // The clock was set back: an interval without length.
    let last = intervals.iter().find(|interval| interval.stop.as_second() == ends[3].as_second()).unwrap();
    assert_eq!(last.start, last.stop);
}

/// Whoever may send knows what is left out, at any moment between: of this client nothing is ever counted.
#[test]
fn nobody_sees_the_newer_policy_with_the_older_lists() {
    use std::sync::atomic::{AtomicBool, Ordering};

    let bare = lists(&["known.example."]);
    let ignored_clients = Arc::new(Clients::parse(b"198.51.100.0/24").unwrap());
    let with_ignored = Lists { ignored_clients, ..bare.clone() };
    let scene = Scene::new(&bare);
    let (minimiser, over) = (&scene.minimiser, AtomicBool::new(false));
    minimiser.set(Policy::default(), &bare);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let over = &over;
            scope.spawn(move || {
                let (mut sink, frame) = (minimiser.sink(), answer("known.example"));
                while !over.load(Ordering::Relaxed) {
                    sink.frames(&[&frame]);
                }
            });
        }
        let counted = |fate| scene.counts.of(fate) > 1000;
        while !(counted(Fate::ClientIgnored) && counted(Fate::NotSending)) {
            for _ in 0..3000 {
                minimiser.set(sending(), &with_ignored);
                minimiser.set(Policy::default(), &bare);
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    assert_eq!((scene.counts.of(Fate::WellKnown), scene.counts.of(Fate::OtherName)), (0, 0));
}
