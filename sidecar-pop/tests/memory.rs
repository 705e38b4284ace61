//! The worst that Core can send and a policy can make of it, within the memory of the container (256 MiB).
//!
//! At a twentieth of the scale, names and limits alike, since all that is measured grows with them. A file of its own with one test: the
//! peak that is measured is that of the whole process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::rule;
use jiff::Timestamp;
use tapir_pop::names::ZoneName;
use tapir_pop::policy::{Action, Policy};
use tapir_pop::sources::observations::{Limits, MOST_NAMES, MOST_WEIGHT};
use tapir_pop::sources::{CoreSource, Knowledge, NameList, Observations, Rules};
use tapir_pop::state::journal::Journal;
use tapir_pop::zone::build::build;
use tapir_wire::config::pop::{List, Match, Mode};
use tapir_wire::name::Name;
use tapir_wire::observation::Entry;

const NOW: Timestamp = Timestamp::constant(1_795_000_000, 0);
const SCALE: usize = 20;
const MOST_KIBIBYTES: usize = 128 * 1024;

/// Long labels, or as many labels as there can be.
fn names(shape: &str) -> impl Iterator<Item = Name> {
    let tail = match shape {
        "long" => format!("{0}.{0}.{1}.com", "a".repeat(63), "b".repeat(40)),
        _ => format!("{}com", "a.".repeat(110)),
    };
    (0..MOST_NAMES).map(move |index| {
        // What differs stands right below the top-level domain, so that no name shares its ancestors with another.
        let (front, top) = tail.rsplit_once('.').unwrap();
        Name::parse(&format!("{front}.{index:06}.{top}")).unwrap()
    })
}

fn rules() -> Rules {
    let zone = ZoneName::new(Name::parse("dnstapir").unwrap()).unwrap();
    // The whole of com is blocked, and each observation changes the action below it.
    let com = NameList::new("com", List::Doubt, Match::Subtree, &zone, &["com".to_owned()]);
    Rules {
        mode: Mode::Enforce,
        policy: Policy::new(Action::Nxdomain, vec![rule(None, Some(1), Action::Nodata), rule(Some(1), None, Action::Drop)]),
        lists: vec![com],
        core: Some(CoreSource { r#match: Match::Subtree, ..CoreSource::new("core") }),
    }
}

fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap()
}

/// Everything that is in memory at the same time, at most; the number of names that had room.
fn worst(shape: &str, scale: usize) -> usize {
    let zone = ZoneName::new(Name::parse("dnstapir").unwrap()).unwrap();
    let limits = Limits { names: MOST_NAMES / scale, weight: MOST_WEIGHT / scale };
    let mut store = Observations::with_limits(limits);
    for name in names(shape).take(MOST_NAMES / scale) {
        store.add(&Entry { name, time_added: NOW, ttl: 3600, tag_mask: 1 }, NOW).unwrap();
    }
    let rules = rules();
    let knowledge = Knowledge { rules: &rules, observations: &store };
    // The version that is served, the one before it that a slow reader still takes, and the one in the making.
    let served = build(&zone, &knowledge);
    let versions = [served.clone(), served, build(&zone, &knowledge)];
    assert!(versions.iter().all(|version| version.records.len() > 3000 / scale), "{shape}");
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = Journal::open(directory.path(), |_, _| {});
    journal.rewrite(store.all()).unwrap();
    let mut again = Observations::with_limits(limits);
    let _ = Journal::open(directory.path(), |name, record| again.restore(name, record, NOW));
    assert_eq!(again.len(), store.len());
    store.len()
}

#[test]
fn as_many_names_as_there_is_room_for_fit_into_the_container_whatever_their_shape() {
    // What does not grow with the names is there afterwards.
    worst("long", 1000);
    let before = peak();
    for shape in ["long", "deep"] {
        let names = worst(shape, SCALE);
        assert!(names < MOST_NAMES / SCALE, "{shape}: there was room for all, so the worst was not seen");
        let most = before + (peak() - before) * SCALE;
        assert!(most < MOST_KIBIBYTES, "{shape}: {names} names, {most} KiB at full scale");
    }
}
