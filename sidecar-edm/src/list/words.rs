//! From words to a table: where there are many, on a thread of its own, so that words are read on one processor while those before them are
//! checked, hashed, and wait for memory on another.

use std::mem;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use super::entry::canonical;
use super::table::{Builder, Table};

/// Octets of words that go on their way together.
const CHUNK: usize = 64 << 10;
/// Chunks that may wait.
const WAITING: usize = 32;
/// Fewer words take less than a thread.
const FEW: u64 = 10_000;

/// The table of all words, and how many of them no name can ever hit; none where there was no room for them.
pub(super) type Made = Option<(Table, u64)>;

/// Takes words.
pub(super) struct Words {
    /// Each with its length in front.
    chunk: Vec<u8>,
    way: Way,
}

enum Way {
    Here(Maker),
    /// It ends when nobody has anything for it any more.
    Beside(SyncSender<Vec<u8>>, JoinHandle<Maker>),
}

struct Maker {
    builder: Builder,
    wire: Vec<u8>,
    unmatchable: u64,
    lacks_room: bool,
}

impl Words {
    /// At most so many.
    pub(super) fn new(words: u64) -> Self {
        Self { chunk: Vec::new(), way: Way::new(words) }
    }

    /// One that was not there before; of 65 535 octets at most.
    pub(super) fn add(&mut self, word: &str) {
        if self.chunk.len() + size_of::<u16>() + word.len() > CHUNK {
            self.way.take(mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK)));
        }
        self.chunk.extend_from_slice(&(word.len() as u16).to_le_bytes());
        self.chunk.extend_from_slice(word.as_bytes());
    }

    pub(super) fn finish(mut self) -> Made {
        self.way.take(self.chunk);
        let maker = match self.way {
            Way::Here(maker) => maker,
            Way::Beside(chunks, maker) => {
                drop(chunks);
                maker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            }
        };
        (!maker.lacks_room).then(|| (maker.builder.finish(), maker.unmatchable))
    }
}

impl Way {
    /// Where there is no thread to be had it is done here: an empty table costs next to nothing.
    fn new(words: u64) -> Self {
        let mut maker = Maker::new(words);
        if words < FEW {
            return Self::Here(maker);
        }
        let (chunks, waiting) = sync_channel::<Vec<u8>>(WAITING);
        let make = move || {
            waiting.iter().for_each(|chunk| maker.take(&chunk));
            maker
        };
        let named = thread::Builder::new().name("list".to_owned());
        named.spawn(make).map_or_else(|_| Self::Here(Maker::new(words)), |maker| Self::Beside(chunks, maker))
    }

    fn take(&mut self, chunk: Vec<u8>) {
        match self {
            Self::Here(maker) => maker.take(&chunk),
            // Gone only by a panic, which the end tells.
            Self::Beside(chunks, _) => _ = chunks.send(chunk),
        }
    }
}

impl Maker {
    fn new(words: u64) -> Self {
        Self { builder: Builder::new(words), wire: Vec::new(), unmatchable: 0, lacks_room: false }
    }

    fn take(&mut self, mut words: &[u8]) {
        while let Some((length, rest)) = words.split_first_chunk()
            && let Some((word, rest)) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))
        {
            words = rest;
            match canonical(word, &mut self.wire) {
                Ok(suffix) => self.lacks_room |= !self.builder.add(&self.wire, suffix),
                Err(_) => self.unmatchable += 1,
            }
        }
    }
}
