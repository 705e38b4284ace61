//! Formats on the wire: between an edge and DNS TAPIR Core, and between the operator and its sidecars.
//!
//! No I/O, no async, no Kubernetes in this crate.

pub mod config;
pub mod node;
pub mod status;
