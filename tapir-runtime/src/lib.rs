//! What both sidecars do the same way: logs, HTTP, hot reload, node material, the connection to Core's broker.
//!
//! Every task of this crate ends when the [`shutdown::Shutdown`] that it was given is triggered, and none ends for any other
//! reason: trouble with files, ports, the broker or its certificates is reported, counted and tried again.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod back_off;
pub mod crypto;
pub mod http;
pub mod https;
pub mod instance;
pub mod logging;
pub mod metrics;
pub mod mqtt;
pub mod node;
pub mod panics;
pub mod process;
pub mod shutdown;
pub mod telemetry;
pub mod watch;
