//! Whatever happens in whatever order: what is published is what follows from everything that is known, each version has a number of its
//! own, and who has an old copy gets to the new one.

mod acts;
mod judge;
mod locals;
mod model;

use proptest::prelude::*;

use crate::state::failpoint;
use acts::{Act, Config, VERSIONS, act, config};
use judge::content;
use model::Model;

#[test]
fn what_is_missing_is_not_forgotten_before_a_number_beyond_it_is_reserved() {
    for after in 0..12 {
        let mut model = Model::new(one_config());
        model.settle();
        for act in [Act::Observe("a".to_owned(), 600, 1), Act::Crash(after), Act::Lost] {
            model.act(&act);
        }
        model.settle();
    }
}

#[test]
fn a_log_whose_newest_file_is_gone_is_noticed_and_no_number_is_used_twice() {
    let mut model = Model::new(one_config());
    model.settle();
    for (number, name) in ["a", "b", "c", "d"].into_iter().enumerate() {
        model.act(&Act::Observe(name.to_owned(), 600, 1));
        model.settle();
        let before = model.published.borrow().clone().unwrap();
        // Also when it ends in order, and the newest file is the only one.
        if number % 2 == 1 {
            model.act(&Act::End);
        }
        model.act(&Act::Lost);
        let after = model.published.borrow().clone().unwrap();
        assert!(after.serial.is_after(before.serial), "{} after {}", after.serial, before.serial);
        let errors = model.engine.telemetry.document().pop.unwrap().errors.join("; ");
        assert!(errors.contains("journal-*.log"), "{errors}");
        model.settle();
        assert_eq!(content(&model.published.borrow().clone().unwrap()), content(&before), "nothing is lost");
        model.act(&Act::Kill);
        let errors = model.engine.telemetry.document().pop.unwrap().errors.join("; ");
        assert!(!errors.contains("journal-*.log"), "said once: {errors}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, max_shrink_iters: 4000, ..ProptestConfig::with_cases(
        std::env::var("TAPIR_HISTORY_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(48),
    ) })]

    #[test]
    fn whatever_happens_the_zone_is_what_is_known_and_every_version_leads_to_it(
        first in config(),
        acts in prop::collection::vec(act(), 1..60),
        slow in prop::sample::select(vec![&[] as &'static [&'static str], &["keeper"], &["builder"], &["keeper", "builder"]]),
    ) {
        let mut model = Model::new(first);
        failpoint::slow_down(model.folder.path(), slow);
        for (index, act) in acts.iter().enumerate() {
            model.act(act);
            if index % 20 == 19 {
                model.settle();
            }
        }
        model.settle();
    }
}

#[test]
fn a_lifetime_that_changed_before_a_restart_is_one_version() {
    let config = Config {
        deny: vec!["a".to_owned()],
        allow: vec!["a".to_owned()],
        subtree: false,
        core_subtree: false,
        feed: false,
        redirect: 0,
        observe: false,
        ttl: 3600,
    };
    let mut model = Model::new(config.clone());
    model.settle();
    model.act(&Act::Config(Config { ttl: 60, ..config }));
    model.act(&Act::End);
    model.settle();
    assert_eq!(model.seen.len(), 2);
}

/// One that does everything that is written down, from the first observation to another lifetime of all records.
fn busy_life() -> Vec<Act> {
    let turn = || [Act::Publish, Act::Start, Act::Finish];
    let names = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), 4, 7)).collect();
    let mut acts = vec![Act::Observe("a".to_owned(), 600, 1), Act::Observe("b".to_owned(), 600, 1)];
    acts.extend(turn());
    acts.push(Act::Whole(names(&["c", "d.c", "e"])));
    acts.extend(turn());
    acts.push(Act::Remove("a".to_owned()));
    for act in [Act::Condense, Act::Merge, Act::Rebuild] {
        acts.push(act);
        acts.extend(turn());
        acts.push(Act::Changes(names(&["f"])));
        acts.extend(turn());
        acts.push(Act::Observe("aa".to_owned(), 600, 2));
    }
    acts.push(Act::Config(Config { ttl: 60, ..one_config() }));
    acts.extend(turn());
    acts.extend([Act::Observe("c.c".to_owned(), 600, 1), Act::Publish, Act::End, Act::Kill]);
    acts.extend(turn());
    acts
}

fn one_config() -> Config {
    Config {
        deny: vec!["a.b".to_owned()],
        allow: vec!["b.c".to_owned()],
        subtree: true,
        core_subtree: true,
        feed: true,
        redirect: 1,
        observe: false,
        ttl: 3600,
    }
}

/// Ends it behind each of its writes in turn, what came before excepted. How many there are.
fn end_between_any_two_writes(before: &[Act], life: &[Act], slow: &'static [&'static str]) -> usize {
    let most = 400;
    let ended = (0..most).find(|after| {
        let mut model = Model::new(one_config());
        failpoint::slow_down(model.folder.path(), slow);
        model.settle();
        before.iter().for_each(|act| model.act(act));
        failpoint::freeze(model.folder.path(), *after);
        life.iter().for_each(|act| model.act(act));
        model.settle();
        model.crashes == 0
    });
    ended.unwrap()
}

#[test]
fn whatever_two_writes_it_ends_between_the_zone_of_before_is_served_and_nothing_is_lost() {
    let writes = end_between_any_two_writes(&[], &busy_life(), &[]);
    assert!(writes > 30, "{writes} writes");
}

/// The first version after a start is written to a file of its own, and no number may be reserved yet.
#[test]
fn whatever_two_writes_it_ends_between_right_after_a_start_a_number_that_nobody_saw_makes_no_new_version() {
    let observe = || Act::Observe("a".to_owned(), 600, 1);
    let anew = || [Act::Start, Act::Finish, Act::Start, Act::Finish];
    for turn in [vec![Act::Publish], vec![]] {
        let mut life = vec![observe()];
        life.extend(turn.clone());
        life.extend(anew());
        life.extend(turn);
        let writes = end_between_any_two_writes(&[Act::Kill], &life, &[]);
        assert!(writes > 6, "{writes} writes");
    }
}

/// The log of before is needed until another base is in force.
#[test]
fn whatever_two_writes_it_ends_between_while_history_begins_anew_no_number_is_used_twice() {
    let other = Config { ttl: 60, ..one_config() };
    let before = [Act::Observe("b".to_owned(), 600, 1), Act::Config(other), Act::Start];
    let life = [Act::Observe("c".to_owned(), 600, 1), Act::Publish, Act::Finish, Act::Start, Act::Finish];
    for slow in [&[] as &'static [&'static str], &["builder"]] {
        let writes = end_between_any_two_writes(&before, &life, slow);
        assert!(writes > 6, "{writes} writes");
    }
}

/// Also where the disk takes one thing and does not take another.
#[test]
fn whichever_writes_fail_no_number_is_used_twice() {
    let configured = |deny: &str, ttl| Act::Config(Config { deny: vec![deny.to_owned()], ttl, feed: false, ..one_config() });
    let mut life = Vec::new();
    for config in [configured("a", 3600), configured("b", 60), configured("c", 60)] {
        life.push(config);
        (0..3).for_each(|_| life.extend([Act::Start, Act::Finish, Act::Publish]));
    }
    for failures in 1..6 {
        let ended = (0..100).find(|after| {
            let mut model = Model::new(one_config());
            model.settle();
            failpoint::fail(model.folder.path(), *after, failures);
            life.iter().for_each(|act| model.act(act));
            // What was published last need not be there.
            model.renumbered = true;
            model.act(&Act::Kill);
            let failed = failpoint::has_failed(model.folder.path());
            model.settle();
            !failed
        });
        assert!(ended.is_some_and(|writes| writes > 10), "{ended:?} writes");
    }
}

/// What went on in memory is not on disk before history is. Which marks of numbers there are depends on whether something happened between the
/// failure and the look at the disk, and on whether the disk takes another.
#[test]
fn whatever_two_writes_it_ends_between_when_there_is_a_disk_again_no_number_is_used_twice() {
    for (meanwhile, refused) in [(false, false), (true, false), (true, true)] {
        let ended = (0..100).find(|after| {
            let mut model = Model::new(Config { feed: false, ..one_config() });
            model.settle();
            for name in ["a", "b"] {
                model.act(&Act::Observe(name.to_owned(), 600, 1));
                failpoint::fail(model.folder.path(), 0, 8);
                model.act(&Act::Publish);
                failpoint::thaw(model.folder.path());
            }
            assert!(model.engine.store.as_ref().unwrap().trouble.is_some());
            if meanwhile {
                model.act(&Act::Observe("c".to_owned(), 600, 1));
                model.act(&Act::Publish);
            }
            model.engine.keeping.look_now();
            while !model.engine.wanted.merge {
                model.engine.start_chores(model.now);
                let outcome = model.engine.outcomes.as_mut().unwrap().blocking_recv().unwrap();
                model.engine.outcome(outcome, model.now);
            }
            model.act(&Act::Start);
            assert!(matches!(model.engine.running, Some(super::Running::Merge(..))));
            for act in [Act::Observe("aa".to_owned(), 600, 1), Act::Publish] {
                model.act(&act);
            }
            model.renumbered = true;
            let refusal = refused.then(|| failpoint::refuse(model.folder.path()));
            failpoint::freeze(model.folder.path(), *after);
            model.act(&Act::Finish);
            drop(refusal);
            if refused {
                model.act(&Act::Kill);
            }
            // Another version gets the next number: not what is below a name that was there.
            model.act(&Act::Observe("bb".to_owned(), 600, 1));
            model.settle();
            model.crashes == 0
        });
        assert!(ended.is_some_and(|writes| refused || writes > 6), "{ended:?} writes");
    }
}

/// Only a mark tells of them, and the log beyond it is what a power loss takes.
#[test]
fn where_numbers_cannot_be_reserved_none_is_used_twice_after_a_power_loss() {
    for (lost, killed) in [(1, false), (3, false), (1, true), (3, true)] {
        let mut model = Model::new(one_config());
        model.settle();
        let refusal = failpoint::refuse(&model.folder.path().join("serial.new"));
        // What was reserved is over.
        model.act(&Act::Time(60_000));
        for name in ["a", "aa", "b", "c"] {
            model.act(&Act::Observe(name.to_owned(), 600, 1));
            model.act(&Act::Publish);
        }
        assert!(model.seen.len() > 4, "{}", model.seen.len());
        if killed {
            model.act(&Act::Kill);
        }
        model.act(&Act::PowerLoss(lost));
        model.act(&Act::Observe("bb".to_owned(), 600, 1));
        model.settle();
        drop(refusal);
        model.settle();
    }
}

/// The last number before the failure is in the log, so a mark of it would pass for one that was left over.
#[test]
fn what_goes_on_in_memory_behind_a_version_on_disk_uses_no_number_twice() {
    let mut model = Model::new(Config { feed: false, ..one_config() });
    model.settle();
    for act in [Act::Observe("a".to_owned(), 600, 1), Act::Publish] {
        model.act(&act);
    }
    let refusal = failpoint::refuse(&model.folder.path().join("zone/manifest.new"));
    for act in [Act::Merge, Act::Start, Act::Finish] {
        model.act(&act);
    }
    assert!(model.engine.store.as_ref().unwrap().trouble.is_some());
    model.act(&Act::Observe("b".to_owned(), 600, 1));
    model.act(&Act::Publish);
    drop(refusal);
    model.renumbered = true;
    model.act(&Act::Kill);
    // Another version gets the next number.
    model.act(&Act::Observe("bb".to_owned(), 600, 1));
    model.settle();
}

/// What was taken back and not written down comes again.
#[test]
fn what_is_remembered_against_replay_ends_with_the_process_like_everything_else() {
    let mut model = Model::new(one_config());
    for act in [Act::Crash(0), Act::Time(1), Act::Remove("aa".to_owned()), Act::Observe("aa".to_owned(), 600, 1)] {
        model.act(&act);
    }
    model.settle();
    assert_eq!(model.crashes, 1);
}

/// Whatever changes comes back, so that there is nothing to be merged.
#[test]
fn names_that_come_and_go_do_not_make_history_longer_than_it_may_be() {
    let mut model = Model::new(one_config());
    model.settle();
    let mut longest = 0;
    for round in 0..3 * VERSIONS {
        model.act(&Act::Observe(format!("a{round}"), 1, 1));
        model.publish();
        model.act(&Act::Time(2000));
        model.publish();
        // It is long ago.
        model.engine.wanted.merged = None;
        model.engine.start_jobs();
        model.finish();
        while model.engine.keeping.is_busy() {
            let outcome = model.engine.outcomes.as_mut().unwrap().blocking_recv().unwrap();
            model.engine.outcome(outcome, model.now);
        }
        longest = longest.max(model.engine.store.as_ref().unwrap().log.newer().map_or(0, |newer| newer.versions().len()));
    }
    assert!((VERSIONS / 4..=VERSIONS).contains(&longest), "{longest}");
}

/// A restart reads what is newer than the base and nothing else.
#[test]
fn local_data_that_came_while_the_zone_was_made_anew_outlives_a_restart() {
    let mut model = Model::new(one_config());
    model.settle();
    model.act(&Act::Whole(vec![("c".to_owned(), 4, 6)]));
    model.settle();
    model.config = Config { deny: vec!["aa".to_owned()], ..one_config() };
    model.engine.configure(model.config.setup(model.folder.path()), model.now);
    while !matches!(model.engine.running, Some(super::Running::Rebuild(_))) {
        model.finish();
        model.engine.start_jobs();
    }
    let before = model.engine.sets.len();
    model.act(&Act::Changes(vec![("b.c.a".to_owned(), 0, 6), ("aa.b".to_owned(), 6, 7)]));
    model.publish();
    assert!(model.engine.sets.len() > before);
    model.finish();
    model.act(&Act::Kill);
    model.settle();
}
