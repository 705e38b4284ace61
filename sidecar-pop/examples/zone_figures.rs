//! What a zone of a million names costs: emitted whole, and changed in place.
//! `cargo run --release -p tapir-pop --example zone_figures [names]`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, unreachable_pub, dead_code)]

#[path = "../../pop-table/tests/common/names.rs"]
mod names;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use names::Numbers;
use tapir_pop::policy::{Action, Policy, Rule};
use tapir_pop::zone::emit::Emit;
use tapir_pop::zone::judge::Source;
use tapir_pop::zone::known::Known;
use tapir_pop::zone::layers::Layers;
use tapir_pop::zone::source::Kept;
use tapir_pop::zone::touch::{Touch, Touched};
use tapir_pop::zone::weigh::{Origin, Weigh};
use tapir_table::{Code, Codes, Cursor, Diff, KeyBuf, Merge, Palette, Staged, TableFile, TableWriter, Tree};
use tapir_wire::config::pop::{List, Match, Mode};

const ROOM: usize = 245;
const BUDGET: usize = 64 << 10;

fn main() {
    let count = std::env::args().nth(1).map_or(1_000_000, |count| count.parse().unwrap());
    let keys = names::sorted(count, 7);
    for (what, tops) in [("without wildcards", &[][..]), ("below three blocked top-level domains", &["com", "ru", "xyz"])] {
        println!("\n{what}");
        measure(&keys, tops);
    }
}

/// Two deny lists, a feed and a doubt list with a quarter each and some twice, a hundredth allowed, a tenth observed, and `tops` blocked
/// with all below.
fn measure(keys: &[KeyBuf], tops: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let origin = |list| Origin { list, r#match: Match::Exact, records: false, keeps_action: false };
    let feed = Origin { records: true, keeps_action: true, ..origin(List::Deny) };
    let origins = vec![
        origin(List::Deny),
        origin(List::Deny),
        feed,
        origin(List::Doubt),
        origin(List::Allow),
        Origin { r#match: Match::Subtree, ..origin(List::Deny) },
        origin(List::Doubt),
    ];
    let rule = |any_tags, min_sources, action| Rule {
        name: String::new(),
        any_tags,
        all_tags: None,
        min_tags: None,
        min_sources,
        action,
    };
    let rules = vec![rule(None, Some(1), Action::Nodata), rule(Some(1), None, Action::Drop)];
    let weigh = Weigh { policy: Policy::new(Action::Nxdomain, rules), mode: Mode::Enforce, origins };
    let list = |name: &str, codes: Codes, has: &dyn Fn(usize) -> bool| {
        let path = folder.path().join(name);
        let mut writer = TableWriter::new(Staged::create(&path).unwrap()).unwrap();
        keys.iter().enumerate().filter(|(index, _)| has(*index)).for_each(|(_, key)| writer.push(key, codes).unwrap());
        of_file(writer)
    };
    let codes = Codes::new(Code::DROP, Code::SILENT);
    let mut sources = vec![
        list("one", Codes::LISTED, &|index| index % 4 == 0 || index % 16 == 1),
        list("two", Codes::LISTED, &|index| index % 4 == 1),
        list("feed", codes, &|index| index % 4 == 2),
        list("doubt", Codes::LISTED, &|index| index % 4 == 3),
        list("allow", Codes::LISTED, &|index| index % 100 == 7),
    ];
    let mut blocked: Vec<KeyBuf> = tops.iter().map(|top| KeyBuf::from_text(top, ROOM).unwrap()).collect();
    blocked.sort();
    let memory = |keys: &[KeyBuf], known: fn(Codes) -> Known| {
        let mut changes = Tree::new();
        for key in keys {
            changes.insert(key, Codes::LISTED);
        }
        Kept { table: None, changes, known: Arc::new(known) }
    };
    sources.push(memory(&blocked, Known::Listed));
    let observed: Vec<KeyBuf> = keys.iter().step_by(10).copied().collect();
    sources.push(memory(&observed, |_| Known::Observed(1)));

    let merge = || Merge::new(sources.iter().map(Source::cursor).collect());
    let (mut names, anonymous_before) = (merge(), anonymous());
    let began = on_cpu();
    let mut cursor = Emit::new(&weigh, &mut names, ROOM);
    let mut nodes = 0;
    while cursor.advance().unwrap() {
        nodes += 1;
        black_box(cursor.value());
    }
    report("merged, decided and emitted", keys.len(), on_cpu() - began);
    println!("  {nodes} nodes; {} KiB more memory", (anonymous().saturating_sub(anonymous_before)) >> 10);
    let mut names = merge();
    let began = on_cpu();
    while names.advance().unwrap() {
        black_box(names.hits());
    }
    report("  of which merged", keys.len(), on_cpu() - began);
    let write = |name: &str| {
        let mut names = merge();
        let mut writer = TableWriter::new(Staged::create(&folder.path().join(name)).unwrap()).unwrap();
        writer.push_all(&mut Emit::new(&weigh, &mut names, ROOM)).unwrap();
        Arc::new(TableFile::<Codes>::open(writer.finish(1, &Palette::default()).unwrap().0.finish().unwrap()).unwrap())
    };
    let layers = Layers::new(write("zone"));
    let mut names = merge();
    let began = on_cpu();
    let mut writer = TableWriter::new(Staged::create(&folder.path().join("next")).unwrap()).unwrap();
    let mut diff = Diff::new(layers.cursor(), Emit::new(&weigh, &mut names, ROOM));
    let mut changed = 0;
    while diff.step().unwrap() {
        let change = diff.change();
        changed += usize::from(change.old != change.new);
        if change.new != Codes::SILENT {
            writer.push(diff.key(), change.new).unwrap();
        }
    }
    writer.finish(1, &Palette::default()).unwrap().0.finish().unwrap();
    report("the same, compared to what is published, and written", keys.len(), on_cpu() - began);
    println!("  {changed} changed");
    touches(&weigh, &sources, &layers, keys);
}

/// Observations that come, one at a time and many at once.
fn touches(weigh: &Weigh, sources: &[Kept<Codes>], layers: &Layers, keys: &[KeyBuf]) {
    let mut numbers = Numbers::new(4711);
    let mut sources = sources.to_vec();
    for (each, reaches) in [(1, false), (100, false), (1, true), (100, true)] {
        let mut layers = layers.clone();
        let (mut taken, mut changes, mut count) = (Duration::ZERO, 0, 0);
        for _ in 0..20_000 / each {
            let mut touched: Vec<KeyBuf> = (0..each)
                .map(|_| match numbers.below(2) {
                    0 => keys[numbers.below(keys.len())],
                    _ => KeyBuf::from_text(&names::name(&mut numbers), ROOM).unwrap(),
                })
                .collect();
            touched.sort();
            touched.dedup();
            for key in &touched {
                sources.last_mut().unwrap().changes.insert(key, Codes::LISTED);
            }
            let began = on_cpu();
            let mut touch = Touch::new(weigh, &sources, ROOM, &layers, BUDGET);
            touch.touch(touched.iter().map(|key| Touched { key: *key, reaches })).unwrap();
            let done = touch.finish();
            done.each(|_, _| changes += 1).unwrap();
            taken += on_cpu() - began;
            (layers, count) = (done.layers, count + touched.len());
        }
        println!(
            "touched {each} at a time{}: {:.2} us each, {changes} changes of {count}",
            if reaches { ", with all below" } else { "" },
            taken.as_nanos() as f64 / 1000.0 / count as f64
        );
    }
}

fn of_file(writer: TableWriter<Staged>) -> Kept<Codes> {
    let file = writer.finish(1, &Palette::default()).unwrap().0.finish().unwrap();
    Kept { table: Some(Arc::new(TableFile::open(file).unwrap())), changes: Tree::new(), known: Arc::new(Known::Listed) }
}

fn report(what: &str, count: usize, taken: Duration) {
    println!("{what}: {:.0} ns a name, {:.3} s", taken.as_nanos() as f64 / count as f64, taken.as_secs_f64());
}

/// Time that this thread had a processor: other people work on the machine.
fn on_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split_whitespace().next().unwrap().parse().unwrap())
}

fn anonymous() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}
