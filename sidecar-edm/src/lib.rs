//! DNS TAPIR Edge DNSTAP Minimiser: dnstap in, minimised data out.
//!
//! ```text
//! resolver --dnstap--> input (a thread for each connection) --frames--> minimiser --well-known--> histogram --minute--> outbox --HTTPS--> Core
//!                                                                            \--others--> events --JWS over MQTT--> Core
//!                                                                                        \--where wanted--> sessions: files that stay
//! ```
//! One thread for each connection finds the frames where they were read and hands them to a [`minimiser::Sink`], sixteen at a time; from a
//! frame [`decode`] makes what is counted, [`names::Key`] the name to look up in a [`list`], and what is hit is counted in a [`histogram`].
//! There is no queue on the way, and nobody on it waits for disk or network. The [`minimiser::Rotation`] makes a [`histogram_file::Minute`] of
//! what all threads have counted; [`outbox::Store`] takes it and never waits, [`outbox::Sender`] brings it to Core. Names that are on no list
//! are offered to the [`events`]. What is in force is read by [`reload`], with lists that [`fetched`] has brought, and brought to its places by
//! [`run`]. [`telemetry`] looks at all of it.
//!
//! [`sessions`] are whole answers with [`pseudonym`]s of the addresses, written only where they are asked for.
//!
//! No client address leaves this crate: not in events, logs, metrics or status. [`decode::Address`] and [`names::WireName`] therefore print
//! nothing of themselves.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod aggregates;
mod bounded;
pub mod commands;
pub mod config;
pub mod decode;
pub mod disk;
pub mod domains;
pub mod dump;
pub mod events;
pub mod fetched;
pub mod histogram;
pub mod histogram_file;
pub mod input;
pub mod instance;
pub mod list;
pub mod memory;
pub mod metrics;
pub mod minimiser;
pub mod names;
pub mod outbox;
pub mod parquet;
pub mod privacy;
pub mod pseudonym;
pub mod reload;
pub mod run;
pub mod sessions;
pub mod settings;
pub mod status;
pub mod telemetry;
#[cfg(test)]
mod vectors;
