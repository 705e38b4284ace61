//! Files that survive: written aside, synced, renamed, their folder synced; and folders that stay within bounds.
//!
//! A file that is there under its name is whole, whatever ended the process or the machine. What is unfinished is called `.tmp` and swept
//! away at the next start. Everything here may wait for the disk, so it belongs on a thread of its own: [`Jobs`] hands work to one and never
//! waits for it.

mod failpoint;
mod folder;
mod jobs;
mod spare;
mod unfinished;

pub use failpoint::Failpoint;
pub use folder::{Bound, Dropped, Entry, bring_within, keep_within, list, sweep};
pub use jobs::{Jobs, Pressure};
pub use spare::spare;
pub(crate) use unfinished::make_folder;
pub use unfinished::{Unfinished, move_into, remove};
