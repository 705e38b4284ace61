//! Files that are not as they were written, or that the disk does not give back.

use super::*;
use crate::events::writes::{fail_reads_of, hold_names, let_read};

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

/// Neither hard links, nor a folder whose damaged files go.
#[test]
fn what_is_kept_for_a_person_is_no_reason_to_wait_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, _) = Writer::open(folder.path(), BOUND);
    put(&mut writer, 0..20_000);
    drop(writer);
    for number in 100..110 {
        std::fs::write(folder.path().join(format!("broken-{number:010}")), "").unwrap();
    }
    hold_names(Some("broken"));
    fail_reads_of(Some(("waiting-0000000002", rustix::io::Errno::IO)));
    let_read(1);
    let (writer, queue) = Writer::open(folder.path(), BOUND);
    fail_reads_of(None);
    hold_names(None);
    assert!(queue.len() > 10_000 && writer.is_kept(), "{}", queue.len());
    assert_eq!((read_all(&queue).len() as u64, queue.unreadable()), (queue.len(), 1));
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
