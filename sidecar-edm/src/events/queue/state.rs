//! The queue as its reader sees it: blocks are handed out in order, events are done with in any.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::cursor::Place;
use super::flight::Flight;
use super::record::{self, Event};
use super::segment::Segment;
use crate::events::blocks::{HEADER, Next, size};
use crate::events::writes;

/// For the next try of a file that could not be opened just now.
const PAUSE: Duration = Duration::from_millis(100);

/// An event on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    block: u64,
    index: u32,
}

/// The queue.
#[derive(Debug, Default)]
pub struct Queue {
    state: Mutex<State>,
    filled: Notify,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// Oldest first.
    pub(super) segments: VecDeque<Segment>,
    pub(super) flights: VecDeque<Flight>,
    /// Number of the first flight.
    first: u64,
    /// What is handed out next.
    pub(super) read: Place,
    /// Events held, those on their way included.
    pub(super) waiting: u64,
    /// Events that could not be read any more.
    pub(super) unreadable: u64,
    /// All that is here is about to be forgotten: nothing of it goes out any more.
    closed: bool,
}

impl Queue {
    /// Events held, those on their way included.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.lock().waiting
    }

    /// No events are held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Events that the disk gave back damaged, or not at all.
    #[must_use]
    pub fn unreadable(&self) -> u64 {
        self.lock().unreadable
    }

    /// Octets on disk.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.lock().segments.iter().map(Segment::on_disk).sum()
    }

    /// Takes the events of the next block on their way. Reads a file, so it may wait for the disk. For one reader at a time.
    #[must_use]
    pub fn read(&self) -> Vec<(Ticket, Event)> {
        let mut payload = Vec::new();
        loop {
            let Some((place, segment)) = self.lock().next() else { return Vec::new() };
            let next = segment.block(place.offset, &mut payload);
            let events = match next {
                Ok(Next::Block) => record::count(&payload),
                // No file to be had at this moment, say: that is no damage.
                Err(error) if !is_lost(&error) => {
                    std::thread::sleep(PAUSE);
                    self.notify();
                    return Vec::new();
                }
                Ok(Next::End(_)) | Err(_) => None,
            };
            let mut state = self.lock();
            // Meanwhile it may have gone to make room, or to the disk, or all may have to be sent anew.
            let is_there = state.segments.iter().any(|known| Arc::ptr_eq(&known.store, &segment.store));
            if state.read != place || state.closed || !is_there {
                continue;
            }
            let Some(events) = events else {
                state.give_up(place);
                continue;
            };
            let handed = state.hand_out(place, events, size(payload.len()) as u64, &payload);
            if !handed.is_empty() {
                return handed;
            }
        }
    }

    /// The event is done with.
    pub fn finish(&self, ticket: Ticket) {
        let mut state = self.lock();
        let Some(flight) = ticket.block.checked_sub(state.first).and_then(|index| usize::try_from(index).ok()) else { return };
        let Some(flight) = state.flights.get_mut(flight) else { return };
        if flight.finish(ticket.index) {
            state.waiting = state.waiting.saturating_sub(1);
            state.land();
        }
    }

    /// Everything on its way waits again, in the old order, because the connection broke.
    pub fn return_all(&self) {
        let mut state = self.lock();
        if let Some(first) = state.flights.front() {
            state.read = first.place;
        }
        drop(state);
        self.filled.notify_one();
    }

    /// Nothing goes out any more until all that is here was forgotten.
    pub(in crate::events) fn close(&self) {
        self.lock().closed = true;
    }

    pub(super) fn open(&self) {
        self.lock().closed = false;
        self.notify();
    }

    /// Takes out what was forgotten since it was read.
    pub(in crate::events) fn retain_held<T>(&self, events: &mut Vec<(Ticket, T)>) {
        let state = self.lock();
        events.retain(|(ticket, _)| !state.closed && state.is_held(*ticket));
    }

    /// Resolves when an event may have come since the last call. For one waiting task.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }

    pub(super) fn notify(&self) {
        self.filled.notify_one();
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The place of the next block and its segment.
    fn next(&mut self) -> Option<(Place, Segment)> {
        if self.closed {
            return None;
        }
        loop {
            let index = self.segments.iter().position(|segment| segment.number >= self.read.number)?;
            let segment = self.segments.get(index)?;
            if segment.number > self.read.number {
                self.read = Place { number: segment.number, offset: HEADER as u64, skip: 0 };
            }
            if self.read.offset < segment.end {
                return Some((self.read, segment.clone()));
            }
            // Where the next segment begins is known when it does.
            self.read = Place { number: self.segments.get(index + 1)?.number, offset: HEADER as u64, skip: 0 };
        }
    }

    fn hand_out(&mut self, place: Place, events: u32, octets: u64, payload: &[u8]) -> Vec<(Ticket, Event)> {
        let known =
            self.flights.iter().position(|flight| (flight.place.number, flight.place.offset) == (place.number, place.offset));
        let index = known.unwrap_or_else(|| {
            self.flights.push_back(Flight::new(place, events, place.skip));
            if let Some(segment) = self.segments.iter_mut().find(|segment| segment.number == place.number) {
                segment.handed += u64::from(events);
            }
            self.flights.len() - 1
        });
        self.read = Place { offset: place.offset + octets, skip: 0, ..place };
        let block = self.first + index as u64;
        let Some(flight) = self.flights.get(index) else { return Vec::new() };
        let handed = record::each(payload)
            .enumerate()
            .filter(|(index, _)| !flight.is_done(*index))
            .map(|(index, event)| (Ticket { block, index: index as u32 }, event))
            .collect();
        self.land();
        handed
    }

    /// What cannot be read is given up, up to the end of its segment.
    fn give_up(&mut self, place: Place) {
        let Some(segment) = self.segments.iter_mut().find(|segment| segment.number == place.number) else { return };
        let mut lost = segment.records.saturating_sub(segment.handed + u64::from(place.skip));
        (segment.sealed, segment.end, segment.records) = (true, place.offset, segment.handed);
        // Those that were on their way, and were to be read once more.
        for flight in self.flights.iter_mut().filter(|flight| flight.place.number == place.number && flight.place >= place) {
            lost += flight.give_up();
        }
        self.land();
        self.waiting = self.waiting.saturating_sub(lost);
        self.unreadable += lost;
        tracing::error!(segment = place.number, events = lost, "waiting events cannot be read and are lost");
    }

    /// Blocks that are over are left, from the first on.
    pub(super) fn land(&mut self) {
        while self.flights.front().is_some_and(Flight::is_over) {
            self.flights.pop_front();
            self.first += 1;
        }
    }

    /// The place up to which all is done with.
    pub(super) fn done_to(&self) -> Place {
        self.flights.front().map_or(self.read, Flight::done_to)
    }

    fn is_held(&self, ticket: Ticket) -> bool {
        let flight = ticket.block.checked_sub(self.first).and_then(|index| self.flights.get(usize::try_from(index).ok()?));
        flight.is_some_and(|flight| !flight.is_done(ticket.index as usize))
    }

    /// Of a segment's blocks, which are told by where they begin, the events that are not done with.
    pub(super) fn undone<T>(&self, number: u64, blocks: Vec<(u64, Vec<T>)>) -> Vec<T> {
        let done_to = self.done_to();
        let mut undone = Vec::new();
        for (offset, events) in blocks {
            let flight = self.flights.iter().find(|flight| (flight.place.number, flight.place.offset) == (number, offset));
            let done = match (number, offset).cmp(&(done_to.number, done_to.offset)) {
                std::cmp::Ordering::Less => usize::MAX,
                std::cmp::Ordering::Equal => done_to.skip as usize,
                std::cmp::Ordering::Greater => 0,
            };
            let is_left = |index: usize| flight.map_or(index >= done, |flight| !flight.is_done(index));
            undone.extend(events.into_iter().enumerate().filter(|(index, _)| is_left(*index)).map(|(_, event)| event));
        }
        undone
    }

    /// Something is in memory alone, and not done with.
    pub(super) fn needs_memory(&self) -> bool {
        let done_to = self.done_to();
        let is_left = |segment: &Segment| (segment.number, segment.end) > (done_to.number, done_to.offset);
        self.segments.iter().any(|segment| segment.in_memory_octets() > HEADER as u64 && is_left(segment))
    }

    /// Other segments in place of all that was there. What is on its way is none of theirs.
    pub(super) fn replace(&mut self, segments: VecDeque<Segment>, read: Place) {
        self.first += self.flights.len() as u64;
        self.flights.clear();
        self.waiting = segments.iter().map(|segment| segment.records - segment.handed.min(segment.records)).sum();
        // Of a segment that could not be read nothing is skipped.
        if segments.iter().any(|segment| segment.number == read.number) {
            self.waiting = self.waiting.saturating_sub(u64::from(read.skip));
        }
        (self.segments, self.read) = (segments, read);
    }

    /// Events of the first segment that are not done with, readable or not.
    fn left_in_first(&self) -> u64 {
        let Some(first) = self.segments.front() else { return 0 };
        let skipped = if self.read.number == first.number { u64::from(self.read.skip) } else { 0 };
        let flights = self.flights.iter().filter(|flight| flight.place.number == first.number);
        first.records.saturating_sub(first.handed + skipped) + flights.map(Flight::left).sum::<u64>()
    }

    /// Takes the first segment off with what is left in it, and tells how many events that are.
    pub(super) fn forget_first(&mut self) -> u64 {
        let left = self.left_in_first();
        self.pop();
        self.waiting = self.waiting.saturating_sub(left);
        left
    }

    /// Takes the first segment off, whatever is in it.
    pub(super) fn pop(&mut self) -> Option<Segment> {
        let segment = self.segments.pop_front()?;
        while self.flights.front().is_some_and(|flight| flight.place.number == segment.number) {
            self.flights.pop_front();
            self.first += 1;
        }
        if self.read.number <= segment.number {
            self.read = Place { number: segment.number + 1, offset: HEADER as u64, skip: 0 };
        }
        Some(segment)
    }
}

/// What is not there, or not readable, will not be later either.
fn is_lost(error: &io::Error) -> bool {
    writes::is_damage(error) || matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof)
}
