//! The end of the process at any write.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::events::writes::{crash_after, has_crashed};

#[derive(Clone, Debug)]
enum Step {
    Put(u32),
    Read,
    Finish(Vec<prop::sample::Index>),
    FinishAll,
    Return,
    Keep,
    Sync,
    Start,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        // Now and then as much as makes a segment full.
        6 => (1u32..40).prop_map(Step::Put),
        1 => (3000u32..4000).prop_map(Step::Put),
        4 => Just(Step::Read),
        4 => prop::collection::vec(any::<prop::sample::Index>(), 1..20).prop_map(Step::Finish),
        2 => Just(Step::FinishAll),
        1 => Just(Step::Return),
        4 => Just(Step::Keep),
        1 => Just(Step::Sync),
        1 => Just(Step::Start),
    ];
    prop::collection::vec(step, 1..50)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Random histories, with the process ended at any write: everything that was put in before comes out afterwards, in order, but for what was
    /// done with; what was done with and written down does not.
    #[test]
    fn a_crash_at_any_write_loses_nothing_that_was_put_in(steps in steps(), crash in 1usize..60) {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let (mut writer, mut queue) = Writer::open(folder, 64 << 20);
        crash_after(Some(crash));
        let (mut next, mut sure, mut done, mut on_their_way) = (0, 0, BTreeSet::new(), Vec::new());
        let mut written_down = BTreeSet::new();
        for step in steps {
            match step {
                Step::Put(count) => {
                    let records: Vec<u8> = (next..next + count).flat_map(numbered).collect();
                    let (taken, result, lost) = append(&mut writer, &records, NOW);
                    prop_assert_eq!(lost, Lost::default());
                    // With a disk that is gone they wait in memory: as good as lost.
                    let in_file = !has_crashed() && result.is_ok() && taken == records.len();
                    next += count;
                    if in_file {
                        sure = next;
                    }
                }
                Step::Read => on_their_way.extend(queue.read().into_iter().map(|(ticket, event)| (ticket, number(&event)))),
                Step::Finish(which) if !on_their_way.is_empty() => {
                    for index in which {
                        let (ticket, number) = on_their_way[index.index(on_their_way.len())];
                        queue.finish(ticket);
                        done.insert(number);
                    }
                }
                Step::Finish(_) => {}
                Step::FinishAll => {
                    for (ticket, number) in on_their_way.drain(..) {
                        queue.finish(ticket);
                        done.insert(number);
                    }
                }
                Step::Return => {
                    on_their_way.clear();
                    queue.return_all();
                }
                Step::Keep => {
                    if writer.keep(NOW).is_ok() && !has_crashed() {
                        written_down = (0..).take_while(|number| done.contains(number)).collect();
                    }
                }
                Step::Sync => {
                    let _ = writer.sync();
                }
                Step::Start => {
                    on_their_way.clear();
                    drop(writer);
                    done = BTreeSet::clone(&written_down);
                    (writer, queue) = Writer::open(folder, 64 << 20);
                    // What was done with and not written down comes again.
                    if !has_crashed() {
                        let left = (written_down.len() as u64..u64::from(next)).count() as u64;
                        prop_assert!(queue.len() <= left, "{} {left}", queue.len());
                    }
                }
            }
            if has_crashed() {
                break;
            }
        }
        drop(writer);
        crash_after(None);
        let left = waiting_after_a_start(folder);
        prop_assert!(left.is_sorted() && left.iter().collect::<BTreeSet<_>>().len() == left.len());
        let left: BTreeSet<u32> = left.into_iter().collect();
        for number in 0..sure {
            prop_assert!(left.contains(&number) || done.contains(&number), "{number} is lost");
        }
        prop_assert!(left.is_disjoint(&written_down), "{left:?} {written_down:?}");
    }
}
