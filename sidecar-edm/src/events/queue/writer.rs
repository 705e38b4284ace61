//! The end of the queue at which events come in, for the one thread that may wait for the disk.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{io, mem};

use super::cursor::Cursor;
use super::segment::{self, Segment, Store};
use super::state::Queue;
use super::{MEMORY, record};
use crate::events::blocks::{self, HEADER};
use crate::events::seen::Fingerprint;
use crate::events::writes;

/// The queue is cut into so many segments: that is how finely it loses its oldest events.
const SEGMENTS: u64 = 16;
/// Octets of a segment.
const SMALLEST: u64 = 128 << 10;
const LARGEST: u64 = 1 << 20;
/// Octets of a segment in memory: so finely is what is done with given back.
const IN_MEMORY: u64 = MEMORY / 8;
/// Seconds until a disk that took nothing is tried again.
pub(super) const RETRY: u64 = 5;

/// The end of the queue at which events come in.
#[derive(Debug)]
pub struct Writer {
    pub(super) queue: Arc<Queue>,
    /// None where everything stays in memory.
    pub(super) folder: Option<PathBuf>,
    /// What is in the folder is known. Before that nothing is written there.
    pub(super) is_open: bool,
    /// Octets on disk at most.
    pub(super) bound: u64,
    pub(super) cursor: Option<Cursor>,
    /// What is appended to.
    pub(super) present: Option<Present>,
    pub(super) next_number: u64,
    pub(super) unsynced: bool,
    /// A segment of which nobody knows how much of it reached the disk.
    pub(super) unsafe_one: Option<u64>,
    /// What is found in the folder when it can be read is to be forgotten.
    pub(super) forgets_found: bool,
    /// Files that had to go and are still there. While there are any no other is begun.
    pub(super) leftovers: BTreeSet<u64>,
    /// When the disk is tried again, while it takes nothing.
    pub(super) retry_at: Option<u64>,
    /// That it takes nothing was told.
    in_trouble: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Present {
    pub(super) number: u64,
    pub(super) place: Place,
    pub(super) end: u64,
}

#[derive(Clone, Debug)]
pub(super) enum Place {
    Disk(Arc<File>),
    Memory(Arc<Store>),
}

impl Present {
    pub(super) const fn is_in_memory(&self) -> bool {
        matches!(self.place, Place::Memory(_))
    }

    fn append(&self, block: &[u8]) -> io::Result<()> {
        match &self.place {
            Place::Disk(file) => writes::append(file, self.end, block),
            Place::Memory(store) => {
                if let Store::Memory(blocks) = &**store {
                    segment::locked(blocks).extend_from_slice(block);
                }
                Ok(())
            }
        }
    }
}

/// Events that are lost to the queue.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// How many.
    pub events: u64,
    /// The marks of their names, as far as they could be read.
    pub prints: Vec<Fingerprint>,
}

/// Is told of events that are lost, one segment at a time: however many there are, memory holds those of one.
pub type OnLost<'a> = dyn FnMut(Lost) + 'a;

impl Writer {
    /// The queue that is kept in `folder`, with at most so many octets on disk. While the folder cannot be used events wait in memory, and
    /// it is tried again.
    #[must_use]
    pub fn open(folder: &Path, bound: u64) -> (Self, Arc<Queue>) {
        let (mut writer, queue) = Self::in_memory();
        writer.set_bound(bound);
        writer.use_folder(folder);
        match writer.open_folder(folder, 0) {
            Ok(()) => writer.retry_at = None,
            Err(error) => {
                tracing::error!(folder = %folder.display(), %error, "events that wait cannot be read; it is tried again")
            }
        }
        (writer, queue)
    }

    /// A queue that is in memory alone.
    #[must_use]
    pub fn in_memory() -> (Self, Arc<Queue>) {
        let queue = Arc::new(Queue::default());
        let writer = Self {
            queue: Arc::clone(&queue),
            folder: None,
            is_open: false,
            bound: 2 * SMALLEST,
            cursor: None,
            present: None,
            next_number: 1,
            unsynced: false,
            unsafe_one: None,
            forgets_found: false,
            leftovers: BTreeSet::new(),
            retry_at: None,
            in_trouble: false,
        };
        (writer, queue)
    }

    /// It is kept in this folder from now on, as soon as that can be used.
    pub fn use_folder(&mut self, folder: &Path) {
        self.folder = Some(folder.to_owned());
        self.retry_at = Some(0);
    }

    /// The queue.
    #[must_use]
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Another bound. What is too much goes with the next events.
    pub fn set_bound(&mut self, bound: u64) {
        self.bound = bound.max(2 * SMALLEST);
    }

    /// All events that were appended survive the end of the process, and after [`Self::sync`] that of the machine.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.unsafe_one.is_none() && !self.queue.lock().needs_memory()
    }

    /// Appends records, and tells how many octets of them were taken. Without an error that is all; what was taken survives the end of the
    /// process if [`Self::is_kept`] says so. What had to go for it is told.
    pub fn append(&mut self, records: &[u8], now: u64, on_lost: &mut OnLost<'_>) -> (usize, io::Result<()>) {
        self.recover(now);
        let mut taken = 0;
        while let Some(rest) = records.get(taken..).filter(|rest| !rest.is_empty()) {
            let (octets, events) = first_block(rest);
            let Some(payload) = rest.get(..octets).filter(|payload| !payload.is_empty()) else { break };
            if let Err(error) = self.append_block(payload, events, now, on_lost) {
                return (taken, Err(error));
            }
            taken += octets;
        }
        (taken, Ok(()))
    }

    /// Writes down what is done with, and removes what is not needed any more.
    ///
    /// # Errors
    /// When the disk does not take it; it is tried again the next time.
    pub fn keep(&mut self, now: u64) -> io::Result<()> {
        self.recover(now);
        self.remove_leftovers()?;
        loop {
            let (done_to, first) = {
                let state = self.queue.lock();
                let done_to = state.done_to();
                let over = |segment: &&Segment| {
                    let is_present = self.present.as_ref().is_some_and(|present| present.number == segment.number);
                    !is_present && (segment.number, segment.end) <= (done_to.number, done_to.offset)
                };
                (done_to, state.segments.front().filter(over).cloned())
            };
            // Before the file goes: what was done with is not to be told of a segment that is there. And before it is forgotten here: while
            // that is not written down, the file counts.
            if let Some(cursor) = &mut self.cursor {
                cursor.write(done_to)?;
            }
            let Some(first) = first else { return Ok(()) };
            self.remove(&first)?;
            self.queue.lock().pop();
        }
    }

    /// Makes what was appended and what is done with survive the end of the machine.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn sync(&mut self) -> io::Result<()> {
        if mem::take(&mut self.unsynced)
            && let Some(Present { number, place: Place::Disk(file), .. }) = &self.present
            && let Err(error) = writes::sync(file)
        {
            // At once: it may be a file system that has just come back.
            self.doubt(*number, &error, 0);
            self.present = None;
            return Err(error);
        }
        if self.unsafe_one.is_some() {
            return Err(io::Error::other("a segment of events is not safe yet"));
        }
        self.cursor.as_mut().map_or(Ok(()), Cursor::sync)
    }

    fn append_block(&mut self, payload: &[u8], events: u64, now: u64, on_lost: &mut OnLost<'_>) -> io::Result<()> {
        let size = blocks::size(payload.len()) as u64;
        self.make_room(size, on_lost)?;
        let mut block = Vec::with_capacity(blocks::size(payload.len()));
        blocks::push(&mut block, payload);
        let mut present = self.present(size, now);
        self.check_memory(&present, size)?;
        if let Err(error) = present.append(&block) {
            present = self.fall_back(now, &error);
            self.check_memory(&present, size)?;
            present.append(&block)?;
        }
        let end = present.end + size;
        if !present.is_in_memory() {
            self.unsynced = true;
            if mem::take(&mut self.in_trouble) {
                tracing::info!("the disk takes events again");
            }
        }
        self.present = Some(Present { end, ..present.clone() });
        let mut state = self.queue.lock();
        if let Some(segment) = state.segments.iter_mut().find(|segment| segment.number == present.number) {
            segment.end = end;
            segment.records += events;
        }
        state.waiting += events;
        drop(state);
        self.queue.notify();
        Ok(())
    }

    /// Memory has room for so many octets more, if that is where they go.
    fn check_memory(&self, present: &Present, octets: u64) -> io::Result<()> {
        if !present.is_in_memory() {
            return Ok(());
        }
        let held: u64 = self.queue.lock().segments.iter().map(Segment::in_memory_octets).sum();
        if held + octets > MEMORY { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    /// So many octets may be appended to it.
    fn has_room(&self, present: &Present, octets: u64) -> bool {
        let largest = if present.is_in_memory() { IN_MEMORY } else { (self.bound / SEGMENTS).clamp(SMALLEST, LARGEST) };
        let sealed = self.queue.lock().segments.iter().any(|segment| segment.number == present.number && segment.sealed);
        !sealed && present.end + octets <= largest
    }

    /// What is appended to, with room for so many octets.
    fn present(&mut self, octets: u64, now: u64) -> Present {
        if let Some(present) = self.present.clone().filter(|present| self.has_room(present, octets)) {
            return present;
        }
        self.leave(now);
        let Some(folder) = self.folder.as_ref().filter(|_| self.retry_at.is_none()) else { return self.begin_in_memory() };
        match Segment::begin(folder, self.next_number, now) {
            Ok((segment, file)) => self.begin(segment, Place::Disk(Arc::new(file))),
            Err(error) => self.fall_back(now, &error),
        }
    }

    /// What was appended to is left behind: nobody would sync it later.
    fn leave(&mut self, now: u64) {
        let Some(Present { number, place: Place::Disk(file), .. }) = self.present.take() else { return };
        if mem::take(&mut self.unsynced)
            && let Err(error) = writes::sync(&file)
        {
            return self.doubt(number, &error, now + RETRY);
        }
        segment::forget_pages(&file);
    }

    /// How much of it the disk has nobody knows, and it would not say so twice. While its pages are there it can be written once more.
    fn doubt(&mut self, number: u64, error: &io::Error, retry_at: u64) {
        tracing::error!(%error, segment = number, "events may not survive the end of the machine; they are written again");
        (self.unsafe_one, self.retry_at) = (Some(number), Some(retry_at));
    }

    fn fall_back(&mut self, now: u64, error: &io::Error) -> Present {
        match self.present.take_if(|present| !present.is_in_memory() && present.end == HEADER as u64) {
            // Nothing is in it, and there would be another one at each try.
            Some(empty) => self.discard(empty.number),
            None => self.leave(now),
        }
        if self.folder.is_some() && !mem::replace(&mut self.in_trouble, true) {
            tracing::error!(%error, "the disk takes no events; they wait in memory, as many as fit there");
        }
        self.retry_at = Some(now + RETRY);
        self.begin_in_memory()
    }

    fn begin_in_memory(&mut self) -> Present {
        let segment = Segment::in_memory(self.next_number);
        let place = Place::Memory(Arc::clone(&segment.store));
        self.begin(segment, place)
    }

    fn begin(&mut self, segment: Segment, place: Place) -> Present {
        let present = Present { number: segment.number, place, end: HEADER as u64 };
        self.next_number = segment.number + 1;
        self.present = Some(present.clone());
        self.queue.lock().segments.push_back(segment);
        present
    }
}

/// Octets and records of the first block of so many records.
pub(super) fn first_block(records: &[u8]) -> (usize, u64) {
    let (mut octets, mut events) = (0, 0);
    while let Some(size) = records.get(octets..).and_then(record::size).filter(|size| octets + size <= blocks::LONGEST) {
        octets += size;
        events += 1;
    }
    (octets, events)
}
