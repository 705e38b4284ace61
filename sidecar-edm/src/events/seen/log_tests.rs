use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::events::writes::{crash_after, fail_reads_of, has_crashed};

const LONG: Duration = Duration::from_secs(1 << 30);
const NOW: u64 = 1_800_000_000;

fn secret(folder: &Path) -> Secret {
    Secret::load(folder, Secret::draw()).unwrap()
}

fn open(folder: &Path, names: usize, now: u64) -> (Log, Table, Opened) {
    // Large enough that no set is full.
    let table = Table::new(8 * names);
    let (log, opened) = Log::open(folder, &secret(folder), names, LONG, now, &table).unwrap();
    (log, table, opened)
}

fn print(folder: &Path, number: u64) -> Fingerprint {
    secret(folder).fingerprint(&number.to_le_bytes())
}

fn mark(log: &mut Log, table: &Table, folder: &Path, numbers: std::ops::Range<u64>) {
    let marks: Vec<_> = numbers.map(|number| (Kind::Mark, print(folder, number))).collect();
    marks.iter().for_each(|(_, print)| table.mark(*print));
    log.append(&marks).unwrap();
}

fn known(table: &Table, folder: &Path, numbers: std::ops::Range<u64>) -> Vec<u64> {
    let secret = secret(folder);
    numbers.filter(|number| table.find(secret.fingerprint(&number.to_le_bytes())) != super::super::Found::New).collect()
}

fn files(folder: &Path) -> Vec<String> {
    disk::list(folder, |name| name != "secret").unwrap().into_iter().map(|entry| entry.name).collect()
}

#[test]
fn what_is_written_is_there_after_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (mut log, table, opened) = open(folder, 10_000, NOW);
    assert_eq!(opened, Opened::default());
    mark(&mut log, &table, folder, 0..1000);
    log.append(&[(Kind::Unmark, print(folder, 7))]).unwrap();
    drop(log);
    let (mut log, table, opened) = open(folder, 10_000, NOW + 60);
    assert_eq!(opened, Opened { age: Some(Duration::from_secs(60)), cut: 0, damaged: 0 });
    assert_eq!(known(&table, folder, 0..2000), (0..1000).filter(|number| *number != 7).collect::<Vec<_>>());
    // It goes on in the same file, however often it starts.
    mark(&mut log, &table, folder, 1000..1010);
    assert_eq!(files(folder), ["seen-0000000001.log"]);
    let other = Table::new(20_000);
    log.replay(&other).unwrap();
    assert_eq!(other.len(), 1009);
}

#[test]
fn disk_and_memory_stay_bounded_and_the_oldest_go() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (mut log, table, _) = open(folder, 800, NOW);
    for number in 0..500 {
        mark(&mut log, &table, folder, number * 10..number * 10 + 10);
        log.turn_if_due(NOW, true, &table).unwrap();
        assert!(files(folder).len() as u64 <= GENERATIONS);
    }
    let octets: u64 = disk::list(folder, |_| true).unwrap().iter().map(|entry| entry.octets).sum();
    assert!(octets < 800 * 20, "{octets}");
    let remembered = known(&table, folder, 0..5000);
    assert!(remembered.len() > 690 && remembered.len() <= 800, "{}", remembered.len());
    assert!(remembered.iter().all(|number| *number >= 4200));
    drop(log);
    let (_, again, _) = open(folder, 800, NOW);
    assert_eq!(known(&again, folder, 0..5000), remembered);
}

#[test]
fn names_that_nobody_asks_for_are_forgotten_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let table = Table::new(1000);
    let (day, expiry) = (24 * 3600, Duration::from_secs(8 * 24 * 3600));
    let (mut log, _) = Log::open(folder, &secret(folder), 1000, expiry, NOW, &table).unwrap();
    mark(&mut log, &table, folder, 0..10);
    for passed in 0..20 {
        log.turn_if_due(NOW + passed * day, true, &table).unwrap();
        match table.find(print(folder, 5)) {
            super::super::Found::Renewed => log.append(&[(Kind::Mark, print(folder, 5))]).unwrap(),
            super::super::Found::Marked => {}
            super::super::Found::New => panic!("it is in use"),
        }
        let all = known_without_renewal(&table, folder);
        assert_eq!(all, if passed < 8 { 10 } else { 1 }, "day {passed}");
    }
    drop(log);
    let later = Table::new(1000);
    let (mut log, _) = Log::open(folder, &secret(folder), 1000, expiry, NOW + 21 * day, &later).unwrap();
    log.turn_if_due(NOW + 21 * day, true, &later).unwrap();
    assert_eq!(later.len(), 1);
    drop(log);
    // After so long a pause nothing is left, and a new generation begins when it is due.
    let last = Table::new(1000);
    let (mut log, _) = Log::open(folder, &secret(folder), 1000, expiry, NOW + 900 * day, &last).unwrap();
    log.turn_if_due(NOW + 900 * day, true, &last).unwrap();
    assert_eq!(last.len(), 0);
}

/// As [`known`] would renew what it looks at.
fn known_without_renewal(table: &Table, _: &Path) -> u64 {
    table.len()
}

#[test]
fn a_clock_that_was_ahead_for_a_moment_forgets_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let table = Table::new(1000);
    let (day, expiry) = (24 * 3600, Duration::from_secs(8 * 24 * 3600));
    let (mut log, _) = Log::open(folder, &secret(folder), 1000, expiry, NOW, &table).unwrap();
    mark(&mut log, &table, folder, 0..10);
    let year = 365 * day;
    log.turn_if_due(NOW + year, false, &table).unwrap();
    assert_eq!((table.len(), files(folder).len()), (10, 1));
    // Also where the machine starts with it.
    drop(log);
    let table = Table::new(1000);
    let (mut log, _) = Log::open(folder, &secret(folder), 1000, expiry, NOW + year, &table).unwrap();
    log.turn_if_due(NOW + year, false, &table).unwrap();
    assert_eq!(table.len(), 10);
    // A generation that is full ends all the same, and its number of the year to come makes the others neither older nor younger.
    mark(&mut log, &table, folder, 10..200);
    log.turn_if_due(NOW + year, false, &table).unwrap();
    assert_eq!((table.len(), files(folder).len()), (200, 2));
    for passed in 1..7 {
        log.turn_if_due(NOW + passed * day, true, &table).unwrap();
        assert_eq!(table.len(), 200, "{passed}");
    }
    for passed in 7..9 {
        log.turn_if_due(NOW + passed * day, true, &table).unwrap();
    }
    assert_eq!(table.len(), 0);
}

#[test]
fn a_file_that_the_disk_does_not_give_back_costs_what_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (mut log, table, _) = open(folder, 800, NOW);
    for number in 0..5 {
        mark(&mut log, &table, folder, number * 100..number * 100 + 100);
        log.turn_if_due(NOW, true, &table).unwrap();
    }
    drop(log);
    fail_reads_of(Some(("seen-0000000002", rustix::io::Errno::IO)));
    let (log, table, opened) = open(folder, 800, NOW);
    fail_reads_of(None);
    assert_eq!((opened.damaged, table.len()), (1, 400));
    drop(log);
    // What may pass is no damage.
    fail_reads_of(Some(("seen-0000000003", rustix::io::Errno::MFILE)));
    let failed = Log::open(folder, &secret(folder), 800, LONG, NOW, &table);
    fail_reads_of(None);
    assert!(failed.is_err());
    let (_, table, opened) = open(folder, 800, NOW);
    assert_eq!((opened.damaged, table.len()), (0, 400));
}

#[test]
fn damage_is_set_aside_and_what_can_be_read_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (mut log, table, _) = open(folder, 800, NOW);
    for number in 0..5 {
        for half in 0..2 {
            mark(&mut log, &table, folder, number * 100 + half * 50..number * 100 + half * 50 + 50);
        }
        log.turn_if_due(NOW, true, &table).unwrap();
    }
    drop(log);
    let path = folder.join("seen-0000000002.log");
    let mut octets = std::fs::read(&path).unwrap();
    let middle = octets.len() * 3 / 4;
    octets[middle] ^= 1;
    // Behind it is more, so it is no torn end.
    octets.extend(octets[HEADER..].to_vec());
    std::fs::write(&path, &octets).unwrap();
    std::fs::write(folder.join("seen-0000000003.log"), "none of ours").unwrap();
    let (_, table, opened) = open(folder, 800, NOW);
    assert_eq!(opened.damaged, 2);
    let expected: Vec<u64> = (0..500).filter(|number| !(150..300).contains(number)).collect();
    assert_eq!(known(&table, folder, 0..600), expected);
    assert!(folder.join(BROKEN).exists());
    let (_, table, opened) = open(folder, 800, NOW);
    assert_eq!((opened.damaged, table.len()), (0, 350), "once");
}

#[test]
fn files_that_are_none_of_its_own_are_left_alone() {
    for number in ["1", "+5", "00000000017", &u64::MAX.to_string()] {
        let folder = tempfile::tempdir().unwrap();
        let foreign = folder.path().join(format!("seen-{number}.log"));
        std::fs::write(&foreign, "foreign").unwrap();
        let (mut log, table, opened) = open(folder.path(), 800, NOW);
        assert_eq!(opened, Opened::default(), "{number}");
        mark(&mut log, &table, folder.path(), 0..10);
        drop(log);
        let (_, table, _) = open(folder.path(), 800, NOW);
        assert_eq!(table.len(), 10, "{number}");
        assert_eq!(std::fs::read(foreign).unwrap(), b"foreign");
    }
}

#[test]
fn fingerprints_of_another_secret_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, table, _) = open(folder.path(), 800, NOW);
    mark(&mut log, &table, folder.path(), 0..100);
    drop(log);
    std::fs::remove_file(folder.path().join("secret")).unwrap();
    let (_, table, opened) = open(folder.path(), 800, NOW);
    assert_eq!((table.len(), opened.damaged, opened.age), (0, 1, None));
}

#[derive(Clone, Debug)]
enum Step {
    Mark(Vec<u8>),
    Unmark(u8),
    Turn,
    Sync,
    Start,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => prop::collection::vec(any::<u8>(), 1..20).prop_map(Step::Mark),
        2 => any::<u8>().prop_map(Step::Unmark),
        2 => Just(Step::Turn),
        1 => Just(Step::Sync),
        1 => Just(Step::Start),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Random histories, with the process ended at any write: what was written before is known afterwards, and nothing else.
    #[test]
    fn a_crash_at_any_write_loses_what_was_being_written_at_most(steps in steps(), crash in 1usize..40) {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let secret = secret(folder);
        let print = |number: u8| secret.fingerprint(&[number]);
        let start = || {
            let table = Table::new(2000);
            Log::open(folder, &secret, 2000, LONG, NOW, &table).map(|(log, _)| (log, table))
        };
        // Whether a name is seen; none for those of which half may be written.
        let mut model: BTreeMap<u8, Option<bool>> = BTreeMap::new();
        let (mut log, mut table) = start().unwrap();
        crash_after(Some(crash));
        for step in steps {
            let records: Vec<(Kind, u8)> = match step {
                Step::Mark(numbers) => numbers.into_iter().map(|number| (Kind::Mark, number)).collect(),
                Step::Unmark(number) => vec![(Kind::Unmark, number)],
                Step::Turn => {
                    log.most = 0;
                    let _ = log.turn_if_due(NOW, true, &table);
                    log.most = 1 << 20;
                    Vec::new()
                }
                Step::Sync => {
                    let _ = log.sync();
                    Vec::new()
                }
                Step::Start => {
                    match start() {
                        Ok(started) => (log, table) = started,
                        Err(_) => prop_assert!(has_crashed()),
                    }
                    Vec::new()
                }
            };
            let written: Vec<_> = records.iter().map(|(kind, number)| (*kind, print(*number))).collect();
            let result = if written.is_empty() { Ok(()) } else { log.append(&written) };
            for (kind, number) in records {
                model.insert(number, result.is_ok().then_some(kind == Kind::Mark));
            }
            if has_crashed() {
                break;
            }
        }
        crash_after(None);
        let generations: BTreeSet<u64> = numbers(folder).unwrap().into_iter().collect();
        let (_, table) = start().unwrap();
        // Those of generations that have gone since are forgotten.
        let gone = generations.last().copied().unwrap_or(0) > GENERATIONS;
        for number in 0..=255 {
            let seen = table.find(print(number)) != super::super::Found::New;
            match model.get(&number) {
                None | Some(Some(false)) => prop_assert!(!seen, "{number}"),
                Some(Some(true)) => prop_assert!(seen || gone, "{number}"),
                Some(None) => {}
            }
        }
    }
}
