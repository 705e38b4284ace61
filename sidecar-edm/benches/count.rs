//! What a look-up costs, what a counted answer costs, and what lists and rows take: `cargo bench -p tapir-edm --bench count`.
//!
//! Names are asked as Zipf's law has it (exponent 1) over all names of the list, by 100 000 clients. The mean of several rounds each, in processor time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::hint::black_box;
use std::sync::Arc;

use tapir_edm::histogram::{Answer, Hit, Minute, Settings, Shard, hash};
use tapir_edm::list::{Entry, GROUP, List};
use tapir_edm::memory::Budget;
use tapir_wire::dawg::{WalkError, compile, scan};

const ASKED: usize = 1 << 20;
const CLIENTS: u32 = 100_000;
const ROUNDS: usize = 5;

/// A small generator is enough here.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// From 0 to 1.
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A rank from 0 to below `count`; the density falls with the rank.
    fn zipf(&mut self, count: usize) -> usize {
        (((count as f64 + 1.0).powf(self.fraction()) - 1.0) as usize).min(count - 1)
    }
}

/// Names as lists have them: a word or two, some with a label in front.
fn names(count: usize, dice: &mut Dice) -> Vec<String> {
    const TOPS: [&str; 8] = ["com", "com", "com", "net", "org", "se", "co.uk", "de"];
    const PARTS: [&str; 16] = [
        "shop", "news", "cloud", "blue", "data", "web", "my", "the", "app", "bank", "play", "video", "host", "mail", "sky",
        "north",
    ];
    let mut names: Vec<String> = (0..count)
        .map(|number| {
            let bits = dice.next();
            let part = |shift: u32| PARTS[(bits >> shift) as usize % PARTS.len()];
            let front = if bits.is_multiple_of(5) { "www." } else { "" };
            format!("{front}{}{}{number:x}.{}.", part(8), part(16), TOPS[(bits >> 24) as usize % TOPS.len()])
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn wire(name: &str) -> Vec<u8> {
    let labels = name.trim_end_matches('.').split('.');
    labels.flat_map(|label| std::iter::once(label.len() as u8).chain(label.bytes())).chain([0]).collect()
}

/// Nanoseconds for which this thread had a processor: others that run beside it count for nothing, but for what they push out of caches.
fn processor_time() -> f64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    told.split(' ').next().unwrap().parse().unwrap()
}

fn timed(count: usize, work: impl FnOnce()) -> f64 {
    let begun = processor_time();
    work();
    (processor_time() - begun) / count as f64
}

/// Nanoseconds for one of `count`, the mean of some rounds.
fn mean(count: usize, mut work: impl FnMut()) -> f64 {
    timed(count * ROUNDS, || (0..ROUNDS).for_each(|_| work()))
}

fn milliseconds(work: impl FnMut()) -> f64 {
    mean(1, work) / 1e6
}

fn main() {
    for count in [100_000, 1_000_000] {
        run(count);
    }
}

fn run(count: usize) {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let names = names(count, &mut dice);
    let text: usize = names.iter().map(String::len).sum();
    let file = compile(names.iter().map(String::as_str)).unwrap();
    println!(
        "{} names of {:.1} octets, file of {:.1} octets a name",
        names.len(),
        text as f64 / count as f64,
        file.len() as f64 / count as f64
    );
    let scanning = milliseconds(|| {
        scan(&file, u64::MAX, |word| {
            black_box(word);
            Ok::<_, WalkError>(())
        })
        .unwrap();
    });
    println!("  {scanning:8.1} ms to check and go through the file");
    let loading = milliseconds(|| _ = black_box(List::from_dawg(&file).unwrap()));
    println!("  {loading:8.1} ms to make a list of it");
    let list = Arc::new(List::from_dawg(&file).unwrap());
    let beside = list.octets() - text;
    println!(
        "  {:8.1} octets an entry beside its name, {:.1} MiB in all",
        beside as f64 / count as f64,
        list.octets() as f64 / 1048576.0
    );

    // Ranks have nothing to do with the order of the list.
    let rank = |rank: usize| rank.wrapping_mul(0x9e37_79b1) % names.len();
    let asked: Vec<Vec<u8>> = (0..ASKED).map(|_| wire(&names[rank(dice.zipf(names.len()))])).collect();
    let unknown: Vec<Vec<u8>> = (0..ASKED).map(|_| wire(&format!("x{:x}.example.com.", dice.next() >> 40))).collect();
    look_up("a hit", &list, &asked);
    look_up("a miss", &list, &unknown);
    count_answers(&list, &asked, &mut dice);
}

fn look_up(what: &str, list: &List, asked: &[Vec<u8>]) {
    let names: Vec<&[u8]> = asked.iter().map(Vec::as_slice).collect();
    let single = mean(names.len(), || names.iter().for_each(|name| _ = black_box(list.find(name))));
    println!("  {single:8.1} ns {what}, one by one");
    let mut found = [None; GROUP];
    let group = mean(names.len(), || {
        for names in names.chunks(GROUP) {
            list.find_all(names, &mut found);
            black_box(&found);
        }
    });
    println!("  {group:8.1} ns {what}, in groups of {GROUP}");
}

fn count_answers(list: &Arc<List>, asked: &[Vec<u8>], dice: &mut Dice) {
    let clients: Vec<[u8; 4]> =
        (0..asked.len()).map(|_| (0x0a00_0000 + (dice.next() % u64::from(CLIENTS)) as u32).to_be_bytes()).collect();
    println!(
        "  {:8.1} ns to hash a client",
        mean(clients.len(), || clients.iter().for_each(|client| _ = black_box(hash(client))))
    );
    let answer = Answer { qtype: 1, qclass: 1, rcode: 0 };
    let names: Vec<&[u8]> = asked.iter().map(Vec::as_slice).collect();
    let mut found: [Option<Entry>; GROUP] = [None; GROUP];
    let budget = Budget::new(1 << 30);
    let mut shard = Shard::new(Arc::clone(list), Settings::default(), &budget);
    let mut hits: Vec<Hit<'_>> = Vec::with_capacity(GROUP);
    let mut count_all = |shard: &mut Shard| {
        for (names, clients) in names.chunks(GROUP).zip(clients.chunks(GROUP)) {
            list.find_all(names, &mut found);
            hits.clear();
            let entries = found.iter().zip(clients);
            hits.extend(entries.filter_map(|(entry, client)| Some(Hit { entry: (*entry)?, answer, client })));
            shard.count_all(&hits);
        }
    };
    println!("  {:8.1} ns to look up and count an answer, rows new", timed(names.len(), || count_all(&mut shard)));
    println!("  {:8.1} ns to look up and count an answer", mean(names.len(), || count_all(&mut shard)));
    let rows = shard.rows() as usize;
    println!(
        "  {:8.1} octets a row in {} rows, {:.1} MiB in all",
        budget.used() as f64 / rows as f64,
        rows,
        budget.used() as f64 / 1048576.0
    );
    let minute = Minute::of([shard]);
    let writing = mean(rows, || minute.rows().for_each(|row| _ = black_box(row)));
    println!("  {writing:8.1} ns to take out a row");
    // The same answers once more, counted by two threads.
    let mut halves = Vec::new();
    for half in 0..2 {
        let mut shard = Shard::new(Arc::clone(list), Settings::default(), &budget);
        for (name, client) in names.iter().zip(&clients).skip(half).step_by(2) {
            shard.count(Hit { entry: list.find(name).unwrap(), answer, client });
        }
        halves.push(shard);
    }
    let mut merged = Minute::default();
    println!("  {:8.1} ns a row to merge two threads", timed(rows, || halves.into_iter().for_each(|half| merged.add(half))));
    assert_eq!(merged.answers(), names.len() as u64);
}
