//! The worst that Core can send and a policy can make of it, within the memory of the container (256 MiB).
//!
//! What takes most is the set of names that a zone made anew differs in, when all observations come or go at once below a wildcard: each name
//! between the wildcard and an observed one needs a record of its own, so that resolvers agree. Names of ordinary depth make that as large as the
//! observations are. Names of 112 labels, which no resolver is asked for and only a Core that is out of its mind would send, need a hundred and
//! ten such records each: then it is two and a half times as large. What is left of the container is for the kernel, transfers and the program.
//!
//! At a twentieth of the scale, names and limits alike, since all that is measured grows with them. A file of its own with one test: the
//! peak that is measured is that of the whole process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use common::rule;
use jiff::{SignedDuration, Timestamp};
use tapir_pop::knowledge::observations::{LONGEST_TTL, Observations};
use tapir_pop::policy::{Action, Policy};
use tapir_pop::state::observation_log::ObservationLog;
use tapir_pop::zone::emit::Emit;
use tapir_pop::zone::judge::Source as _;
use tapir_pop::zone::known::Known;
use tapir_pop::zone::layers::Layers;
use tapir_pop::zone::rebuild::{Rebuilt, rebuild};
use tapir_pop::zone::source::{AnySource, Kept};
use tapir_pop::zone::weigh::{Origin, Weigh};
use tapir_table::{Codes, KeyBuf, Merge, Palette, Staged, TableFile, TableWriter, Tree};
use tapir_wire::config::pop::{List, Match, Mode};
use tapir_wire::name::Name;
use tapir_wire::observation::Entry;

const NOW: Timestamp = Timestamp::constant(1_795_000_000, 0);
const SCALE: usize = 20;
/// A sixth of the container's memory, as it is where nothing is said.
const ROOM: usize = (256 << 20) / 6;
/// By shape of the names; 101 and 195 MiB when this was written. The rest of the container is for everything else: some 30 MiB.
const MOST_MEBIBYTES: [(&str, usize); 2] = [("long", 116), ("deep", 212)];

/// Long labels, or as many labels as there can be. What differs stands right below the top-level domain, so that no name shares its
/// ancestors with another.
fn name(shape: &str, index: usize) -> KeyBuf {
    let front = match shape {
        "long" => format!("{0}.{0}.{1}", "a".repeat(63), "b".repeat(40)),
        _ => "a.".repeat(110).trim_end_matches('.').to_owned(),
    };
    KeyBuf::from_text(&format!("{front}.{index:07}.com"), 245).unwrap()
}

fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap()
}

/// The whole of com is blocked, and each observation changes the action below it.
fn weigh() -> Weigh {
    let origin = |r#match| Origin { list: List::Doubt, r#match, records: false, keeps_action: false };
    Weigh {
        policy: Policy::new(Action::Nxdomain, vec![rule(None, Some(1), Action::Nodata), rule(Some(1), None, Action::Drop)]),
        mode: Mode::Enforce,
        origins: vec![origin(Match::Subtree), origin(Match::Subtree)],
    }
}

fn com() -> AnySource {
    let mut kept = Kept::nothing(Arc::new(Known::Listed));
    kept.changes.insert(&KeyBuf::from_text("com", 245).unwrap(), Codes::LISTED);
    AnySource::List(kept)
}

/// The zone anew into a file, as the builder does: it, and what is different from the one before.
fn built(folder: &Path, file: &str, observations: &Observations, published: &Layers) -> Rebuilt {
    let sources = [com(), AnySource::observed(observations.live())];
    let mut names = Merge::new(sources.iter().map(|source| source.cursor()).collect());
    let weigh = weigh();
    let mut writer = TableWriter::new(Staged::create(&folder.join(file)).unwrap()).unwrap();
    let (differs, _) =
        rebuild(Emit::new(&weigh, &mut names, 245), published, |old, new| old == new, &mut writer, || true).unwrap();
    let (staged, _) = writer.finish(0, &Palette::default()).unwrap();
    Rebuilt { base: Arc::new(TableFile::open(staged.finish().unwrap()).unwrap()), differs }
}

/// Everything that is in memory at the same time, at most; the number of names that had room.
fn worst(shape: &str, scale: usize) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let mut observations = Observations::new(ROOM / scale);
    let mut count = 0;
    while observations.take_displaced().is_empty() {
        let key = name(shape, count);
        let entry = Entry { name: Name::parse("com").unwrap(), time_added: NOW, ttl: 3600, tag_mask: 1 };
        observations.add(&key, &entry, LONGEST_TTL, NOW).unwrap();
        count += 1;
    }
    // A snapshot that somebody holds while all of it changes.
    let held = observations.clone();
    let nothing = Layers::new(tapir_pop::zone::nothing().unwrap());
    let first = built(folder.path(), "one.tab", &observations, &nothing);
    let published = Layers::new(Arc::clone(&first.base));
    drop(first);
    let later = NOW.checked_add(SignedDuration::from_secs(60)).unwrap();
    let mut changed = observations.clone();
    changed.expire(NOW.checked_add(SignedDuration::from_secs(4000)).unwrap(), usize::MAX, |_| {});
    let second = built(folder.path(), "two.tab", &changed, &published);
    let sources = [com(), AnySource::observed(changed.live())];
    let swapped = second.swap((&weigh(), sources.as_slice(), 245), [], &published, &Tree::new(), 1 << 20).unwrap();
    assert!(swapped.before.len() > held.live().len(), "{shape}");
    let (mut log, _) = ObservationLog::open(&folder.path().join("obs"), &mut Observations::new(1 << 20), later).unwrap();
    log.condense(&observations).unwrap().write().unwrap();
    assert!(File::open(folder.path().join("obs")).is_ok());
    held.live().len()
}

#[test]
fn as_many_names_as_there_is_room_for_fit_into_the_container_whatever_their_shape() {
    // What does not grow with the names is there afterwards.
    worst("long", 1000);
    let before = peak();
    for (shape, limit) in MOST_MEBIBYTES {
        let names = worst(shape, SCALE);
        let most = (before + (peak() - before) * SCALE) >> 10;
        assert!(most < limit, "{shape}: {names} names, {most} MiB at full scale");
    }
}
