//! The end of the queue at which events come in, for the one thread that may wait for the disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{io, mem};

use super::cursor::{Cursor, Place};
use super::segment::{self, Segment, Store};
use super::state::Queue;
use super::{MEMORY, open, record};
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
/// Segments at most, however small they are.
const MOST_SEGMENTS: usize = 1024;
/// Seconds until a disk that took nothing is tried again.
const RETRY: u64 = 5;

/// The end of the queue at which events come in.
#[derive(Debug)]
pub struct Writer {
    queue: Arc<Queue>,
    /// None where everything stays in memory.
    folder: Option<PathBuf>,
    /// Octets on disk at most.
    bound: u64,
    /// None where the folder cannot be used.
    cursor: Option<Cursor>,
    /// What is appended to.
    present: Option<Present>,
    next_number: u64,
    unsynced: bool,
    /// When the disk is tried again, while it takes nothing.
    retry_at: Option<u64>,
}

#[derive(Clone, Debug)]
struct Present {
    number: u64,
    store: Arc<Store>,
    end: u64,
}

impl Present {
    fn is_in_memory(&self) -> bool {
        matches!(*self.store, Store::Memory(_))
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

impl Writer {
    /// The queue that is kept in `folder`, with at most so many octets on disk. Where the folder cannot be used events wait in memory.
    #[must_use]
    pub fn open(folder: &Path, bound: u64) -> (Self, Arc<Queue>) {
        let found = open::open(folder).unwrap_or_else(|error| {
            tracing::error!(folder = %folder.display(), %error, "waiting events of former times cannot be read");
            open::Found::default()
        });
        Self::with(Some(folder), bound, found)
    }

    /// A queue that is in memory alone.
    #[must_use]
    pub fn in_memory() -> (Self, Arc<Queue>) {
        Self::with(None, 0, open::Found::default())
    }

    fn with(folder: Option<&Path>, bound: u64, found: open::Found) -> (Self, Arc<Queue>) {
        let queue = Arc::new(Queue::default());
        let present = found.segments.back().filter(|last| !last.sealed);
        let present = present.map(|last| Present { number: last.number, store: Arc::clone(&last.store), end: last.end });
        {
            let mut state = queue.lock();
            (state.segments, state.read, state.waiting) = (found.segments, found.read, found.waiting);
        }
        queue.notify();
        let writer = Self {
            queue: Arc::clone(&queue),
            folder: folder.map(Path::to_owned),
            bound: bound.max(2 * SMALLEST),
            cursor: found.cursor,
            present,
            next_number: found.next_number.max(1),
            unsynced: false,
            retry_at: None,
        };
        (writer, queue)
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

    /// Appends records, and tells how many octets of them were taken. Without an error that is all; what was taken survives the end of the
    /// process. What had to go for it is added to `lost`.
    pub fn append(&mut self, records: &[u8], now: u64, lost: &mut Lost) -> (usize, io::Result<()>) {
        let mut taken = 0;
        while let Some(rest) = records.get(taken..).filter(|rest| !rest.is_empty()) {
            let (octets, events) = first_block(rest);
            let Some(payload) = rest.get(..octets).filter(|payload| !payload.is_empty()) else { break };
            if let Err(error) = self.append_block(payload, events, now, lost) {
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
    pub fn keep(&mut self) -> io::Result<()> {
        loop {
            let (done_to, first) = {
                let mut state = self.queue.lock();
                let done_to = state.done_to();
                let over = |segment: &&Segment| {
                    let is_present = self.present.as_ref().is_some_and(|present| present.number == segment.number);
                    !is_present && (segment.number, segment.end) <= (done_to.number, done_to.offset)
                };
                let first = state.segments.front().filter(over).cloned();
                if first.is_some() {
                    state.pop();
                }
                (done_to, first)
            };
            // Before the file goes: what was done with is not to be told of a segment that is there.
            if let Some(cursor) = &mut self.cursor {
                cursor.write(done_to)?;
            }
            let Some(first) = first else { return Ok(()) };
            self.remove(&first)?;
        }
    }

    /// Makes what was appended and what is done with survive the end of the machine.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn sync(&mut self) -> io::Result<()> {
        if mem::take(&mut self.unsynced)
            && let Some(present) = &self.present
        {
            present.store.sync().inspect_err(|_| self.unsynced = true)?;
        }
        self.cursor.as_mut().map_or(Ok(()), Cursor::sync)
    }

    /// Drops everything.
    pub fn clear(&mut self) -> Lost {
        let mut lost = Lost::default();
        self.present = None;
        while self.drop_oldest(&mut lost) {}
        lost
    }

    fn append_block(&mut self, payload: &[u8], events: u64, now: u64, lost: &mut Lost) -> io::Result<()> {
        let size = blocks::size(payload.len()) as u64;
        self.make_room(size, lost);
        let mut block = Vec::with_capacity(blocks::size(payload.len()));
        blocks::push(&mut block, payload);
        let mut present = self.present(size, now)?;
        self.check_memory(&present, size)?;
        if let Err(error) = present.store.append(present.end, &block) {
            present = self.fall_back(now, &error);
            self.check_memory(&present, size)?;
            present.store.append(present.end, &block)?;
        }
        let end = present.end + size;
        self.present = Some(Present { end, ..present.clone() });
        self.unsynced = true;
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

    /// The disk is to be tried, for the first time or again. Longer than that it is never waited for: the clock was set back.
    fn is_disk_due(&self, now: u64) -> bool {
        self.retry_at.is_none_or(|at| now >= at || at - now > RETRY)
    }

    /// What is appended to, with room for so many octets.
    fn present(&mut self, octets: u64, now: u64) -> io::Result<Present> {
        let roomy = self.present.clone().filter(|present| self.has_room(present, octets));
        if let Some(present) = roomy.as_ref().filter(|present| !present.is_in_memory() || !self.is_disk_due(now)) {
            return Ok(present.clone());
        }
        self.leave();
        if !self.is_disk_due(now) {
            return Ok(self.begin(Segment::in_memory(self.next_number)));
        }
        let begun = match &self.folder {
            Some(folder) => Segment::begin(folder, self.next_number, now),
            None => Err(io::ErrorKind::Unsupported.into()),
        };
        match begun {
            Ok(segment) => {
                if self.retry_at.take().is_some() {
                    tracing::info!("the disk takes events again");
                }
                self.reopen_cursor();
                Ok(self.begin(segment))
            }
            Err(error) => match roomy {
                // Another one in memory would not be more memory.
                Some(present) => {
                    self.retry_at = Some(now + RETRY);
                    Ok(present)
                }
                None => Ok(self.fall_back(now, &error)),
            },
        }
    }

    /// What was appended to is left behind: nobody would sync it later. Where the disk fails the next file tells.
    fn leave(&mut self) {
        if let Some(present) = &self.present
            && mem::take(&mut self.unsynced)
        {
            if let Err(error) = present.store.sync() {
                tracing::warn!(%error, segment = present.number, "a segment of events may not survive the end of the machine");
            }
            present.store.forget_pages();
        }
    }

    fn fall_back(&mut self, now: u64, error: &io::Error) -> Present {
        self.leave();
        if self.folder.is_some() && self.retry_at.is_none() {
            tracing::error!(%error, "the disk takes no events; they wait in memory, as many as fit there");
        }
        self.retry_at = Some(now + RETRY);
        self.begin(Segment::in_memory(self.next_number))
    }

    fn begin(&mut self, segment: Segment) -> Present {
        let present = Present { number: segment.number, store: Arc::clone(&segment.store), end: HEADER as u64 };
        self.next_number = segment.number + 1;
        self.present = Some(present.clone());
        self.queue.lock().segments.push_back(segment);
        present
    }

    fn reopen_cursor(&mut self) {
        if let (None, Some(folder)) = (&self.cursor, &self.folder) {
            self.cursor = Cursor::open(folder).ok().map(|(cursor, _)| cursor);
        }
    }

    fn remove(&self, segment: &Segment) -> io::Result<()> {
        match &self.folder {
            Some(folder) if segment.on_disk() > 0 => writes::remove(&segment::path(folder, segment.number)),
            _ => Ok(()),
        }
    }

    /// Drops the oldest segments until there is room for so many octets more.
    fn make_room(&mut self, octets: u64, lost: &mut Lost) {
        loop {
            let (held, segments) = {
                let state = self.queue.lock();
                (state.segments.iter().map(Segment::on_disk).sum::<u64>(), state.segments.len())
            };
            let fits = held + octets <= self.bound && segments < MOST_SEGMENTS;
            // The last one is being written: by its size it never is too much.
            if fits || segments < 2 || !self.drop_oldest(lost) {
                return;
            }
        }
    }

    /// False if there is none.
    fn drop_oldest(&mut self, lost: &mut Lost) -> bool {
        let (oldest, from) = {
            let state = self.queue.lock();
            let Some(oldest) = state.segments.front().cloned() else { return false };
            let from = Place { number: oldest.number, offset: HEADER as u64, skip: 0 }.max(state.done_to());
            (oldest, from)
        };
        let mut held = Vec::new();
        if from.number == oldest.number {
            let read = oldest.scan_from(from.offset, |offset, payload| {
                held.extend(record::each(payload).enumerate().map(|(index, event)| (offset, index, event.print)));
                true
            });
            if let Err(error) = read {
                tracing::warn!(%error, "events that are dropped cannot be read; their names count as reported");
            }
        }
        let mut state = self.queue.lock();
        let before = state.waiting;
        let skip = |offset: u64, index: usize| {
            let flight =
                state.flights.iter().find(|flight| (flight.place.number, flight.place.offset) == (oldest.number, offset));
            let skipped = from.offset == offset && index < from.skip as usize;
            flight.map_or(skipped, |flight| flight.is_done(index))
        };
        held.retain(|(offset, index, _)| !skip(*offset, *index));
        state.pop();
        state.waiting = state.waiting.saturating_sub(held.len() as u64);
        lost.events += before - state.waiting;
        drop(state);
        lost.prints.extend(held.into_iter().map(|(.., print)| print));
        if let Err(error) = self.remove(&oldest) {
            tracing::warn!(%error, segment = oldest.number, "a segment of events that had to go is still there");
        }
        true
    }
}

/// Octets and records of the first block of so many records.
fn first_block(records: &[u8]) -> (usize, u64) {
    let (mut octets, mut events) = (0, 0);
    while let Some(size) = records.get(octets..).and_then(record::size).filter(|size| octets + size <= blocks::LONGEST) {
        octets += size;
        events += 1;
    }
    (octets, events)
}
