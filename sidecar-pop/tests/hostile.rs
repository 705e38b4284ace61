//! Whoever means harm: the real binary under attack, asked for the SOA over UDP and TCP throughout. Memory stays bounded, the zone is
//! right afterwards.
//!
//! Each answer must come within [`probe::WORST`], half of them within [`probe::USUAL`]: the machine that tests is busy with the attack
//! and with other tests at the same time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::print_stdout, reason = "figures, for people")]

#[path = "common/node.rs"]
#[allow(dead_code, reason = "nobody claims to be somebody else here")]
mod node;
#[path = "common/primary.rs"]
#[allow(dead_code, reason = "it can do more than is asked of it here")]
mod primary;
#[path = "common/process.rs"]
#[allow(dead_code)]
mod process;
#[path = "../../tapir-runtime/tests/support/mod.rs"]
mod support;

#[path = "hostile/broken_state.rs"]
mod broken_state;
#[path = "hostile/crowd.rs"]
mod crowd;
#[path = "hostile/forged_notifies.rs"]
mod forged_notifies;
#[path = "hostile/forged_observations.rs"]
mod forged_observations;
#[path = "hostile/huge_feed.rs"]
mod huge_feed;
#[path = "hostile/lying_peer.rs"]
mod lying_peer;
#[path = "hostile/probe.rs"]
mod probe;
#[path = "hostile/readers.rs"]
mod readers;
