//! What each stage adds to a frame, from the read buffer to the row: `cargo bench -p tapir-edm --bench stages [names] [frames]`.
//!
//! Names of a list are asked for as Zipf's law has it (exponent 1), by 100 000 clients. The median of some rounds, read
//! by read, since the machine does other things as well; the kernel's part, reading from the socket, is not in it. Then the end of the minute.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tapir_edm::decode::{Counted, CountedTypes, Room, counted};
use tapir_edm::histogram::{Answer, Hit, Minute, Settings, Shard};
use tapir_edm::input::buffer::MOST;
use tapir_edm::input::reader::{Next, Reader};
use tapir_edm::list::{Entry, GROUP, List};
use tapir_edm::memory::Budget;
use tapir_edm::names::Key;
use tapir_wire::dawg::compile;

const CLIENTS: u64 = 100_000;
const ROUNDS: usize = 7;

/// A small generator is enough here.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }

    /// A rank from 0 to below `count`; the density falls with the rank.
    fn zipf(&mut self, count: usize) -> usize {
        let fraction = self.below(1 << 53) as f64 / (1_u64 << 53) as f64;
        (((count as f64 + 1.0).powf(fraction) - 1.0) as usize).min(count - 1)
    }
}

/// Room for the work on a group of frames.
#[derive(Default)]
struct Hands {
    rooms: [Room; GROUP],
    keys: [Key; GROUP],
    found: [Option<Entry>; GROUP],
}

#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Split,
    Decode,
    Name,
    LookUp,
    Count,
}

fn main() {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse::<usize>().ok());
    let (names, frames) = (numbers.next().unwrap_or(1_000_000), numbers.next().unwrap_or(4_000_000));
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut words: Vec<String> = (0..names).map(|number| name(number, &mut dice)).collect();
    words.sort_unstable();
    words.dedup();
    let list = Arc::new(List::from_dawg(&compile(words.iter().map(String::as_str)).unwrap()).unwrap());
    let mut stream = b"\0\0\0\0\0\0\0\x04\0\0\0\x04\0\0\0\0\0\0\0\x04\0\0\0\x02".to_vec();
    for _ in 0..frames {
        // Ranks have nothing to do with the order of the list.
        let rank = dice.zipf(words.len()).wrapping_mul(0x9e37_79b1) % words.len();
        let frame = frame(&words[rank], &mut dice);
        stream.extend_from_slice(&(frame.len() as u32).to_be_bytes());
        stream.extend_from_slice(&frame);
    }
    println!("{} names, {frames} frames of {} octets on average", words.len(), stream.len() / frames);
    let budget = Budget::new(1 << 30);
    let stages = [
        ("found in the read buffer", Stage::Split),
        ("and decoded", Stage::Decode),
        ("and its name made a key", Stage::Name),
        ("and the key looked up", Stage::LookUp),
        ("and the answer counted", Stage::Count),
    ];
    let mut times = stages.map(|_| Vec::new());
    // In turn, so that what else the machine does meets all of them.
    for _ in 0..ROUNDS {
        let mut shard = Shard::new(Arc::clone(&list), Settings::default(), &budget);
        run(&stream, Stage::Count, &list, &mut shard);
        for ((_, stage), times) in stages.iter().zip(&mut times) {
            times.push(run(&stream, *stage, &list, &mut shard));
        }
    }
    let mut before = 0.0;
    for ((what, _), times) in stages.iter().zip(&mut times) {
        let median = (0..times[0].len()).map(|read| middle(times.iter().map(|round| round[read]).collect())).sum::<Duration>();
        let median = median.as_nanos() as f64 / frames as f64;
        println!("{what:<28} {median:>7.1} ns, {:>6.1} more", median - before);
        before = median;
    }
    end_of_minute(&stream, &list, &budget);
}

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Two connections' rows become one minute's, and are taken out one by one.
fn end_of_minute(stream: &[u8], list: &Arc<List>, budget: &Arc<Budget>) {
    let shards = [(); 2].map(|()| {
        let mut shard = Shard::new(Arc::clone(list), Settings::default(), budget);
        run(stream, Stage::Count, list, &mut shard);
        shard
    });
    let rows = shards.iter().map(|shard| shard.rows()).max().unwrap_or_default();
    let (sketches, begun) = (budget.used() / 2, Instant::now());
    let minute = Minute::of(shards);
    let merged = Instant::now();
    let octets: usize = minute.rows().map(|row| row.v4.sketch.map_or(0, |sketch| sketch.len())).sum();
    println!(
        "{rows} rows of {} octets: {} ms to merge two connections', {} ms to take out; {octets} octets of sketches",
        sketches / rows as usize,
        (merged - begun).as_millis(),
        merged.elapsed().as_millis()
    );
}

/// How long the work on each read took.
fn run(stream: &[u8], stage: Stage, list: &Arc<List>, shard: &mut Shard) -> Vec<Duration> {
    let (mut buffer, mut places, mut hands) = (vec![0; MOST], Vec::new(), Hands::default());
    let (mut reader, mut at, mut times, mut sum) = (Reader::default(), 0, Vec::new(), 0);
    while at < stream.len() {
        let read = &mut buffer[..MOST.min(stream.len() - at)];
        // As the kernel does it.
        read.copy_from_slice(&stream[at..at + read.len()]);
        places.clear();
        let begun = Instant::now();
        let pass = reader.pass(read, &mut places);
        for places in places.chunks(GROUP) {
            let mut group: [&[u8]; GROUP] = [&[]; GROUP];
            for (frame, place) in group.iter_mut().zip(places) {
                *frame = &read[place.range()];
            }
            sum += work(&group[..places.len()], stage, list, shard, &mut hands);
        }
        times.push(begun.elapsed());
        at += pass.consumed;
        assert!(!matches!(pass.next, Next::Refuse(_) | Next::Finish(_)));
    }
    black_box(sum);
    times
}

fn work(frames: &[&[u8]], stage: Stage, list: &List, shard: &mut Shard, hands: &mut Hands) -> usize {
    if stage == Stage::Split {
        return frames.iter().map(|frame| usize::from(frame[0])).sum();
    }
    let mut decoded: [Option<Counted<'_>>; GROUP] = [None; GROUP];
    for ((frame, room), decoded) in frames.iter().zip(&mut hands.rooms).zip(&mut decoded) {
        *decoded = counted(frame, CountedTypes::default(), room).ok();
    }
    if stage == Stage::Decode {
        return decoded.iter().flatten().map(|counted| usize::from(counted.question.class)).sum();
    }
    for (decoded, key) in decoded.iter().flatten().zip(&mut hands.keys) {
        key.read(decoded.question.name);
    }
    if stage == Stage::Name {
        return hands.keys.iter().map(|key| key.starts().len()).sum();
    }
    let mut names: [&[u8]; GROUP] = [&[]; GROUP];
    for (name, key) in names.iter_mut().zip(&hands.keys) {
        *name = key.octets();
    }
    list.find_all(&names[..frames.len()], &mut hands.found);
    if stage == Stage::LookUp {
        return hands.found.iter().flatten().map(|entry| entry.number as usize).sum();
    }
    let mut hits = [None; GROUP];
    for ((hit, decoded), entry) in hits.iter_mut().zip(decoded.iter().flatten()).zip(hands.found) {
        let answer =
            Answer { qtype: decoded.question.question_type, qclass: decoded.question.class, rcode: decoded.query.response_code };
        *hit = entry.map(|entry| Hit { entry, answer, client: decoded.message.client.octets() });
    }
    // All names are on the list.
    if let Some(first) = hits[0] {
        let hits = hits.map(|hit| hit.unwrap_or(first));
        shard.count_all(&hits[..frames.len()]);
    }
    shard.rows() as usize
}

/// As lists have them: a word or two, some with a label in front.
fn name(number: usize, dice: &mut Dice) -> String {
    const TOPS: [&str; 8] = ["com", "com", "com", "net", "org", "se", "co.uk", "de"];
    const PARTS: [&str; 16] = [
        "shop", "news", "cloud", "blue", "data", "web", "my", "the", "app", "bank", "play", "video", "host", "mail", "sky",
        "north",
    ];
    let mut part = || PARTS[dice.below(16) as usize];
    let (first, second) = (part(), part());
    let front = if dice.below(5) == 0 { "www." } else { "" };
    format!("{front}{first}{second}{number:x}.{}.", TOPS[dice.below(8) as usize])
}

/// A client's answer with a record or two and EDNS.
fn frame(name: &str, dice: &mut Dice) -> Vec<u8> {
    let records = 1 + dice.below(2) as u8;
    let mut message = vec![0x12, 0x34, 0x81, 0x80, 0, 1, 0, records, 0, 0, 0, 1];
    for label in name.trim_end_matches('.').split('.') {
        message.push(label.len() as u8);
        message.extend_from_slice(label.as_bytes());
    }
    message.extend_from_slice(&[0, 0, 1, 0, 1]);
    for _ in 0..records {
        message.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
    }
    message.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    let [.., a, b, c] = dice.below(CLIENTS).to_be_bytes();
    let mut inner =
        vec![8, 6, 0x10, 1, 0x18, 1, 0x22, 4, 10, a, b, c, 0x30, 0xb9, 0x60, 0x38, 53, 0x60, 0xda, 0xe2, 0xe0, 0xd0, 6];
    inner.extend_from_slice(&[0x6d, 15, 0, 0, 0, 0x72]);
    field(&mut inner, &message);
    let mut frame = b"\x0a\x08server-1\x12\x0eunbound 1.22.0\x72".to_vec();
    field(&mut frame, &inner);
    frame.extend_from_slice(&[0x78, 1]);
    frame
}

/// Length and octets.
fn field(frame: &mut Vec<u8>, octets: &[u8]) {
    if octets.len() >= 0x80 {
        frame.push((octets.len() & 0x7f) as u8 | 0x80);
        frame.push((octets.len() >> 7) as u8);
    } else {
        frame.push(octets.len() as u8);
    }
    frame.extend_from_slice(octets);
}
