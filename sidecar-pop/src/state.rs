//! What survives a restart. Missing, unreadable or unwritable state is reported and counted, never fatal.

pub mod file;
pub mod journal;
pub mod serial;
