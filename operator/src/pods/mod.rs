//! Pods of an edge: which are injected, why others are not, and which one may be replaced.

mod census;
mod classify;
mod eviction;

pub use census::{Census, Finding};
pub use classify::{Cause, Injection, PROPAGATION_SECONDS, Trouble, View, classify};
pub(crate) use classify::{is_about_image, is_passing, words};
pub use eviction::{Decision, Memory, REPLACEMENT_LIMIT, Rules, decide};
