//! What the sidecars say of themselves: `GET /status`, asked in the background, remembered between reconciles.

mod board;
mod incidents;
mod poller;

pub use board::{Board, Component, EdgeKey, Heard, Hope, Sources, Taken, Target};
pub use poller::{Poller, Question};
