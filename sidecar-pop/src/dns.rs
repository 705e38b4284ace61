//! The zone over DNS: SOA and names over UDP and TCP, transfers over TCP.
//!
//! Messages are read, and small answers written, with `hickory-proto`; sockets are our own. `hickory-server` would bring a
//! handler trait and TCP serving of its own, but no transfer beyond 64 KiB and no way to stream one: with one function from
//! request to answer shared by both transports, using it would be more code than the two loops here.
//!
//! # Limitations
//! * No TSIG and no IXFR deltas yet: IXFR is answered with the whole zone, as RFC 1995 section 4 allows.
//! * Queries for single names are for people who look: wildcards are not expanded and an empty non-terminal does not exist.

pub mod access;
pub mod answer;
pub mod server;
pub mod tcp;
pub mod transfer;
pub mod udp;
pub mod wire;
