//! Formats on the wire: between an edge and DNS TAPIR Core, and between the operator and its sidecars.
//!
//! No I/O, no async, no Kubernetes in this crate. Every parser of outside bytes returns an error where input is bad; none panics.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod certificate;
pub mod config;
pub mod core_settings;
pub mod dawg;
pub mod enrolment;
pub mod event;
pub mod http_signature;
pub mod jwk;
pub mod jws;
pub mod name;
pub mod node;
pub mod node_name;
pub mod observation;
pub mod status;
pub mod tags;
pub mod tsig;
