//! DNS TAPIR Edge DNSTAP Minimiser: dnstap in, minimised data out.
//!
//! ```text
//! resolver --dnstap--> input (a reader for each connection) --frames--> worker --events--> publisher --JWS over MQTT--> Core
//! ```
//! Readers never wait: what the worker cannot take is dropped and counted. The worker decides ([`minimise`]) and owns the
//! store of seen names. The queue between worker and publisher is bounded and loses its oldest events first.
//!
//! What follows is not part of what [`run`] runs yet: [`decode`], [`names`], [`list`], [`histogram`], [`memory`], [`outbox`] and what they stand on.
//!
//! [`input::Input`], [`decode`] and [`names`] are the same way without a queue: one thread for each connection finds the frames where they
//! were read, and hands them to an [`input::sink::FrameSink`], sixteen at a time; from a frame [`decode::counted`] makes what is counted,
//! and [`names::Key`] the name to look up.
//!
//! A finished minute is a [`histogram_file::Minute`]; [`outbox::Store`] takes it and never waits, [`outbox::Sender`] brings it to Core.
//!
//! No client address leaves this crate: not in events, logs, metrics or status. [`dnstap::Response`],
//! [`dns::QuestionName`], [`decode::Address`] and [`names::WireName`] therefore print nothing of themselves.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod commands;
pub mod config;
pub mod decode;
pub mod disk;
pub mod dns;
pub mod dnstap;
pub mod domains;
pub mod events;
pub mod framestream;
pub mod histogram;
pub mod histogram_file;
pub mod input;
pub mod instance;
pub mod list;
pub mod memory;
pub mod metrics;
pub mod minimise;
pub mod names;
pub mod outbox;
pub mod parquet;
pub mod privacy;
pub mod publisher;
pub mod queue;
pub mod reload;
pub mod run;
pub mod seen;
pub mod status;
#[cfg(test)]
mod vectors;
pub mod worker;
