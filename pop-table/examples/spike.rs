//! How fast a zone of a million names goes out: rendered to nowhere, and over a loopback socket against the same octets ready
//! made. `cargo run --release -p tapir-table --example spike [names]`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, unreachable_pub)]

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use tapir_table::{Backing, Code, Codes, Cursor, Overlay, Palette, TableFile, TableWriter, Tree};

#[path = "../tests/common/names.rs"]
mod names;
#[path = "../../sidecar-pop/src/dns/render/mod.rs"]
#[allow(dead_code, unused_imports)]
mod render;

use render::{Envelope, Renderer, Unsigned, Window, record};

fn envelope() -> Envelope {
    let mut question = b"\x08dnstapir\0".to_vec();
    question.extend([0, 252, 0, 1]);
    let mut soa = b"\x05mname\0\x05rname\0".to_vec();
    soa.extend([0; 20]);
    let zone = [0xc0, 12];
    let apex = vec![record(zone, 6, 3600, &soa), record(zone, 2, 3600, b"\x03ns1\0"), record(zone, 2, 3600, b"\x03ns2\0")];
    Envelope { id: 4711, question, apex, ttl: 60, palette: Arc::new(Palette::default()) }
}

fn main() {
    let count = std::env::args().nth(1).map_or(1_000_000, |count| count.parse().unwrap());
    let keys = names::sorted(count, 7);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("zone.tab");
    let began = Instant::now();
    let mut writer = TableWriter::new(tapir_table::Staged::create(&path).unwrap()).unwrap();
    for key in &keys {
        writer.push(key, Codes::new(Code::NXDOMAIN, Code::SILENT)).unwrap();
    }
    let (staged, summary) = writer.finish(1, &Palette::default()).unwrap();
    let file = staged.finish().unwrap();
    let wrote = began.elapsed();
    let key_octets = keys.iter().map(|key| key.len()).sum::<usize>() as f64 / count as f64;
    let names = summary.nodes;
    println!(
        "{names} names, {key_octets:.2} octets a key; file {:.2} octets a name; written in {wrote:?}",
        summary.octets as f64 / names as f64
    );
    drop(keys);
    let table = TableFile::<Codes>::from_backing(Backing::File(Arc::new(file))).unwrap();
    println!("index in memory {:.2} octets a name", table.index_octets() as f64 / names as f64);

    measure("scan", names, 9, || {
        let mut scan = table.scan();
        let mut octets = 0;
        while scan.advance().unwrap() {
            octets += black_box(&scan).key().len();
        }
        octets
    });
    let mut window = Window::new();
    let times = if std::env::args().nth(2).is_some() { 200 } else { 9 };
    let rendered = measure("render to nowhere", names, times, || {
        let (mut scan, mut renderer) = (table.scan(), Renderer::new(envelope(), Unsigned));
        let mut octets = 0;
        while renderer.fill(&mut scan, &mut window).unwrap() {
            octets += black_box(window.as_bytes()).len();
        }
        octets
    });
    println!("{:.2} octets a record", rendered as f64 / names as f64);
    if std::env::args().nth(2).is_some_and(|only| only == "render") {
        return;
    }
    let with_wildcards: Vec<_> = {
        let mut scan = table.scan();
        let mut all = TableWriter::new(Vec::new()).unwrap();
        while scan.advance().unwrap() {
            all.push(scan.key(), Codes::new(Code::NXDOMAIN, Code::NXDOMAIN)).unwrap();
        }
        all.finish(1, &Palette::default()).unwrap().0
    };
    let both = TableFile::<Codes>::from_memory(with_wildcards).unwrap();
    measure("render to nowhere with wildcards, a record", 2 * names, 9, || {
        let (mut scan, mut renderer) = (both.scan(), Renderer::new(envelope(), Unsigned));
        let mut octets = 0;
        while renderer.fill(&mut scan, &mut window).unwrap() {
            octets += black_box(window.as_bytes()).len();
        }
        octets
    });
    drop(both);
    // As a zone is: a file, and two trees of changes over it.
    for changes in [0, count / 8] {
        let mut fresh = Tree::<Codes>::new();
        for key in names::sorted(changes, 8) {
            fresh.insert(&key, Codes::new(Code::DROP, Code::SILENT));
        }
        let frozen = Tree::<Codes>::new();
        let zone = || Overlay::new(Overlay::new(table.scan(), frozen.cursor()), fresh.cursor());
        let mut counting = zone();
        let mut total = 0;
        while counting.advance().unwrap() {
            total += 1;
        }
        measure(&format!("render to nowhere, {changes} changes laid over"), total, 9, || {
            let (mut cursor, mut renderer) = (zone(), Renderer::new(envelope(), Unsigned));
            let mut octets = 0;
            while renderer.fill(&mut cursor, &mut window).unwrap() {
                octets += black_box(window.as_bytes()).len();
            }
            octets
        });
    }

    let mut ready = Vec::with_capacity(rendered);
    let (mut scan, mut renderer) = (table.scan(), Renderer::new(envelope(), Unsigned));
    while renderer.fill(&mut scan, &mut window).unwrap() {
        ready.extend(window.as_bytes());
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let (done, finished) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 20];
        let mut got = 0;
        loop {
            match client.read(&mut buffer).unwrap() {
                0 => return,
                read => got += read,
            }
            if got == rendered {
                got = 0;
                done.send(Instant::now()).unwrap();
            }
        }
    });
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..15 {
        let began = Instant::now();
        for piece in ready.chunks(128 << 10) {
            server.write_all(piece).unwrap();
        }
        bare.push(finished.recv().unwrap() - began);
        let began = Instant::now();
        let (mut scan, mut renderer) = (table.scan(), Renderer::new(envelope(), Unsigned));
        while renderer.fill(&mut scan, &mut window).unwrap() {
            server.write_all(window.as_bytes()).unwrap();
        }
        ours.push(finished.recv().unwrap() - began);
    }
    let (bare, ours) = (report("bare socket", names, bare), report("rendered into socket", names, ours));
    println!("of bare: {:.2} (medians)", bare.as_secs_f64() / ours.as_secs_f64());
    drop(ready);
    at_once(8, &table, rendered, names);
}

/// So many transfers at once, each in its own thread, to readers that only count; one more reads nothing.
fn at_once(readers: usize, table: &TableFile, rendered: usize, names: u64) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let before = anonymous();
    let began = Instant::now();
    let stalled = TcpStream::connect(address).unwrap();
    let (behind, _) = listener.accept().unwrap();
    behind.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    let send = |mut to: TcpStream| {
        let (mut scan, mut renderer, mut window) = (table.scan(), Renderer::new(envelope(), Unsigned), Window::new());
        while renderer.fill(&mut scan, &mut window).unwrap() && to.write_all(window.as_bytes()).is_ok() {}
    };
    let mut most = 0;
    thread::scope(|scope| {
        scope.spawn(move || send(behind));
        let counting: Vec<_> = (0..readers)
            .map(|_| {
                let mut client = TcpStream::connect(address).unwrap();
                let (server, _) = listener.accept().unwrap();
                scope.spawn(move || send(server));
                scope.spawn(move || {
                    let (mut buffer, mut got) = (vec![0; 1 << 18], 0);
                    while got < rendered {
                        got += client.read(&mut buffer).unwrap();
                    }
                })
            })
            .collect();
        while !counting.iter().all(|reader| reader.is_finished()) {
            most = most.max(anonymous());
            thread::sleep(Duration::from_millis(5));
        }
        let taken = began.elapsed();
        println!(
            "{readers} transfers at once and one that is not read: {:.1} M/s in all, {:.1} MiB more than before, readers' {:.1} included",
            readers as f64 * names as f64 / taken.as_secs_f64() / 1e6,
            most.saturating_sub(before) as f64 / 1048576.0,
            readers as f64 / 4.0
        );
        drop(stalled);
    });
}

fn anonymous() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

fn measure(what: &str, names: u64, times: usize, mut run: impl FnMut() -> usize) -> usize {
    let mut outcome = run();
    let mut taken = Vec::new();
    for _ in 0..times {
        let began = Instant::now();
        outcome = run();
        taken.push(began.elapsed());
    }
    report(what, names, taken);
    outcome
}

fn report(what: &str, names: u64, mut taken: Vec<Duration>) -> Duration {
    taken.sort();
    let each = |duration: Duration| duration.as_nanos() as f64 / names as f64;
    let (least, median, most) = (taken[0], taken[taken.len() / 2], taken[taken.len() - 1]);
    println!(
        "{what}: {:.1} / {:.1} / {:.1} ns a name (min/median/max), {:.1} M/s",
        each(least),
        each(median),
        each(most),
        1e3 / each(median)
    );
    median
}
