//! No address of a client leaves, nor a pseudonym of one.
//!
//! Answers for known clients, with client subnets, cookies and names that carry addresses in every form, go through the real program. Every octet that
//! comes out is searched for them: what Core gets over HTTPS and MQTT, log, metrics, status, files but those of sessions, and what a crash leaves.
//! Session files are written beside, and have pseudonyms in the columns of addresses, and names; nothing else.
//! And each client is tried against each sketch that left: what can be learned so is said, for `docs/privacy.md`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

#[path = "support/dnstap.rs"]
mod dnstap;
#[path = "privacy/load.rs"]
mod load;
#[path = "privacy/panics.rs"]
mod panics;
#[path = "support/parquet.rs"]
mod parquet;
#[path = "privacy/program.rs"]
mod program;
#[path = "privacy/search.rs"]
mod search;
#[path = "dnstap_input/sender.rs"]
mod sender;
#[path = "privacy/session_files.rs"]
mod session_files;
#[path = "privacy/sketch.rs"]
mod sketch;
mod support;
#[path = "support/tls_receiver.rs"]
mod tls_receiver;

use std::path::Path;

use load::{Client, SALT, SECRET, clients, controls, frames};
use parquet::{Cell, File};
use program::Program;
use search::Search;
use sketch::Registers;
use support::core::Core;
use tls_receiver::{TlsReceiver, Upload};

/// The last name of the load.
const LAST: &str = "the-last-one.example.";
/// Clients up to which no sketch leaves.
const THRESHOLD: usize = 20;

/// What came out, and where.
#[derive(Default)]
struct Out(Vec<(String, Vec<u8>)>);

impl Out {
    fn add(&mut self, place: impl Into<String>, octets: impl Into<Vec<u8>>) {
        self.0.push((place.into(), octets.into()));
    }

    /// Every file below; columns of Parquet files once more as they are when they are not compressed.
    fn add_files(&mut self, folder: &Path) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("parquet/sessions") {
                self.add_files(&path);
            } else if path.is_file() {
                let octets = std::fs::read(&path).unwrap();
                if path.extension().is_some_and(|ending| ending == "parquet") {
                    self.add_rows(&path.display().to_string(), &File::read(&octets));
                }
                self.add(path.display().to_string(), octets);
            }
        }
    }

    fn add_rows(&mut self, place: &str, file: &File) {
        for cell in file.rows.iter().flatten() {
            match cell {
                Cell::Null => {}
                Cell::Number(number) => self.add(place, [number.to_be_bytes(), number.to_le_bytes()].concat()),
                Cell::Octets(octets) => self.add(place, octets.clone()),
            }
        }
    }

    fn check(&self, search: &Search, least: usize) {
        let octets: usize = self.0.iter().map(|(_, octets)| octets.len()).sum();
        assert!(octets > least, "{octets} octets: something did not come out at all");
        let found: Vec<_> =
            self.0.iter().flat_map(|(place, octets)| search.find(octets).map(move |what| format!("{what} in {place}"))).collect();
        assert!(found.is_empty(), "{found:#?}");
        println!("{octets} octets from {} places searched for {} forms of addresses", self.0.len(), search.forms());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_octet_that_leaves_says_who_asked() {
    let (clients, mut out) = (clients(), Out::default());
    let mut core = Core::start().await;
    let receiver = TlsReceiver::start(&core.authority).await;
    let program = Program::start(&core, &receiver.url()).await;
    program.become_ready().await;

    let mut resolver = program.connect().await;
    for frame in frames(&clients) {
        resolver.send(&frame).await;
    }
    for liar in load::liars(&clients) {
        program.lie(&liar).await;
    }
    resolver.answered(LAST, "192.0.2.250").await;
    let mut names = Vec::new();
    let hear = async {
        while names.last().is_none_or(|name| name != LAST) {
            let message = support::broker::soon("an event", core.eye.incoming.recv()).await.unwrap();
            let event = tapir_wire::jws::verify(&message.payload, &core.trusted).unwrap();
            if message.topic.starts_with("status/") {
                out.add("telemetry", event);
                out.add("telemetry, as it is sent", message.payload);
                continue;
            }
            names.push(serde_json::from_slice::<serde_json::Value>(&event).unwrap()["qname"].as_str().unwrap().to_owned());
            out.add("MQTT topic", message.topic);
            out.add("MQTT message", message.payload);
            out.add("MQTT event", event);
        }
    };
    hear.await;
    assert!(names.iter().any(|name| name.starts_with("plain")), "{names:?}");
    // The root is what a broken answer asks for that has zeros in its address.
    assert!(names.iter().all(|name| name.starts_with("plain") || name == LAST || name == "."), "{names:?}");

    program.rotate().await;
    // What Core is told of EDM after all that, and when something is wrong.
    program.spoil_list();
    loop {
        let message = support::broker::soon("telemetry", core.eye.incoming.recv()).await.unwrap();
        let told = tapir_wire::jws::verify(&message.payload, &core.trusted).unwrap();
        let is_last = String::from_utf8_lossy(&told).contains("a list is missing or refused");
        out.add("MQTT topic", message.topic);
        out.add("telemetry, as it is sent", message.payload);
        out.add("telemetry", told);
        if is_last {
            break;
        }
    }
    let requests = receiver.received(1).await;
    for path in ["/metrics", "/status", "/livez", "/readyz", "/nothing"] {
        out.add(path, program.get(path).await);
    }
    let data = program.data();
    let (_folder, log) = program.stop().await;
    out.add("log", log);
    out.add_files(&data);
    let mut rows = Vec::new();
    for Upload { head, body, .. } in requests {
        let file = File::read(&body);
        out.add_rows("HTTPS body, read", &file);
        out.add("HTTPS head", head);
        out.add("HTTPS body", body);
        rows.extend(file.rows);
    }
    out.check(&Search::for_all(&clients, SECRET, SALT), 10_000);
    session_files::have_pseudonyms_alone(&data.join("parquet/sessions"), &clients);
    sketches_tell(&rows, &clients);
}

/// What the sketches tell, and that there is none where clients are few.
fn sketches_tell(rows: &[Vec<Cell>], clients: &[Client]) {
    let mut sketches = 0;
    for row in rows {
        let name: Vec<_> = row[1..11]
            .iter()
            .filter_map(|cell| if let Cell::Octets(label) = cell { std::str::from_utf8(label).ok() } else { None })
            .collect();
        for (family, is_v4, count, sketch) in [("IPv4", true, &row[22], &row[24]), ("IPv6", false, &row[23], &row[25])] {
            let Cell::Number(count) = count else { panic!("no count") };
            let Cell::Octets(octets) = sketch else {
                assert!(*count <= THRESHOLD as u64, "{name:?} has {count} clients and no sketch");
                continue;
            };
            sketches += 1;
            let registers = Registers::read(octets);
            let members = load::asked_for(&name, clients).filter(|client| client.is_v4() == is_v4);
            let (mut asked, mut unique) = (0, 0);
            for member in members {
                asked += 1;
                // By design: this is what has to be said of sketches.
                assert!(registers.may_have(member.hash()), "a sketch that has lost somebody");
                unique += usize::from(
                    registers.value_of(member.hash()) == registers.at(member.hash()) && registers.at(member.hash()) >= 7,
                );
            }
            assert!(asked > THRESHOLD, "{name:?}: a sketch of {asked} clients left");
            let strangers = controls(is_v4);
            let pass = strangers.iter().filter(|stranger| registers.may_have(stranger.hash())).count();
            println!(
                "sketch of {}, {family}, {asked} clients: all of them pass the test, and {pass} of {} others; {unique} have a rare value",
                name.join(" "),
                strangers.len()
            );
            assert!(pass < strangers.len() / 4, "{pass} pass");
        }
    }
    assert_eq!(sketches, 2, "both families of the domain that all asked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_leaves_nothing_of_clients() {
    let clients = clients();
    let mut core = Core::start().await;
    let receiver = TlsReceiver::start(&core.authority).await;
    let program = Program::start(&core, &receiver.url()).await;
    program.become_ready().await;
    let mut resolver = program.connect().await;
    for frame in frames(&clients) {
        resolver.send(&frame).await;
    }
    resolver.answered(LAST, "192.0.2.250").await;
    while core.name().await != LAST {}
    let (folder, log) = program.crash().await;
    let mut out = Out::default();
    out.add("log", log);
    // Among them a dump of the memory, if there is one.
    out.add_files(folder.path());
    out.check(&Search::for_all(&clients, SECRET, SALT), 1000);
}

/// A fault of EDM's own, met over the network with what a resolver tells of clients in its hands.
#[test]
fn a_panic_says_nothing_of_clients() {
    let clients = clients();
    let mut out = Out::default();
    out.add("output", panics::output_of_the_one_that_panics(&frames(&clients)));
    out.check(&Search::for_all(&clients, SECRET, SALT), 10_000);
}
