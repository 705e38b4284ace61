//! A strict stand-in for DNS TAPIR Core: nodeman, aggrec, the bridges and the analysts in one process, as strict as the real
//! services about what edges send. State is in memory only.
//!
//! The verifying side shares no code with the signing side of `tapir-wire`, on purpose: JOSE, HTTP signatures and certificate
//! requests are read and checked here, on aws-lc-rs and an X.509 parser alone.
//!
//! Where it is stricter than the real services on purpose, and what it lacks, stands in its README.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod administration;
pub mod aggrec;
pub mod analysis;
pub mod authority;
pub mod bridge;
pub mod cli;
pub mod clock;
pub mod control;
pub mod csr;
pub mod encoding;
pub mod events;
pub mod faults;
pub mod httpsig;
pub mod interval;
pub mod jose;
pub mod jwk;
pub mod keys;
pub mod message;
pub mod networks;
pub mod nodeman;
pub mod nodes;
pub mod observations;
pub mod payload;
pub mod pki;
pub mod published;
pub mod record;
pub mod schema;
pub mod serve;
pub mod server;
pub mod structured;
pub mod tls;
