//! Histograms against a slow model: a map of names, sets of hashes, and sketches written bit by bit as the specification says it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use tapir_edm::histogram::{Answer, Hit, LABELS, Minute, Row, Settings, Shard, Threshold, hash};
use tapir_edm::list::List;
use tapir_edm::memory::Budget;
use tapir_wire::dawg::compile;
use tapir_wire::name::Name;

const WORDS: [&str; 6] = [".", ".com.", ".example.net.", "a.example.com.", "example.com.", r"x\.y.org."];
const OTHER_WORDS: [&str; 4] = [".com.", "example.com.", "new.example.", r"x\.y.org."];
/// What is asked, and the entry that it hits in each of the lists.
const NAMES: [(&str, Option<&str>, Option<&str>); 8] = [
    (".", Some("."), None),
    ("b.com", Some(".com."), Some(".com.")),
    ("a.b.example.net", Some(".example.net."), None),
    ("a.example.com", Some("a.example.com."), Some(".com.")),
    ("example.com", Some("example.com."), Some("example.com.")),
    (r"x\.y.org", Some(r"x\.y.org."), Some(r"x\.y.org.")),
    ("new.example", None, Some("new.example.")),
    ("example.net", None, None),
];

fn list(words: &[&str]) -> Arc<List> {
    Arc::new(List::from_dawg(&compile(words.iter().copied()).unwrap()).unwrap())
}

#[derive(Clone, Debug)]
struct Frame {
    name: usize,
    answer: Answer,
    client: Vec<u8>,
    thread: usize,
    new_list: bool,
}

#[derive(Default)]
struct Naive {
    types: [u64; 6],
    codes: [u64; 4],
    clients: [BTreeSet<u64>; 2],
}

impl Naive {
    fn count(&mut self, frame: &Frame) {
        let Answer { qtype, qclass, rcode } = frame.answer;
        let types = [1, 28, 15, 2];
        let column = if qclass == 1 { types.iter().position(|known| *known == qtype).unwrap_or(4) } else { 5 };
        self.types[column] += 1;
        self.codes[[0, 3, 2].iter().position(|known| *known == rcode).unwrap_or(3)] += 1;
        let mapped = frame.client.len() == 16 && frame.client[..12] == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255];
        match frame.client.len() {
            4 => self.clients[0].insert(hash(&frame.client)),
            16 => self.clients[usize::from(!mapped)].insert(hash(&frame.client)),
            _ => false,
        };
    }
}

/// Number of clients and column, by the text of the specification.
fn naive_sketch(hashes: &BTreeSet<u64>, threshold: u32) -> (u64, Option<Vec<u8>>) {
    let hashes: Vec<u64> = hashes.iter().copied().filter(|hash| *hash != 0).collect();
    if hashes.len() <= threshold as usize {
        return (hashes.len() as u64, None);
    }
    let mut registers: BTreeMap<u64, u64> = BTreeMap::new();
    for hash in hashes {
        let (mut rest, mut value) = (hash >> 10, 1);
        if rest == 0 {
            continue;
        }
        while rest & 1 == 0 && value < 15 {
            (rest, value) = (rest >> 1, value + 1);
        }
        let register = registers.entry(hash % 1024).or_default();
        *register = value.max(*register);
    }
    let set = registers.len();
    let bits: String = if set <= 256 {
        registers.iter().map(|(register, value)| format!("{:014b}", register << 4 | value)).collect()
    } else {
        (0..1024).map(|register| format!("{:04b}", registers.get(&register).unwrap_or(&0))).collect()
    };
    let mut exponent = 0;
    while 2_u32 << exponent <= threshold {
        exponent += 1;
    }
    let mut octets = vec![if set <= 256 { 0x13 } else { 0x14 }, 0x6a, 0x40 + exponent];
    for octet in bits.as_bytes().chunks(8) {
        octets.push(u8::from_str_radix(&format!("{:0<8}", std::str::from_utf8(octet).unwrap()), 2).unwrap());
    }
    let m = 1024_f64;
    let sum: f64 = (0..1024).map(|register| 2_f64.powi(-i32::try_from(*registers.get(&register).unwrap_or(&0)).unwrap())).sum();
    let e = 0.7213 / (1.0 + 1.079 / 1024.0) * m * m / sum;
    let zeros = 1024 - set;
    let count = if zeros > 0 && e < 2560.0 {
        m * (m / zeros as f64).ln()
    } else if e <= 16_777_216.0 / 30.0 {
        e
    } else {
        -16_777_216.0 * (1.0 - e / 16_777_216.0).ln()
    };
    (count.ceil() as u64, Some(octets))
}

/// Labels of an entry, the topmost first. None of the lists' names has ten.
fn naive_labels(entry: &str) -> Vec<Option<String>> {
    let (name, suffix) = entry.strip_prefix('.').filter(|rest| !rest.is_empty()).map_or((entry, false), |rest| (rest, true));
    let mut labels: Vec<_> = Name::parse(name).unwrap().labels().map(|label| Some(label.to_owned())).collect();
    labels.reverse();
    labels.extend(suffix.then(|| Some(String::new())));
    labels.resize(LABELS, None);
    labels
}

fn entry_of(row: &Row) -> Vec<Option<String>> {
    row.labels.iter().map(|label| label.map(str::to_owned)).collect()
}

fn check(minute: &Minute, model: &BTreeMap<&str, Naive>, settings: Settings) -> Result<(), TestCaseError> {
    let rows: Vec<Row> = minute.rows().collect();
    prop_assert_eq!(rows.len(), model.len());
    prop_assert_eq!(minute.is_empty(), rows.is_empty());
    prop_assert_eq!(
        (minute.sketches_lost(), minute.answers()),
        (0, model.values().map(|row| row.codes.iter().sum::<u64>()).sum())
    );
    for (entry, expected) in model {
        let labels = naive_labels(entry);
        let found: Vec<_> = rows.iter().filter(|row| entry_of(row) == labels).collect();
        prop_assert_eq!(found.len(), 1, "{}", entry);
        let row = found[0];
        prop_assert_eq!(row.counters.to_vec(), [expected.types.as_slice(), &expected.codes].concat());
        prop_assert_eq!(row.status_bits, if entry.len() > 1 && entry.starts_with('.') { 2 } else { 1 });
        for (clients, hashes) in [&row.v4, &row.v6].into_iter().zip(&expected.clients) {
            let (count, sketch) = naive_sketch(hashes, settings.threshold.clients() as u32);
            prop_assert_eq!(clients.count, count);
            prop_assert_eq!(&clients.sketch, &sketch.filter(|_| !settings.counts_only));
        }
    }
    Ok(())
}

fn client() -> impl Strategy<Value = Vec<u8>> {
    let v6 = |prefix: [u8; 12]| (0_u32..3000).prop_map(move |host| [prefix.as_slice(), &host.to_be_bytes()].concat());
    prop_oneof![
        6 => (0_u32..3000).prop_map(|host| host.to_be_bytes().to_vec()),
        3 => v6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0]),
        1 => v6([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255]),
        1 => prop::collection::vec(any::<u8>(), 0..20).prop_filter("no address", |octets| octets.len() != 4 && octets.len() != 16),
    ]
}

fn frame() -> impl Strategy<Value = Frame> {
    let number = |usual: &[u16]| prop_oneof![9 => prop::sample::select(usual.to_vec()), 1 => any::<u16>()];
    let answer = (number(&[1, 28, 15, 2, 16]), number(&[1, 1, 1, 1, 3]), number(&[0, 0, 3, 2, 5, 16]))
        .prop_map(|(qtype, qclass, rcode)| Answer { qtype, qclass, rcode });
    // Some names are asked for much more often, so that sketches take every form.
    let name = prop_oneof![3 => 0..NAMES.len(), 2 => Just(1_usize)];
    (name, answer, client(), 0_usize..4, any::<bool>()).prop_map(|(name, answer, client, thread, new_list)| Frame {
        name,
        answer,
        client,
        thread,
        new_list,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn minutes_are_what_the_slow_model_says(
        minutes in prop::collection::vec((prop::collection::vec(frame(), 0..1200), any::<bool>()), 1..3),
        threshold in prop_oneof![Just(20_u32), Just(1), 1_u32..200],
        counts_only in any::<bool>(),
        in_groups in any::<bool>(),
    ) {
        let settings = Settings { threshold: Threshold::new(threshold).unwrap(), counts_only };
        let budget = Budget::new(64 << 20);
        let lists = [list(&WORDS), list(&OTHER_WORDS)];
        for (frames, swaps) in minutes {
            // Each thread has a shard for each list that it saw.
            let mut shards: Vec<Shard> =
                (0..8).map(|place| Shard::new(Arc::clone(&lists[place % 2]), settings, &budget)).collect();
            let mut model: BTreeMap<&str, Naive> = BTreeMap::new();
            let mut waiting: Vec<Vec<(usize, Frame)>> = vec![Vec::new(); 8];
            for frame in &frames {
                let new = usize::from(frame.new_list && swaps);
                let (name, old_entry, new_entry) = NAMES[frame.name];
                let expected = [old_entry, new_entry][new];
                prop_assert_eq!(lists[new].find(&Name::parse(name).unwrap().to_wire()).is_some(), expected.is_some());
                if let Some(entry) = expected {
                    model.entry(entry).or_default().count(frame);
                    waiting[frame.thread * 2 + new].push((new, frame.clone()));
                }
            }
            for (shard, frames) in shards.iter_mut().zip(&waiting) {
                let wires: Vec<_> = frames.iter().map(|(_, frame)| Name::parse(NAMES[frame.name].0).unwrap().to_wire()).collect();
                let hits: Vec<Hit<'_>> = frames.iter().zip(&wires).map(|((new, frame), wire)| {
                    Hit { entry: lists[*new].find(wire).unwrap(), answer: frame.answer, client: &frame.client }
                }).collect();
                if in_groups {
                    shard.count_all(&hits);
                } else {
                    hits.into_iter().for_each(|hit| shard.count(hit));
                }
            }
            check(&Minute::of(shards), &model, settings)?;
        }
        prop_assert_eq!(budget.used(), 0);
    }
}

const USUAL: Answer = Answer { qtype: 1, qclass: 1, rcode: 0 };

#[test]
fn counters_go_beyond_sixteen_bits_and_add_up_over_threads() {
    let (list, budget) = (list(&WORDS), Budget::new(1 << 20));
    let entry = list.find(b"\x07example\x03com").unwrap();
    let shards = (0..3).map(|_| {
        let mut shard = Shard::new(Arc::clone(&list), Settings::default(), &budget);
        for _ in 0..70_000 {
            shard.count(Hit { entry, answer: USUAL, client: b"" });
        }
        shard.count(Hit { entry, answer: Answer { qtype: 28, qclass: 1, rcode: 3 }, client: b"" });
        shard
    });
    let rows: Vec<Row> = Minute::of(shards).rows().collect();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].counters, [210_000, 3, 0, 0, 0, 0, 210_000, 3, 0, 0]);
    assert_eq!((&rows[0].v4.sketch, rows[0].v4.count), (&None, 0));
}

/// A list of so many names, and the wire form of each.
fn many(count: usize) -> (Arc<List>, Vec<Vec<u8>>) {
    let names: Vec<String> = (0..count).map(|number| format!("name{number:05}.example.")).collect();
    let words: Vec<&str> = names.iter().map(String::as_str).collect();
    (list(&words), names.iter().map(|name| Name::parse(name).unwrap().to_wire()).collect())
}

#[test]
fn without_room_sketches_go_and_counters_stay_exact() {
    const CLIENTS: u32 = 40;
    const BOUND: usize = 2 << 20;
    let (list, names) = many(20_000);
    let budget = Budget::new(BOUND);
    let mut shards: Vec<_> = (0..2).map(|_| Shard::new(Arc::clone(&list), Settings::default(), &budget)).collect();
    // All rows grow side by side: the hardest case, because all of them need larger blocks at the same time.
    for client in 0..CLIENTS {
        for (place, name) in names.iter().enumerate() {
            let entry = list.find(name).unwrap();
            shards[place % 2].count(Hit { entry, answer: USUAL, client: &client.to_be_bytes() });
        }
    }
    // Counters of 20 000 rows in full pieces, the index of each thread, and not one octet more than the bound for sketches.
    let must = 2 * (4 * 20_000 + 32 * 10_000_usize.next_multiple_of(2048));
    assert!(budget.used() <= BOUND.max(must), "{}", budget.used());
    assert!(budget.refused() > 0);
    let minute = Minute::of(shards);
    let lost = minute.sketches_lost();
    let (mut rows, mut zeros, mut whole) = (0, 0, 0);
    for row in minute.rows() {
        assert_eq!((row.counters[0], row.counters[6], row.v6.count), (u64::from(CLIENTS), u64::from(CLIENTS), 0));
        rows += 1;
        zeros += u64::from(row.v4.count == 0 && row.v4.sketch.is_none());
        whole += u64::from(row.v4.sketch.is_some());
    }
    assert_eq!((rows, zeros, zeros + whole), (20_000, lost, 20_000));
    assert!(lost > 1000 && whole > 1000, "{lost} {whole}");
    drop(minute);
    assert_eq!(budget.used(), 0);
}

/// Whoever wants less to be told does not have to wait for the next minute.
#[test]
fn a_minute_that_was_counted_in_two_ways_tells_numbers_alone() {
    let usual = Settings::default();
    let fewer = Settings { threshold: Threshold::new(50).unwrap(), ..usual };
    let none = Settings { counts_only: true, ..usual };
    for (before, after, sketches) in [(usual, usual, 1), (usual, none, 0), (none, usual, 0), (usual, fewer, 0), (fewer, usual, 0)]
    {
        let (list, budget) = (list(&["example.com."]), Budget::new(1 << 20));
        let entry = list.find(b"\x07example\x03com\x00").unwrap();
        let shard = |settings, first: u8| {
            let mut shard = Shard::new(Arc::clone(&list), settings, &budget);
            (first..first + 30).for_each(|last| shard.count(Hit { entry, answer: USUAL, client: &[192, 0, 2, last] }));
            shard
        };
        let minute = Minute::of([shard(before, 0), shard(after, 30)]);
        let rows: Vec<Row> = minute.rows().collect();
        assert_eq!((rows.len(), minute.answers()), (1, 60));
        assert!((50..70).contains(&rows[0].v4.count), "{}", rows[0].v4.count);
        assert_eq!(rows.iter().filter(|row| row.v4.sketch.is_some()).count(), sketches, "{before:?} {after:?}");
    }
}

#[test]
fn nothing_of_a_client_is_printed() {
    let (list, budget) = (list(&WORDS), Budget::new(1 << 20));
    let mut shard = Shard::new(Arc::clone(&list), Settings::default(), &budget);
    let entry = list.find(b"\x03www\x03com").unwrap();
    shard.count(Hit { entry, answer: USUAL, client: &[198, 51, 100, 77] });
    let secret = hash(&[198, 51, 100, 77]);
    let minute = Minute::of([shard]);
    let printed = format!("{minute:?}{:?}", minute.rows().collect::<Vec<_>>());
    for form in [format!("{secret}"), format!("{secret:x}"), "198, 51".to_owned(), "198.51".to_owned()] {
        assert!(!printed.contains(&form), "{printed}");
    }
}
