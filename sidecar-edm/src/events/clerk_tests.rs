use super::super::gate::tests::open_settings;
use super::*;
use crate::events::queue::record::tests::record;
use crate::events::writes::{fail_syncs_of, synced};

const QUEUE: &str = "waiting-0000000001.seg";
const LOG: &str = "seen-0000000001.log";

/// A clerk that was given an event and its mark.
fn clerk(folder: &Path, seen_names: usize) -> Clerk {
    let settings = Settings { seen_names, ..open_settings() };
    let (handover, table) = (Arc::default(), Arc::new(ArcSwap::from_pointee(Table::new(0))));
    let Start { mut clerk, secret, .. } =
        Clerk::open(folder, &settings, &Budget::new(64 << 20), handover, table, Counters::default());
    let name = b"\x03www\x07example\0";
    let print = secret.fingerprint(name);
    clerk.take(Batch { events: record(name, print), marks: vec![(Kind::Mark, print)], ..Batch::default() });
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
    assert!(synced().is_empty() && clerk.troubled, "not the mark alone");
    fail_syncs_of(None);
    clerk.sync();
    assert_eq!(synced(), [QUEUE, LOG]);
    assert!(!clerk.troubled);
}

#[test]
fn events_are_safe_before_the_next_generation_of_marks_begins() {
    let folder = tempfile::tempdir().unwrap();
    // A single one is a generation.
    let mut clerk = clerk(folder.path(), 1);
    let next = folder.path().join("seen/seen-0000000002.log");
    fail_syncs_of(Some("waiting-"));
    clerk.write();
    assert!(synced().is_empty() && clerk.troubled && !next.exists());
    fail_syncs_of(None);
    clerk.write();
    assert_eq!(synced()[..2], [QUEUE, LOG]);
    assert!(!clerk.troubled && next.exists());
}
