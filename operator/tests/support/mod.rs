//! Stand-ins for the API server and for nodeman, in memory.

pub mod api;
pub mod nodeman;
