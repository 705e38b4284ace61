//! The slots of a table, and who fills them: where there are many, a thread of its own, so that names are read on one processor while their
//! places wait for memory on another.

use std::mem;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

/// An empty slot: no record has place 0.
pub(super) const EMPTY: u64 = 0;
/// Of the slots of a list that is not tiny, three in five are taken.
const SLOTS_FOR_THREE: u64 = 5;
/// Entries that are put into their slots together, so that the memory's answers overlap.
const BATCH: usize = 2048;
/// Batches that may wait.
const WAITING: usize = 64;
/// Fewer take less than a thread.
const FEW: u64 = 10_000;

/// Hash bits above, place below. There is always an empty one.
pub(super) struct Slots(Vec<u64>);

/// An entry on its way into its slot.
#[derive(Clone, Copy)]
pub(super) struct Hashed {
    pub(super) hash: u64,
    pub(super) place: u32,
}

impl Slots {
    /// For at most so many entries.
    fn new(entries: u64) -> Self {
        let slots = usize::try_from(entries.saturating_mul(SLOTS_FOR_THREE) / 3 + 8).unwrap_or(usize::MAX);
        Self(vec![EMPTY; slots])
    }

    /// Any hash has a slot, and all slots about as many hashes.
    #[inline]
    pub(super) fn position(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.0.len() as u128) >> 64) as usize
    }

    #[inline]
    pub(super) fn at(&self, position: usize) -> Option<u64> {
        self.0.get(position).copied()
    }

    /// The next one, from the last on to the first.
    #[inline]
    pub(super) fn after(&self, position: usize) -> usize {
        if position + 1 == self.0.len() { 0 } else { position + 1 }
    }

    pub(super) fn octets(&self) -> usize {
        self.0.capacity() * size_of::<u64>()
    }

    /// There must be room for all of them and an empty slot behind.
    fn place(&mut self, batch: &[Hashed]) {
        for Hashed { hash, place } in batch {
            let mut at = self.position(*hash);
            while self.0.get(at).is_some_and(|slot| *slot != EMPTY) {
                at = self.after(at);
            }
            if let Some(slot) = self.0.get_mut(at) {
                *slot = u64::from(*hash as u32) << 32 | u64::from(*place);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn has(&self, slot: u64) -> bool {
        self.0.contains(&slot)
    }
}

/// Entries on their way, at most [`BATCH`] here.
pub(super) struct Placing {
    batch: Vec<Hashed>,
    room: usize,
    filler: Filler,
}

enum Filler {
    Here(Slots),
    /// It ends when nobody has anything for it any more.
    Beside(SyncSender<Vec<Hashed>>, JoinHandle<Slots>),
}

impl Placing {
    pub(super) fn new(entries: u64) -> Self {
        let slots = Slots::new(entries);
        Self { batch: Vec::new(), room: slots.0.len() - 1, filler: Filler::new(slots, entries) }
    }

    /// How many entries there are slots for.
    pub(super) const fn room(&self) -> usize {
        self.room
    }

    /// No more of them than there is room for.
    #[inline]
    pub(super) fn add(&mut self, entry: Hashed) {
        if self.batch.len() == BATCH {
            let batch = mem::replace(&mut self.batch, Vec::with_capacity(BATCH));
            self.filler.fill(batch);
        }
        self.batch.push(entry);
    }

    pub(super) fn finish(mut self) -> Slots {
        self.filler.fill(self.batch);
        match self.filler {
            Filler::Here(slots) => slots,
            Filler::Beside(batches, filler) => {
                drop(batches);
                filler.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            }
        }
    }
}

impl Filler {
    /// Slots are small while empty: where there is no thread to be had, others are made.
    fn new(mut slots: Slots, entries: u64) -> Self {
        if entries < FEW {
            return Self::Here(slots);
        }
        let (batches, waiting): (_, Receiver<Vec<Hashed>>) = sync_channel(WAITING);
        let fill = move || {
            for batch in waiting {
                slots.place(&batch);
            }
            slots
        };
        let named = thread::Builder::new().name("list".to_owned());
        named.spawn(fill).map_or_else(|_| Self::Here(Slots::new(entries)), |filler| Self::Beside(batches, filler))
    }

    fn fill(&mut self, batch: Vec<Hashed>) {
        match self {
            Self::Here(slots) => slots.place(&batch),
            // Gone only by a panic, which the end tells.
            Self::Beside(batches, _) => _ = batches.send(batch),
        }
    }
}
