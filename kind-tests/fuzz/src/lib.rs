//! Fuzzing: whatever octets come from outside, they are read or refused; nothing panics, and nothing runs without end.
//!
//! A [`Target`] is one function that takes octets and tells in a few words what became of them. [`run`] changes known inputs at random,
//! from a fixed seed, for a given time, and keeps those whose outcome is new: a rough stand-in for coverage that needs no nightly
//! compiler, so this runs wherever tests run. With cargo-fuzz the same functions are called by libFuzzer.
//!
//! What is kept in `corpus/TARGET/` is run first, always: small inputs that reach what the seeds do not ([`corpus`] finds them), and those
//! that once made trouble.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a program for tests alone")]

pub mod corpus;
mod edm;
mod mend;
mod mutate;
pub mod run;
mod seeds;
mod state;
mod targets;

/// Something that reads octets from outside.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and that of its folder of inputs.
    pub name: &'static str,
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Reads; a few words for each kind of outcome, the same for the same octets.
    pub read: fn(&[u8]) -> String,
}

/// All of them.
pub const TARGETS: [Target; 22] = [
    Target { name: "dns_request", seeds: seeds::dns_requests, read: targets::dns_request },
    Target { name: "transfer_in", seeds: seeds::transfers, read: targets::transfer_in },
    Target { name: "jws", seeds: seeds::signed, read: targets::jws },
    Target { name: "observation", seeds: seeds::observations, read: targets::observation },
    Target { name: "list_of_names", seeds: seeds::lists, read: targets::list_of_names },
    Target { name: "csv", seeds: seeds::csv, read: targets::csv },
    Target { name: "zone_file", seeds: seeds::zone_files, read: targets::zone_file },
    Target { name: "dawg", seeds: seeds::dawgs, read: targets::dawg },
    Target { name: "bootstrap_export", seeds: seeds::exports, read: targets::bootstrap_export },
    Target { name: "table_file", seeds: seeds::tables, read: state::table_file },
    Target { name: "zone_log", seeds: seeds::zone_logs, read: state::zone_log },
    Target { name: "observation_log", seeds: seeds::observation_logs, read: state::observation_log },
    Target { name: "state_json", seeds: seeds::state_json, read: state::state_json },
    Target { name: "dnstap", seeds: edm::frames, read: edm::dnstap },
    Target { name: "edm_dns", seeds: edm::messages, read: edm::dns },
    Target { name: "frame_stream", seeds: edm::sessions, read: edm::frame_stream },
    Target { name: "well_known", seeds: seeds::dawgs, read: edm::well_known },
    Target { name: "ignored_clients", seeds: edm::client_lists, read: edm::ignored_clients },
    Target { name: "seen_log", seeds: edm::seen_logs, read: edm::seen_log },
    Target { name: "waiting_file", seeds: edm::waiting_files, read: edm::waiting_file },
    Target { name: "domains_text", seeds: edm::domain_texts, read: edm::domains_text },
    Target { name: "edm_config", seeds: edm::configurations, read: edm::configuration },
];
