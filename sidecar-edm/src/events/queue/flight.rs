//! Blocks of which some events are on their way.

use super::cursor::Place;

/// A block that was handed out.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    /// Where it begins.
    pub(super) place: Place,
    done: Vec<bool>,
    left: usize,
}

impl Flight {
    /// With so many events, of which some of the first are done with already.
    pub(super) fn new(place: Place, events: u32, skip: u32) -> Self {
        let (events, skip) = (events as usize, skip.min(events) as usize);
        let mut done = vec![false; events];
        done[..skip].fill(true);
        Self { place: Place { skip: 0, ..place }, done, left: events - skip }
    }

    /// The event is done with; false if it was already, or there is none.
    pub(super) fn finish(&mut self, index: u32) -> bool {
        let changed = self.done.get_mut(index as usize).is_some_and(|done| !std::mem::replace(done, true));
        self.left -= usize::from(changed);
        changed
    }

    /// All are done with; how many were not.
    pub(super) fn give_up(&mut self) -> u64 {
        self.done.fill(true);
        std::mem::take(&mut self.left) as u64
    }

    pub(super) fn is_done(&self, index: usize) -> bool {
        self.done.get(index).copied().unwrap_or(true)
    }

    /// So many events are on their way.
    pub(super) const fn left(&self) -> u64 {
        self.left as u64
    }

    /// Nothing of it is on its way.
    pub(super) const fn is_over(&self) -> bool {
        self.left == 0
    }

    /// The place up to which all is done with.
    pub(super) fn done_to(&self) -> Place {
        let skip = self.done.iter().take_while(|done| **done).count();
        Place { skip: skip as u32, ..self.place }
    }
}
