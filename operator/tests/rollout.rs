//! Rollouts as whole rounds: what is written in which order, and that any write may be lost.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub, dead_code)]

mod support;

#[path = "rollout/good.rs"]
mod good;
#[path = "rollout/scene.rs"]
mod scene;
#[path = "rollout/trouble.rs"]
mod trouble;
