//! A tree says what a map of the same names would say, and its snapshots stay what they were.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Model, Seen, collected, expected_trail, key, model, names, seen};
use proptest::prelude::*;
use tapir_table::{Bulk, Codes, Cursor, KeyBuf, Trail, Tree, Value};

#[derive(Clone, Debug)]
enum Step {
    Insert(KeyBuf, Seen),
    Remove(usize),
    RemoveAbsent(KeyBuf),
    Snapshot,
    TakeDue(u32, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        20 => (key(), seen()).prop_map(|(key, seen)| Step::Insert(key, seen)),
        8 => any::<usize>().prop_map(Step::Remove),
        1 => key().prop_map(Step::RemoveAbsent),
        1 => Just(Step::Snapshot),
        1 => (0_u32..300, 1_usize..20).prop_map(|(now, most)| Step::TakeDue(now, most)),
    ];
    prop::collection::vec(step, 0..600)
}

fn all<V: Value + Default>(tree: &Tree<V>) -> Vec<(KeyBuf, V)> {
    collected(tree.cursor())
}

fn pairs<V: Value>(model: &Model<V>) -> Vec<(KeyBuf, V)> {
    model.iter().map(|(key, value)| (*key, *value)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn is_a_map(steps in steps()) {
        let mut tree = Tree::new();
        let mut model = Model::new();
        let mut snapshots = Vec::new();
        for step in steps {
            match step {
                Step::Insert(key, seen) => prop_assert_eq!(tree.insert(&key, seen), model.insert(key, seen)),
                Step::Remove(index) => {
                    let Some(key) = model.keys().nth(index % model.len().max(1)).copied() else { continue };
                    prop_assert_eq!(tree.remove(key.as_bytes()), model.remove(&key));
                }
                Step::RemoveAbsent(key) => prop_assert_eq!(tree.remove(key.as_bytes()), model.remove(&key)),
                Step::Snapshot => snapshots.push((tree.clone(), model.clone())),
                Step::TakeDue(now, most) => {
                    let mut taken = Vec::new();
                    let count = tree.take_due(now, most, |key, seen| taken.push((*key, seen)));
                    let due = model.values().filter(|seen| seen.expires <= now).count();
                    prop_assert_eq!((count, taken.len()), (due.min(most), due.min(most)));
                    for (key, seen) in taken {
                        prop_assert!(seen.expires <= now);
                        prop_assert_eq!(model.remove(&key), Some(seen));
                    }
                }
            }
            prop_assert_eq!(tree.len(), model.len());
            prop_assert_eq!(tree.earliest(), model.values().map(|seen| seen.expires).min());
        }
        snapshots.push((tree, model));
        for (tree, model) in snapshots {
            prop_assert_eq!(all(&tree), pairs(&model));
            let mut trail = Trail::new();
            for key in model.keys() {
                let mut below = key.as_bytes().to_vec();
                below.extend(b"\x01a");
                for asked in [KeyBuf::from_key(key.as_bytes()), KeyBuf::from_key(&below)].into_iter().flatten() {
                    let expected = model.get(&asked).copied();
                    prop_assert_eq!(tree.get(asked.as_bytes()), expected);
                    prop_assert_eq!(tree.get_with_trail(asked.as_bytes(), &mut trail), expected);
                    prop_assert_eq!(common::trail(&trail), expected_trail(&model, &asked));
                }
            }
        }
    }

    #[test]
    fn in_bulk_it_is_the_same(model in model(900), asked in prop::collection::vec(key(), 30)) {
        let mut bulk = Bulk::new();
        for (key, codes) in &model {
            prop_assert!(bulk.push(key, *codes));
            prop_assert!(!bulk.push(key, *codes), "twice");
        }
        let tree = bulk.finish();
        prop_assert_eq!(all(&tree), pairs(&model));
        prop_assert_eq!(all(&Tree::from_cursor(&mut common::table(&model).scan()).unwrap()), pairs(&model));
        let mut cursor = tree.cursor();
        for key in &asked {
            let rest: Vec<_> = model.range(*key..).map(|(key, codes)| (*key, *codes)).collect();
            prop_assert_eq!(cursor.seek(key.as_bytes()).unwrap(), !rest.is_empty());
            if let Some((first, others)) = rest.split_first() {
                prop_assert_eq!((*cursor.key(), cursor.value()), *first);
                for other in others.iter().take(50) {
                    prop_assert!(cursor.advance().unwrap());
                    prop_assert_eq!((*cursor.key(), cursor.value()), *other);
                }
            }
        }
    }
}

/// Enough names for many branches; every kind of split and join happens.
#[test]
fn grows_and_shrinks_while_snapshots_are_held() {
    let mut numbers = names::Numbers::new(11);
    let mut tree = Tree::<Codes>::new();
    let mut model = Model::<Codes>::new();
    let mut snapshots = Vec::new();
    let codes = |number: u64| Codes::new(tapir_table::Code::from_number((number % 6) as u16).unwrap(), tapir_table::Code::DROP);
    for round in 0..4 {
        for _ in 0..10_000 {
            let key = KeyBuf::from_text(&names::name(&mut numbers), 254).unwrap();
            let codes = codes(numbers.next());
            assert_eq!(tree.insert(&key, codes), model.insert(key, codes));
        }
        snapshots.push((tree.clone(), pairs(&model)));
        let keep = [2, 3, 5, 1_000_000][round];
        let gone: Vec<_> = model.keys().enumerate().filter(|(index, _)| index % keep != 0).map(|(_, key)| *key).collect();
        for key in gone {
            assert_eq!(tree.remove(key.as_bytes()), model.remove(&key));
        }
        assert_eq!(tree.len(), model.len());
        assert_eq!(all(&tree), pairs(&model));
        snapshots.push((tree.clone(), pairs(&model)));
    }
    for (tree, pairs) in snapshots {
        assert_eq!(all(&tree), pairs);
    }
    tree.remove(pairs(&model)[0].0.as_bytes());
    assert!(tree.is_empty());
    assert!(tree.octets() < 100, "{} octets for nothing", tree.octets());
}

#[test]
fn written_in_order_it_is_dense() {
    let keys = names::sorted(30_000, 5);
    let mut tree = Tree::<Codes>::new();
    for key in &keys {
        tree.insert(key, Codes::LISTED);
    }
    assert_eq!(all(&tree), keys.iter().map(|key| (*key, Codes::LISTED)).collect::<Vec<_>>());
    let each = tree.octets() as f64 / keys.len() as f64;
    assert!(each < 16.0, "{each} octets a name");
}

#[test]
fn the_root_is_no_name() {
    let mut tree = Tree::<Codes>::new();
    assert_eq!(tree.insert(&KeyBuf::ROOT, Codes::LISTED), None);
    assert!(tree.is_empty());
    assert_eq!((tree.get(b""), tree.remove(b""), tree.earliest()), (None, None, None));
}
