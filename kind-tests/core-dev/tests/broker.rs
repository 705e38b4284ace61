//! The MQTT side against a real mosquitto with the manifest's own configuration and access list.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "common/running.rs"]
mod running;

#[path = "broker/access.rs"]
mod access;
#[path = "broker/bench.rs"]
mod bench;
#[path = "broker/observations.rs"]
mod observations;
#[path = "broker/record.rs"]
mod record;
