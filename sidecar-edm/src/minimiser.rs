//! From frames to counters and candidates of events, on the threads that read the frames.
//!
//! ```text
//! frames --decode--> client left out? --> name left out? --list--> hit:  counted in a shard      --Rotation--> the outbox
//!                                                              \-> miss: offered to the events and the session files
//! ```
//! The order is upstream's (`spec/edm.md` 4.1), because it decides which counter a frame adds to. Nobody here waits for disk or network;
//! connections meet each other in [`slots`] at most, for as long as sixteen answers take to count.
//!
//! A frame is judged by the lists of one moment, and counted in a shard of that very list: when lists change no row comes under a wrong name.

mod counts;
mod duplicates;
mod minute;
mod rotation;
mod sink;
mod slots;

use std::sync::Arc;

use arc_swap::ArcSwap;

pub use counts::{Fate, FateLabels, FrameCounts};
pub use rotation::{Rotation, RotationCounts};
pub use sink::Sink;
pub use slots::Held;

use crate::decode::CountedTypes;
use crate::events::Events;
use crate::histogram::{Minute, Settings};
use crate::input::lag::Lag;
use crate::list::Lists;
use crate::memory::Budget;
use crate::sessions::Switch;
use slots::Slots;

/// What frames are judged by, beside the lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// There is a configuration, and it allows to send. Otherwise nothing is counted and nothing offered.
    pub sending: bool,
    /// Messages that count.
    pub types: CountedTypes,
    /// Second responses to one question are left out.
    pub once: bool,
    /// How clients are counted.
    pub histogram: Settings,
}

/// All that frames of one moment are judged by: never the newer half of it with the older one, since what is left out belongs to what may be sent.
#[derive(Debug, Default)]
struct InForce {
    policy: Policy,
    lists: Lists,
}

/// What all connections share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Minimiser(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    in_force: ArcSwap<InForce>,
    slots: Slots,
    budget: Arc<Budget>,
    events: Events,
    sessions: Switch,
    counts: FrameCounts,
    lag: Arc<Lag>,
}

impl Minimiser {
    /// Without lists, and not sending.
    #[must_use]
    pub fn new(events: Events, sessions: Switch, counts: FrameCounts, lag: Arc<Lag>, budget: Arc<Budget>) -> Self {
        let in_force = ArcSwap::default();
        Self(Arc::new(Shared { in_force, slots: Slots::default(), budget, events, sessions, counts, lag }))
    }

    /// For one connection.
    #[must_use]
    pub fn sink(&self) -> Sink {
        Sink::new(Arc::clone(&self.0))
    }

    /// Works while nobody can count.
    #[cfg(test)]
    pub(crate) fn while_locked<T>(&self, work: impl FnOnce() -> T) -> T {
        self.0.slots.while_locked(work)
    }

    /// What the counters of the present minute take in memory.
    #[must_use]
    pub fn held(&self) -> Held {
        self.0.slots.held()
    }

    /// Frames that come from now on are judged by these.
    fn set(&self, policy: Policy, lists: &Lists) {
        self.0.in_force.store(Arc::new(InForce { policy, lists: lists.clone() }));
    }

    /// Whether answers would be counted apart from those that were counted until now.
    fn would_count_apart(&self, policy: Policy, new: &Lists) -> bool {
        let now = self.0.in_force.load();
        let Some(list) = &now.lists.well_known else { return false };
        let same = new.well_known.as_ref().is_some_and(|new| Arc::ptr_eq(list, new));
        !same || now.policy.histogram != policy.histogram
    }

    /// Takes out what was counted.
    fn collect(&self) -> Minute {
        Minute::of(self.0.slots.take())
    }
}

#[cfg(test)]
mod tests;
