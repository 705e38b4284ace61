//! Real unbound, BIND and Knot Resolver tell the real program over dnstap what they were asked: histograms and events agree with what clients saw.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "resolvers/asker.rs"]
mod asker;
#[path = "resolvers/fleet.rs"]
mod fleet;
#[path = "support/histogram.rs"]
mod histogram;
#[path = "support/parquet.rs"]
mod parquet;
#[path = "resolvers/program.rs"]
mod program;
mod support;

use std::collections::{BTreeMap, BTreeSet};

use asker::{Asked, Asker, Transport};
use fleet::{Kind, Resolver};
use histogram::Row;
use program::Program;
use support::core::Core;
use support::until;

/// Up to so many clients are counted one by one (`histogram-hll-explicit-threshold`).
const EXPLICIT: u64 = 20;

/// Names on the list that are asked for, as they are written; their entries on the list are these in lower case.
const LISTED: [&str; 5] =
    ["www.answers.example.", "WwW.aNsWeRs.Example.", "missing.answers.example.", "www.broken.example.", "www.closed.example."];
/// Its names are counted together, by an entry of the list with a dot in front.
const MANY: &str = "many.answers.example.";
const FRESH: usize = 25;
/// Asked at a time.
const PORTION: usize = 50;
/// A, NS, MX, TXT, AAAA, HTTPS.
const TYPES: [u16; 6] = [1, 2, 15, 16, 28, 65];

#[tokio::test(flavor = "multi_thread")]
async fn what_unbound_tells_agrees_with_what_was_asked() {
    agrees(Kind::Unbound).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_bind_tells_agrees_with_what_was_asked() {
    agrees(Kind::Bind).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_knot_resolver_tells_agrees_with_what_was_asked() {
    agrees(Kind::Knot).await;
}

async fn agrees(kind: Kind) {
    let mut core = Core::start().await;
    let mut listed: BTreeSet<String> = LISTED.iter().map(|name| name.to_lowercase()).collect();
    listed.extend([format!(".{MANY}"), "version.bind.".to_owned()]);
    let program = Program::start(&core, &listed).await;
    let resolver = Resolver::start(kind, program.folder()).await;
    program.becomes("its connection", |status| status["edm"]["connections"] == 1).await;

    let fresh: BTreeSet<String> = (0..FRESH).map(|number| format!("fresh-{number}.answers.example.")).collect();
    // Each question and its answer, or the answer alone.
    let each = if kind.tells_of_questions() { 2 } else { 1 };
    let asker = Asker::new(resolver.port);
    let mut asked: Vec<Asked> = Vec::new();
    for (name, qtype, class, client, transport) in questions(&fresh) {
        asked.push(asker.ask(&name, qtype, class, client, transport).await);
        // A resolver drops what it cannot get rid of in time: Knot Resolver holds 512 frames.
        if asked.len().is_multiple_of(PORTION) {
            program.has_read(each * asked.len() as u64).await;
        }
    }
    let codes: BTreeSet<usize> = asked.iter().map(Asked::code).collect();
    assert_eq!(codes.len(), 4, "{kind:?} was to answer NOERROR, NXDOMAIN, SERVFAIL and something else, not {codes:?}");

    let frames = each * asked.len() as u64;
    let questions = frames - asked.len() as u64;
    program.has_read(frames).await;
    for name in &fresh {
        let event = core.event().await;
        let told = event["qname"].as_str().unwrap().to_lowercase();
        assert!(fresh.contains(&told), "{told} was not asked for; {name} was");
        let of_it = |asked: &&Asked| asked.name.eq_ignore_ascii_case(&told);
        let first = asked.iter().find(of_it).unwrap();
        assert_eq!((&event["qtype"], &event["qclass"], &event["flags"]), (&first.kind.into(), &1.into(), &first.flags.into()));
    }
    core.nothing_more().await;
    resolver.stop().await;
    program.becomes("the end of the connection", |status| status["edm"]["connections"] == 0).await;
    let text = program.metrics().await;
    let is = |line: &str| assert!(text.lines().any(|have| have == line), "{kind:?}: {line} is not in\n{text}");
    is(&format!("tapir_edm_input_frames_total {frames}"));
    is("tapir_edm_input_connections_closed_total{end=\"finished\"} 1");
    is(&format!("tapir_edm_frames_total{{outcome=\"type_not_counted\"}} {questions}"));
    let unlisted = asked.iter().filter(|asked| entry(asked, &listed).is_none()).count();
    is(&format!("tapir_edm_frames_total{{outcome=\"other_name\"}} {unlisted}"));
    is(&format!("tapir_edm_frames_total{{outcome=\"well_known\"}} {}", asked.len() - unlisted));

    let files: Vec<BTreeMap<String, Row>> = program.stop().await.iter().map(|octets| histogram::rows(octets)).collect();
    compare(kind, &asked, &listed, &files);
}

/// Name, type, class, client, transport.
type Question = (String, u16, u16, u8, Transport);

/// For names of the list, and for these.
fn questions(fresh: &BTreeSet<String>) -> Vec<Question> {
    let mut all = Vec::new();
    for (place, name) in LISTED.iter().enumerate() {
        for (turn, kind) in TYPES.into_iter().enumerate() {
            // Some clients come again, some by TCP; no two entries have the same number of them.
            for client in 1..=(3 + place as u8) {
                let transport = if (turn + usize::from(client)).is_multiple_of(5) { Transport::Tcp } else { Transport::Udp };
                all.push(((*name).to_owned(), kind, 1, client, transport));
            }
        }
    }
    all.extend((1..=60).map(|client| (format!("n{client}.{MANY}"), 1, 1, client, Transport::Udp)));
    // CHAOS: counted by class, not by type.
    all.push(("version.bind.".to_owned(), 16, 3, 9, Transport::Udp));
    for name in fresh {
        all.push((name.clone(), TYPES[name.len() % TYPES.len()], 1, 7, Transport::Udp));
        all.push((name.to_uppercase(), 1, 1, 8, Transport::Udp));
    }
    all
}

/// The list's entry that a question is counted by.
fn entry(asked: &Asked, listed: &BTreeSet<String>) -> Option<String> {
    let name = asked.name.to_lowercase();
    let below = format!(".{MANY}");
    if name.ends_with(&below) { Some(below) } else { listed.contains(&name).then_some(name) }
}

/// A test may cross the end of a minute, and then there are two files.
fn compare(kind: Kind, asked: &[Asked], listed: &BTreeSet<String>, files: &[BTreeMap<String, Row>]) {
    assert!((1..=3).contains(&files.len()), "{kind:?}: {} files", files.len());
    for expected in listed {
        let of_it: Vec<&Asked> = asked.iter().filter(|asked| entry(asked, listed).as_ref() == Some(expected)).collect();
        let mut row = Row::default();
        for asked in &of_it {
            row.types[asked.column()] += 1;
            row.codes[asked.code()] += 1;
        }
        let found: Vec<&Row> = files.iter().filter_map(|file| file.get(expected)).collect();
        let (mut types, mut codes) = ([0; 6], [0; 4]);
        for row in &found {
            types.iter_mut().zip(row.types).for_each(|(sum, count)| *sum += count);
            codes.iter_mut().zip(row.codes).for_each(|(sum, count)| *sum += count);
        }
        assert_eq!((types, codes), (row.types, row.codes), "{kind:?}: {expected}");
        let clients = of_it.iter().map(|asked| asked.client).collect::<BTreeSet<_>>().len() as u64;
        let told = found.iter().map(|row| row.clients[0]);
        let (most, sum) = (told.clone().max().unwrap(), told.sum::<u64>());
        // Beyond the threshold they are estimated.
        let error = if clients > EXPLICIT { clients / 5 } else { 0 };
        assert!(
            most <= clients + error && sum + error >= clients,
            "{kind:?}: {expected} was asked for by {clients} clients, not {told:?}",
            told = found.iter().map(|row| row.clients).collect::<Vec<_>>()
        );
        assert!(found.iter().all(|row| row.clients[1] == 0), "{kind:?}: {expected} has clients with IPv6");
    }
    let entries: BTreeSet<&String> = files.iter().flat_map(BTreeMap::keys).collect();
    assert_eq!(entries, listed.iter().collect(), "{kind:?}");
}

impl Asked {
    /// Of the row: A, AAAA, MX, NS, other types, not IN.
    fn column(&self) -> usize {
        match (self.class, self.kind) {
            (1, 1) => 0,
            (1, 28) => 1,
            (1, 15) => 2,
            (1, 2) => 3,
            (1, _) => 4,
            _ => 5,
        }
    }

    /// NOERROR, NXDOMAIN, SERVFAIL, others.
    fn code(&self) -> usize {
        match self.flags & 15 {
            0 => 0,
            3 => 1,
            2 => 2,
            _ => 3,
        }
    }
}

/// Waits for a file to hold a text.
async fn holds(file: &std::path::Path, text: &str) {
    until(&format!("{text:?} in {}", file.display()), async || {
        std::fs::read(file).is_ok_and(|octets| String::from_utf8_lossy(&octets).contains(text))
    })
    .await;
}
