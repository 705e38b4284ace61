use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::*;

use super::record::tests::record;
use super::*;
use crate::events::seen::Fingerprint;
use crate::events::writes::{crash_after, fail_reads_of, fail_syncs_of, has_crashed, let_read, synced};
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

/// Of a segment of the bound above, the names at most.
const OF_ONE: usize = (BOUND / 16 / 30) as usize;

/// Appends, and tells how much of it was taken and what was lost for it.
fn append(writer: &mut Writer, records: &[u8], now: u64) -> (usize, std::io::Result<()>, Lost) {
    let mut all = Lost::default();
    let (taken, result) = writer.append(records, now, &mut |lost| add(&mut all, lost));
    (taken, result, all)
}

fn add(all: &mut Lost, lost: Lost) {
    assert!(lost.prints.len() <= OF_ONE, "all at once");
    all.events += lost.events;
    all.prints.extend(lost.prints);
}

fn put_at(writer: &mut Writer, numbers: std::ops::Range<u32>, now: u64) -> Lost {
    let records: Vec<u8> = numbers.flat_map(numbered).collect();
    let (taken, result, lost) = append(writer, &records, now);
    result.unwrap();
    assert_eq!(taken, records.len());
    lost
}

fn put(writer: &mut Writer, numbers: std::ops::Range<u32>) -> Lost {
    put_at(writer, numbers, NOW)
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
    writer.keep(NOW).unwrap();
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
    writer.keep(NOW).unwrap();
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
    put(&mut writer, 0..60_000);
    let mut read = queue.read();
    queue.close();
    queue.return_all();
    assert!(queue.read().is_empty(), "not one more");
    // Names are told a segment at a time.
    let mut all = Lost::default();
    writer.clear(&mut |lost| add(&mut all, lost)).unwrap();
    assert_eq!((all.events, all.prints.len(), queue.len()), (60_000, 60_000, 0));
    assert!(segment::numbers(folder.path()).unwrap().is_empty());
    queue.finish(read[0].0);
    queue.return_all();
    assert!(queue.read().is_empty());
    queue.retain_held(&mut read);
    assert!(read.is_empty(), "nor those that were read before");
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
    let many: Vec<u8> = (1000..100_000).flat_map(numbered).collect();
    let (taken, result, lost) = append(&mut writer, &many, NOW);
    assert!(result.is_err() && taken > 500_000 && taken as u64 <= MEMORY && lost == Lost::default());
    assert_eq!(queue.octets(), 0);
    let read = read_all(&queue);
    assert_eq!(numbers_of(&read), (0..read.len() as u32).collect::<Vec<_>>());
    read.iter().for_each(|(ticket, _)| queue.finish(*ticket));
    // It is back.
    std::fs::remove_file(folder.path().join("file")).unwrap();
    put_at(&mut writer, 5..6, NOW + 60);
    assert!(queue.octets() > 0);
    writer.keep(NOW).unwrap();
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
            let lost = put_at(writer, batch * 4000..(batch + 1) * 4000, NOW + u64::from(batch) * seconds);
            assert_eq!(lost, Lost::default(), "{batch}");
            // What was there before is done with: less than all is free at any time.
            held.iter().for_each(|(ticket, _)| queue.finish(*ticket));
            held = read_all(queue);
            assert_eq!(numbers_of(&held), (batch * 4000..(batch + 1) * 4000).collect::<Vec<_>>());
            writer.keep(NOW).unwrap();
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
    put_at(&mut writer, 20..21, NOW - 3600);
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
    let left = {
        let (_writer, queue) = Writer::open(folder.path(), BOUND);
        assert_eq!(queue.unreadable(), 2, "a file each at least");
        numbers_of(&read_all(&queue))
    };
    assert!(left.len() < 18_000 && left.len() > 10_000 && left.is_sorted());
    assert_eq!(std::fs::read(folder.path().join("broken-0000000002")).unwrap(), octets);
    assert_eq!(std::fs::read(folder.path().join("broken-0000000003")).unwrap(), b"none of ours");
    assert_eq!(waiting_after_a_start(folder.path()), left, "once");
}

#[test]
fn few_of_the_files_that_are_damaged_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    for number in 1..=9 {
        std::fs::write(segment::path(folder.path(), number), "none of ours").unwrap();
    }
    let (_writer, queue) = Writer::open(folder.path(), BOUND);
    assert_eq!(queue.unreadable(), 9);
    let left = (1..=9).filter(|number| folder.path().join(format!("broken-{number:010}")).exists());
    assert_eq!(left.collect::<Vec<_>>(), [6, 7, 8, 9]);
}

/// Of the events that are skipped none is left.
#[test]
fn what_waits_is_counted_right_without_the_segment_that_was_read() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, queue) = Writer::open(folder.path(), BOUND);
    put(&mut writer, 0..20_000);
    queue.read()[..50].iter().for_each(|(ticket, _)| queue.finish(*ticket));
    writer.keep(NOW).unwrap();
    drop(writer);
    std::fs::write(segment::path(folder.path(), 1), "none of ours").unwrap();
    let left = waiting_after_a_start(folder.path());
    assert!(left.len() > 10_000);
}

#[test]
fn a_file_that_the_disk_does_not_give_back_costs_what_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, _) = Writer::open(folder.path(), BOUND);
    put(&mut writer, 0..20_000);
    drop(writer);
    let whole = std::fs::read(segment::path(folder.path(), 2)).unwrap();
    // Its header can be read or not.
    for good in [1, 0] {
        fail_reads_of(Some(("waiting-0000000002", rustix::io::Errno::IO)));
        let_read(good);
        let (writer, queue) = Writer::open(folder.path(), BOUND);
        fail_reads_of(None);
        assert!(queue.len() > 10_000 && queue.len() < 18_000 && writer.is_kept(), "{}", queue.len());
        assert_eq!((read_all(&queue).len() as u64, queue.unreadable()), (queue.len(), 1));
        assert_eq!(std::fs::read(folder.path().join("broken-0000000002")).unwrap(), whole);
        // It may be given back later.
        let is_there = std::fs::read(segment::path(folder.path(), 2)).is_ok_and(|octets| octets == whole);
        assert_eq!(is_there, good == 1);
    }
}

#[test]
fn a_folder_that_cannot_be_read_at_the_start_is_read_later() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, queue) = Writer::open(folder.path(), BOUND);
    put(&mut writer, 0..100);
    let read = read_all(&queue);
    read[..50].iter().for_each(|(ticket, _)| queue.finish(*ticket));
    writer.keep(NOW).unwrap();
    drop(writer);
    // As where there are no more files to be had.
    fail_reads_of(Some(("waiting-", rustix::io::Errno::MFILE)));
    let (mut writer, queue) = Writer::open(folder.path(), BOUND);
    put(&mut writer, 100..200);
    let read = read_all(&queue);
    assert_eq!(numbers_of(&read), (100..200).collect::<Vec<_>>());
    read[..10].iter().for_each(|(ticket, _)| queue.finish(*ticket));
    assert!(!writer.is_kept(), "they are in memory alone");
    fail_reads_of(None);
    writer.keep(NOW + 60).unwrap();
    assert!(writer.is_kept() && queue.len() == 140);
    put(&mut writer, 200..210);
    // What was on its way is sent again.
    let all: Vec<u32> = (50..100).chain(110..210).collect();
    assert_eq!(numbers_of(&read_all(&queue)), all);
    drop(writer);
    assert_eq!(waiting_after_a_start(folder.path()), all);
}

#[test]
fn what_is_forbidden_is_forgotten_also_where_it_could_not_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, _) = Writer::open(folder.path(), BOUND);
    put(&mut writer, 0..100);
    drop(writer);
    fail_reads_of(Some(("waiting-", rustix::io::Errno::MFILE)));
    let (mut writer, queue) = Writer::open(folder.path(), BOUND);
    queue.close();
    writer.clear(&mut |_| {}).unwrap();
    put(&mut writer, 100..110);
    fail_reads_of(None);
    writer.keep(NOW + 60).unwrap();
    assert_eq!(numbers_of(&read_all(&queue)), (100..110).collect::<Vec<_>>());
    drop(writer);
    assert_eq!(waiting_after_a_start(folder.path()), (100..110).collect::<Vec<_>>());
}

#[test]
fn a_file_that_cannot_be_opened_just_now_is_not_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, queue) = Writer::open(folder.path(), BOUND);
    put(&mut writer, 0..10);
    fail_reads_of(Some(("waiting-", rustix::io::Errno::MFILE)));
    assert!(queue.read().is_empty());
    fail_reads_of(None);
    assert_eq!((numbers_of(&read_all(&queue)), queue.unreadable()), ((0..10).collect(), 0));
}

#[test]
fn few_files_are_open_however_many_wait() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, queue) = Writer::open(folder.path(), BOUND);
    let open = || {
        let files = std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|file| std::fs::read_link(file.unwrap().path()).ok());
        files.filter(|file| file.starts_with(folder.path())).count()
    };
    put(&mut writer, 0..50_000);
    assert!(segment::numbers(folder.path()).unwrap().len() > 8);
    // The cursor, and what is appended to.
    assert_eq!(open(), 2);
    read_all(&queue);
    assert_eq!(open(), 2);
    drop(writer);
    let (_writer, _queue) = Writer::open(folder.path(), BOUND);
    assert_eq!(open(), 2);
}

#[test]
fn a_block_that_the_machine_lost_is_not_taken_for_the_one_that_follows() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, queue) = Writer::open(folder.path(), BOUND);
    put(&mut writer, 0..10);
    let path = segment::path(folder.path(), 1);
    let end = std::fs::metadata(&path).unwrap().len();
    put(&mut writer, 10..20);
    read_all(&queue)[..15].iter().for_each(|(ticket, _)| queue.finish(*ticket));
    writer.keep(NOW).unwrap();
    writer.sync().unwrap();
    drop(writer);
    // The cursor reached the disk, and the second block did not.
    std::fs::File::options().write(true).open(&path).unwrap().set_len(end).unwrap();
    let (mut writer, _) = Writer::open(folder.path(), BOUND);
    put(&mut writer, 20..30);
    drop(writer);
    assert_eq!(waiting_after_a_start(folder.path()), (20..30).collect::<Vec<_>>());
}

#[test]
fn nothing_of_a_damaged_segment_waits_when_it_had_to_go() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, queue) = Writer::open(folder.path(), BOUND);
    put(&mut writer, 0..4000);
    put(&mut writer, 4000..20_000);
    let first = read_all(&queue).len() as u64;
    queue.return_all();
    let path = segment::path(folder.path(), 1);
    let mut octets = std::fs::read(&path).unwrap();
    let middle = octets.len() / 2;
    octets[middle] ^= 1;
    std::fs::write(&path, octets).unwrap();
    let mut all = Lost::default();
    writer.clear(&mut |lost| add(&mut all, lost)).unwrap();
    assert_eq!((all.events, queue.len()), (first, 0));
    assert!(all.prints.len() < 20_000, "those that cannot be read are not told");
}

#[test]
fn a_place_that_cannot_be_written_down_keeps_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, queue) = Writer::open(folder.path(), BOUND);
    put(&mut writer, 0..20_000);
    let files = || segment::numbers(folder.path()).unwrap().len();
    let before = files();
    read_all(&queue).iter().for_each(|(ticket, _)| queue.finish(*ticket));
    crash_after(Some(0));
    writer.keep(NOW).unwrap_err();
    crash_after(None);
    assert_eq!(files(), before);
    writer.keep(NOW).unwrap();
    assert_eq!(files(), 1, "none is forgotten");
    drop(writer);
    assert!(waiting_after_a_start(folder.path()).is_empty(), "and nothing is sent twice");
}

#[test]
fn a_full_disk_is_not_filled_with_empty_files() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, queue) = Writer::open(folder.path(), BOUND);
    for time in 0..20 {
        // A file can be begun, and nothing appended to it.
        crash_after(Some(2));
        put_at(&mut writer, time * 10..time * 10 + 10, NOW + u64::from(time) * 10);
        crash_after(None);
        let read = read_all(&queue);
        assert_eq!(numbers_of(&read), (time * 10..time * 10 + 10).collect::<Vec<_>>());
        read.iter().for_each(|(ticket, _)| queue.finish(*ticket));
        writer.keep(NOW + u64::from(time) * 10).unwrap();
        assert!(segment::numbers(folder.path()).unwrap().is_empty(), "{time}");
    }
}

#[test]
fn what_was_in_memory_is_brought_to_the_disk_that_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, queue) = Writer::open(folder.path(), BOUND);
    put(&mut writer, 0..10);
    crash_after(Some(0));
    put(&mut writer, 10..6000);
    let read = read_all(&queue);
    assert!(!writer.is_kept());
    crash_after(None);
    writer.keep(NOW + 10).unwrap();
    assert!(writer.is_kept());
    // Tickets are good all the same.
    read[..20].iter().for_each(|(ticket, _)| queue.finish(*ticket));
    writer.keep(NOW + 10).unwrap();
    put_at(&mut writer, 6000..6010, NOW + 10);
    drop(writer);
    assert_eq!(waiting_after_a_start(folder.path()), (20..6010).collect::<Vec<_>>());
}

#[test]
fn a_segment_that_may_not_be_on_the_disk_is_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, queue) = Writer::open(folder.path(), BOUND);
    fail_syncs_of(Some("waiting-"));
    put(&mut writer, 0..12_000);
    assert!(!writer.is_kept() && segment::numbers(folder.path()).unwrap().len() == 1);
    writer.sync().unwrap_err();
    put_at(&mut writer, 12_000..12_010, NOW + 10);
    fail_syncs_of(None);
    put_at(&mut writer, 12_010..12_020, NOW + 20);
    assert!(writer.is_kept() && queue.len() == 12_020);
    writer.sync().unwrap();
    drop(writer);
    assert_eq!(waiting_after_a_start(folder.path()), (0..12_020).collect::<Vec<_>>());
}

/// The kernel says once that it could not write pages back, and counts them as written.
#[test]
fn a_segment_that_could_not_be_synced_once_is_written_again() {
    use std::os::unix::fs::MetadataExt as _;

    let folder = tempfile::tempdir().unwrap();
    let (mut writer, queue) = Writer::open(folder.path(), BOUND);
    put(&mut writer, 0..10);
    let path = segment::path(folder.path(), 1);
    let before = std::fs::metadata(&path).unwrap().ino();
    fail_syncs_of(Some("waiting-"));
    writer.sync().unwrap_err();
    fail_syncs_of(None);
    writer.sync().unwrap_err();
    assert!(!writer.is_kept());
    put(&mut writer, 10..20);
    assert!(writer.is_kept() && queue.len() == 20);
    writer.sync().unwrap();
    assert_ne!(std::fs::metadata(&path).unwrap().ino(), before);
    drop(writer);
    assert_eq!(waiting_after_a_start(folder.path()), (0..20).collect::<Vec<_>>());
}

#[test]
fn all_files_that_had_to_go_do_so_later() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, queue) = Writer::open(folder.path(), BOUND);
    put(&mut writer, 0..10);
    let (first, aside) = (segment::path(folder.path(), 1), folder.path().join("aside"));
    std::fs::rename(&first, &aside).unwrap();
    std::fs::create_dir(&first).unwrap();
    writer.clear(&mut |_| {}).unwrap_err();
    // A second file is begun, and can be neither appended to nor removed.
    crash_after(Some(2));
    put(&mut writer, 10..20);
    crash_after(None);
    std::fs::remove_dir(&first).unwrap();
    std::fs::rename(&aside, &first).unwrap();
    writer.keep(NOW + 10).unwrap();
    assert_eq!((segment::numbers(folder.path()).unwrap(), queue.len()), (vec![3], 10));
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
    writer.keep(NOW).unwrap();
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
