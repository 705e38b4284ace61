//! What is known of names, whoever said it.

pub mod listings;
pub mod observations;
mod sighting;

pub use sighting::{Guard, Sighting};
