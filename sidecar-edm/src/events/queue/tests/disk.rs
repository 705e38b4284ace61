//! A disk that takes nothing, or not at this moment.

use super::*;
use crate::events::writes::{crash_after, fail_reads_of, fail_syncs_of, synced};

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
