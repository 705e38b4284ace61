//! Damage is found, and what no checksum can find is no panic and no endless loop.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::fs::File;
use std::io::Write;

use common::{Model, Seen, key, model, names, written};
use proptest::prelude::*;
use tapir_table::{
    Codes, Cursor, KeyBuf, OpenError, Palette, ReadError, RecordSet, TableFile, TableWriter, Trail, Value, WriteError,
};

const HEAD: usize = 8;
const FOOT: usize = 72;

/// Some blocks, ancestors, two kinds of forms, a palette.
fn sample() -> (Model, Vec<u8>) {
    let mut palette = Palette::default();
    let local = palette.intern(RecordSet::new(vec![(1, vec![192, 0, 2, 1])]).unwrap()).unwrap();
    let mut model: Model = names::sorted(160, 9).into_iter().map(|key| (key, Codes::LISTED)).collect();
    for (index, codes) in model.values_mut().enumerate().skip(90) {
        codes.own = if index % 2 == 0 { tapir_table::Code::DROP } else { local };
    }
    model.insert(KeyBuf::from_text("com", 254).unwrap(), Codes::new(tapir_table::Code::DROP, tapir_table::Code::NODATA));
    let octets = written(&model, 1, &palette);
    (model, octets)
}

/// Reads everything in every way. Whatever says it is right must be right.
fn nothing_wrong(octets: Vec<u8>, model: &Model) -> Result<(), String> {
    let table = TableFile::<Codes>::from_memory(octets).map_err(|error| error.to_string())?;
    let mut trail = Trail::new();
    let mut failed = None;
    for (key, codes) in model.iter().step_by(20) {
        match table.get(key.as_bytes(), &mut trail) {
            Ok(found) => assert_eq!(found, Some(*codes), "{key}"),
            Err(error) => failed = Some(error.to_string()),
        }
    }
    let (mut scan, mut wanted) = (table.scan(), model.iter());
    loop {
        match scan.advance() {
            Ok(true) => assert_eq!(wanted.next(), Some((scan.key(), &scan.value()))),
            Ok(false) => break assert_eq!(wanted.next(), None, "ends early"),
            Err(error) => return Err(error.to_string()),
        }
    }
    failed.map_or(Ok(()), Err)
}

#[test]
fn every_truncation_is_an_error() {
    let (model, octets) = sample();
    assert_eq!(nothing_wrong(octets.clone(), &model), Ok(()));
    for length in 0..octets.len() {
        let error = TableFile::<Codes>::from_memory(&octets[..length]).unwrap_err();
        assert!(matches!(error, OpenError::NoTable), "{length}: {error}");
    }
}

#[test]
fn every_flipped_bit_is_an_error() {
    let (model, octets) = sample();
    assert!(layout(&octets).0.len() > 2, "several blocks");
    for at in 0..octets.len() {
        for bit in 0..8 {
            let mut octets = octets.clone();
            octets[at] ^= 1 << bit;
            assert!(nothing_wrong(octets, &model).is_err(), "bit {bit} of octet {at}");
        }
    }
}

#[test]
fn a_file_that_shrinks_or_changes_under_us_is_an_error() {
    let (_, octets) = sample();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.tab");
    std::fs::write(&path, &octets).unwrap();
    let table = TableFile::<Codes>::open(File::open(&path).unwrap()).unwrap();
    std::fs::write(&path, &octets[..100]).unwrap();
    assert!(matches!(table.scan().advance(), Err(ReadError::Io(_))));
    assert!(matches!(table.get(b"\x03com", &mut Trail::new()), Err(ReadError::Io(_))));
    let mut file = File::options().write(true).open(&path).unwrap();
    file.write_all(&vec![0xff; octets.len()]).unwrap();
    assert!(matches!(table.scan().advance(), Err(ReadError::Damaged(8))));
    assert!(matches!(table.get(b"\x03com", &mut Trail::new()), Err(ReadError::Damaged(_))));
}

#[test]
fn a_full_disk_is_an_error() {
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let mut writer = TableWriter::new(full()).unwrap();
    writer.push(&KeyBuf::from_text("example", 254).unwrap(), Codes::LISTED).unwrap();
    let error = writer.finish(0, &Palette::default()).unwrap_err();
    assert!(matches!(&error, WriteError::Io(error) if error.kind() == std::io::ErrorKind::StorageFull), "{error:?}");
    let mut writer = TableWriter::new(full()).unwrap();
    let refused = names::sorted(20_000, 4).iter().find_map(|key| writer.push(key, Codes::LISTED).err());
    assert!(matches!(refused, Some(WriteError::Io(_))), "found long before the end");
}

/// Start and end of all blocks, and where the foot begins.
fn layout(octets: &[u8]) -> (Vec<(usize, usize)>, usize, usize) {
    let foot = octets.len() - FOOT;
    let long = |at: usize| u64::from_be_bytes(octets[at..at + 8].try_into().unwrap()) as usize;
    let palette = long(foot + 32);
    let mut blocks = Vec::new();
    let mut at = HEAD;
    while at < palette {
        let length = usize::from(u16::from_be_bytes([octets[at], octets[at + 1]]));
        blocks.push((at, at + length));
        at += length;
    }
    (blocks, palette, foot)
}

/// Makes all checksums right again.
fn repaired(octets: &mut [u8], (blocks, palette, foot): &(Vec<(usize, usize)>, usize, usize)) {
    for (start, end) in blocks {
        let checksum = crc32fast::hash(&octets[*start..end - 4]);
        octets[end - 4..*end].copy_from_slice(&checksum.to_be_bytes());
    }
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&octets[..HEAD]);
    hasher.update(&octets[*palette..*foot]);
    hasher.update(&octets[*foot..foot + 56]);
    octets[foot + 56..foot + 60].copy_from_slice(&hasher.finalize().to_be_bytes());
}

/// Uses a table that may be anything. What comes out of a scan ascends, and ends.
fn survives<V: Value>(octets: Vec<u8>, asked: &[KeyBuf]) {
    let most = octets.len();
    let Ok(table) = TableFile::<V>::from_memory(octets) else { return };
    let mut trail = Trail::new();
    let mut scan = table.scan();
    for key in asked {
        _ = table.get(key.as_bytes(), &mut trail);
        _ = scan.seek(key.as_bytes());
        _ = scan.advance();
    }
    let mut scan = table.scan();
    let mut before = KeyBuf::ROOT;
    let mut count = 0;
    while let Ok(true) = scan.advance() {
        assert!(*scan.key() > before, "{} after {before}", scan.key());
        assert_eq!(scan.shared(), tapir_table::common_prefix(before.as_bytes(), scan.key().as_bytes()));
        before = *scan.key();
        count += 1;
        assert!(count <= most, "does not end");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_was_made_to_look_right_is_no_panic(
        model in model(300),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        asked in prop::collection::vec(key(), 10),
    ) {
        let mut octets = written(&model, 1, &Palette::default());
        let layout = layout(&octets);
        for (index, octet) in changes {
            *index.get_mut(&mut octets) = octet;
        }
        repaired(&mut octets, &layout);
        survives::<Codes>(octets, &asked);
    }

    #[test]
    fn nor_with_other_values(
        model in prop::collection::btree_map(key(), common::seen(), 1..200),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        asked in prop::collection::vec(key(), 10),
    ) {
        let mut octets = written::<Seen>(&model, 1, &Palette::default());
        let layout = layout(&octets);
        for (index, octet) in changes {
            *index.get_mut(&mut octets) = octet;
        }
        repaired(&mut octets, &layout);
        survives::<Seen>(octets, &asked);
    }

    /// A block of any octets, everything around it right.
    #[test]
    fn nor_a_block_of_anything(content in prop::collection::vec(any::<u8>(), 4..600), asked in prop::collection::vec(key(), 10)) {
        let mut octets = b"TAPTAB1\0".to_vec();
        let length = content.len() + 6;
        octets.extend((length as u16).to_be_bytes());
        octets.extend([content[0] & 1, content[1] % 3]);
        octets.extend(&content[2..]);
        octets.extend([0; 4]);
        let end = octets.len();
        octets.extend([1, 1]);
        octets.extend((length as u16).to_be_bytes());
        let foot = octets.len();
        octets.extend([1, 0, 0, 0, 0, 0, 0, 1]);
        octets.extend([0; 16]);
        octets.extend([0, 0, 0, 1, 0, 0, 0, 0]);
        for place in [end, end, foot + FOOT] {
            octets.extend((place as u64).to_be_bytes());
        }
        octets.extend([0; 8]);
        octets.extend(b"TAPEND1\0");
        repaired(&mut octets, &(vec![(HEAD, end)], end, foot));
        prop_assert!(TableFile::<Codes>::from_memory(octets.clone()).is_ok(), "everything around it is right");
        survives::<Codes>(octets, &asked);
    }

    #[test]
    fn nor_anything_at_all(octets in prop::collection::vec(any::<u8>(), 0..300)) {
        survives::<Codes>(octets.clone(), &[]);
        let _ = Palette::read(&octets);
        let _ = KeyBuf::from_key(&octets);
        let _ = KeyBuf::from_wire(&octets, 254);
        let _ = KeyBuf::from_text(&String::from_utf8_lossy(&octets), 254);
    }
}
