//! What trees, lookups, sorting and rebuilding cost with a million names.
//! `cargo run --release -p tapir-table --example figures [names]`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, unreachable_pub, dead_code)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::hint::black_box;
use std::time::Duration;

use common::names::{self, Numbers};
use common::{Model, Seen};
use tapir_table::{
    Code, Codes, Cursor, Diff, KeyBuf, Merge, Overlay, Palette, Sorter, Spill, Staged, TableFile, TableWriter, Trail, Tree,
};

fn main() {
    let count = std::env::args().nth(1).map_or(1_000_000, |count| count.parse().unwrap());
    in_memory(count);
    let keys = names::sorted(count, 7);
    let mut numbers = Numbers::new(99);
    let mut order: Vec<u32> = (0..count as u32).collect();
    for last in (1..count).rev() {
        order.swap(last, numbers.below(last + 1));
    }
    // One behind the other, so that what is measured is not how long it takes to fetch the questions.
    let octets: Vec<u8> = order.iter().flat_map(|index| keys[*index as usize].padded()[..64].to_vec()).collect();
    let lengths: Vec<u8> = order.iter().map(|index| keys[*index as usize].len() as u8).collect();
    let shuffled =
        || octets.chunks(64).zip(&lengths).map(|(octets, length)| KeyBuf::from_key(&octets[..usize::from(*length)]).unwrap());
    let folder = tempfile::tempdir().unwrap();

    let mut tree = Tree::<Seen>::new();
    let began = on_cpu();
    for (index, key) in shuffled().enumerate() {
        tree.insert(&key, Seen { flags: 1, added: 1_790_000_000_000, expires: index as u32, tags: 5, guard: None });
    }
    report("observations inserted in any order", count, on_cpu() - began);
    let began = on_cpu();
    for key in shuffled() {
        black_box(tree.get(key.as_bytes()));
    }
    report("tree get", count, on_cpu() - began);
    let mut trail = Trail::new();
    let began = on_cpu();
    for key in shuffled() {
        black_box(tree.get_with_trail(key.as_bytes(), &mut trail));
    }
    report("tree get with trail", count, on_cpu() - began);
    let began = on_cpu();
    let mut cursor = tree.cursor();
    while cursor.advance().unwrap() {
        black_box(cursor.value());
    }
    report("tree walked through", count, on_cpu() - began);
    let began = on_cpu();
    let path = folder.path().join("observations.tab");
    let mut writer = TableWriter::new(Staged::create(&path).unwrap()).unwrap();
    writer.push_all(&mut tree.clone().cursor()).unwrap();
    let (staged, kept) = writer.finish(0, &Palette::default()).unwrap();
    let kept_in = staged.finish().unwrap();
    report("observations written to a file", count, on_cpu() - began);
    println!("  {:.1} octets each", kept.octets as f64 / count as f64);
    let began = on_cpu();
    let loaded = Tree::from_cursor(&mut TableFile::<Seen>::open(kept_in).unwrap().scan().forgetting()).unwrap();
    report("and loaded from it", loaded.len(), on_cpu() - began);
    println!("  {:.1} octets each", loaded.octets() as f64 / count as f64);
    drop(loaded);
    let began = on_cpu();
    let mut snapshots = Vec::new();
    for (index, key) in shuffled().take(100_000).enumerate() {
        if index % 100 == 0 {
            snapshots = vec![tree.clone()];
        }
        tree.insert(&key, Seen { expires: 7, ..Seen::default() });
    }
    report("inserted, a snapshot held, renewed each 100", 100_000, on_cpu() - began);
    drop(snapshots);
    let began = on_cpu();
    let mut taken = 0;
    for now in (0..count as u32).step_by(1000) {
        taken += tree.take_due(now, usize::MAX, |_, _| {});
    }
    report("taken when due, 1000 at a time", taken, on_cpu() - began);
    drop(tree);

    let mut overlay = Tree::<Codes>::new();
    for key in shuffled().take(count / 8) {
        overlay.insert(&key, Codes::new(Code::NXDOMAIN, Code::SILENT));
    }
    let mut peak = anonymous();
    let before = peak;
    let began = on_cpu();
    let mut sorter = Sorter::new(Spill::Folder(folder.path().to_owned()), |one: Codes, _| one);
    for (index, key) in shuffled().enumerate() {
        sorter.push(&key, Codes::LISTED).unwrap();
        if index % 100_000 == 0 {
            peak = peak.max(anonymous());
        }
    }
    let mut writer = TableWriter::new(Staged::create(&folder.path().join("list.tab")).unwrap()).unwrap();
    sorter.finish(&mut writer).unwrap();
    let file = writer.finish(1, &Palette::default()).unwrap().0.finish().unwrap();
    report("sorted into a file", count, on_cpu() - began);
    println!("  of which memory at most {:.1} MiB", (peak.max(anonymous()) - before) as f64 / 1048576.0);

    let table = TableFile::<Codes>::open(file).unwrap();
    let mut trail = Trail::new();
    let began = on_cpu();
    for key in shuffled() {
        black_box(table.get(key.as_bytes(), &mut trail).unwrap());
    }
    report("file get with trail", count, on_cpu() - began);
    let began = on_cpu();
    let mut walked = Overlay::new(Overlay::new(table.scan(), overlay.cursor()), Tree::new().cursor());
    let mut names = 0;
    while walked.advance().unwrap() {
        names += black_box(walked.key()).len().min(1);
    }
    report("file with an eighth laid over it walked through", names, on_cpu() - began);
    let none = Tree::<Codes>::new();
    let began = on_cpu();
    let mut walked = Overlay::new(Overlay::new(table.scan(), none.cursor()), none.cursor());
    while walked.advance().unwrap() {
        black_box(walked.key());
    }
    report("file with two empty overlays walked through", count, on_cpu() - began);

    // Five sources of a fifth each, and a tenth that two of them have.
    let sources: Vec<_> = (0..5_usize)
        .map(|source| {
            let of_it = |index: &usize| index % 5 == source || (index % 10 == (source * 2 + 1) % 10);
            let model: Model =
                keys.iter().enumerate().filter(|(index, _)| of_it(index)).map(|(_, key)| (*key, Codes::LISTED)).collect();
            common::table(&model)
        })
        .collect();
    let began = on_cpu();
    let mut merge = Merge::new(sources.iter().map(TableFile::scan).collect());
    let mut writer = TableWriter::new(Staged::create(&folder.path().join("zone.tab")).unwrap()).unwrap();
    while merge.advance().unwrap() {
        let code = if merge.hits().len() > 1 { Code::DROP } else { Code::NXDOMAIN };
        writer.push(merge.key(), Codes::new(code, Code::SILENT)).unwrap();
    }
    let zone = TableFile::<Codes>::open(writer.finish(1, &Palette::default()).unwrap().0.finish().unwrap()).unwrap();
    report("five sources merged into a file", count, on_cpu() - began);
    println!("  {:.2} octets a name with two values in turn", zone.octets() as f64 / count as f64);
    let began = on_cpu();
    let mut diff = Diff::new(table.scan(), zone.scan());
    let mut changed = 0;
    while diff.advance().unwrap() {
        changed += 1;
    }
    report("difference of two files", count, on_cpu() - began);
    black_box(changed);
    drop((keys, octets, sources));
    feed(10 * count);
}

fn report(what: &str, count: usize, taken: Duration) {
    println!("{what}: {:.0} ns each, {:.3} s", taken.as_nanos() as f64 / count as f64, taken.as_secs_f64());
}

/// What trees take, measured before anything else has touched the heap.
fn in_memory(count: usize) {
    let mut numbers = Numbers::new(7);
    let before = anonymous();
    let mut tree = Tree::<Seen>::new();
    while tree.len() < count {
        let key = KeyBuf::from_text(&names::name(&mut numbers), 254).unwrap();
        tree.insert(&key, Seen { flags: 1, added: 1_790_000_000_000, expires: 5, tags: 5, guard: None });
    }
    memory("observations", count, tree.octets(), before);
    // A day of them: three times as many come, and as many end.
    for index in 0..3 * count {
        let key = KeyBuf::from_text(&names::name(&mut numbers), 254).unwrap();
        tree.insert(&key, Seen { flags: 1, added: 1_790_000_000_000, expires: 6 + index as u32, tags: 5, guard: None });
        if index % 100 == 0 {
            while tree.len() > count {
                let earliest = tree.earliest().unwrap();
                tree.take_due(earliest, tree.len() - count, |_, _| {});
            }
        }
    }
    memory("observations after three times as many", tree.len(), tree.octets(), before);
    let before = anonymous();
    let mut overlay = Tree::<Codes>::new();
    while overlay.len() < count / 4 {
        let key = KeyBuf::from_text(&names::name(&mut numbers), 254).unwrap();
        overlay.insert(&key, Codes::new(Code::NXDOMAIN, Code::SILENT));
    }
    memory("overlay", count / 4, overlay.octets(), before);
}

/// Time that this thread had a processor: other people work on the machine.
fn on_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split_whitespace().next().unwrap().parse().unwrap())
}

/// Ten times as many names through the sorter, in any order and with repetitions.
fn feed(count: usize) {
    let folder = tempfile::tempdir().unwrap();
    let mut numbers = Numbers::new(77);
    let (before, began) = (anonymous(), on_cpu());
    let mut peak = before;
    let mut sorter = Sorter::new(Spill::Folder(folder.path().to_owned()), |one: Codes, _| one);
    for index in 0..count {
        sorter.push(&KeyBuf::from_text(&names::name(&mut numbers), 254).unwrap(), Codes::LISTED).unwrap();
        if index % 100_000 == 0 {
            peak = peak.max(anonymous());
        }
    }
    let mut writer = TableWriter::new(Staged::create(&folder.path().join("list.tab")).unwrap()).unwrap();
    sorter.finish(&mut writer).unwrap();
    peak = peak.max(anonymous());
    let (_, summary) = writer.finish(1, &Palette::default()).unwrap();
    report(&format!("a feed of {count}, {} of them different, made and sorted", summary.nodes), count, on_cpu() - began);
    println!("  of which memory at most {:.1} MiB", (peak - before) as f64 / 1048576.0);
}

fn memory(what: &str, count: usize, octets: usize, before: u64) {
    println!(
        "{what}: {:.1} octets each as counted, {:.1} by RssAnon",
        octets as f64 / count as f64,
        (anonymous() - before) as f64 / count as f64
    );
}

fn anonymous() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}
