//! Every refusal of nodeman that a client can provoke, provoked; where the real service's answer was recorded, held against it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

#[path = "nodeman/enrolment.rs"]
mod enrolment;
#[path = "nodeman/reads.rs"]
mod reads;
#[path = "nodeman/renewal.rs"]
mod renewal;
