//! The node's identity: enrolment, keeping, rescue.

pub mod enrol;
pub mod material;
pub mod plan;
