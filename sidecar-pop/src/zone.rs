//! The zone: immutable snapshots, each with its serial.

pub mod emit;
pub mod judge;
pub mod known;
pub mod layers;
mod local;
mod path;
pub mod rebuild;
pub mod serial;
pub mod sets;
mod snapshot;
pub mod source;
pub mod tally;
pub mod text;
pub mod touch;
pub mod weigh;

pub use local::{LocalData, LocalIndex, record_text};
pub use serial::Serial;
pub use snapshot::{Size, Snapshot};

use std::sync::Arc;

use tapir_table::{Codes, Palette, TableFile, TableWriter};

/// An empty table in memory.
#[must_use]
pub fn nothing() -> Option<Arc<TableFile>> {
    let (octets, _) = TableWriter::<_, Codes>::new(Vec::new()).ok()?.finish(0, &Palette::default()).ok()?;
    TableFile::from_memory(octets).ok().map(Arc::new)
}
