use std::os::unix::fs::symlink;
use std::time::Duration;

use super::super::{ReasonLabels, SessionRow};
use super::*;
use crate::decode::Message;
use crate::names::WireName;
use crate::pseudonym::{CryptoPan, Key};

const BOUND: Bound = Bound { octets: 64 << 20, files: 9, age: Duration::from_secs(3600) };

fn keeper(folder: &tempfile::TempDir, counters: &Counters) -> Keeper {
    let pseudonyms = Some(Cache::new(CryptoPan::new(&Key::of_octets([7; 32])), 4));
    let terms = Terms { bound: BOUND, kept: Kept::default(), pseudonyms };
    Keeper::new(folder.path().to_owned(), 0, terms, counters.clone())
}

/// Rows with identities of so many octets, which do not compress.
fn block(identities: &[usize]) -> Block {
    let mut block = Block::new();
    let mut state = 1_u64;
    for length in identities {
        let identity: Vec<u8> = (0..*length)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        let message = Message { identity: &identity, ..Message::default() };
        assert!(block.push(&SessionRow { message, name: WireName::ROOT }));
    }
    block
}

fn dropped(counters: &Counters, reason: Reason) -> u64 {
    counters.rows_dropped.get_or_create(&ReasonLabels { reason }).get()
}

#[test]
fn every_row_that_is_lost_is_counted_once() {
    let (folder, counters) = (tempfile::tempdir().unwrap(), Counters::default());
    symlink("/dev/full", folder.path().join(format!("{IN_THE_MAKING}.tmp"))).unwrap();
    let mut keeper = keeper(&folder, &counters);
    // The second is larger than a row group, and with the last but one more is written than is gathered in memory.
    keeper.add(&block(&[10, 200_000, 90_000, 90_000, 90_000]), Bounds { octets: 100_000, rows: 9 });
    assert_eq!((dropped(&counters, Reason::TooLarge), dropped(&counters, Reason::WriteFailed)), (1, 4));
    assert_eq!(counters.write_failures.get(), 1);
}

#[test]
fn nothing_is_written_beyond_the_bound_where_the_disk_lets_nothing_go() {
    let (folder, counters) = (tempfile::tempdir().unwrap(), Counters::default());
    let mut keeper = keeper(&folder, &counters);
    // No file, and so nothing that could be removed as one.
    std::fs::create_dir(folder.path().join("stays")).unwrap();
    keeper.finished = vec![Entry { name: "stays".to_owned(), octets: BOUND.octets, modified: SystemTime::now() }];
    keeper.take(&block(&[10, 10]));
    assert_eq!((dropped(&counters, Reason::FileFull), keeper.file.is_none()), (2, true));
    keeper.finished.clear();
    keeper.closed = None;
    keeper.take(&block(&[10, 10]));
    assert_eq!((dropped(&counters, Reason::FileFull), keeper.file.is_some()), (2, true));
}
