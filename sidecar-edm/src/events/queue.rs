//! Events that wait for the broker: on disk, bounded, sent in order, taken off when the broker has acknowledged.
//!
//! ```text
//! Writer (one thread) --append--> waiting-N.seg, waiting-N+1.seg, ... --read--> publisher --finish--> cursor
//! ```
//! A segment is appended to and never rewritten; it goes when all in it is done with. What is done with is told by a block's place and how many
//! of its first events are done, in the file `cursor`. Where there is more than fits the oldest segment goes, its events are counted, and their
//! names are told, so that they are not taken for reported.
//!
//! **Crashes.** What was appended survives the end of the process, and a second later that of the machine. What the broker acknowledged in the
//! last moment is sent again. Memory holds what is on its way and one block, however much waits.
//!
//! **A disk that takes nothing** (full, read-only, not there): events wait in memory, [`MEMORY`] octets of them, and are brought to the disk
//! when it is back, which is tried every few seconds. A folder that could not be read at the start is read then. Until that is done the
//! queue says that it does not keep what it has ([`Writer::is_kept`]).

mod cursor;
mod flight;
mod open;
pub(super) mod record;
mod recovery;
mod room;
mod segment;
mod state;
mod writer;

pub use record::Event;
pub use state::{Queue, Ticket};
pub use writer::{Lost, OnLost, Writer};

/// Octets that wait in memory at most while the disk takes nothing.
pub const MEMORY: u64 = 1 << 20;

#[cfg(test)]
mod tests;
