//! The zone over DNS: SOA and names over UDP and TCP, transfers over TCP, signed where the client signs.
//!
//! Requests are read, and small answers written, with `hickory-proto`; transfers ([`render`]), signatures ([`tsig`]), what other
//! servers send ([`records`]) and sockets are our own. `hickory-server` would bring a handler trait and TCP serving of its own, but
//! no transfer beyond 64 KiB and no way to stream one.
//!
//! A request goes through [`guard`] (who asks) to [`answer`] (what is asked), which needs nothing but a [`zone::Zone`].
//!
//! # Limitations
//! * Queries for single names are for people who look: wildcards are not expanded and an empty non-terminal does not exist.

pub mod acl;
pub mod answer;
mod connections;
pub mod guard;
pub mod history;
pub mod records;
pub mod render;
pub mod server;
pub mod stream;
mod tcp;
pub mod transfer;
pub mod tsig;
mod udp;
pub mod zone;
