//! A real Kubernetes for demo and tests, and images for it, on any machine that has Rust and Go.
//!
//! * `tools`: Kubernetes and its company from pinned Go modules, built once.
//! * `images`: container images without an engine.
//! * `certificates`: keys and users of an API server.
//! * `cluster`: kind where there is an engine, else one sealed node in namespaces of its own.
//! * `test_programs`: broker, resolvers, servers, dig and kdig for unit tests, without installing them.
//! * `deploy`: what demo and scenarios put into a cluster.
//! * `evidence`: what a failure leaves behind.
//!
//! Nothing above `cluster` knows which kind of cluster it got. This crate is synchronous and runs tools as processes: it is what
//! `cargo xtask` waits for first on an empty machine, so it stays light.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod certificates;
pub mod cluster;
pub mod deploy;
pub mod evidence;
pub mod images;
mod lock;
pub mod packages;
pub mod paths;
pub mod progress;
pub mod test_programs;
pub mod tools;
