//! What a frame costs before anything is counted: found in the read buffer, decoded, its name made a key.
//! `cargo bench -p tapir-edm --bench decode [frames]`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use tapir_edm::decode::{CountedTypes, Message, Room, counted};
use tapir_edm::input::buffer::MOST;
use tapir_edm::input::reader::{Next, Reader};
use tapir_edm::names::{Key, Presentation};

/// How often each is measured.
const ROUNDS: usize = 9;
/// Beginnings of names.
const LABELS: [&str; 12] =
    ["www", "mail", "api", "cdn-7", "static.assets", "ns1", "login", "img", "edge-11.eu-north", "a", "_dmarc", "telemetry.prod"];

/// Numbers that are the same in each run (xorshift64*).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }
}

fn main() {
    let frames = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(200_000);
    let mut numbers = Numbers(7);
    let mut stream = b"\0\0\0\0\0\0\0\x04\0\0\0\x04\0\0\0\0\0\0\0\x04\0\0\0\x02".to_vec();
    let opening = stream.len();
    for _ in 0..frames {
        let frame = frame(&mut numbers);
        stream.extend_from_slice(&(frame.len() as u32).to_be_bytes());
        stream.extend_from_slice(&frame);
    }
    println!("{frames} frames of {} octets on average, one in ten a query", (stream.len() - opening) / frames);
    let types = CountedTypes::default();
    let mut room = Room::default();
    let (mut key, mut text) = (Key::default(), Presentation::default());
    measure("split only", &stream, frames, |frame| black_box(frame).len());
    measure("  and dnstap", &stream, frames, |frame| Message::read(frame, types).is_ok().into());
    measure("  and DNS (decode)", &stream, frames, |frame| {
        counted(frame, types, &mut room).map_or(0, |counted| usize::from(black_box(&counted).question.class))
    });
    measure("  and key (decode and name)", &stream, frames, |frame| {
        let Ok(counted) = counted(frame, types, &mut room) else { return 0 };
        key.read(counted.question.name);
        black_box(key.starts()).len()
    });
    measure("  and text, as for an event", &stream, frames, |frame| {
        let Ok(counted) = counted(frame, types, &mut room) else { return 0 };
        key.read(counted.question.name);
        text.read(counted.question.name).len() + black_box(key.starts()).len()
    });
}

/// Nanoseconds for a frame, looked at as a connection does: a read at a time, in a buffer that the read has just written.
fn measure(what: &str, stream: &[u8], frames: usize, mut work: impl FnMut(&[u8]) -> usize) {
    let (mut buffer, mut places, mut best) = (vec![0; MOST], Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (mut reader, mut at, mut seen, mut sum, mut reads) = (Reader::default(), 0, 0, 0, 0);
        while at < stream.len() {
            let read = &mut buffer[..MOST.min(stream.len() - at)];
            read.copy_from_slice(&stream[at..at + read.len()]);
            places.clear();
            let begun = Instant::now();
            let pass = reader.pass(read, &mut places);
            for place in &places {
                sum += work(&read[place.range()]);
            }
            let time = begun.elapsed();
            // The best time of each read counts: the machine does other things as well.
            match best.get_mut(reads) {
                None => best.push(time),
                Some(best) => *best = time.min(*best),
            }
            (seen, reads, at) = (seen + places.len(), reads + 1, at + pass.consumed);
            assert!(!matches!(pass.next, Next::Refuse(_) | Next::Finish(_)));
        }
        assert_eq!(seen, frames);
        black_box(sum);
    }
    let all: Duration = best.iter().sum();
    println!("{what:<28} {:>7.1} ns", all.as_nanos() as f64 / frames as f64);
}

/// A client's answer with one to three records and EDNS, or a query.
fn frame(numbers: &mut Numbers) -> Vec<u8> {
    let is_query = numbers.below(10) == 0;
    let records = 1 + numbers.below(3) as u8;
    let mut message = vec![0x12, 0x34, 0x81, 0x80, 0, 1, 0, if is_query { 0 } else { records }, 0, 0, 0, 1];
    let name = format!("{}.example-{}.org", LABELS[numbers.below(LABELS.len())], numbers.below(100_000));
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend_from_slice(label.as_bytes());
    }
    message.extend_from_slice(&[0, 0, 1, 0, 1]);
    if !is_query {
        for _ in 0..records {
            message.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
        }
    }
    message.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    let mut inner = vec![
        8,
        if is_query { 5 } else { 6 },
        0x10,
        1,
        0x18,
        1,
        0x22,
        4,
        10,
        0,
        numbers.below(256) as u8,
        numbers.below(256) as u8,
    ];
    inner.extend_from_slice(&[
        0x2a, 4, 192, 0, 2, 53, 0x30, 0xb9, 0x60, 0x38, 53, 0x60, 0xda, 0xe2, 0xe0, 0xd0, 6, 0x6d, 15, 0, 0, 0,
    ]);
    inner.push(if is_query { 0x52 } else { 0x72 });
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
