use super::super::gate::tests::open_settings;
use super::*;
use crate::events::queue::record::tests::record;
use crate::events::seen::{Fingerprint, Found, Kind};
use crate::events::writes::{fail_reads_of, fail_syncs_of, synced};

const LOG: &str = "seen-0000000001.log";

const NAME: &[u8] = b"\x03www\x07example\0";

fn open(folder: &Path, seen_names: usize) -> Clerk {
    let settings = Settings { seen_names, ..open_settings() };
    let (handover, table) = (Arc::default(), Arc::new(ArcSwap::from_pointee(Table::new(0))));
    Clerk::open(folder, &settings, &Budget::new(64 << 20), handover, table, Counters::default()).clerk
}

fn print(clerk: &Clerk, name: &[u8]) -> Fingerprint {
    clerk.table.load().secret().fingerprint(name)
}

fn is_known(clerk: &Clerk, name: &[u8]) -> bool {
    clerk.table.load().find(print(clerk, name)) != Found::New
}

/// As a connection does it.
fn give(clerk: &mut Clerk, name: &[u8]) {
    let print = print(clerk, name);
    clerk.table.load().mark(print);
    clerk.take(Batch { events: record(name, print), marks: vec![(Kind::Mark, print)], ..Batch::default() });
}

/// A clerk that was given an event and its mark.
fn clerk(folder: &Path, seen_names: usize) -> Clerk {
    let mut clerk = open(folder, seen_names);
    give(&mut clerk, NAME);
    clerk
}

#[test]
fn events_are_safe_before_their_marks_are() {
    let folder = tempfile::tempdir().unwrap();
    let mut clerk = clerk(folder.path(), 1000);
    clerk.write();
    assert!(synced().is_empty());
    fail_syncs_of(Some("waiting-"));
    clerk.sync();
    assert!(synced().is_empty() && clerk.unsynced, "not the mark alone");
    fail_syncs_of(None);
    clerk.sync();
    assert!(synced().is_empty() && clerk.unsynced, "the disk says only once that it has lost something");
    // The segment is written again.
    clerk.write();
    assert!(clerk.unsynced, "that this went well says nothing of the other");
    clerk.sync();
    assert_eq!(synced(), [LOG]);
    assert!(!clerk.unsynced);
    give(&mut clerk, b"\x01a\x07example\0");
    clerk.write();
    clerk.sync();
    assert_eq!(synced(), ["waiting-0000000002.seg", LOG]);
}

#[test]
fn events_are_safe_before_the_next_generation_of_marks_begins() {
    let folder = tempfile::tempdir().unwrap();
    // A single one is a generation.
    let mut clerk = clerk(folder.path(), 1);
    let next = folder.path().join("seen/seen-0000000002.log");
    fail_syncs_of(Some("waiting-"));
    clerk.write();
    assert!(synced().is_empty() && clerk.unwritten && !next.exists());
    fail_syncs_of(None);
    clerk.write();
    assert_eq!(synced()[..1], [LOG]);
    assert!(!clerk.unwritten && next.exists());
}

#[test]
fn a_name_whose_event_is_in_memory_alone_is_new_after_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let waiting = folder.path().join("waiting");
    std::fs::write(&waiting, "no folder").unwrap();
    let mut first = clerk(folder.path(), 1000);
    first.write();
    first.sync();
    assert_eq!((first.writer.queue().len(), first.writer.queue().octets()), (1, 0));
    assert!(is_known(&first, NAME));
    drop(first);
    let mut second = open(folder.path(), 1000);
    assert!(!is_known(&second, NAME), "nobody will ever hear of it");
    give(&mut second, NAME);
    second.write();
    // The disk is back: what waits goes there, and then the mark.
    std::fs::remove_file(&waiting).unwrap();
    second.writer.use_folder(&waiting);
    second.write();
    assert!(second.writer.queue().octets() > 0);
    second.write();
    drop(second);
    let third = open(folder.path(), 1000);
    assert!(is_known(&third, NAME) && third.writer.queue().len() == 1);
}

#[test]
fn names_that_could_not_be_read_at_the_start_are_read_later() {
    for unreadable in ["secret", "seen-"] {
        let folder = tempfile::tempdir().unwrap();
        let mut first = clerk(folder.path(), 1000);
        first.write();
        drop(first);
        fail_reads_of(Some((unreadable, rustix::io::Errno::MFILE)));
        let mut second = open(folder.path(), 1000);
        assert!(!is_known(&second, NAME));
        give(&mut second, b"\x01a\x07example\0");
        second.write();
        second.try_folder();
        assert!(!second.ledger.is_open());
        fail_reads_of(None);
        second.tried = Instant::now().checked_sub(RETRY).unwrap();
        second.try_folder();
        assert!(second.ledger.is_open() && is_known(&second, NAME), "{unreadable}");
        give(&mut second, b"\x01b\x07example\0");
        second.write();
        drop(second);
        let third = open(folder.path(), 1000);
        assert!(is_known(&third, NAME) && is_known(&third, b"\x01b\x07example\0"), "{unreadable}");
    }
}

#[test]
fn a_folder_that_was_in_use_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = clerk(folder.path(), 1000);
    first.write();
    let mut second = open(folder.path(), 1000);
    give(&mut second, b"\x01a\x07example\0");
    second.write();
    assert_eq!((second.writer.queue().len(), second.writer.queue().octets()), (1, 0));
    drop(first);
    second.tried = Instant::now().checked_sub(RETRY).unwrap();
    second.try_folder();
    second.write();
    assert_eq!(second.writer.queue().len(), 2);
    drop(second);
    assert_eq!(open(folder.path(), 1000).writer.queue().len(), 2);
}

#[test]
fn names_of_what_is_forgotten_are_new_after_the_end_however_many() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = open(folder.path(), 400_000);
    let name = |number: u32| [b"\x04".as_slice(), &number.to_be_bytes(), b"\x07example\0"].concat();
    for batch in 0..50 {
        (batch * 4000..(batch + 1) * 4000).for_each(|number| give(&mut first, &name(number)));
        first.write();
    }
    assert_eq!(first.writer.queue().len(), 200_000);
    first.take(Batch { clear: true, ..Batch::default() });
    first.write();
    assert_eq!((first.writer.queue().len(), first.counters.disabled.get(), first.table.load().len()), (0, 200_000, 0));
    drop(first);
    assert_eq!(open(folder.path(), 400_000).table.load().len(), 0);
}

/// Its mark waits for a log that takes nothing; then the event has to go, and the name is asked for again.
#[test]
fn a_mark_goes_with_its_event_although_the_name_is_new_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = clerk(folder.path(), 1000);
    first.append(now()).unwrap();
    first.take(Batch { clear: true, ..Batch::default() });
    first.go_on_clearing().unwrap();
    // Another connection has the new event, which was not taken yet.
    first.table.load().mark(print(&first, NAME));
    first.write();
    drop(first);
    assert!(!is_known(&open(folder.path(), 1000), NAME), "nobody will ever hear of it");
}

/// The table has forgotten a name to make room, the log has not.
#[test]
fn a_lost_event_is_written_down_also_where_the_table_has_no_mark() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = clerk(folder.path(), 1000);
    first.write();
    first.table.load().unmark(print(&first, NAME));
    first.take(Batch { clear: true, ..Batch::default() });
    first.write();
    drop(first);
    assert!(!is_known(&open(folder.path(), 1000), NAME));
}

#[test]
fn names_forgotten_are_counted_on_with_another_table() {
    let folder = tempfile::tempdir().unwrap();
    let mut clerk = open(folder.path(), 100);
    let name = |number: u32| [b"\x04".as_slice(), &number.to_be_bytes(), b"\x07example\0"].concat();
    (0..2000).for_each(|number| give(&mut clerk, &name(number)));
    clerk.write();
    let before = clerk.counters.seen_forgotten.get();
    assert!(before > 1000);
    clerk.take(Batch { settings: Some(Settings { seen_names: 50, ..open_settings() }), ..Batch::default() });
    (2000..2300).for_each(|number| give(&mut clerk, &name(number)));
    clerk.write();
    let after = clerk.counters.seen_forgotten.get();
    assert!(after > before + 100, "{before} {after}");
}

#[test]
fn what_was_set_aside_does_not_stay_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let [old, new] =
        [("seen", "broken"), ("waiting", "broken-0000000007")].map(|(part, name)| folder.path().join(part).join(name));
    for file in [&old, &new] {
        std::fs::create_dir(file.parent().unwrap()).unwrap();
        std::fs::write(file, "x").unwrap();
    }
    let age = open_settings().forget_after + Duration::from_secs(60);
    File::options().write(true).open(&old).unwrap().set_modified(SystemTime::now() - age).unwrap();
    drop(open(folder.path(), 1000));
    assert!(!old.exists() && new.exists());
    // Nor does it stay beyond what the folder may hold.
    drop_broken(folder.path(), &Settings { waiting_octets: 0, ..open_settings() });
    assert!(!new.exists());
}
