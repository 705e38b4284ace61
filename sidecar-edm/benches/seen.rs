//! What the store of names that were seen costs: `cargo bench -p tapir-edm --bench seen`.
//!
//! Stores of 100 000 and 1 000 000 names, full as they may be; names of some 24 octets. Processor time, the mean of several rounds; what touches
//! the disk is on the clock.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use tapir_edm::events::seen::{Fingerprint, Found, Kind, Log, Secret, Table};

const ROUNDS: u32 = 5;
/// Marks that the clerk writes at once.
const BATCH: usize = 1000;
const MONTH: Duration = Duration::from_hours(30 * 24);

fn main() {
    for names in [100_000, 1_000_000] {
        run(names);
    }
}

fn run(names: usize) {
    let secret = Secret::draw();
    let keys: Vec<Vec<u8>> = (0..names).map(|number| format!("\x06n{number:05x}\x07example\x03com\0").into_bytes()).collect();
    let hashing = mean(names, || keys.iter().for_each(|key| _ = black_box(secret.fingerprint(key))));
    let known: Vec<Fingerprint> = keys.iter().map(|key| secret.fingerprint(key)).collect();
    let unknown: Vec<Fingerprint> = keys.iter().map(|key| secret.fingerprint(&key[1..])).collect();

    let table = Table::new(names);
    let marking = timed(names, || known.iter().for_each(|print| table.mark(*print)));
    println!(
        "{names} names, {:.1} octets each in memory, {} of them had to go for others",
        octets(&table, names),
        table.forgotten()
    );
    println!("  {hashing:8.1} ns to make a name a fingerprint");
    println!("  {marking:8.1} ns to mark one that is new");
    // Far from each other, as they are asked for.
    let far = |prints: &[Fingerprint], number: usize| prints[number.wrapping_mul(0x9e37_79b1) % prints.len()];
    let mut hits = 0;
    let hit = mean(names, || hits += (0..names).filter(|number| table.find(far(&known, *number)) != Found::New).count());
    let share = 100.0 * hits as f64 / (names * ROUNDS as usize) as f64;
    println!("  {hit:8.1} ns to find one ({share:.1} % of them are there)");
    let miss = mean(names, || (0..names).for_each(|number| _ = black_box(table.find(far(&unknown, number)))));
    println!("  {miss:8.1} ns to find none");
    on_disk(names, &secret, &known);
}

fn on_disk(names: usize, secret: &Secret, known: &[Fingerprint]) {
    let folder = std::env::temp_dir().join(format!("tapir-edm-bench-seen-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let records: Vec<(Kind, Fingerprint)> = known.iter().map(|print| (Kind::Mark, *print)).collect();
    let (mut log, _) = Log::open(&folder, secret, names, MONTH, 0, &Table::new(names)).unwrap();
    let began = Instant::now();
    records.chunks(BATCH).for_each(|batch| log.append(batch).unwrap());
    let appending = began.elapsed().as_secs_f64() * 1e9 / names as f64;
    let began = Instant::now();
    log.sync().unwrap();
    let syncing = began.elapsed().as_secs_f64() * 1e3;
    drop(log);
    let table = Table::new(names);
    let began = Instant::now();
    let (log, _) = Log::open(&folder, secret, names, MONTH, 0, &table).unwrap();
    let opening = began.elapsed().as_secs_f64() * 1e3;
    println!("  {appending:8.1} ns to write one down, {BATCH} at a time; {syncing:.1} ms until all of them are on the disk");
    println!("  {opening:8.1} ms to read them at a start, {} are there", table.len());
    drop(log);
    std::fs::remove_dir_all(&folder).unwrap();
}

fn octets(table: &Table, names: usize) -> f64 {
    table.octets() as f64 / names as f64
}

/// Nanoseconds for which this thread had a processor.
fn processor_time() -> f64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    told.split(' ').next().unwrap().parse().unwrap()
}

fn timed(count: usize, work: impl FnOnce()) -> f64 {
    let began = processor_time();
    work();
    (processor_time() - began) / count as f64
}

fn mean(count: usize, mut work: impl FnMut()) -> f64 {
    timed(count * ROUNDS as usize, || (0..ROUNDS).for_each(|_| work()))
}
