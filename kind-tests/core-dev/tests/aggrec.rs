//! Every refusal of aggrec that a client can provoke, provoked; what edges' signers really sent, taken.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

#[path = "aggrec/bench.rs"]
mod bench;
#[path = "aggrec/keys.rs"]
mod keys;
#[path = "aggrec/recorded.rs"]
mod recorded;
#[path = "aggrec/requests.rs"]
mod requests;
