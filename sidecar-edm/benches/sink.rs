//! What the way from a frame to its counter costs, and what of that is the price of shards that others can reach:
//! `cargo bench -p tapir-edm --bench sink`.
//!
//! Frames of CLIENT_RESPONSE for names of a list of 100 000, all of them hits; the mean of several rounds, in processor time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::hint::black_box;
use std::sync::Arc;

use tapir_edm::decode::{CountedTypes, Room, counted};
use tapir_edm::events::{Events, Settings as EventSettings};
use tapir_edm::histogram::{Answer, Hit, Settings, Shard};
use tapir_edm::input::sink::{FrameSink, GROUP};
use tapir_edm::instance::Instance;
use tapir_edm::list::{List, Lists};
use tapir_edm::memory::Budget;
use tapir_edm::minimiser::{Minimiser, Policy, Rotation, RotationCounts};
use tapir_edm::names::Key;
use tapir_edm::outbox::{Bounds, Counters, Folders, Store};
use tapir_edm::sessions::{Settings as SessionSettings, Switch};

const NAMES: usize = 100_000;
const FRAMES: usize = 1 << 18;
const ROUNDS: usize = 10;

fn main() {
    let names: Vec<String> = (0..NAMES).map(|number| format!("n{number:06}.example.")).collect();
    let list = Arc::new(List::from_dawg(&tapir_wire::dawg::compile(names.iter().map(String::as_str)).unwrap()).unwrap());
    let frames: Vec<Vec<u8>> = (0..FRAMES).map(|number| frame(&names[number * 7919 % NAMES], number as u32 % 100_000)).collect();
    let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    let budget = Budget::new(1 << 30);

    let mut shard = Shard::new(Arc::clone(&list), Settings::default(), &budget);
    let bare = mean(|| frames.chunks(GROUP).for_each(|group| by_hand(&list, &mut shard, group)));
    println!("{bare:8.1} ns a frame, decoded, looked up and counted by hand in one shard");

    let folder = std::env::temp_dir().join("tapir-edm-bench-sink");
    let events = Events::open(&folder, EventSettings::default(), &budget);
    let sessions = Switch::open(SessionSettings::new(&folder), Default::default(), &budget).unwrap();
    let minimiser = Minimiser::new(events, sessions, Default::default(), Arc::default(), Arc::clone(&budget));
    let store = Store::start(Folders::below(&folder), Bounds::default(), Instance::draw(), Counters::default(), Arc::default());
    let rotation = Rotation::new(minimiser.clone(), RotationCounts::default(), store.unwrap());
    rotation.take_up(Policy { sending: true, ..Policy::default() }, &Lists { well_known: Some(list), ..Lists::default() });
    for group in [GROUP, 4, 1] {
        let mut sink = minimiser.sink();
        let through = mean(|| frames.chunks(group).for_each(|group| sink.frames(group)));
        println!("{through:8.1} ns a frame through a sink, {group} at a time");
    }
    let _ = std::fs::remove_dir_all(folder);
}

fn by_hand(list: &Arc<List>, shard: &mut Shard, frames: &[&[u8]]) {
    let (mut rooms, mut keys) = ([const { None::<Room> }; GROUP], [const { None::<Key> }; GROUP]);
    let mut found = [None; GROUP];
    let mut asked = Vec::with_capacity(GROUP);
    for ((frame, room), key) in frames.iter().zip(&mut rooms).zip(&mut keys) {
        let counted = counted(frame, CountedTypes::default(), room.insert(Room::default())).unwrap();
        key.insert(Key::default()).read(counted.question.name);
        asked.push((counted.message.client.octets(), counted.question.question_type, counted.query.response_code));
    }
    let names: Vec<&[u8]> = keys.iter().flatten().map(Key::octets).collect();
    list.find_all(&names, &mut found);
    let hits: Vec<Hit<'_>> = asked
        .iter()
        .zip(found)
        .map(|((client, qtype, rcode), entry)| Hit {
            entry: entry.unwrap(),
            answer: Answer { qtype: *qtype, qclass: 1, rcode: *rcode },
            client,
        })
        .collect();
    shard.count_all(black_box(&hits));
}

fn frame(name: &str, client: u32) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend_from_slice(label.as_bytes());
    }
    message.extend_from_slice(&[0, 1, 0, 1]);
    let client = client.to_be_bytes();
    let inner = [&[0x08, 6, 0x22, 4], client.as_slice(), &[0x72, message.len() as u8], &message].concat();
    [&[0x72, inner.len() as u8], inner.as_slice(), &[0x78, 1]].concat()
}

/// Nanoseconds of this thread for one frame.
fn mean(mut work: impl FnMut()) -> f64 {
    work();
    let begun = processor_time();
    (0..ROUNDS).for_each(|_| work());
    (processor_time() - begun) / (FRAMES * ROUNDS) as f64
}

fn processor_time() -> f64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    told.split(' ').next().unwrap().parse().unwrap()
}
