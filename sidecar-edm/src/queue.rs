//! Events between the worker and the broker: bounded, the oldest is dropped first, taken off when the broker has acknowledged.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tapir_wire::event::NewQname;
use tokio::sync::Notify;

/// An event and the key under which its name was marked as seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queued {
    /// The event.
    pub event: NewQname,
    /// Lower-case name.
    pub key: String,
}

/// An event on its way to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// What became of a pushed event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It waits.
    Queued,
    /// It waits, and this one had to go for it.
    Displaced(Queued),
    /// Nothing is to be sent at present.
    Closed,
}

/// The queue.
#[derive(Debug)]
pub struct EventQueue {
    state: Mutex<State>,
    filled: Notify,
}

#[derive(Debug)]
struct State {
    open: bool,
    capacity: usize,
    next_ticket: u64,
    waiting: VecDeque<Item>,
    in_flight: BTreeMap<Ticket, Item>,
    /// Keys of events that `open` and `close` forgot. No more than the queue held: the worker takes them before it pushes.
    forgotten: Vec<String>,
}

#[derive(Debug)]
struct Item {
    queued: Queued,
    refusals: u32,
}

impl EventQueue {
    /// A closed queue of at most `capacity` events, those on their way included.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let state = State {
            open: false,
            capacity: capacity.max(1),
            next_ticket: 0,
            waiting: VecDeque::new(),
            in_flight: BTreeMap::new(),
            forgotten: Vec::new(),
        };
        Self { state: Mutex::new(state), filled: Notify::new() }
    }

    /// Takes events from now on, `capacity` at most. Tells how many of the oldest had to go for a smaller bound.
    pub fn open(&self, capacity: usize) -> usize {
        let mut state = self.lock();
        state.open = true;
        state.capacity = capacity.max(1);
        let surplus = state.len().saturating_sub(state.capacity).min(state.waiting.len());
        let keys: Vec<String> = state.waiting.drain(..surplus).map(|item| item.queued.key).collect();
        state.forgotten.extend(keys);
        surplus
    }

    /// Forgets everything and takes nothing any more. Tells how many events went.
    pub fn close(&self) -> usize {
        let mut state = self.lock();
        let forgotten = state.len();
        state.open = false;
        let in_flight = std::mem::take(&mut state.in_flight).into_values();
        let keys: Vec<String> = in_flight.chain(std::mem::take(&mut state.waiting)).map(|item| item.queued.key).collect();
        state.forgotten.extend(keys);
        forgotten
    }

    /// Keys of the events that [`EventQueue::open`] and [`EventQueue::close`] forgot: nobody was told of these names. The one who
    /// pushes has to ask before each push, which is also what bounds the list.
    pub fn take_forgotten(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().forgotten)
    }

    /// Adds an event; when there is no room the one that waits longest goes.
    pub fn push(&self, queued: Queued) -> Pushed {
        let displaced = {
            let mut state = self.lock();
            if !state.open {
                return Pushed::Closed;
            }
            state.waiting.push_back(Item { queued, refusals: 0 });
            // Never one on its way: the broker may have it already. If all are on their way, the new one itself goes.
            if state.len() > state.capacity { state.waiting.pop_front() } else { None }
        };
        self.filled.notify_one();
        displaced.map_or(Pushed::Queued, |item| Pushed::Displaced(item.queued))
    }

    /// Takes the oldest waiting event on its way.
    pub fn take(&self) -> Option<(Ticket, NewQname)> {
        let mut state = self.lock();
        let item = state.waiting.pop_front()?;
        let ticket = Ticket(state.next_ticket);
        state.next_ticket += 1;
        let event = item.queued.event.clone();
        state.in_flight.insert(ticket, item);
        Some((ticket, event))
    }

    /// The event is done with.
    pub fn finish(&self, ticket: Ticket) {
        self.lock().in_flight.remove(&ticket);
    }

    /// The broker refused the event. Tells how often by now; it stays on its way.
    pub fn refused(&self, ticket: Ticket) -> u32 {
        self.lock().in_flight.get_mut(&ticket).map_or(0, |item| {
            item.refusals += 1;
            item.refusals
        })
    }

    /// Everything on its way waits again, in the old order, because the connection broke.
    pub fn return_all(&self) {
        let mut state = self.lock();
        let in_flight = std::mem::take(&mut state.in_flight);
        for item in in_flight.into_values().rev() {
            state.waiting.push_front(item);
        }
    }

    /// Events held, those on their way included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// No events are held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Resolves when an event may have come since the last call. For one waiting task.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is complete before the lock is released, so a poisoned state is still a good one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn len(&self) -> usize {
        self.waiting.len() + self.in_flight.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str) -> Queued {
        let event = NewQname { flags: 0, qclass: 1, qname: name.to_owned(), qtype: 1, timestamp: jiff::Timestamp::UNIX_EPOCH };
        Queued { event, key: name.to_owned() }
    }

    fn opened(capacity: usize, names: &[&str]) -> EventQueue {
        let queue = EventQueue::new(capacity);
        queue.open(capacity);
        for name in names {
            queue.push(event(name));
        }
        queue
    }

    fn drain(queue: &EventQueue) -> Vec<String> {
        std::iter::from_fn(|| queue.take()).map(|(_, event)| event.qname).collect()
    }

    #[test]
    fn the_oldest_goes_first() {
        let queue = opened(2, &["a.", "b."]);
        assert_eq!(queue.push(event("c.")), Pushed::Displaced(event("a.")));
        assert_eq!(drain(&queue), ["b.", "c."]);
    }

    #[test]
    fn events_on_their_way_count_but_are_not_displaced() {
        let queue = opened(2, &["a.", "b."]);
        let (first, _) = queue.take().unwrap();
        assert_eq!(queue.push(event("c.")), Pushed::Displaced(event("b.")));
        queue.take().unwrap();
        assert_eq!(queue.push(event("d.")), Pushed::Displaced(event("d.")));
        queue.finish(first);
        assert_eq!(queue.push(event("e.")), Pushed::Queued);
        assert_eq!(queue.len(), 2);
    }

    #[test]
    fn a_broken_connection_keeps_the_order() {
        let queue = opened(5, &["a.", "b.", "c.", "d."]);
        let (first, _) = queue.take().unwrap();
        queue.take().unwrap();
        queue.take().unwrap();
        queue.finish(first);
        queue.return_all();
        assert_eq!(drain(&queue), ["b.", "c.", "d."]);
    }

    #[test]
    fn a_closed_queue_forgets_and_takes_nothing() {
        let queue = opened(5, &["a.", "b."]);
        let (ticket, _) = queue.take().unwrap();
        assert_eq!(queue.close(), 2);
        queue.return_all();
        queue.finish(ticket);
        assert_eq!(queue.push(event("c.")), Pushed::Closed);
        assert!(queue.is_empty());
        queue.open(5);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_smaller_bound_applies_at_once() {
        let queue = opened(5, &["a.", "b.", "c."]);
        assert_eq!(queue.open(1), 2);
        assert_eq!(drain(&queue), ["c."]);
        assert_eq!(queue.take_forgotten(), ["a.", "b."]);
        assert_eq!(queue.close(), 1);
        assert_eq!(queue.take_forgotten(), ["c."]);
        assert!(queue.take_forgotten().is_empty());
    }
}
