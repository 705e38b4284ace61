//! DNS TAPIR Edge DNSTAP Minimiser: dnstap in, minimised data out.
//!
//! ```text
//! resolver --dnstap--> input (a reader for each connection) --frames--> worker --events--> publisher --JWS over MQTT--> Core
//! ```
//! Readers never wait: what the worker cannot take is dropped and counted. The worker decides ([`minimise`]) and owns the
//! store of seen names. The queue between worker and publisher is bounded and loses its oldest events first.
//!
//! No client address leaves this crate: not in events, logs, metrics or status. [`dnstap::Response`] and
//! [`dns::QuestionName`] therefore print nothing of themselves.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod dns;
pub mod dnstap;
pub mod framestream;
pub mod input;
pub mod metrics;
pub mod minimise;
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
