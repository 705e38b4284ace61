use std::collections::BTreeMap;

use proptest::prelude::*;
use tapir_table::{Code, RecordSet};

use super::*;

/// More than what takes one octet.
const SETS: u16 = 300;

fn code() -> impl Strategy<Value = Code> {
    prop_oneof![Just(Code::SILENT), Just(Code::LISTED), (0_u16..SETS).prop_map(|index| Code::set(index).unwrap())]
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

/// The same sets in another order.
fn palette(shift: u16) -> Arc<Palette> {
    let mut palette = Palette::default();
    for index in 0..SETS {
        let number = (index + shift) % SETS;
        palette.intern(RecordSet::new(vec![(16, number.to_be_bytes().to_vec())]).unwrap()).unwrap();
    }
    Arc::new(palette)
}

fn body(changes: &[Change]) -> Body {
    let mut body = Body::between(palette(0), palette(7));
    changes.iter().for_each(|change| body.push(change));
    body
}

fn written(step: Step, changes: &[Change]) -> Vec<u8> {
    let mut octets = vec![7; 3];
    write(step, &body(changes), &mut octets).unwrap();
    octets.split_off(3)
}

/// What codes mean, whatever their number.
fn meaning(codes: Codes, palette: &Palette) -> [Result<RecordSet, Code>; 2] {
    [codes.own, codes.below].map(|code| match code.set_index() {
        Some(_) => Ok(palette.get(code).unwrap().clone()),
        None => Err(code),
    })
}

type Meant = (KeyBuf, [[Result<RecordSet, Code>; 2]; 2]);

fn meant(changes: &[Change], [before, now]: [&Palette; 2]) -> Vec<Meant> {
    let meant = |change: &Change| (change.key, [meaning(change.old, before), meaning(change.new, now)]);
    changes.iter().map(meant).collect()
}

fn step(from: u32, to: u32) -> Step {
    Step { from: Serial(from), to: Serial(to), time: 1_800_000_000_123 }
}

fn whole(octets: &[u8]) -> Result<(Step, Palette, Vec<Change>), Torn> {
    let record = Record::read(octets)?;
    record.check()?;
    Ok((record.step, record.palette()?, record.changes().collect::<Result<_, _>>()?))
}

proptest! {
    #[test]
    fn a_record_is_read_as_it_was_written(from: u32, to: u32, changes in changes()) {
        let octets = written(step(from, to), &changes);
        prop_assert_eq!(Record::length(*octets.first_chunk().unwrap()), Some(octets.len()));
        let (is, own, read) = whole(&octets).unwrap();
        prop_assert_eq!(is, step(from, to));
        prop_assert_eq!(meant(&read, [&own, &own]), meant(&changes, [&palette(0), &palette(7)]));
        // It has what its codes mean, and nothing else.
        let used: std::collections::BTreeSet<_> = read
            .iter()
            .flat_map(|change| [change.old.own, change.old.below, change.new.own, change.new.below])
            .filter_map(Code::set_index)
            .collect();
        prop_assert_eq!(own.sets().len(), used.len());
    }

    #[test]
    fn any_other_octet_and_any_cut_is_seen(changes in changes(), at: prop::sample::Index, flip in 1_u8..=255) {
        let octets = written(step(1, 2), &changes);
        let mut flipped = octets.clone();
        flipped[at.index(octets.len())] ^= flip;
        prop_assert_eq!(whole(&flipped), Err(Torn));
        prop_assert_eq!(whole(&octets[..at.index(octets.len())]), Err(Torn));
    }

    /// Somebody may forge a checksum.
    #[test]
    fn nothing_that_is_read_is_a_panic(payload in prop::collection::vec(any::<u8>(), 0..200), from in changes()) {
        for mut content in [payload.clone(), [&written(step(1, 2), &from)[HEAD..], &payload].concat()] {
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
    let octets = written(step(1, 2), &changes).len();
    assert!(octets < 14 * changes.len(), "{octets}");
}

#[test]
fn what_has_no_room_in_a_record_is_not_written() {
    let small = |shift: u16| Arc::new(Palette::clone(&palette(shift)).roomy(1));
    let change = |name: &str, old: u16, new: u16| {
        let codes = |index: u16| Codes::new(Code::set(index).unwrap(), Code::SILENT);
        Change { key: KeyBuf::from_text(name, MAX_KEY).unwrap(), old: codes(old), new: codes(new) }
    };
    let mut body = Body::between(small(0), small(7));
    body.push(&change("a", 7, 0));
    assert!(!body.is_crowded(), "it is the same set");
    write(step(1, 2), &body, &mut Vec::new()).unwrap();
    body.push(&change("b", 7, 1));
    assert!(body.is_crowded());
    assert_eq!(write(step(1, 2), &body, &mut Vec::new()), Err(Torn));
}
