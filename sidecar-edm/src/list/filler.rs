//! Who fills a table: where there are many names, a thread of its own, so that names are read on one processor while on another those before
//! them are hashed and their slots wait for memory.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use super::hash::Hasher;
use super::slots::Slots;
use super::table::{FIRST, HEAD, SUFFIX, record};

/// Chunks that may wait.
const WAITING: usize = 64;
/// Fewer entries take less than a thread.
const FEW: u64 = 10_000;

/// Records and where they are found.
pub(super) struct Filled {
    pub(super) hasher: Hasher,
    pub(super) slots: Slots,
    pub(super) records: Vec<u8>,
}

pub(super) struct Filler {
    room: usize,
    way: Way,
}

enum Way {
    Here(Filled),
    /// It ends when nobody has anything for it any more.
    Beside(SyncSender<Vec<u8>>, JoinHandle<Filled>),
}

impl Filler {
    /// For at most so many entries.
    pub(super) fn new(entries: u64) -> Self {
        let filled = Filled::new(entries);
        let room = filled.slots.room();
        Self { room, way: if entries < FEW { Way::Here(filled) } else { Way::beside(filled, entries) } }
    }

    /// How many entries there are slots for.
    pub(super) const fn room(&self) -> usize {
        self.room
    }

    /// Takes whole records, never more in all than there is room for.
    pub(super) fn fill(&mut self, records: Vec<u8>) {
        match &mut self.way {
            Way::Here(filled) => filled.take(&records),
            // Gone only by a panic, which the end tells.
            Way::Beside(chunks, _) => _ = chunks.send(records),
        }
    }

    pub(super) fn finish(self) -> Filled {
        let mut filled = match self.way {
            Way::Here(filled) => filled,
            Way::Beside(chunks, filler) => {
                drop(chunks);
                filler.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            }
        };
        filled.records.shrink_to_fit();
        filled
    }
}

impl Way {
    /// Where there is no thread to be had, it is done here: empty slots cost next to nothing.
    fn beside(mut filled: Filled, entries: u64) -> Self {
        let (chunks, waiting) = sync_channel::<Vec<u8>>(WAITING);
        let fill = move || {
            waiting.iter().for_each(|chunk| filled.take(&chunk));
            filled
        };
        let named = thread::Builder::new().name("list".to_owned());
        named.spawn(fill).map_or_else(|_| Self::Here(Filled::new(entries)), |filler| Self::Beside(chunks, filler))
    }
}

impl Filled {
    fn new(entries: u64) -> Self {
        Self { hasher: Hasher::new(), slots: Slots::new(entries), records: vec![0; FIRST] }
    }

    fn take(&mut self, records: &[u8]) {
        let (mut rest, mut place) = (records, self.records.len());
        self.records.extend_from_slice(records);
        while let Some((number, wire)) = record(rest) {
            // Whoever made the records has seen that their places fit.
            self.slots.place(self.hasher.entry(wire, number & SUFFIX != 0), place as u32);
            let length = HEAD + wire.len();
            (rest, place) = (rest.get(length..).unwrap_or_default(), place + length);
        }
    }
}
