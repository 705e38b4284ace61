//! Readers while one version follows on the other: each transfer is one of them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tapir_pop::dns::records::{Reader, kind};

use crate::probe::{Probe, QUESTION, framed};
use crate::process::{Pop, wait_for};

const NAMES: usize = 3000;
const VERSIONS: usize = 30;

/// Serials of the SOA records, and owners of all others.
fn transfer(port: u16) -> (Vec<u32>, BTreeSet<String>) {
    let mut question = QUESTION.to_vec();
    let at = question.len() - 4;
    question[at..at + 2].copy_from_slice(&kind::AXFR.to_be_bytes());
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(&framed(&question)).unwrap();
    let (mut serials, mut owners) = (Vec::new(), BTreeSet::new());
    while serials.len() < 2 {
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut message).unwrap();
        assert_eq!(message[3] & 15, 0, "no transfer");
        let mut reader = Reader::new(&message).unwrap();
        while let Some(record) = reader.next().unwrap() {
            match record.kind {
                kind::SOA => serials.push(record.soa().unwrap().serial),
                kind::NS => {}
                _ => _ = owners.insert(record.owner.to_string()),
            }
        }
    }
    (serials, owners)
}

#[test]
fn transfers_while_versions_follow_on_each_other_are_each_one_version() {
    let pop = Pop::new(None);
    let list = |version: usize| {
        let mut text = String::new();
        (0..NAMES).for_each(|index| writeln!(text, "name-{index}.v{version}.example").unwrap());
        pop.write_beside("list", &text);
    };
    list(0);
    pop.configure("one", "publishIntervalMilliseconds: 20\nsources: [{name: own, list: Deny, file: {path: list}}]\n");
    let _running = pop.start();
    let all = || pop.status().map(|status| status["pop"]["records"].as_u64().unwrap());
    wait_for("the first version", all, |records| *records == Some(NAMES as u64));
    let probe = Probe::start(pop.port);
    let done = Arc::new(AtomicBool::default());
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (done, port) = (Arc::clone(&done), pop.port);
            std::thread::spawn(move || {
                let mut seen = BTreeSet::new();
                while !done.load(Ordering::Relaxed) {
                    let (serials, owners) = transfer(port);
                    let versions: BTreeSet<_> = owners.iter().map(|owner| owner.split('.').nth(1).unwrap().to_owned()).collect();
                    assert_eq!((serials[0], owners.len(), versions.len()), (serials[1], NAMES, 1), "{versions:?}");
                    seen.insert((serials[0], versions.into_iter().next().unwrap()));
                }
                seen
            })
        })
        .collect();
    let mut serial = pop.serial();
    for version in 1..=VERSIONS {
        list(version);
        serial = wait_for("the next version", || pop.serial(), |now| now.is_some() && *now != serial);
    }
    done.store(true, Ordering::Relaxed);
    let seen: BTreeSet<_> = readers.into_iter().flat_map(|reader| reader.join().unwrap()).collect();
    probe.end(&format!("{VERSIONS} versions, {} of which were transferred", seen.len()));
    // A number stands for one content.
    let serials: BTreeSet<_> = seen.iter().map(|(serial, _)| serial).collect();
    let versions: BTreeSet<_> = seen.iter().map(|(_, version)| version).collect();
    assert!(seen.len() > 5 && serials.len() == seen.len() && versions.len() == seen.len(), "{seen:?}");
}
