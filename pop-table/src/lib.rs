//! Names in tree order with what is known of each: immutable files, persistent trees, merges of both, external sorting.
//!
//! Everything large in POP has this one form: lists, feeds, observations and the zone itself. A [`KeyBuf`] holds the labels of a
//! name from the top down, so that bytewise order is tree order: a name stands right before what is below it, and an ancestor is
//! a prefix. Only what differs from the name before is stored.
//!
//! * [`TableWriter`] and [`TableFile`]: a sorted file in checked blocks; looked up and scanned by `pread`, never mapped, since a
//!   mapped file on a failing disk is a signal where a read is an error.
//! * [`Tree`]: the same names in memory, changed at will; a clone is a snapshot and costs one reference count.
//! * [`Cursor`]: walks through either. [`Overlay`], [`Diff`] and [`Merge`] combine cursors in one pass, with hardly a comparison
//!   of octets.
//! * [`Sorter`]: names in any order into a file, in bounded memory.
//!
//! Limitations: no DNS messages, no policy, no threads, no async; one process writes a file once and never changes it.

mod codes;
mod coding;
mod cursor;
mod diff;
mod disk;
mod file;
mod key;
mod merge;
mod overlay;
mod pair;
mod palette;
mod sorter;
mod trail;
mod tree;
mod value;

pub use codes::{Code, Codes};
pub use coding::Broken;
pub use cursor::{Cursor, Listed, Mapped, ReadError};
pub use diff::{Change, Diff};
pub use disk::{Backing, Staged};
pub use file::{OpenError, Scan, Summary, TableFile, TableWriter, WriteError};
pub use key::{KeyBuf, KeyError, MAX_KEY, MAX_LABEL, common_prefix};
pub use merge::{Hit, Merge};
pub use overlay::Overlay;
pub use palette::{MAX_SETS, Palette, PaletteError, RecordSet};
pub use sorter::{SortError, Sorter, Spill};
pub use trail::Trail;
pub use tree::{Bulk, Tree, TreeCursor};
pub use value::{MAX_VALUE, Value, Written};
