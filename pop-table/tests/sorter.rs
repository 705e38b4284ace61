//! What comes in any order, and more than once, goes out as a map of it would.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Model, codes, collected, key, names};
use proptest::prelude::*;
use tapir_table::{Codes, KeyBuf, Palette, SortError, Sorter, Spill, TableFile, TableWriter};

/// As in a map, the later one counts: this shows the order in which values are combined.
fn later(_: Codes, later: Codes) -> Codes {
    later
}

fn sorted(mut sorter: Sorter, names: &[(KeyBuf, Codes)]) -> Result<TableFile, SortError> {
    for (key, codes) in names {
        sorter.push(key, *codes)?;
    }
    let mut table = TableWriter::new(Vec::new())?;
    sorter.finish(&mut table)?;
    Ok(TableFile::from_memory(table.finish(0, &Palette::default())?.0)?)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn is_a_map(
        names in prop::collection::vec((key(), codes()), 0..1500),
        again in prop::collection::vec((any::<prop::sample::Index>(), codes()), 0..200),
        arena in prop_oneof![Just(600_usize), Just(4096), Just(1 << 20)],
    ) {
        let mut names: Vec<_> = names.into_iter().filter(|(_, codes)| *codes != Codes::SILENT).collect();
        for (index, codes) in again {
            if !names.is_empty() && codes != Codes::SILENT {
                names.push((index.get(&names).0, codes));
            }
        }
        let wanted: Vec<_> = names.iter().copied().collect::<Model>().into_iter().collect();
        let folder = tempfile::tempdir().unwrap();
        for spill in [Spill::Folder(folder.path().to_owned()), Spill::Memory(1 << 20)] {
            let sorter = Sorter::new(spill, later).with_arena(arena);
            prop_assert_eq!(&collected(sorted(sorter, &names).unwrap().scan()), &wanted);
        }
        prop_assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "runs have no names");
    }
}

#[test]
fn memory_has_its_limit_and_a_missing_folder_is_named() {
    let mut numbers = names::Numbers::new(1);
    let names: Vec<_> = (0..5000).map(|_| (KeyBuf::from_text(&names::name(&mut numbers), 254).unwrap(), Codes::LISTED)).collect();
    let sorter = Sorter::new(Spill::Memory(10_000), later).with_arena(4096);
    assert!(matches!(sorted(sorter, &names), Err(SortError::TooLarge { limit: 10_000 })));
    let sorter = Sorter::new(Spill::Memory(200_000), later).with_arena(4096);
    assert!(sorted(sorter, &names).unwrap().nodes() > 4500, "runs that were merged do not count twice");
    let sorter = Sorter::new(Spill::Folder("/nowhere/at/all".into()), later).with_arena(4096);
    let error = sorted(sorter, &names).unwrap_err();
    assert_eq!(error.to_string(), "spilling names to /nowhere/at/all");
}
