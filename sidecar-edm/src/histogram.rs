//! Histograms of well-known domains: counters of answers and sketches of clients (`edm.md` 8.2 to 8.4).
//!
//! ```text
//! reader's thread: entry, answer, client --count--> Shard --at rotation--> Minute --rows--> file
//! ```
//! Each thread counts into a [`Shard`] of its own; at rotation they become one [`Minute`], with the same octets as if one thread had counted
//! everything. Counters are exact whatever happens. A sketch that finds no room in memory is given up as a whole, for that row and family, and
//! counted: its columns are then zero and NULL.
//!
//! The hash of a client's address is as good as the address: nothing here prints one.

mod blocks;
mod counters;
mod labels;
mod minute;
mod murmur3;
mod rows;
mod shard;
mod sketch;
mod sketches;

pub use counters::{Answer, COLUMNS, Counters};
pub use labels::{LABELS, Labels};
pub use minute::{Clients, Minute, Row};
pub use murmur3::hash;
pub use shard::{Hit, Settings, Shard};
pub use sketch::{Sketch, Threshold};
