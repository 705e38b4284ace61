use std::collections::BTreeMap;

use proptest::prelude::*;
use tapir_table::Code;

use super::*;

fn code() -> impl Strategy<Value = Code> {
    prop_oneof![Just(Code::SILENT), Just(Code::LISTED), (0_u16..300).prop_map(|index| Code::set(index).unwrap())]
}

fn codes() -> impl Strategy<Value = Codes> {
    (code(), code()).prop_map(|(own, below)| Codes::new(own, below))
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let name =
        prop::collection::vec("[a-c]{1,3}", 1..5).prop_map(|labels| KeyBuf::from_text(&labels.join("."), MAX_KEY).unwrap());
    prop::collection::btree_map(name, (codes(), codes()), 0..20)
        .prop_map(|all: BTreeMap<_, _>| all.into_iter().map(|(key, (old, new))| Change { key, old, new }).collect())
}

fn written(step: Step, sets: &[RecordSet], changes: &[Change]) -> Vec<u8> {
    let mut octets = vec![7; 3];
    write(step, sets, &changes.iter().collect(), &mut octets).unwrap();
    octets.split_off(3)
}

fn step(from: u32, to: u32) -> Step {
    Step { from: Serial(from), to: Serial(to), time: 1_800_000_000_123 }
}

fn sets(count: u8) -> Vec<RecordSet> {
    (0..count).map(|index| RecordSet::new(vec![(1, vec![192, 0, 2, index])]).unwrap()).collect()
}

fn whole(octets: &[u8]) -> Result<(Step, Vec<RecordSet>, Vec<Change>), Torn> {
    let record = Record::read(octets)?;
    Ok((record.step, record.sets()?, record.changes().collect::<Result<_, _>>()?))
}

proptest! {
    #[test]
    fn a_record_is_read_as_it_was_written(from: u32, to: u32, count in 0_u8..4, changes in changes()) {
        let (step, sets) = (step(from, to), sets(count));
        let octets = written(step, &sets, &changes);
        prop_assert_eq!(Record::length(*octets.first_chunk().unwrap()), Some(octets.len()));
        prop_assert_eq!(whole(&octets), Ok((step, sets, changes)));
    }

    #[test]
    fn any_other_octet_and_any_cut_is_seen(changes in changes(), at: prop::sample::Index, flip in 1_u8..=255) {
        let octets = written(step(1, 2), &sets(1), &changes);
        let mut flipped = octets.clone();
        flipped[at.index(octets.len())] ^= flip;
        prop_assert_eq!(whole(&flipped), Err(Torn));
        prop_assert_eq!(whole(&octets[..at.index(octets.len())]), Err(Torn));
    }

    /// Somebody may forge a checksum.
    #[test]
    fn nothing_that_is_read_is_a_panic(payload in prop::collection::vec(any::<u8>(), 0..200), from in changes()) {
        for mut content in [payload.clone(), [&written(step(1, 2), &[], &from)[HEAD..], &payload].concat()] {
            let mut octets = u32::try_from(content.len()).unwrap().to_be_bytes().to_vec();
            octets.extend(crc32fast::hash(&content).to_be_bytes());
            octets.append(&mut content);
            if let Ok((_, _, changes)) = whole(&octets) {
                prop_assert!(changes.is_sorted_by(|one, other| one.key.as_bytes() < other.key.as_bytes()));
            }
        }
    }
}

#[test]
fn a_change_takes_some_fourteen_octets() {
    let name = |index: u32| KeyBuf::from_text(&format!("name-{index:06}.example"), MAX_KEY).unwrap();
    let changes: Vec<Change> =
        (0..1000).map(|index| Change { key: name(index * 97), old: Codes::SILENT, new: Codes::LISTED }).collect();
    let octets = written(step(1, 2), &[], &changes).len();
    assert!(octets < 14 * changes.len(), "{octets}");
}
