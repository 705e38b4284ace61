//! Reconciler of `TapirPolicy`: whether it can be rendered, who uses it, and whether it is in force there.

mod accept;
mod controller;
mod reconcile;
mod sources_status;

pub use accept::acceptable;
pub use controller::run;
pub use reconcile::{Counts, PolicyError, reconcile};
