//! Readers of what POP kept itself, with checksums as they are and with right ones.

use std::fs;
use std::path::Path;

use jiff::Timestamp;
use tapir_pop::knowledge::observations::Observations;
use tapir_pop::state::manifest::{FILE, Manifest};
use tapir_pop::state::numbers::Reserved;
use tapir_pop::state::observation_log::ObservationLog;
use tapir_pop::state::zone_log::record::Record;
use tapir_pop::state::zone_log::{Limits, ZoneLog};
use tapir_pop::zone::Serial;
use tapir_table::{Codes, Cursor as _, KeyBuf, TableFile, Trail};

use crate::mend;
use crate::targets::folder;

const LIMITS: Limits = Limits { octets: 1 << 20, versions: 1000, segment: 1 << 16 };

/// The octets as a file of a folder of its own.
pub(crate) fn kept<T>(file: &str, octets: &[u8], read: impl FnOnce(&Path) -> T) -> T {
    let folder = tempfile::tempdir_in(folder()).unwrap();
    fs::write(folder.path().join(file), octets).unwrap();
    read(folder.path())
}

/// Read in order, and looked up.
pub(crate) fn table_file(octets: &[u8]) -> String {
    let mut mended = octets.to_vec();
    mend::table(&mut mended);
    format!("{} {}", table(octets), table(&mended))
}

fn table(octets: &[u8]) -> String {
    let Ok(table) = TableFile::<Codes>::from_memory(octets) else { return "refused".to_owned() };
    let (mut scan, mut before, mut names) = (table.scan(), None::<KeyBuf>, 0_u64);
    let end = loop {
        match scan.advance() {
            Ok(true) => {}
            Ok(false) => break "end",
            Err(_) => break "broken",
        }
        assert!(before.is_none_or(|before| before.as_bytes() < scan.key().as_bytes()), "out of order");
        before = Some(*scan.key());
        names += 1;
    };
    let mut found = String::new();
    for name in ["a.example", "www.a.example", "zz.example", "org"] {
        let key = KeyBuf::from_text(name, 200).unwrap();
        found += match table.get(key.as_bytes(), &mut Trail::default()) {
            Ok(Some(_)) => "+",
            Ok(None) => "-",
            Err(_) => "!",
        };
    }
    format!("{end} {} {found}", 64 - names.leading_zeros())
}

pub(crate) fn zone_log(octets: &[u8]) -> String {
    let mut mended = octets.to_vec();
    mend::log(&mut mended, 8);
    [octets, &mended].map(|octets| kept("journal-0000000001.log", octets, versions)).join(" ")
}

fn versions(folder: &Path) -> String {
    let Ok((log, found)) = ZoneLog::open(folder, Serial(1), LIMITS) else { return "refused".to_owned() };
    let mut changes = 0_usize;
    if let Some(history) = log.since(Serial(1)) {
        for version in history.versions() {
            let content = history.content(version).unwrap();
            // What was found whole can be read.
            let record = Record::read(&content).unwrap();
            changes += record.changes().map(Result::unwrap).count() + record.palette().unwrap().sets().len();
        }
    }
    format!("{} {} {}", found.newer, found.useless, usize::BITS - changes.leading_zeros())
}

pub(crate) fn observation_log(octets: &[u8]) -> String {
    let mut mended = octets.to_vec();
    mend::log(&mut mended, 0);
    [octets, &mended].map(|octets| kept("log-0000000001.log", octets, observed)).join(" ")
}

fn observed(folder: &Path) -> String {
    let mut observations = Observations::new(1 << 20);
    let now = Timestamp::from_second(1_795_219_200).unwrap();
    match ObservationLog::open(folder, &mut observations, now) {
        Ok((_, found)) => {
            observations.expire(now, usize::MAX, |_| {});
            format!("{} {} {} {}", 64 - found.names.leading_zeros(), found.torn, found.broken, observations.live().len().min(3))
        }
        Err(error) => format!("{:?}", error.kind()),
    }
}

/// Manifest, numbers, and what was said when a feed was fetched.
pub(crate) fn state_json(octets: &[u8]) -> String {
    let of = |read: std::io::Result<bool>| read.map_or_else(|_| "refused", |there| if there { "read" } else { "none" });
    let manifest = kept(FILE, octets, |folder| of(Manifest::read(folder).map(|read| read.is_some())));
    let numbers = kept("serial.json", octets, |folder| of(Reserved::read(folder).map(|read| read.is_some())));
    let meta = kept("x", octets, |folder| {
        let place = folder.join("sources/feed");
        fs::create_dir_all(&place).unwrap();
        fs::rename(folder.join("x"), place.join("meta.json")).unwrap();
        tapir_pop::feeds::store::Store::open(folder, "feed", "identity".to_owned()).load().is_some()
    });
    let node: Result<tapir_wire::node::NodeDocument, _> = serde_json::from_slice(octets);
    let status: Result<tapir_wire::status::SidecarStatus, _> = serde_json::from_slice(octets);
    let object = serde_json::from_slice::<serde_json::Value>(octets)
        .map_or(9, |value| value.as_object().map_or(8, |object| object.len().min(7)));
    format!("{manifest} {numbers} {meta} {} {} {object}", node.is_ok(), status.is_ok())
}
