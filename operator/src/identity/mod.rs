//! The node's identity: enrolment, keeping, rescue.

pub mod enrol;
pub mod keeper;
pub mod leaving;
pub mod material;
pub mod plan;
pub mod secrets;
