//! Lists: well-known domains, question names and clients that are left out (`edm.md` chapters 6 and 7).
//!
//! A list of names is read from its DAWG file, checked as a whole, and kept as one hash table with the names themselves: a look-up costs one
//! pass over the name and two or three places in memory, compares exactly, and cannot fail. A new list is built aside and takes the old one's
//! place at once ([`Lists`]); who still counts for the old one holds it.
//!
//! # Departures
//! Upstream reads the file's header only and finds damage when it looks a name up. Here a file that is damaged anywhere is refused, and the
//! last good list stays. A list with a word longer than any name can be written is refused too.

mod clients;
mod entry;
mod hash;
mod lists;
mod load;
mod table;
mod words;

pub use clients::{ClientListError, ClientVerdict, Clients, LineError};
pub use entry::{Unmatchable, canonical};
pub use lists::Lists;
pub(crate) use load::MAX_TEXT;
pub use load::{List, ListError, MAX_FILE, MAX_NAMES};
pub use table::{Entry, GROUP, Name};
