//! The node's identity: enrolment, keeping, rescue. Slow, because Core is asked: a controller of its own, which publishes what it knows on
//! a board.

pub mod attempts;
pub mod board;
mod controller;
pub mod enrol;
mod inputs;
pub mod keeper;
pub mod leaving;
pub mod material;
pub mod plan;
mod rivals;
mod round;
pub mod secrets;
mod validate;
pub mod verdict;

pub use board::{IdentityBoard, IdentityView, Standing};
pub use controller::run;
pub use round::{IdentityError, reconcile, recorded};
