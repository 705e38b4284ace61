//! Cursors side by side say what maps laid over each other would say.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::BTreeMap;

use common::{Model, codes, collected, key, model, table};
use proptest::prelude::*;
use tapir_table::{Bulk, Change, Codes, Cursor, Diff, Hit, KeyBuf, Listed, Merge, Overlay, Trail, Tree};

/// Changes, tombstones among them, many of which concern names of `base`.
fn changes(base: Model) -> impl Strategy<Value = (Model, Model)> {
    let known: Vec<KeyBuf> = base.keys().copied().collect();
    let any_key = if known.is_empty() { key().boxed() } else { prop_oneof![key(), prop::sample::select(known)].boxed() };
    let silent_too = prop_oneof![1 => Just(Codes::SILENT), 2 => codes()];
    (Just(base), prop::collection::btree_map(any_key, silent_too, 0..60))
}

fn tree(model: &Model) -> Tree {
    let mut bulk = Bulk::new();
    for (key, codes) in model {
        assert!(bulk.push(key, *codes));
    }
    bulk.finish()
}

fn laid_over(base: &Model, changes: &Model) -> Model {
    let mut all = base.clone();
    all.extend(changes.iter().map(|(key, codes)| (*key, *codes)));
    all.retain(|_, codes| *codes != Codes::SILENT);
    all
}

fn pairs(model: &Model) -> Vec<(KeyBuf, Codes)> {
    model.iter().map(|(key, codes)| (*key, *codes)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn changes_lie_over_a_base(
        (base, older) in model(200).prop_flat_map(changes),
        newer in prop::collection::btree_map(key(), prop_oneof![Just(Codes::SILENT), codes()], 0..40),
        asked in prop::collection::vec(key(), 20),
    ) {
        let wanted = laid_over(&laid_over(&base, &older), &newer);
        let zone = || Overlay::new(Overlay::new(table(&base).scan(), tree(&older).cursor()), tree(&newer).cursor());
        prop_assert_eq!(collected(zone()), pairs(&wanted));
        let changes = Overlay::of_changes(tree(&older).cursor(), tree(&newer).cursor());
        prop_assert_eq!(collected(Overlay::new(table(&base).scan(), changes)), pairs(&wanted));
        let mut cursor = zone();
        for key in &asked {
            let rest: Vec<_> = wanted.range(*key..).map(|(key, codes)| (*key, *codes)).collect();
            prop_assert_eq!(cursor.seek(key.as_bytes()).unwrap(), !rest.is_empty());
            if let Some((first, others)) = rest.split_first() {
                prop_assert_eq!((*cursor.key(), cursor.value()), *first);
                for other in others.iter().take(30) {
                    prop_assert!(cursor.advance().unwrap());
                    prop_assert_eq!((*cursor.key(), cursor.value()), *other);
                }
            }
        }
    }

    #[test]
    fn changes_lie_over_the_way_to_a_name((base, changes) in model(200).prop_flat_map(changes), asked in prop::collection::vec(key(), 20)) {
        let (table, tree, wanted) = (table(&base), tree(&changes), laid_over(&base, &changes));
        let (mut trail, mut over) = (Trail::new(), Trail::new());
        for key in base.keys().chain(changes.keys()).chain(&asked) {
            table.get(key.as_bytes(), &mut trail).unwrap();
            tree.get_with_trail(key.as_bytes(), &mut over);
            trail.lay_over(&over);
            prop_assert_eq!(common::trail(&trail), common::expected_trail(&wanted, key));
        }
    }

    #[test]
    fn a_difference_is_what_changed((base, changes) in model(200).prop_flat_map(changes)) {
        let now = laid_over(&base, &changes);
        let mut wanted = Vec::new();
        for key in base.keys().chain(now.keys()).collect::<std::collections::BTreeSet<_>>() {
            let old = base.get(key).copied().unwrap_or_default();
            let new = now.get(key).copied().unwrap_or_default();
            if old != new {
                wanted.push((*key, Change { old, new }));
            }
        }
        let mut diff = Diff::new(table(&base).scan(), Overlay::new(table(&base).scan(), tree(&changes).cursor()));
        let mut found = Vec::new();
        while diff.advance().unwrap() {
            found.push((*diff.key(), diff.change()));
        }
        prop_assert_eq!(found, wanted);
        let mut names = 0;
        let mut diff = Diff::new(table(&base).scan(), table(&now).scan());
        while diff.step().unwrap() {
            names += 1;
        }
        prop_assert_eq!(names, base.keys().chain(now.keys()).collect::<std::collections::BTreeSet<_>>().len());
    }

    #[test]
    fn many_are_one(models in prop::collection::vec(model(120), 0..9), asked in prop::collection::vec(key(), 5)) {
        let mut wanted: BTreeMap<KeyBuf, Vec<Hit<Codes>>> = BTreeMap::new();
        for (index, model) in models.iter().enumerate() {
            for (key, value) in model {
                wanted.entry(*key).or_default().push(Hit { index, value: *value });
            }
        }
        // Files, trees and lists in turn.
        let cursors = models.iter().enumerate().map(|(index, model)| -> Box<dyn Cursor<Value = Codes>> {
            match index % 3 {
                0 => Box::new(table(model).scan()),
                1 => Box::new(tree(model).cursor()),
                _ => Box::new(Listed::new(pairs(model)).unwrap()),
            }
        });
        let mut merge = Merge::new(cursors.collect());
        let mut before = KeyBuf::ROOT;
        for (key, hits) in &wanted {
            prop_assert!(merge.advance().unwrap());
            prop_assert_eq!((merge.key(), merge.hits()), (key, hits.as_slice()));
            prop_assert_eq!(merge.shared(), tapir_table::common_prefix(before.as_bytes(), key.as_bytes()));
            before = *key;
        }
        prop_assert!(!merge.advance().unwrap());
        prop_assert!(!merge.advance().unwrap());
        for asked in &asked {
            merge.seek(asked.as_bytes()).unwrap();
            for (key, hits) in wanted.range(*asked..).take(30) {
                prop_assert!(merge.advance().unwrap());
                prop_assert_eq!((merge.key(), merge.hits()), (key, hits.as_slice()));
            }
            if wanted.range(*asked..).next().is_none() {
                prop_assert!(!merge.advance().unwrap());
            }
        }
    }
}

#[test]
fn another_value_stands_behind_the_same_names() {
    let model = Model::from([(KeyBuf::from_text("a.example", 254).unwrap(), Codes::LISTED)]);
    let mapped = tree(&model).cursor().mapped(|_| ());
    assert_eq!(collected(mapped), model.keys().map(|key| (*key, ())).collect::<Vec<_>>());
}
