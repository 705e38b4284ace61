//! Lists of names against the recorded look-ups, against a slow matcher on texts, and against damage.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../tapir-wire/tests/common/mod.rs"]
mod common;

use std::collections::BTreeSet;

use common::{bytes, json, string, upstream};
use proptest::prelude::*;
use tapir_edm::list::{List, ListError, canonical};
use tapir_edm::memory::Budget;
use tapir_wire::dawg::compile;
use tapir_wire::name::{Name, push_octet};

fn list(words: &BTreeSet<String>) -> List {
    List::from_dawg(&compile(words.iter().map(String::as_str)).unwrap()).unwrap()
}

fn set<const N: usize>(words: [&str; N]) -> BTreeSet<String> {
    words.map(str::to_owned).into()
}

fn found(list: &List, wire: &[u8]) -> Option<String> {
    list.find(wire).map(|entry| list.name(entry).to_string())
}

/// A list of our own with the entries that cases of a file hit: upstream's files are not copied here. Where nothing was hit in the whole file
/// nothing is in a part of it.
fn of_entries_that_are_hit(cases: &[serde_json::Value], file: &str) -> List {
    let of_file = cases.iter().filter(|case| case["file"] == file);
    list(&of_file.filter_map(|case| case["matched_entry"].as_str().map(str::to_owned)).collect())
}

#[test]
fn recorded_lookups() {
    let vector = json("edm/dawg_lookup.json");
    let cases = vector["vectors"].as_array().unwrap();
    let (mut ran, mut raw) = (0, 0);
    for case in cases {
        let file = string(case, "file");
        let path = format!("edm/dawg/{file}");
        let whole = if file.contains("generated") { Some(bytes(&path)) } else { upstream(&path) };
        let whole = whole.map(|octets| List::from_dawg(&octets).unwrap());
        let Ok(name) = Name::parse(string(case, "name")) else {
            // Raw UTF-8 does not come off the wire.
            raw += 1;
            continue;
        };
        let expected = case["matched_entry"].as_str().map(str::to_owned);
        for list in [&Some(of_entries_that_are_hit(cases, file)), &whole].into_iter().flatten() {
            let entry = list.find(&name.to_wire());
            assert_eq!(entry.map(|entry| list.name(entry).to_string()), expected, "{case}");
            assert_eq!(entry.is_some_and(|entry| entry.suffix), case["suffix_match"].as_bool().unwrap(), "{case}");
        }
        if let Some(list) = whole.filter(|list| list.unmatchable() == 0) {
            let entry = list.find(&name.to_wire());
            assert_eq!(entry.map_or(-1, |entry| i64::from(entry.number)), case["index"].as_i64().unwrap(), "{case}");
        }
        ran += 1;
    }
    assert!(ran + raw == cases.len() && ran >= 40 && raw <= 1, "{ran} {raw}");
}

#[test]
fn the_real_list() {
    let vector = json("edm/dawg_well_known_domains.json");
    let Some(octets) = upstream("edm/dawg/well-known-domains.dawg") else { return };
    let list = List::from_dawg(&octets).unwrap();
    assert_eq!((u64::from(list.len()), list.unmatchable()), (vector["num_added"].as_u64().unwrap(), 0));
    for case in vector["exact_lookups"].as_array().unwrap().iter().filter(|case| case["name"] != "") {
        let entry = list.find(&Name::parse(string(case, "name")).unwrap().to_wire());
        assert_eq!(entry.map_or(-1, |entry| i64::from(entry.number)), case["index_of"].as_i64().unwrap(), "{case}");
    }
    for case in vector["samples"].as_array().unwrap() {
        let entry = list.find(&Name::parse(string(case, "word")).unwrap().to_wire()).unwrap();
        assert_eq!(u64::from(entry.number), case["index"].as_u64().unwrap());
        assert_eq!(list.name(entry).to_string(), string(case, "word"));
    }
    let per_name = list.octets() / 99_999;
    assert!(per_name < 28 + 16, "{per_name} octets an entry, names included");
}

#[test]
fn a_file_of_ignored_names_may_be_empty_and_a_list_of_well_known_ones_may_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("list.dawg");
    std::fs::write(&file, b"").unwrap();
    assert!(List::read_ignored(&file, usize::MAX).unwrap().is_none());
    assert!(List::read(&file).is_err());
    std::fs::write(&file, bytes("edm/dawg/generated-empty.dawg")).unwrap();
    assert!(List::read_ignored(&file, usize::MAX).unwrap().is_none());
    assert!(List::read(&file).unwrap().is_empty());
    std::fs::write(&file, bytes("edm/dawg/generated-one.dawg")).unwrap();
    assert_eq!(List::read_ignored(&file, usize::MAX).unwrap().unwrap(), List::read(&file).unwrap());
    std::fs::write(&file, b"damaged").unwrap();
    assert!(matches!(List::read_ignored(&file, usize::MAX), Err(ListError::File(_))));
    std::fs::remove_file(&file).unwrap();
    assert!(matches!(List::read_ignored(&file, usize::MAX), Err(ListError::File(_))));
}

#[test]
fn an_entry_of_one_list_is_found_in_another() {
    let (old, new) = (list(&set(["b."])), list(&set(["a.", "b."])));
    let entry = old.find(b"\x01b\0").unwrap();
    assert_eq!(new.entry(old.name(entry)).map(|entry| entry.number), Some(1));
}

#[test]
fn the_memory_of_a_list_is_accounted_for_as_long_as_it_is_there() {
    let budget = Budget::new(1);
    let list = list(&set(["a."])).charged(&budget);
    assert_eq!(budget.used(), list.octets());
    drop(list);
    assert_eq!(budget.used(), 0);
}

#[test]
fn words_that_nothing_can_hit_are_counted() {
    let list = list(&set(["", "A.", "a.", "b", "blåbär.se.", r"\097.", ".."]));
    assert_eq!((list.len(), list.unmatchable()), (1, 6));
    assert_eq!(found(&list, b"\x01a").as_deref(), Some("a."));
    assert_eq!(found(&list, b"\x01A"), None, "names are given in lower case");
}

#[test]
fn the_root_and_the_longest_names() {
    let deep: Vec<u8> = b"\x01x".repeat(127);
    let text = |labels: usize| "x.".repeat(labels);
    let words: BTreeSet<String> = [".".to_owned(), text(127), format!(".{}", text(126)), format!(".{}", text(9)), text(3)].into();
    let list = list(&words);
    assert_eq!(found(&list, b"\0").as_deref(), Some("."));
    assert_eq!(found(&list, b"").as_deref(), Some("."));
    assert_eq!(found(&list, &deep), Some(text(127)));
    let mut other = deep.clone();
    other[1] = b'y';
    assert_eq!(found(&list, &other), Some(format!(".{}", text(126))));
    other[3] = b'y';
    assert_eq!(found(&list, &other), Some(format!(".{}", text(9))));
    assert_eq!(found(&list, &deep[..18]), None, "an entry with a dot does not stand for the name itself");
    assert_eq!(found(&list, &deep[..6]), Some(text(3)));
    // Not names at all.
    let long_label = [b"\x3f".as_slice(), &[b'a'; 62]].concat();
    let wires: [&[u8]; 4] = [&b"\x01x".repeat(128), b"\x05x", b"\x40", &long_label];
    for wire in wires {
        assert_eq!(list.find(wire), None);
    }
}

#[test]
fn damaged_files_are_refused_or_hold_other_names() {
    let octets = bytes("edm/dawg/generated-mixed.dawg");
    for bit in 0..octets.len() * 8 {
        let mut flipped = octets.clone();
        flipped[bit / 8] ^= 0x80 >> (bit % 8);
        if let Ok(list) = List::from_dawg(&flipped) {
            assert_eq!(u64::from(list.len()) + list.unmatchable(), 7, "{bit}");
        }
    }
    for end in 0..octets.len() {
        assert!(List::from_dawg(&octets[..end]).is_err());
    }
}

/// Two threads make its table, each of parts of its words.
#[test]
fn every_name_of_a_large_list_is_found_with_its_own_number() {
    let name =
        |number: u32| if number.is_multiple_of(3) { ".".to_owned() } else { String::new() } + &format!("n{number:x}.example.");
    let mut words: BTreeSet<String> = (0..30_000_u32).map(|number| name(number.wrapping_mul(0x9e37_79b1))).collect();
    words.extend((0..500_u32).map(|number| format!("{number}'unwritten.example.")));
    let list = list(&words);
    assert_eq!((list.len(), list.unmatchable(), list.words()), (30_000, 500, 30_500));
    let mut hit = 0;
    for (number, word) in words.iter().enumerate() {
        let mut wire = Vec::new();
        let Ok(below) = canonical(word, &mut wire) else { continue };
        if below {
            wire.splice(0..0, *b"\x03www");
        }
        let entry = list.find(&wire).expect(word);
        assert_eq!((entry.number as usize, entry.suffix, list.name(entry).to_string()), (number, below, word.clone()));
        hit += 1;
    }
    assert_eq!(hit, 30_000);
}

/// Its layout is checked while its words are taken.
#[test]
fn a_large_file_is_refused_for_what_is_wrong_anywhere() {
    let words: BTreeSet<String> =
        (0..30_000_u32).map(|number| format!("n{:x}.example.", number.wrapping_mul(0x9e37_79b1))).collect();
    let octets = compile(words.iter().map(String::as_str)).unwrap();
    assert!(octets.len() > 64 << 10, "{}", octets.len());
    let good = List::from_dawg(&octets).unwrap();
    assert_eq!((good.len() as usize, good.unmatchable()), (words.len(), 0));
    let mut refused = 0;
    for place in (0..octets.len()).step_by(octets.len() / 40).chain([octets.len() - 1]) {
        let mut damaged = octets.clone();
        damaged[place] ^= 0x14;
        match List::from_dawg(&damaged) {
            Ok(list) => assert_eq!(u64::from(list.len()) + list.unmatchable(), words.len() as u64, "{place}"),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 20, "{refused}");
    assert!(List::from_dawg(&octets[..octets.len() - 9]).is_err());
    // Nothing leads to what is behind the last word: only a check of the layout can find it.
    assert!(List::from_dawg(&[octets.as_slice(), &[0]].concat()).is_err());
}

/// Labels that collide with each other's texts: dots, escapes, octets beyond ASCII.
fn label() -> impl Strategy<Value = Vec<u8>> {
    let octet = prop::sample::select(b"ab.\\\xe5 1".to_vec());
    prop_oneof![8 => prop::collection::vec(octet, 1..3), 1 => prop::collection::vec(Just(b'a'), 1..20)]
}

fn name() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop_oneof![9 => prop::collection::vec(label(), 0..5), 1 => prop::collection::vec(prop::sample::select(vec![b"a".to_vec(), b"b".to_vec()]), 0..14)]
}

fn wire(labels: &[Vec<u8>]) -> Vec<u8> {
    labels.iter().flat_map(|label| std::iter::once(label.len() as u8).chain(label.iter().copied())).chain([0]).collect()
}

fn text(labels: &[Vec<u8>]) -> String {
    let mut text = String::new();
    for label in labels {
        label.iter().for_each(|octet| push_octet(&mut text, *octet));
        text.push('.');
    }
    if text.is_empty() { ".".to_owned() } else { text }
}

/// As the specification says it, on texts.
fn naive(words: &BTreeSet<String>, name: &str) -> Option<String> {
    if words.contains(name) {
        return Some(name.to_owned());
    }
    let mut escaped = false;
    for (at, character) in name.char_indices() {
        let border = character == '.' && !escaped && at + 1 < name.len();
        escaped = character == '\\' && !escaped;
        if border && words.contains(&name[at..]) {
            return Some(name[at..].to_owned());
        }
    }
    None
}

proptest! {
    #[test]
    fn names_hit_what_the_slow_matcher_says(
        entries in prop::collection::vec((name(), any::<bool>()), 0..60),
        asked in prop::collection::vec(name(), 0..60),
    ) {
        let dotted = |text: String, suffix: bool| if suffix && text != "." { format!(".{text}") } else { text };
        let words: BTreeSet<String> = entries.iter().map(|(labels, suffix)| dotted(text(labels), *suffix)).collect();
        let list = list(&words);
        prop_assert_eq!((list.len() as usize, list.unmatchable()), (words.len(), 0));
        // Each entry itself, what lies below it, and others.
        let mut asked = asked;
        for (labels, _) in &entries {
            asked.push(labels.clone());
            asked.push(std::iter::once(b"a".to_vec()).chain(labels.iter().cloned()).collect());
        }
        let wires: Vec<Vec<u8>> = asked.iter().map(|labels| wire(labels)).collect();
        let names: Vec<&[u8]> = wires.iter().map(Vec::as_slice).collect();
        let mut group = vec![None; names.len()];
        list.find_all(&names, &mut group);
        for ((labels, wire), grouped) in asked.iter().zip(&wires).zip(group) {
            let expected = naive(&words, &text(labels));
            prop_assert_eq!(found(&list, wire), expected.clone());
            prop_assert_eq!(list.find(wire), grouped);
            prop_assert_eq!(list.find(wire).map(|entry| words.iter().nth(entry.number as usize).cloned()), expected.map(Some));
        }
        for word in &words {
            let mut wire = Vec::new();
            let suffix = canonical(word, &mut wire).unwrap();
            let probe: Vec<u8> = if suffix { [b"\x03zzz".as_slice(), &wire].concat() } else { wire };
            let entry = list.find(&probe).unwrap();
            prop_assert_eq!(list.entry(list.name(entry)), Some(entry));
        }
    }
}
