//! A table file says what a map of the same names would say.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Model, collected, expected_trail, key, model, seen, table, written};
use proptest::prelude::*;
use tapir_table::{
    Codes, Cursor, KeyBuf, Listed, MAX_KEY, Palette, RecordSet, Staged, TableFile, TableWriter, Trail, WriteError,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn is_a_map(model in model(800), asked in prop::collection::vec(key(), 40)) {
        let table = table(&model);
        prop_assert_eq!(table.nodes(), model.len() as u64);
        prop_assert_eq!(table.records(), model.values().map(tapir_table::Value::records).sum::<u64>());
        prop_assert_eq!(collected(table.scan()), model.clone().into_iter().collect::<Vec<_>>());
        let mut trail = Trail::new();
        // Names that are there, and names below and beside them.
        for key in model.keys().chain(&asked) {
            prop_assert_eq!(table.get(key.as_bytes(), &mut trail).unwrap(), model.get(key).copied());
            prop_assert_eq!(common::trail(&trail), expected_trail(&model, key));
            let mut below = key.as_bytes().to_vec();
            below.extend(b"\x01a\x02bb");
            if let Ok(below) = KeyBuf::from_key(&below) {
                table.get(below.as_bytes(), &mut trail).unwrap();
                prop_assert_eq!(common::trail(&trail), expected_trail(&model, &below));
            }
        }
        let mut scan = table.scan();
        for key in &asked {
            let rest: Vec<_> = model.range(*key..).map(|(key, codes)| (*key, *codes)).collect();
            prop_assert_eq!(scan.seek(key.as_bytes()).unwrap(), !rest.is_empty());
            if let Some((first, others)) = rest.split_first() {
                prop_assert_eq!((*scan.key(), scan.value()), *first);
                // The rest of a long table says nothing new each time.
                for other in others.iter().take(50) {
                    prop_assert!(scan.advance().unwrap());
                    prop_assert_eq!((*scan.key(), scan.value()), *other);
                }
            }
        }
    }

    #[test]
    fn is_a_map_of_other_values(model in prop::collection::btree_map(key(), seen(), 0..500)) {
        let table = table(&model);
        prop_assert_eq!(collected(table.scan()), model.clone().into_iter().collect::<Vec<_>>());
        let mut trail = Trail::new();
        for key in model.keys() {
            prop_assert_eq!(table.get(key.as_bytes(), &mut trail).unwrap(), model.get(key).copied());
            prop_assert_eq!(common::trail(&trail), expected_trail(&model, key));
        }
    }
}

#[test]
fn a_name_has_127_labels_and_each_ancestor_is_on_its_trail() {
    let deepest = KeyBuf::from_key(&b"\x01a".repeat(127)).unwrap();
    let model: Model = deepest.borders().map(|length| (deepest.truncated(length), Codes::LISTED)).collect();
    let table = table(&model);
    let mut trail = Trail::new();
    assert_eq!(table.get(deepest.as_bytes(), &mut trail).unwrap(), Some(Codes::LISTED));
    assert_eq!(trail.iter().count(), 127);
    assert_eq!(collected(table.scan()).len(), 127);
}

#[test]
fn ancestors_are_known_in_each_block_of_a_large_branch() {
    let mut model: Model = (0..20_000)
        .map(|number| (KeyBuf::from_text(&format!("n{number}.example.com"), MAX_KEY).unwrap(), Codes::LISTED))
        .collect();
    let above = Codes::new(tapir_table::Code::DROP, tapir_table::Code::TCP_ONLY);
    model.insert(KeyBuf::from_text("com", MAX_KEY).unwrap(), above);
    let table = table(&model);
    assert!(table.octets() > 40_000, "many blocks, not {} octets", table.octets());
    let mut trail = Trail::new();
    for number in 0..20_000 {
        let key = KeyBuf::from_text(&format!("x.n{number}.example.com"), MAX_KEY).unwrap();
        assert_eq!(table.get(key.as_bytes(), &mut trail).unwrap(), None);
        assert_eq!(common::trail(&trail), expected_trail(&model, &key));
    }
}

#[test]
fn an_empty_table_is_a_table() {
    let table = table(&Model::<Codes>::new());
    assert!(!table.scan().advance().unwrap());
    assert!(!table.scan().seek(b"\x01a").unwrap());
    assert_eq!(table.get(b"\x01a", &mut Trail::new()).unwrap(), None);
}

#[test]
fn what_is_absent_is_not_written_and_the_order_is_kept() {
    let [one, other] = ["a.example", "b.example"].map(|name| KeyBuf::from_text(name, MAX_KEY).unwrap());
    let mut writer = TableWriter::new(Vec::new()).unwrap();
    writer.push(&other, Codes::SILENT).unwrap();
    writer.push(&other, Codes::LISTED).unwrap();
    assert!(matches!(writer.push(&other, Codes::LISTED), Err(WriteError::Order)), "twice");
    assert!(matches!(writer.push(&one, Codes::LISTED), Err(WriteError::Order)), "backward");
    assert!(matches!(writer.push(&KeyBuf::ROOT, Codes::LISTED), Err(WriteError::Order)), "the root");
    let (octets, summary) = writer.finish(1, &Palette::default()).unwrap();
    assert_eq!((summary.nodes, summary.octets), (1, octets.len() as u64));
}

#[test]
fn serial_and_palette_come_back() {
    let mut palette = Palette::default();
    let address = RecordSet::new(vec![(1, vec![192, 0, 2, 1]), (28, vec![0; 16])]).unwrap();
    let name = RecordSet::new(vec![(5, b"\x06garden\0".to_vec())]).unwrap();
    let code = palette.intern(address.clone()).unwrap();
    assert_ne!(palette.intern(name).unwrap(), code);
    assert_eq!(palette.intern(address.clone()).unwrap(), code);
    let model = Model::from([(KeyBuf::from_text("example", MAX_KEY).unwrap(), Codes::new(code, code))]);
    let table = TableFile::<Codes>::from_memory(written(&model, 4711, &palette)).unwrap();
    assert_eq!((table.serial(), table.palette()), (4711, &palette));
    let codes = table.get(b"\x07example", &mut Trail::new()).unwrap().unwrap();
    assert_eq!(table.palette().get(codes.own), Some(&address));
}

#[test]
fn a_file_appears_whole_and_reads_as_what_stands_in_memory_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("zone.tab");
    let keys = common::names::sorted(50_000, 3);
    let mut writer = TableWriter::new(Staged::create(&path).unwrap()).unwrap();
    for key in &keys {
        writer.push(key, Codes::LISTED).unwrap();
    }
    assert!(!path.exists(), "not before it is whole");
    let (staged, _) = writer.finish(7, &Palette::default()).unwrap();
    let table = TableFile::<Codes>::open(staged.finish().unwrap()).unwrap();
    let wanted: Vec<_> = keys.iter().map(|key| (*key, Codes::LISTED)).collect();
    assert_eq!(collected(table.scan().forgetting()), wanted);
    table.forget_pages();
    assert_eq!(collected(TableFile::<Codes>::open(std::fs::File::open(&path).unwrap()).unwrap().scan()), wanted);
    assert_eq!(collected(Listed::new(wanted.clone()).unwrap()), wanted);
    drop(Staged::create(&path).unwrap());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "what was not finished leaves nothing");
}

#[test]
fn a_table_of_something_else_is_not_opened() {
    let octets = written(&common::Model::<common::Seen>::new(), 0, &Palette::default());
    let error = TableFile::<Codes>::from_memory(octets).unwrap_err();
    assert_eq!(error.to_string(), "the table holds values of kind 200 in place of 1");
}
