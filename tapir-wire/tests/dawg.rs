//! Word lists against files of the upstream compiler.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::{Duration, Instant};

use common::{bytes, json, list, string, upstream};
use serde_json::Value;
use tapir_wire::dawg::{CompileError, Dawg, DawgError, DomainSet, Header, Part, Scan, WalkError, compile, scan, walk};
use tapir_wire::name::Name;

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

/// The vectors about one file, which must not be none.
fn about<'a>(vectors: &'a Value, file: &str) -> Vec<&'a Value> {
    let found: Vec<_> = list(&vectors["vectors"]).iter().filter(|vector| string(vector, "file") == file).collect();
    assert!(!found.is_empty(), "{file}");
    found
}

fn check_file(name: &str, octets: &[u8]) {
    for vector in about(&json("edm/dawg.json"), name) {
        if let Some(hex) = vector["hex"].as_str() {
            assert_eq!(hex::encode(octets), hex, "{name}");
        }
        let words = match &vector["words"] {
            Value::Null => words(&vector["words_in_index_order"]),
            _ => (0..200).map(|host| format!("host{host:03}.example.com.")).collect(),
        };
        check(name, octets, &words);
    }
}

fn check_lookups(name: &str, octets: &[u8]) {
    let set = DomainSet::new(Dawg::from_bytes(octets.to_vec()).unwrap());
    for case in about(&json("edm/dawg_lookup.json"), name) {
        let found = set.lookup(string(case, "name"));
        assert_eq!(found.map(|found| found.index), u64::try_from(case["index"].as_i64().unwrap()).ok(), "{case}");
        assert_eq!(found.is_some_and(|found| found.suffix), case["suffix_match"].as_bool().unwrap(), "{case}");
        if let (Some(found), Some(entry)) = (found, case["matched_entry"].as_str()) {
            assert_eq!(set.dawg().index_of(entry), Some(found.index), "{case}");
        }
    }
}

#[test]
fn small_lists_are_read_and_written_bit_for_bit() {
    for name in ["empty", "one", "single-char", "empty-word", "mixed", "prefixes", "200-hosts", "unicode"] {
        let name = format!("generated-{name}.dawg");
        check_file(&name, &bytes(&format!("edm/dawg/{name}")));
    }
}

#[test]
fn domains_match_exactly_or_by_suffix() {
    for name in ["generated-mixed.dawg", "generated-unicode.dawg"] {
        check_lookups(name, &bytes(&format!("edm/dawg/{name}")));
    }
}

/// One test for each file of upstream's own, so that each says for itself when it did not run.
mod upstreams_own {
    use super::*;

    fn file(name: &str) -> Option<Vec<u8>> {
        upstream(&format!("edm/dawg/{name}"))
    }

    #[test]
    fn ignored_names_empty() {
        let name = "ignored-question-names.empty.dawg";
        let Some(octets) = file(name) else { return };
        check_file(name, &octets);
    }

    #[test]
    fn ignored_names_valid1() {
        let name = "ignored-question-names.valid1.dawg";
        let Some(octets) = file(name) else { return };
        check_file(name, &octets);
        check_lookups(name, &octets);
    }

    #[test]
    fn ignored_names_valid2() {
        let name = "ignored-question-names.valid2.dawg";
        let Some(octets) = file(name) else { return };
        check_file(name, &octets);
        check_lookups(name, &octets);
    }

    #[test]
    fn ignored_names_as_packaged() {
        let name = "ignored.dawg";
        let Some(octets) = file(name) else { return };
        check_file(name, &octets);
        check_lookups(name, &octets);
    }

    #[test]
    fn well_known_domains() {
        let vector = json("edm/dawg_well_known_domains.json");
        let name = string(&vector, "file");
        let Some(octets) = file(name) else { return };
        check_lookups(name, &octets);
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
}

#[test]
fn entries_are_found_and_split_into_the_recorded_labels() {
    let vectors = json("edm/dawg_entry_labels.json");
    let mut entries: Vec<_> = list(&vectors["vectors"]).iter().map(|case| string(case, "dawg_entry")).collect();
    entries.sort_unstable();
    let set = DomainSet::new(Dawg::from_bytes(compile(entries.iter().copied()).unwrap()).unwrap());
    for case in list(&vectors["vectors"]) {
        let entry = string(case, "dawg_entry");
        let index = set.dawg().index_of(entry);
        assert!(index.is_some(), "{entry}");
        let (name, suffix) = entry.strip_prefix('.').filter(|rest| !rest.is_empty()).map_or((entry, false), |rest| (rest, true));
        let asked = if suffix { format!("www.{name}") } else { name.to_owned() };
        let found = set.lookup(&asked);
        assert_eq!(found.map(|found| (Some(found.index), found.suffix)), Some((index, suffix)), "{entry}");
        // Labels from the top; the tenth column holds whatever is left. A suffix entry ends in an empty one where there is room.
        let mut labels: Vec<String> = Name::parse(name).unwrap().labels().map(str::to_owned).collect();
        labels.reverse();
        let recorded = words(&case["labels_label0_first_limit10"]);
        labels.truncate(9);
        assert_eq!(labels, recorded[..labels.len()], "{entry}");
        assert_eq!(suffix && labels.len() < 9, recorded.get(labels.len()).is_some_and(String::is_empty), "{entry}");
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

fn walked(octets: &[u8]) -> Result<Vec<String>, WalkError> {
    let mut words = Vec::new();
    walk(octets, 1 << 20, |word| {
        words.push(word.to_owned());
        Ok::<_, WalkError>(())
    })?;
    Ok(words)
}

/// Whole, and in parts: nobody can tell the difference.
fn scanned(octets: &[u8]) -> Result<Vec<String>, WalkError> {
    let mut words = Vec::new();
    let count = scan(octets, 1 << 20, |word| {
        words.push(word.to_owned());
        Ok::<_, WalkError>(())
    });
    if let Ok(count) = count {
        assert_eq!(count, words.len() as u64);
    }
    let whole = count.map(|_| words);
    for parts in [2, 3, 16] {
        assert_eq!(scanned_in_parts(octets, parts).ok().as_ref(), whole.as_ref().ok(), "{parts} parts");
    }
    whole
}

fn scanned_in_parts(octets: &[u8], parts: u64) -> Result<Vec<String>, WalkError> {
    let scan = Scan::new(octets, 1 << 20)?;
    let (layout, parts) = (scan.check_layout(), scan.parts(parts));
    let mut words = Vec::new();
    for part in parts? {
        assert_eq!(part.first(), words.len() as u64);
        part.each(|word| {
            words.push(word.to_owned());
            Ok::<_, WalkError>(())
        })?;
    }
    layout.map(|()| words)
}

/// 16 octets: ten thousand words, and one node with as many edges as can be written that take no room.
#[test]
fn edges_that_are_not_there_are_not_gone_through() {
    let file = [0, 0, 0, 0x10, 0, 0, 0xce, 0x10, 0x01, 0x01, 0x1f, 0xff, 0xff, 0xff, 0xef, 0xe0];
    let header = Header::read(&file).unwrap();
    assert_eq!((header.words, header.nodes), (10_000, 1));
    let begun = Instant::now();
    assert!(scanned(&file).is_err());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn parts_have_about_as_many_words_each() {
    let words: Vec<_> = (0..1000).map(|number| format!("{number:04}.example.")).collect();
    let octets = compile(words.iter().map(String::as_str)).unwrap();
    let scan = Scan::new(&octets, 1000).unwrap();
    let firsts: Vec<_> = scan.parts(4).unwrap().iter().map(Part::first).collect();
    assert_eq!(firsts, [0, 250, 500, 750]);
    assert_eq!(scan.parts(5000).unwrap().len(), 1000);
}

#[test]
fn a_scan_finds_the_words_of_every_file() {
    for name in ["empty", "one", "single-char", "empty-word", "mixed", "prefixes", "200-hosts", "unicode"] {
        let octets = bytes(&format!("edm/dawg/generated-{name}.dawg"));
        let words: Vec<String> = Dawg::from_bytes(octets.clone()).unwrap().words().collect();
        assert_eq!(scanned(&octets).unwrap(), words, "{name}");
    }
    let Some(octets) = upstream("edm/dawg/well-known-domains.dawg") else { return };
    assert!(scanned(&octets).unwrap() == Dawg::from_bytes(octets).unwrap().words().collect::<Vec<_>>());
}

#[test]
fn a_scan_of_a_damaged_file_ends_and_refuses_what_does_not_fit() {
    for file in ["edm/dawg/generated-mixed.dawg", "pop/dawg/two-hundred.dawg"] {
        let octets = bytes(file);
        for end in 0..octets.len() {
            let mut cut = octets[..end].to_vec();
            assert!(scanned(&cut).is_err(), "{file}: {end}");
            if let Some(size) = cut.first_chunk_mut::<4>() {
                *size = u32::try_from(end).unwrap().to_be_bytes();
            }
            assert!(scanned(&cut).is_err(), "{file}: {end} with its size");
        }
        for bit in 0..octets.len() * 8 {
            let mut flipped = octets.clone();
            flipped[bit / 8] ^= 0x80 >> (bit % 8);
            // The same as the reader that unpacks the graph.
            let whole = Dawg::from_bytes(flipped.clone()).map(|dawg| dawg.words().collect::<Vec<_>>());
            assert_eq!(scanned(&flipped).ok(), whole.ok(), "{file}: {bit}");
        }
    }
}

#[test]
fn a_scan_does_not_write_out_what_few_octets_make_many_words_of() {
    let all: Vec<String> = (0..1_u32 << 12).map(|number| format!("{number:012b}")).collect();
    let octets = compile(all.iter().map(String::as_str)).unwrap();
    assert_eq!(scanned(&octets).unwrap(), all);
    let result = scan(&octets, 4095, |_| Ok::<_, WalkError>(()));
    assert!(matches!(result, Err(WalkError::TooMany { words: 4096, limit: 4095 })));
}

#[test]
fn a_scan_does_not_go_ways_without_a_word_at_their_end() {
    // Forty nodes, each with two edges to the next, and a leaf where no word ends: 2^40 ways, and not one word in the header.
    let (mut bits, root, node, levels) = (String::new(), 72, 11 + 2 * 23, 40);
    for level in 1..=levels {
        let next = root + level * node;
        bits += &format!("00000000010{:07b}{next:016b}{:07b}{next:016b}", b'a', b'b');
    }
    bits += "00000000000";
    let mut file = vec![0, 0, 0, 0, 7, 16, 0, levels as u8 + 1, 1];
    for octet in bits.as_bytes().chunks(8) {
        let digits = format!("{:0<8}", std::str::from_utf8(octet).unwrap());
        file.push(u8::from_str_radix(&digits, 2).unwrap());
    }
    let size = u32::try_from(file.len()).unwrap();
    file[..4].copy_from_slice(&size.to_be_bytes());
    assert!(Dawg::from_bytes(file.clone()).unwrap().is_empty(), "the file is whole");
    assert!(matches!(scanned(&file), Err(WalkError::Dawg(DawgError::BadCounts))));
}

#[test]
fn a_scan_refuses_a_way_back_and_a_node_inside_another() {
    let back = by_hand(1, &format!("001{:07b}{ROOT:08b}", b'a'));
    assert!(matches!(scanned(&back), Err(WalkError::Dawg(DawgError::Cycle))));
    let inside = by_hand(2, &format!("001{:07b}{:08b}100000000001", b'a', ROOT + 19));
    assert!(matches!(scanned(&inside), Err(WalkError::Dawg(DawgError::BadLayout))));
}

#[test]
fn a_walk_finds_the_words_of_upstreams_files() {
    for file in ["allow-small", "prefixchain", "single", "suffixes", "two-hundred"] {
        let octets = bytes(&format!("pop/dawg/{file}.dawg"));
        let expected: Vec<String> = Dawg::from_bytes(octets.clone()).unwrap().words().collect();
        assert!(!expected.is_empty());
        assert_eq!(walked(&octets).unwrap(), expected, "{file}");
    }
}

#[test]
fn a_walk_over_a_damaged_file_ends_and_never_hands_out_more_than_is_stated() {
    let octets = bytes("pop/dawg/two-hundred.dawg");
    for end in 0..octets.len() {
        let mut cut = octets[..end].to_vec();
        assert!(walked(&cut).is_err(), "{end}");
        if let Some(size) = cut.first_chunk_mut::<4>() {
            *size = u32::try_from(end).unwrap().to_be_bytes();
        }
        assert!(walked(&cut).is_err(), "{end} with its size");
    }
    let words = walked(&octets).unwrap();
    for bit in 0..octets.len() * 8 {
        let mut flipped = octets.clone();
        flipped[bit / 8] ^= 0x80 >> (bit % 8);
        // A flipped character may give other words, in order all the same; everything else is an error.
        if let Ok(found) = walked(&flipped) {
            assert_eq!(found.len(), words.len(), "{bit}");
            assert!(found.is_sorted(), "{bit}");
        }
    }
}

#[test]
fn many_words_in_few_octets_are_refused_and_not_written_out() {
    // Each level has both letters and leads to the same node: 2^20 words.
    let all: Vec<String> = (0..1_u32 << 12).map(|number| format!("{number:012b}")).collect();
    let octets = compile(all.iter().map(String::as_str)).unwrap();
    assert!(octets.len() < 200, "{}", octets.len());
    assert_eq!(walked(&octets).unwrap(), all);
    let result = walk(octets.as_slice(), 4095, |_| Ok::<_, WalkError>(()));
    assert!(matches!(result, Err(WalkError::TooMany { words: 4096, limit: 4095 })));
}

#[test]
fn random_octets_are_no_word_list() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for size in (12..400_usize).cycle().take(4000) {
        let mut octets: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u8
        })
        .take(size)
        .collect();
        octets[..4].copy_from_slice(&u32::try_from(size).unwrap().to_be_bytes());
        (octets[4], octets[5]) = (octets[4] % 22, octets[5] % 36);
        // What counts is that it ends.
        _ = walked(&octets);
        _ = scanned(&octets);
    }
}
