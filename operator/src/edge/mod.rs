//! Reconciler of `TapirEdge`: dereference, build, apply, look at the Pods, write the status. Never asks Core.

mod controller;
mod core_link;
mod dereference;
mod edm_config;
mod enrolled;
mod error;
mod in_force;
mod keys;
mod offboard;
mod peers;
mod pods_round;
mod reconcile;
mod render;
mod replace;
mod report;
mod seen;
mod settled;
mod sources;
mod status;
mod touch;

pub(crate) use controller::reference;
pub use controller::run;
pub use dereference::Referent;
pub(crate) use dereference::member;
pub use error::EdgeError;
pub(crate) use error::words;
pub use reconcile::{Context, reconcile};
pub use replace::{Decided, Evictions};
pub(crate) use report::handled;
pub use settled::{Next, Settled};
pub use status::{publish, publish_event};
pub use touch::Touches;
