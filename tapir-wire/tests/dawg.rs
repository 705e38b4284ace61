//! Word lists against files of the upstream compiler.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod common;

use common::{bytes, json, list, string, upstream};
use serde_json::Value;
use tapir_wire::dawg::{CompileError, Dawg, DawgError, DomainSet, compile};

fn file(name: &str) -> Option<Vec<u8>> {
    if name.starts_with("generated-") {
        return Some(bytes(&format!("edm/dawg/{name}")));
    }
    upstream(&format!("edm/dawg/{name}")).map(|path| std::fs::read(path).unwrap())
}

fn check(name: &str, octets: &[u8], words: &[String]) {
    let dawg = Dawg::from_bytes(octets.to_vec()).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(dawg.len(), words.len() as u64, "{name}");
    assert_eq!(dawg.words().collect::<Vec<_>>(), words, "{name}");
    for (index, word) in words.iter().enumerate() {
        assert_eq!(dawg.index_of(word), Some(index as u64), "{name}: {word}");
    }
    let again = compile(words.iter().map(String::as_str)).unwrap();
    assert_eq!(again, octets, "{name}: not the same octets");
}

fn words(value: &Value) -> Vec<String> {
    list(value).iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

#[test]
fn small_lists_are_read_and_written_bit_for_bit() {
    for vector in list(&json("edm/dawg.json")["vectors"]) {
        let name = string(vector, "file");
        let Some(octets) = file(name) else { continue };
        if let Some(hex) = vector["hex"].as_str() {
            assert_eq!(hex::encode(&octets), hex, "{name}");
        }
        let words = match &vector["words"] {
            Value::Null => words(&vector["words_in_index_order"]),
            _ => (0..200).map(|host| format!("host{host:03}.example.com.")).collect(),
        };
        check(name, &octets, &words);
    }
}

#[test]
fn lists_of_pop_are_read_and_written_bit_for_bit() {
    for vector in list(&json("pop/dawg/index.json")["files"]) {
        let name = string(vector, "file");
        let octets = bytes(&format!("pop/dawg/{name}"));
        let dawg = Dawg::from_bytes(octets.clone()).unwrap();
        for (word, index) in vector["index_of"].as_object().unwrap() {
            assert_eq!(dawg.index_of(word), u64::try_from(index.as_i64().unwrap()).ok(), "{name}: {word:?}");
        }
        check(name, &octets, &words(&vector["words"]));
    }
}

#[test]
fn the_published_list_is_read_and_written_bit_for_bit() {
    let vector = json("edm/dawg_well_known_domains.json");
    let Some(octets) = file(string(&vector, "file")) else {
        return;
    };
    let dawg = Dawg::from_bytes(octets.clone()).unwrap();
    assert_eq!(dawg.len(), vector["num_added"].as_u64().unwrap());
    for case in list(&vector["samples"]) {
        assert_eq!(dawg.index_of(string(case, "word")), case["index_of"].as_u64());
    }
    for case in list(&vector["exact_lookups"]) {
        assert_eq!(dawg.index_of(string(case, "name")), u64::try_from(case["index_of"].as_i64().unwrap()).ok());
    }
    let words: Vec<_> = dawg.words().collect();
    assert!(compile(words.iter().map(String::as_str)).unwrap() == octets, "not the same octets");
}

#[test]
fn domains_match_exactly_or_by_suffix() {
    let mut ran = 0;
    for case in list(&json("edm/dawg_lookup.json")["vectors"]) {
        let Some(octets) = file(string(case, "file")) else {
            continue;
        };
        let set = DomainSet::new(Dawg::from_bytes(octets).unwrap());
        let found = set.lookup(string(case, "name"));
        assert_eq!(found.map(|found| found.index), u64::try_from(case["index"].as_i64().unwrap()).ok(), "{case}");
        assert_eq!(found.is_some_and(|found| found.suffix), case["suffix_match"].as_bool().unwrap(), "{case}");
        if let (Some(found), Some(entry)) = (found, case["matched_entry"].as_str()) {
            assert_eq!(set.dawg().index_of(entry), Some(found.index), "{case}");
        }
        ran += 1;
    }
    assert!(ran > 10);
}

#[test]
fn every_cut_and_every_extension_is_refused() {
    let whole = bytes("edm/dawg/generated-mixed.dawg");
    for length in 0..whole.len() {
        assert!(Dawg::from_bytes(whole[..length].to_vec()).is_err(), "{length}");
        // Also when the size field agrees with the cut file.
        let mut cut = whole[..length].to_vec();
        if length >= 4 {
            cut[..4].copy_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
            assert!(Dawg::from_bytes(cut).is_err(), "{length}");
        }
    }
    let mut longer = whole;
    longer.push(0);
    assert_eq!(Dawg::from_bytes(longer.clone()).unwrap_err(), DawgError::WrongSize { stated: 78, actual: 79 });
    longer[3] += 1;
    assert_eq!(Dawg::from_bytes(longer).unwrap_err(), DawgError::BadLayout);
}

/// A file of one word and the given nodes, written as digits.
fn by_hand(nodes: u8, bits: &str) -> Vec<u8> {
    // Size, 7 bits a character, 8 an address, 1 word, some nodes, 1 edge.
    let mut file = vec![0, 0, 0, 0, 7, 8, 1, nodes, 1];
    for octet in bits.as_bytes().chunks(8) {
        let digits = format!("{:0<8}", std::str::from_utf8(octet).unwrap());
        file.push(u8::from_str_radix(&digits, 2).unwrap());
    }
    file[3] = u8::try_from(file.len()).unwrap();
    file
}

const ROOT: u8 = 72;

#[test]
fn a_cycle_is_refused() {
    // The root with a single edge to itself.
    let file = by_hand(1, &format!("001{:07b}{ROOT:08b}", b'a'));
    assert_eq!(Dawg::from_bytes(file).unwrap_err(), DawgError::Cycle);
}

#[test]
fn nodes_must_lie_end_to_end() {
    // The root with a single edge to a leaf behind it, and bits of nobody between the two.
    let with_gap = |gap: &str| {
        let leaf = usize::from(ROOT) + 18 + gap.len();
        Dawg::from_bytes(by_hand(2, &format!("001{:07b}{leaf:08b}{gap}100000000001", b'a')))
    };
    assert_eq!(with_gap("").unwrap().index_of("a"), Some(0));
    assert_eq!(with_gap("00").unwrap_err(), DawgError::BadLayout);
}

#[test]
fn words_out_of_order_are_refused() {
    assert_eq!(compile(["b", "a"]), Err(CompileError::NotAscending(1)));
    assert_eq!(compile(["a", "a"]), Err(CompileError::NotAscending(1)));
    assert_eq!(compile(["", ""]), Err(CompileError::NotAscending(1)));
}
