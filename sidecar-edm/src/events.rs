//! new_qname events: which names are new, and their way to Core (`spec/edm.md` chapter 10).
//!
//! ```text
//! connection threads --offer--> Events: seen?, limits --> handover --> clerk (a thread) --> queue on disk --> Publisher --JWS over MQTT--> Core
//!                                 |                                     |
//!                                 seen::Table (memory)                  seen::Log (disk)
//! ```
//! [`Events::offer`] is called for each response whose name is not on the list. It never waits for disk or network: a new name is put into a
//! buffer, marked, and written by the clerk some milliseconds later. Its mark is written after its event, and is taken back when the event is
//! lost: a name is marked only while its event is safe or sent.

mod blocks;
mod candidate;
mod clerk;
mod counters;
mod gate;
mod handover;
mod ledger;
pub mod limits;
mod pace;
mod publisher;
pub mod queue;
pub mod seen;
mod settings;
mod writes;

/// Where the newest files of a folder that were damaged are kept, for somebody to look at: so begin their names.
const BROKEN: &str = "broken";
const MOST_BROKEN: usize = 4;

pub use candidate::{Candidate, Outcome};
pub use counters::Counters;
pub use gate::{Events, Held};
pub use publisher::{Broker, Publisher, WINDOW};
pub use settings::{Reported, Settings};
