//! The node's identity: enrolment, keeping, rescue. Slow, because Core is asked: a controller of its own, which publishes what it knows on
//! a board.

pub mod attempts;
pub mod board;
pub mod calls;
pub mod conditions;
mod controller;
pub mod due;
pub mod enrol;
pub mod existing;
pub mod from_core;
mod inputs;
pub mod keeper;
pub mod leaving;
pub mod material;
pub mod plan;
pub mod rivals;
mod round;
pub mod secrets;
mod silent;
mod steps;
mod validate;
pub mod verdict;
mod waits;

pub use board::{IdentityBoard, IdentityView, Standing};
pub use controller::run;
pub use round::{IdentityError, reconcile, recorded};
