//! Each rule of a rollout as a case, and whole rollouts against a simulated kubelet.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod ends;
mod proof;
mod rules;
mod whole;
mod world;
