//! Each target for ten seconds, all side by side; `cargo xtask test --all` takes two minutes.
//!
//! `TAPIR_FUZZ_SECONDS` says how long, `TAPIR_FUZZ_SEED` from where; without it each run begins elsewhere and tells where it began.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

use std::thread::scope;
use std::time::Duration;

use tapir_fuzz::{TARGETS, Target, corpus, run};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

fn all(seconds: u64) {
    let time = Duration::from_secs(number("TAPIR_FUZZ_SECONDS").unwrap_or(seconds));
    let seed = number("TAPIR_FUZZ_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let outcomes: Vec<_> = scope(|scope| {
        let threads: Vec<_> = TARGETS.iter().map(|target| (target, scope.spawn(move || run::run(target, time, seed)))).collect();
        threads.into_iter().map(|(target, thread)| (target, thread.join().unwrap())).collect()
    });
    for (target, outcome) in &outcomes {
        let run::Outcome { runs, kinds, slowest, .. } = outcome;
        println!("{:<18} {runs:>9} inputs, {kinds:>4} kinds of outcome, {slowest:?} at most for one", target.name);
    }
    let failures: Vec<_> = outcomes
        .iter()
        .flat_map(|(target, outcome)| outcome.failures.iter().map(move |failure| (target.name, failure)))
        .collect();
    assert!(failures.is_empty(), "seed {seed}: {failures:#?}");
    // One that finds nothing but its seeds does not look.
    for (target, outcome) in &outcomes {
        assert!(outcome.runs > 50 && outcome.kinds >= 4, "{}: {outcome:?}", target.name);
    }
}

#[test]
fn whatever_octets_come_they_are_read_or_refused() {
    all(10);
}

#[test]
#[ignore = "two minutes"]
fn whatever_octets_come_in_two_minutes_they_are_read_or_refused() {
    all(120);
}

/// The engine finds what is to be found, and the next run begins with it.
#[test]
fn a_reader_that_panics_is_found() {
    fn read(octets: &[u8]) -> String {
        assert!(octets.first() != Some(&b'x') || octets.len() < 3, "found");
        octets.len().to_string()
    }
    let target = Target { name: "of-this-test", seeds: || vec![b"a".to_vec()], read };
    let outcome = run::run(&target, Duration::from_secs(60), 1);
    assert_eq!(outcome.failures.len(), 1, "{outcome:?}");
    let (file, what) = &outcome.failures[0];
    assert!(what.contains("found") && std::fs::read(file).unwrap().starts_with(b"x"));
    let again = run::run(&target, Duration::ZERO, 2);
    std::fs::remove_dir_all(run::folder(&target)).unwrap();
    assert_eq!((again.runs, again.failures.len()), (1, 1));
}

/// A reader that is asked for what it has never said finds it, and what is kept of that is as small as can be.
#[test]
fn what_reaches_something_new_is_kept_and_small() {
    fn read(octets: &[u8]) -> String {
        octets.iter().filter(|octet| octet.is_ascii_digit()).count().min(3).to_string()
    }
    let target = Target { name: "kept-by-this-test", seeds: || vec![b"no digits, and many letters".to_vec()], read };
    let files = corpus::grow(&target, Duration::from_secs(2), 1);
    let kept = run::kept(&target);
    let again = corpus::grow(&target, Duration::from_millis(200), 2);
    std::fs::remove_dir_all(run::folder(&target)).unwrap();
    let mut lengths: Vec<_> = kept.iter().map(Vec::len).collect();
    lengths.sort_unstable();
    assert_eq!((files.len(), lengths, again.len()), (3, vec![1, 2, 3], 0));
}

/// Each reader has some, and all of them together are no load for the repository.
#[test]
fn what_is_kept_is_there_and_small() {
    for target in &TARGETS {
        let kept = run::kept(target);
        let octets: usize = kept.iter().map(Vec::len).sum();
        assert!(kept.len() >= 3 && octets <= 4 * corpus::OCTETS, "{}: {} inputs, {octets} octets", target.name, kept.len());
        assert!(kept.iter().all(|input| input.len() <= 4 * corpus::LONGEST), "{}", target.name);
    }
}

/// Fixed inputs, and nothing is left out: a target without a folder has its seeds.
#[test]
fn every_target_reads_its_seeds_in_several_ways() {
    for target in &TARGETS {
        let outcome = run::run(target, Duration::ZERO, 0);
        assert!(outcome.failures.is_empty() && outcome.kinds >= 1 && outcome.runs >= 2, "{}: {outcome:?}", target.name);
    }
}
