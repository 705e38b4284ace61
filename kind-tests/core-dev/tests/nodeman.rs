//! Every refusal of nodeman that a client can provoke, provoked; where the real service's answer was recorded, held against it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

#[path = "nodeman/csr.rs"]
mod csr;
#[path = "nodeman/enrolment.rs"]
mod enrolment;
#[path = "nodeman/keys.rs"]
mod keys;
#[path = "nodeman/payload.rs"]
mod payload;
#[path = "nodeman/reads.rs"]
mod reads;
#[path = "nodeman/renewal.rs"]
mod renewal;
