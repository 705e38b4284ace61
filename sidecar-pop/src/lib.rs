//! DNS TAPIR Policy Processor: intelligence in, response policy zone out.
//!
//! The core is pure: [`policy`] decides, [`sources`] knows, [`zone`] holds the outcome; the edges are thin. Data flows one way:
//! files and Core -> [`engine`] -> immutable snapshots -> [`dns`] and [`notify`]. Nothing here ends the process because Core,
//! its broker, the policy, a certificate or the disk is missing or bad.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod admin;
pub mod app;
pub mod commands;
pub mod compile;
pub mod ctl;
pub mod dns;
pub mod engine;
pub mod feeds;
pub mod global_config;
pub mod intake;
pub mod knowledge;
pub mod metrics;
pub mod names;
pub mod notify;
pub mod policy;
pub mod reload;
pub mod setup;
pub mod sources;
pub mod state;
pub mod status;
pub mod telemetry;
pub mod threads;
pub mod upstream;
pub mod zone;
