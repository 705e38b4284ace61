//! What the end-to-end scenarios in `tests/` stand on.
//!
//! The scenarios see a cluster only through `kubectl`, `helm` and the control commands of the dev Core, so that they do not know
//! whether it is kind or the sealed local node. `cargo xtask test` prepares the cluster and says by environment variables where it is.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod cluster;
pub mod core;
pub mod dig;
pub mod endpoints;
pub mod evidence;
pub mod objects;
pub mod outage;
pub mod probe;
pub mod record;
pub mod release;
pub mod scene;
pub mod sidecar;
pub mod wait;
