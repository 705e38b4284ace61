use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::*;

use super::record::tests::record;
use super::*;
use crate::events::seen::Fingerprint;
use crate::events::writes::{crash_after, has_crashed, synced};
use crate::names::Presentation;

const NOW: u64 = 1_800_000_000;
const BOUND: u64 = 4 << 20;

/// The record of the event with this number.
fn numbered(number: u32) -> Vec<u8> {
    let label = number.to_string();
    let name = [&[label.len() as u8], label.as_bytes(), b"\x07example\0"].concat();
    record(&name, print(number))
}

fn print(number: u32) -> Fingerprint {
    let mut octets = [0; 12];
    octets[..4].copy_from_slice(&(number + 1).to_le_bytes());
    Fingerprint::from_octets(octets)
}

fn number(event: &Event) -> u32 {
    let text = event.new_qname(&mut Presentation::default()).qname;
    let number = text.strip_suffix(".example.").unwrap().parse().unwrap();
    assert_eq!(event.print, print(number));
    number
}

fn put(writer: &mut Writer, numbers: std::ops::Range<u32>) -> Lost {
    let (records, mut lost) = (numbers.flat_map(numbered).collect::<Vec<_>>(), Lost::default());
    let (taken, result) = writer.append(&records, NOW, &mut lost);
    result.unwrap();
    assert_eq!(taken, records.len());
    lost
}

/// Everything that can be read, in order.
fn read_all(queue: &Queue) -> Vec<(Ticket, u32)> {
    let blocks = std::iter::from_fn(|| Some(queue.read()).filter(|events| !events.is_empty()));
    blocks.flatten().map(|(ticket, event)| (ticket, number(&event))).collect()
}

fn numbers_of(read: &[(Ticket, u32)]) -> Vec<u32> {
    read.iter().map(|(_, number)| *number).collect()
}

fn waiting_after_a_start(folder: &Path) -> Vec<u32> {
    let (_, queue) = Writer::open(folder, BOUND);
    let read = numbers_of(&read_all(&queue));
    assert_eq!(queue.len(), read.len() as u64);
    read
}

#[test]
fn events_come_out_in_order_and_what_is_done_with_does_not_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, queue) = Writer::open(folder.path(), BOUND);
    put(&mut writer, 0..3000);
    let read = read_all(&queue);
    assert_eq!(numbers_of(&read), (0..3000).collect::<Vec<_>>());
    assert!(queue.read().is_empty() && queue.len() == 3000);
    // Not in order: what is between is sent again.
    for (ticket, number) in &read {
        if *number < 1000 || *number == 1500 {
            queue.finish(*ticket);
            queue.finish(*ticket);
        }
    }
    queue.return_all();
    let left: Vec<u32> = (1000..3000).filter(|number| *number != 1500).collect();
    assert_eq!((numbers_of(&read_all(&queue)), queue.len()), (left, 1999));
    writer.keep().unwrap();
    writer.sync().unwrap();
    drop(writer);
    assert_eq!(waiting_after_a_start(folder.path()), (1000..3000).collect::<Vec<_>>());
}

#[test]
fn files_go_when_they_are_done_with() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, queue) = Writer::open(folder.path(), BOUND);
    let segments = || segment::numbers(folder.path()).unwrap();
    put(&mut writer, 0..40_000);
    assert!(segments().len() > 5);
    for (ticket, _) in read_all(&queue) {
        queue.finish(ticket);
    }
    writer.keep().unwrap();
    assert_eq!((segments().len(), queue.len()), (1, 0));
    drop(writer);
    assert!(waiting_after_a_start(folder.path()).is_empty());
    let (mut writer, queue) = Writer::open(folder.path(), BOUND);
    put(&mut writer, 7..9);
    assert_eq!(numbers_of(&read_all(&queue)), [7, 8]);
}

#[test]
fn the_oldest_go_where_there_is_too_much_and_their_names_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, queue) = Writer::open(folder.path(), BOUND);
    let mut lost = Lost::default();
    let mut first = Vec::new();
    for batch in 0..150 {
        let now = put(&mut writer, batch * 1000..(batch + 1) * 1000);
        lost.events += now.events;
        lost.prints.extend(now.prints);
        if batch == 10 {
            first = queue.read();
            queue.finish(first[3].0);
        }
        assert!(queue.octets() <= BOUND);
    }
    assert!(lost.events > 10_000);
    // One was done with before.
    let expected: Vec<_> = (0..lost.events as u32 + 1).filter(|number| *number != 3).map(print).collect();
    assert!(lost.prints == expected, "{} {}", lost.events, lost.prints.len());
    assert_eq!(queue.len(), 150_000 - 1 - lost.events);
    // Those that were on their way are none any more.
    first.iter().for_each(|(ticket, _)| queue.finish(*ticket));
    assert_eq!(queue.len(), 150_000 - 1 - lost.events);
    queue.return_all();
    assert_eq!(numbers_of(&read_all(&queue)), (lost.events as u32 + 1..150_000).collect::<Vec<_>>());
}

#[test]
fn what_waits_can_be_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, queue) = Writer::open(folder.path(), BOUND);
    put(&mut writer, 0..5000);
    let read = queue.read();
    let lost = writer.clear();
    assert_eq!((lost.events, lost.prints.len(), queue.len()), (5000, 5000, 0));
    queue.finish(read[0].0);
    queue.return_all();
    assert!(queue.read().is_empty());
    put(&mut writer, 5000..5010);
    assert_eq!(numbers_of(&read_all(&queue)), (5000..5010).collect::<Vec<_>>());
    drop(writer);
    assert_eq!(waiting_after_a_start(folder.path()), (5000..5010).collect::<Vec<_>>());
}

#[test]
fn a_disk_that_takes_nothing_costs_what_does_not_fit_into_memory() {
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("file/below");
    std::fs::write(folder.path().join("file"), "").unwrap();
    let (mut writer, queue) = Writer::open(&below, BOUND);
    assert_eq!(put(&mut writer, 0..1000), Lost::default());
    let (many, mut lost) = ((1000..100_000).flat_map(numbered).collect::<Vec<_>>(), Lost::default());
    let (taken, result) = writer.append(&many, NOW, &mut lost);
    assert!(result.is_err() && taken > 500_000 && taken as u64 <= MEMORY && lost == Lost::default());
    assert_eq!(queue.octets(), 0);
    let read = read_all(&queue);
    assert_eq!(numbers_of(&read), (0..read.len() as u32).collect::<Vec<_>>());
    read.iter().for_each(|(ticket, _)| queue.finish(*ticket));
    // It is back.
    std::fs::remove_file(folder.path().join("file")).unwrap();
    let (taken, result) = writer.append(&numbered(5), NOW + 60, &mut lost);
    assert!(taken > 0 && result.is_ok() && queue.octets() > 0);
    writer.keep().unwrap();
    assert_eq!(numbers_of(&read_all(&queue)), [5]);
    drop(writer);
    assert_eq!(waiting_after_a_start(&below), [5]);
}

#[test]
fn what_is_done_with_makes_room_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let below = folder.path().join("file/below");
    // With time the disk is tried again, in vain.
    for (mut opened, seconds) in
        [Writer::in_memory(), Writer::open(&below, BOUND), Writer::open(&below, BOUND)].into_iter().zip([0, 0, 60])
    {
        let (writer, queue) = (&mut opened.0, &opened.1);
        let mut held = Vec::new();
        for batch in 0..30 {
            let (records, mut lost) =
                ((batch * 4000..(batch + 1) * 4000).flat_map(numbered).collect::<Vec<_>>(), Lost::default());
            let (taken, result) = writer.append(&records, NOW + u64::from(batch) * seconds, &mut lost);
            assert!(result.is_ok() && taken == records.len() && lost == Lost::default(), "{batch}: {result:?}");
            // What was there before is done with: less than all is free at any time.
            held.iter().for_each(|(ticket, _)| queue.finish(*ticket));
            held = read_all(queue);
            assert_eq!(numbers_of(&held), (batch * 4000..(batch + 1) * 4000).collect::<Vec<_>>());
            writer.keep().unwrap();
            assert_eq!((queue.len(), queue.octets()), (4000, 0));
        }
    }
}

#[test]
fn a_segment_that_is_left_for_memory_is_safe() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, queue) = Writer::open(folder.path(), BOUND);
    put(&mut writer, 0..10);
    assert!(synced().is_empty());
    crash_after(Some(1));
    put(&mut writer, 10..20);
    crash_after(None);
    assert_eq!(synced(), ["waiting-0000000001.seg"]);
    assert_eq!(queue.len(), 20);
}

#[test]
fn a_disk_is_tried_again_although_the_clock_was_set_back() {
    let folder = tempfile::tempdir().unwrap();
    let (file, below) = (folder.path().join("file"), folder.path().join("file/below"));
    std::fs::write(&file, "").unwrap();
    let (mut writer, queue) = Writer::open(&below, BOUND);
    put(&mut writer, 0..10);
    std::fs::remove_file(file).unwrap();
    put(&mut writer, 10..20);
    assert_eq!(queue.octets(), 0, "not yet");
    writer.append(&numbered(20), NOW - 3600, &mut Lost::default()).1.unwrap();
    assert!(queue.octets() > 0);
    assert_eq!(numbers_of(&read_all(&queue)), (0..21).collect::<Vec<_>>());
}

#[test]
fn damage_costs_what_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, _) = Writer::open(folder.path(), BOUND);
    put(&mut writer, 0..20_000);
    drop(writer);
    let numbers = segment::numbers(folder.path()).unwrap();
    let (second, third) = (segment::path(folder.path(), numbers[1]), segment::path(folder.path(), numbers[2]));
    let mut octets = std::fs::read(&second).unwrap();
    let middle = octets.len() / 2;
    octets[middle] ^= 1;
    std::fs::write(&second, &octets).unwrap();
    std::fs::write(&third, "none of ours").unwrap();
    let left = waiting_after_a_start(folder.path());
    assert!(left.len() < 18_000 && left.len() > 10_000 && left.is_sorted());
    assert!(folder.path().join("broken").exists());
    assert_eq!(waiting_after_a_start(folder.path()), left, "once");
}

#[test]
fn files_that_are_none_of_its_own_are_left_alone() {
    for number in ["1", "+5", "00000000017", &u64::MAX.to_string()] {
        let folder = tempfile::tempdir().unwrap();
        let foreign = folder.path().join(format!("waiting-{number}.seg"));
        std::fs::write(&foreign, "foreign").unwrap();
        let (mut writer, _) = Writer::open(folder.path(), BOUND);
        put(&mut writer, 0..10);
        drop(writer);
        assert_eq!(waiting_after_a_start(folder.path()), (0..10).collect::<Vec<_>>(), "{number}");
        assert_eq!(std::fs::read(foreign).unwrap(), b"foreign");
    }
}

#[test]
fn a_cursor_of_no_segment_that_can_be_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let place = cursor::Place { number: u64::MAX, offset: 36, skip: 0 };
    cursor::Cursor::open(folder.path()).unwrap().0.write(place).unwrap();
    let (mut writer, _) = Writer::open(folder.path(), BOUND);
    put(&mut writer, 0..10);
    drop(writer);
    assert_eq!(waiting_after_a_start(folder.path()), (0..10).collect::<Vec<_>>());
}

#[test]
fn damage_while_it_runs_ends_with_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, queue) = Writer::open(folder.path(), BOUND);
    put(&mut writer, 0..20_000);
    let first = queue.read();
    let path = segment::path(folder.path(), segment::numbers(folder.path()).unwrap()[0]);
    let mut octets = std::fs::read(&path).unwrap();
    octets[100] ^= 1;
    std::fs::write(&path, octets).unwrap();
    queue.return_all();
    let left = read_all(&queue);
    let lost = 20_000 - left.len() as u64;
    assert!(lost >= first.len() as u64 && lost < 8000, "{lost}");
    assert_eq!((queue.unreadable(), queue.len()), (lost, left.len() as u64));
    left.iter().for_each(|(ticket, _)| queue.finish(*ticket));
    writer.keep().unwrap();
    put(&mut writer, 1..2);
    assert_eq!((numbers_of(&read_all(&queue)), queue.len()), (vec![1], 1));
}

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
                    let mut lost = Lost::default();
                    let (taken, result) = writer.append(&records, NOW, &mut lost);
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
                    if writer.keep().is_ok() && !has_crashed() {
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
