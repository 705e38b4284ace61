//! Changed in place, the zone is what it would be if it were made anew.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod universe;

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use tapir_pop::zone::emit::Emit;
use tapir_pop::zone::judge::{Judge, Source};
use tapir_pop::zone::known::Known;
use tapir_pop::zone::layers::Layers;
use tapir_pop::zone::rebuild::{RebuildError, Rebuilt, merge, rebuild};
use tapir_pop::zone::source::Kept;
use tapir_pop::zone::touch::{Changed, Touch, TouchError, Touched};
use tapir_table::{Change, Codes, Hit, KeyBuf, Merge, Palette, TableFile, TableWriter, Tree};
use universe::{Universe, Zone, collected, names, policies, universes};

/// More with `TAPIR_ZONE_CASES`.
fn config(usual: u32) -> ProptestConfig {
    let cases = std::env::var("TAPIR_ZONE_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(usual);
    ProptestConfig { failure_persistence: None, max_shrink_iters: 20_000, ..ProptestConfig::with_cases(cases) }
}

#[derive(Clone, Debug)]
enum Step {
    /// Sources say something else of some names, then the zone is changed. A number chooses source and value.
    Change(Vec<(KeyBuf, u32)>),
    /// Changes are set aside, to be written.
    Freeze,
    /// They were written.
    Rebase,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let change = vec((names(), any::<u32>()), 1..5).prop_map(Step::Change);
    vec(prop_oneof![8 => change, 1 => Just(Step::Freeze), 1 => Just(Step::Rebase)], 1..12)
}

fn table(zone: &Zone) -> Arc<TableFile> {
    let mut writer = TableWriter::new(Vec::new()).unwrap();
    for (key, codes) in zone {
        writer.push(key, *codes).unwrap();
    }
    Arc::new(TableFile::from_memory(writer.finish(1, &Palette::default()).unwrap().0).unwrap())
}

fn itself(known: Known) -> Known {
    known
}

/// The sources as POP keeps them: some in files with changes laid over, some in memory.
fn kept(universe: &Universe) -> Vec<Kept<Known>> {
    let keep = |(index, names): (usize, &universe::Source)| {
        if index % 2 == 1 {
            let mut changes = Tree::new();
            for (key, known) in names {
                changes.insert(key, *known);
            }
            return Kept { table: None, changes, known: Arc::new(itself) };
        }
        let mut writer = TableWriter::new(Vec::new()).unwrap();
        names.iter().for_each(|(key, known)| writer.push(key, *known).unwrap());
        let table = TableFile::from_memory(writer.finish(1, &Palette::default()).unwrap().0).unwrap();
        Kept { table: Some(Arc::new(table)), changes: Tree::new(), known: Arc::new(itself) }
    };
    universe.sources.iter().enumerate().map(keep).collect()
}

/// What the source says from now on.
fn value(universe: &Universe, source: usize, choice: u32) -> Option<Known> {
    let origin = universe.weigh.origins[source];
    let observes = universe.sources[source].values().any(|known| matches!(known, Known::Observed(_)));
    let code = |bits: u32| tapir_table::Code::from_number((bits % 7) as u16).unwrap();
    match choice % 3 {
        0 => None,
        _ if observes => Some(Known::Observed(choice >> 4 & 3)),
        _ if origin.records => Some(Known::Listed(Codes::new(code(choice >> 4), code(choice >> 8)))),
        _ => Some(Known::Listed(Codes::LISTED)),
    }
}

/// Changes sources; says what that touched.
fn change(universe: &mut Universe, kept: &mut [Kept<Known>], changes: &[(KeyBuf, u32)]) -> BTreeMap<KeyBuf, bool> {
    let mut touched = BTreeMap::new();
    for (key, choice) in changes {
        let index = (*choice >> 16) as usize % universe.sources.len();
        // Names that are there already, as often as new ones.
        let known: Vec<KeyBuf> = universe.sources[index].keys().copied().collect();
        let key =
            if choice >> 30 & 1 == 0 { *key } else { *known.get((*choice >> 20) as usize % known.len().max(1)).unwrap_or(key) };
        let new = value(universe, index, *choice).filter(|known| *known != Known::Listed(Codes::SILENT));
        let old = match new {
            Some(new) => universe.sources[index].insert(key, new),
            None => universe.sources[index].remove(&key),
        };
        match new {
            None if kept[index].table.is_none() => kept[index].changes.remove(key.as_bytes()),
            _ => kept[index].changes.insert(&key, new.unwrap_or_default()),
        };
        let reaches = [old, new].into_iter().flatten().any(|value| universe.weigh.reaches(&[Hit { index, value }]));
        *touched.entry(key).or_default() |= reaches;
    }
    touched
}

fn touch(
    universe: &Universe,
    kept: &[Kept<Known>],
    layers: &Layers,
    touched: BTreeMap<KeyBuf, bool>,
) -> Result<Changed, TouchError> {
    let mut touch = Touch::new(&universe.weigh, kept, universe.room, layers, 100_000);
    touch.touch(touched.into_iter().map(|(key, reaches)| Touched { key, reaches }))?;
    Ok(touch.finish())
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn changed_in_place_it_is_as_made_anew(universe in universes(8), steps in steps()) {
        let mut universe = universe;
        let mut kept = kept(&universe);
        let mut zone = universe.zone();
        let mut layers = Layers::new(table(&zone));
        for step in steps {
            match step {
                Step::Freeze => layers.freeze().unwrap(),
                Step::Rebase => {
                    let mut writer = TableWriter::new(Vec::new()).unwrap();
                    merge(&layers, &mut writer, || true).unwrap();
                    let octets = writer.finish(2, &Palette::default()).unwrap().0;
                    layers.rebase(Arc::new(TableFile::from_memory(octets).unwrap()));
                }
                Step::Change(changes) => {
                    let touched = change(&mut universe, &mut kept, &changes);
                    let held = layers.clone();
                    let changed = touch(&universe, &kept, &layers, touched).unwrap();
                    let wanted = universe.zone();
                    prop_assert_eq!(&collected(changed.layers.cursor()), &wanted, "after {:?} of {:?}", changes, zone);
                    prop_assert_eq!(&collected(held.cursor()), &zone, "a snapshot stays what it was");
                    let mut said = BTreeMap::new();
                    changed.each(|key, change| assert_eq!(said.insert(*key, change), None)).unwrap();
                    prop_assert_eq!(said, difference(&zone, &wanted));
                    (layers, zone) = (changed.layers, wanted);
                }
            }
            prop_assert_eq!(&collected(layers.cursor()), &zone);
            for (key, codes) in &zone {
                prop_assert_eq!(layers.get(key.as_bytes()).unwrap(), *codes);
            }
        }
    }
}

fn difference(old: &Zone, new: &Zone) -> BTreeMap<KeyBuf, Change<Codes>> {
    let of = |zone: &Zone, key| zone.get(key).copied().unwrap_or_default();
    let all = old.keys().chain(new.keys()).map(|key| (*key, Change { old: of(old, key), new: of(new, key) }));
    all.filter(|(_, change)| change.old != change.new).collect()
}

proptest! {
    #![proptest_config(config(300))]

    /// Lists and policy change, a builder makes the zone anew, and meanwhile the old one goes on changing.
    #[test]
    fn made_anew_while_it_changes(
        old in universes(8),
        policy in policies(),
        at_once in vec((names(), any::<u32>()), 0..6),
        meanwhile in vec(vec((names(), any::<u32>()), 1..4), 0..6),
        rewritten in any::<bool>(),
    ) {
        let mut old = old;
        let mut old_sources = kept(&old);
        let mut published = Layers::new(table(&old.zone()));
        // As the builder finds it.
        let mut new = old.clone();
        (new.weigh.policy, new.weigh.mode) = policy;
        let mut new_sources = kept(&new);
        change(&mut new, &mut new_sources, &at_once);
        let began = published.clone();
        let mut merge = Merge::new(new_sources.iter().map(Source::cursor).collect());
        let mut writer = TableWriter::new(Vec::new()).unwrap();
        let (differs, _) = rebuild(Emit::new(&new.weigh, &mut merge, new.room), &began, |old, new| old == new, &mut writer, || true).unwrap();
        let base = Arc::new(TableFile::from_memory(writer.finish(2, &Palette::default()).unwrap().0).unwrap());
        prop_assert_eq!(&collected(Layers::new(Arc::clone(&base)).cursor()), &new.zone());
        let (mut touched, mut changed_since) = (BTreeMap::<KeyBuf, bool>::new(), Tree::new());
        for changes in &meanwhile {
            let all = change(&mut old, &mut old_sources, changes);
            for (key, reaches) in change(&mut new, &mut new_sources, changes) {
                // Sources that say the same may say it for the one and not for the other.
                *touched.entry(key).or_default() |= reaches;
            }
            for (key, reaches) in &all {
                *touched.entry(*key).or_default() |= *reaches;
            }
            let changed = touch(&old, &old_sources, &published, all).unwrap();
            changed.each(|key, change| noted(&mut changed_since, key, change)).unwrap();
            published = changed.layers;
            if rewritten {
                // Older changes are never merged while a builder runs, but may be put aside.
                published.freeze().unwrap();
            }
        }
        let touched = touched.into_iter().map(|(key, reaches)| Touched { key, reaches });
        let parts = (&new.weigh, new_sources.as_slice(), new.room);
        let swapped = Rebuilt { base, differs }.swap(parts, touched, &published, &changed_since, 100_000).unwrap();
        let wanted = new.zone();
        prop_assert_eq!(&collected(swapped.layers.cursor()), &wanted);
        let mut said = BTreeMap::new();
        swapped.each(|key, change| assert_eq!(said.insert(*key, change), None)).unwrap();
        prop_assert_eq!(said, difference(&collected(published.cursor()), &wanted));
    }
}

fn noted(names: &mut Tree<Codes>, key: &KeyBuf, change: Change<Codes>) {
    names.insert(key, change.old);
}

/// A builder that is told to stop does, and soon.
#[test]
fn given_up_when_told() {
    let keys = (0..20_000).map(|number| (universe::key(&format!("n{number}.a")), Codes::LISTED));
    let layers = Layers::new(table(&keys.collect()));
    let asked = std::cell::Cell::new(0);
    let goes_on = || {
        asked.set(asked.get() + 1);
        asked.get() < 3
    };
    let mut writer = TableWriter::new(Vec::new()).unwrap();
    assert!(matches!(merge(&layers, &mut writer, goes_on), Err(RebuildError::GivenUp)));
    assert_eq!(asked.get(), 3);
    assert!(writer.nodes() < 15_000);
}
