//! A zone whose versions are all known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tapir_pop::dns::records::WireName;
use tapir_pop::dns::render::{Changed, Step, Steps, Window};
use tapir_pop::dns::zone::{Apex, Since, Zone};
use tapir_pop::zone::Serial;
use tapir_table::{Codes, KeyBuf, Listed, Palette, ReadError};

pub(crate) type Names = BTreeMap<KeyBuf, Codes>;

/// Versions of a zone, each with the serial by which it is known.
pub(crate) struct History {
    versions: Vec<(u32, Names)>,
    /// Index of the version that is stepped from, and whether the first step was taken.
    at: usize,
    begun: bool,
}

impl History {
    pub(crate) fn since(versions: &[(u32, Names)], at: usize) -> Self {
        Self { versions: versions.to_vec(), at, begun: false }
    }
}

impl Steps for History {
    type Cursor = Listed<Changed>;

    fn advance(&mut self) -> Result<Option<Step>, ReadError> {
        self.at += usize::from(self.begun);
        self.begun = true;
        Ok(self.versions.get(self.at + 1).map(|(to, _)| Step { from: self.versions[self.at].0, to: *to }))
    }

    fn changes(&self) -> Result<Self::Cursor, ReadError> {
        let (old, new) = (&self.versions[self.at].1, &self.versions[self.at + 1].1);
        let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
        let get = |names: &Names, key| names.get(key).copied().unwrap_or_default();
        let changes = keys.into_iter().map(|key| (*key, Changed { old: get(old, key), new: get(new, key) }));
        Ok(Listed::new(changes.filter(|(_, changed)| changed.old != changed.new).collect()).unwrap())
    }
}

/// The newest version is served.
pub(crate) struct Versions {
    pub(crate) versions: Vec<(u32, Names)>,
    pub(crate) palette: Arc<Palette>,
}

impl Versions {
    pub(crate) fn new(versions: Vec<(u32, Names)>) -> Self {
        Self { versions, palette: Arc::default() }
    }

    fn newest(&self) -> &(u32, Names) {
        self.versions.last().unwrap()
    }
}

impl Zone for Versions {
    type Cursor = Listed<Codes>;
    type Changes = Listed<Changed>;
    type Steps = History;

    fn apex(&self) -> Arc<Apex> {
        Arc::new(Apex::new(WireName::from_wire(b"\x08dnstapir\0").unwrap(), 60))
    }

    fn serial(&self) -> Serial {
        Serial(self.newest().0)
    }

    fn len(&self) -> u64 {
        self.newest().1.len() as u64
    }

    fn palette(&self) -> Arc<Palette> {
        Arc::clone(&self.palette)
    }

    fn find(&self, key: &KeyBuf) -> Result<Codes, ReadError> {
        Ok(self.newest().1.get(key).copied().unwrap_or_default())
    }

    fn cursor(&self) -> Self::Cursor {
        Listed::new(self.newest().1.iter().map(|(key, codes)| (*key, *codes)).collect()).unwrap()
    }

    fn since(&self, serial: Serial) -> Since<History> {
        match self.versions.iter().position(|(known, _)| *known == serial.0) {
            Some(at) if at + 1 == self.versions.len() => Since::Current,
            Some(at) => {
                let mut all = History::since(&self.versions, at);
                let mut changes = 0;
                while all.advance().unwrap().is_some() {
                    let mut cursor = all.changes().unwrap();
                    while tapir_table::Cursor::advance(&mut cursor).unwrap() {
                        changes += 1;
                    }
                }
                Since::Steps { steps: History::since(&self.versions, at), changes }
            }
            None => Since::Unknown,
        }
    }
}

/// What is filled into windows, message by message without their lengths.
pub(crate) fn messages(mut fill: impl FnMut(&mut Window) -> bool) -> Vec<Vec<u8>> {
    let (mut window, mut messages) = (Window::new(), Vec::new());
    while fill(&mut window) {
        let mut rest = window.as_bytes();
        while let Some((length, tail)) = rest.split_first_chunk::<2>() {
            let (message, tail) = tail.split_at(usize::from(u16::from_be_bytes(*length)));
            messages.push(message.to_vec());
            rest = tail;
        }
        assert!(rest.is_empty());
    }
    messages
}
