//! Reconciler of `TapirEdge`: dereference, validate, keep the identity, build, apply, look at the Pods, write the status.

mod attempts;
mod controller;
mod core_link;
mod dereference;
mod enrolled;
mod error;
mod identity_round;
mod in_force;
mod offboard;
mod pods_round;
mod reconcile;
mod render;
mod replace;
mod report;
mod rivals;
mod status;
mod touch;
mod validate;

pub use attempts::Attempts;
pub use controller::run;
pub use error::EdgeError;
pub use reconcile::{Context, reconcile};
pub use replace::{Decided, Evictions};
pub use status::publish;
