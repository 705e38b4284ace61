//! Readers of what comes over the network or in files.

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use tapir_pop::dns::answer::{Answer, Transport};
use tapir_pop::dns::guard::{Guard, Guarded};
use tapir_pop::dns::records::{Incoming, Limits, Progress, Reader, TransferError, Wanted, WireName};
use tapir_pop::dns::tsig::{Key, Keys};
use tapir_pop::dns::zone::Apex;
use tapir_pop::feeds::bootstrap::gob;
use tapir_pop::feeds::collect::{Place, collect};
use tapir_pop::feeds::lists::{Fit, Form};
use tapir_pop::state::zone_log::Past;
use tapir_pop::zone::layers::Layers;
use tapir_pop::zone::tally::Tally;
use tapir_pop::zone::{Serial, Size, Snapshot};
use tapir_table::{Cursor as _, Palette, TableFile};
use tapir_wire::core_settings::CoreSettings;
use tapir_wire::dawg::{self, Dawg, Scan, WalkError};
use tapir_wire::jws;
use tapir_wire::name::Name;
use tapir_wire::observation::Message;
use tapir_wire::tsig::TsigKey;

use crate::seeds;

/// Name of a kind of error, without what differs from input to input.
fn kind(error: &impl std::fmt::Debug) -> String {
    let text = format!("{error:?}");
    text.chars().filter(|character| !character.is_ascii_digit()).take(60).collect()
}

/// How large something is, roughly.
fn size(count: usize) -> u32 {
    usize::BITS - count.leading_zeros()
}

fn snapshot() -> &'static Arc<Snapshot> {
    static SNAPSHOT: OnceLock<Arc<Snapshot>> = OnceLock::new();
    SNAPSHOT.get_or_init(|| {
        let table = TableFile::from_memory(seeds::tables().swap_remove(0)).unwrap();
        let layers = Layers::new(Arc::new(table));
        let size = Size::of(&layers.base, Tally::of(&layers.base).unwrap());
        let apex = Apex::new(WireName::from(&Name::parse("dnstapir").unwrap()), 3600);
        Arc::new(Snapshot::new(Serial(7), Arc::new(apex), Arc::new(Palette::default()), (layers, size), Past::default()))
    })
}

/// The first octet says how it comes; an answer is no longer than the transport carries, and no request is answered twice as large
/// over UDP as EDNS says.
pub(crate) fn dns_request(octets: &[u8]) -> String {
    static GUARD: OnceLock<Guard> = OnceLock::new();
    let guard = GUARD.get_or_init(|| {
        let key = TsigKey::parse("hmac-sha256:k:c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3JldA==").unwrap();
        Guard { keys: Keys::first_of([Key::from(&key)]), feed_keys: Keys::first_of([Key::from(&key)]), ..Guard::default() }
    });
    let Some((how, request)) = octets.split_first() else { return "nothing".to_owned() };
    let transport = if how % 2 == 0 { Transport::Udp } else { Transport::Tcp };
    let Guarded { answer, refused, .. } = guard.answer(request, IpAddr::from([127, 0, 0, 1]), transport, Some(snapshot()));
    match answer {
        Answer::None => "no answer".to_owned(),
        Answer::Message(message) => {
            assert!(message.len() >= 12 && message[2] & 0x80 != 0, "no response: {message:?}");
            assert!(transport == Transport::Tcp || message.len() <= 1232, "{} octets", message.len());
            format!("{refused:?} {} {} {}", message[3] & 15, message[2], message[7])
        }
        Answer::Transfer(transfer) => {
            assert_eq!(transport, Transport::Tcp);
            kind(&transfer.begin(None).is_ok())
        }
    }
}

/// One message of a transfer to us, or several with their lengths in front.
pub(crate) fn transfer_in(octets: &[u8]) -> String {
    let zone = WireName::from_wire(b"\x04feed\x07example\0").unwrap();
    let Some((how, mut rest)) = octets.split_first() else { return "nothing".to_owned() };
    let wanted = if how % 2 == 0 { Wanted::Whole } else { Wanted::Since(Serial(5)) };
    let mut incoming = Incoming::new(zone, 4711, wanted, Limits { octets: 1 << 20, records: 1 << 12 });
    let mut events = 0_usize;
    while let Some((length, tail)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(tail.len());
        let (message, tail) = tail.split_at(length);
        rest = tail;
        if let Ok(mut reader) = Reader::new(message) {
            while let Ok(Some(record)) = reader.next() {
                _ = (record.target(), record.soa(), record.data().len());
            }
        }
        let taken = incoming.take(message, |_| {
            events += 1;
            Ok::<_, TransferError>(())
        });
        match taken {
            Ok(Progress::More) => {}
            Ok(Progress::Done(outcome)) => return format!("{} {}", kind(&outcome), size(events)),
            Err(error) => return format!("{} {}", kind(&error), size(events)),
        }
    }
    format!("more {}", size(events))
}

pub(crate) fn jws(octets: &[u8]) -> String {
    static KEYS: OnceLock<tapir_wire::jwk::TrustedKeys> = OnceLock::new();
    let keys = KEYS.get_or_init(seeds::trusted);
    match jws::verify(octets, keys) {
        Ok(payload) => format!("good {}", size(payload.len())),
        Err(error) => kind(&error),
    }
}

/// A payload, as an observation and as settings.
pub(crate) fn observation(octets: &[u8]) -> String {
    let settings =
        CoreSettings::parse(octets).map_or_else(|error| kind(&error), |settings| format!("settings {}", settings.topics.len()));
    match Message::parse(octets) {
        Ok(message) => {
            for entry in message.added.iter().chain(&message.removed) {
                assert!(entry.name.wire_len() <= 255);
                _ = entry.expires().max(Timestamp::UNIX_EPOCH);
            }
            let reasons: Vec<_> = message.rejected.keys().collect();
            format!("{settings} {} {} {reasons:?}", size(message.added.len()), size(message.removed.len()))
        }
        Err(error) => format!("{settings} {}", kind(&error)),
    }
}

/// Reads a list of this form: how many names, and why some are refused.
fn list(form: &Form, octets: &[u8]) -> String {
    let fit = Fit::new(&Name::parse("dnstapir").unwrap());
    let collected = match collect(form, &file(octets), fit, &Place::Memory) {
        Ok(collected) => collected,
        Err(error) => return kind(&error),
    };
    let (mut scan, mut names) = (collected.table.scan(), 0);
    while scan.advance().unwrap() {
        assert!(scan.key().as_bytes().len() < fit.room() + 1);
        names += 1;
    }
    assert_eq!(names, collected.table.nodes());
    let reasons: Vec<_> = collected.rejected.by_reason.keys().map(|reason| &reason[..reason.len().min(20)]).collect();
    format!("{} {reasons:?}", size(usize::try_from(names).unwrap()))
}

fn file(octets: &[u8]) -> File {
    let mut file = tempfile::tempfile_in(folder()).unwrap();
    file.write_all(octets).unwrap();
    file.rewind().unwrap();
    file
}

/// In memory where there is such a place.
pub(crate) fn folder() -> &'static std::path::Path {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir() { memory } else { std::path::Path::new("/tmp") }
}

/// As plain names and as `/etc/hosts`.
pub(crate) fn list_of_names(octets: &[u8]) -> String {
    let form = if octets.len().is_multiple_of(2) { Form::Domains } else { Form::Hosts };
    list(&form, octets)
}

pub(crate) fn csv(octets: &[u8]) -> String {
    let column = octets.len() % 3;
    list(&Form::Csv { column, has_heading: octets.len().is_multiple_of(2) }, octets)
}

pub(crate) fn zone_file(octets: &[u8]) -> String {
    let zone = octets.len().is_multiple_of(2).then(|| Name::parse("rpz.example").unwrap());
    list(&Form::Rpz { zone }, octets)
}

/// How many words three parts have.
fn in_parts(octets: &[u8]) -> Result<u64, WalkError> {
    let scan = Scan::new(octets, 4096)?;
    let (layout, parts) = (scan.check_layout(), scan.parts(3)?);
    let mut words = 0;
    for part in parts {
        assert_eq!(part.first(), words);
        part.each(|_| {
            words += 1;
            Ok::<_, WalkError>(())
        })?;
    }
    layout.map(|()| words)
}

/// Word by word from a file, as a whole in memory, and in one go without the graph, whole and in parts; all see the same.
pub(crate) fn dawg(octets: &[u8]) -> String {
    let mut words = 0_u64;
    let walked = dawg::walk(octets, 4096, |_| {
        words += 1;
        Ok::<_, WalkError>(())
    });
    let whole = Dawg::from_bytes(octets.to_vec());
    let mut scanned = 0_u64;
    let scan = dawg::scan(octets, 4096, |_| {
        scanned += 1;
        Ok::<_, WalkError>(())
    });
    assert_eq!(in_parts(octets).ok(), scan.as_ref().ok().copied());
    if let (Ok(count), Ok(dawg)) = (&scan, &whole) {
        assert_eq!((*count, dawg.len()), (scanned, scanned));
    }
    if let (Ok(count), Ok(dawg)) = (&walked, &whole) {
        assert_eq!((*count, dawg.len()), (words, words));
        _ = dawg.index_of("www.example.org.");
    }
    let said = |result: Result<u64, String>| result.map_or_else(|error| error, |count| format!("{}", 64 - count.leading_zeros()));
    format!(
        "{} {} {}",
        said(walked.map_err(|error| kind(&error))),
        said(scan.map_err(|error| kind(&error))),
        whole.map_or_else(|error| kind(&error), |_| "good".to_owned())
    )
}

pub(crate) fn bootstrap_export(octets: &[u8]) -> String {
    match gob::read(octets, "dns-tapir") {
        Ok((entries, left_out)) => format!("{} {left_out}", size(entries.len())),
        Err(error) => kind(&error),
    }
}
