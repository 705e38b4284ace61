//! The operator beside a real API server and a dev Core, all as processes on loopback: no kubelet, no root, a few seconds a test.
//!
//! For what a unit test cannot show and a cluster is too slow or too coarse for: ends of the process at a chosen place, several replicas,
//! an API server that goes away, what the API server refuses and in which words, what the operator's rights allow, what it wrote.
//!
//! * [`Rig`]: etcd and API server with the CRDs of this checkout, of either [`Version`]. [`Rig::shared`] serves all tests of a process that
//!   leave it as it is; [`Rig::start`] gives one of one's own to a test that takes it away or changes what is cluster-wide.
//! * [`Site`]: one test's part of it: a release of the chart, the namespace that it serves, users, the audit log of its operator.
//! * [`Core`], [`Operator`]: processes. The operator gets the environment that the chart's Deployment says, and is the chart's
//!   ServiceAccount to the API server, so that rights and audit log are the real ones.
//! * [`client`]: the API server as one user sees it, in plain JSON. [`wait`]: conditions instead of sleeping.
//!
//! A test ends with [`Site::passed`], which also searches logs, metrics, Events and objects for anything private of the site's Secrets.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use tapir_rig::{Rig, Site};
//!
//! let site = Site::new(Rig::shared()?, "what-it-proves", &[("logLevel", "debug")])?;
//! let core = site.core(&["--certificate-lifetime", "60"])?;
//! let operator = site.operator("operator-0", &[])?;
//! let node = site.new_edge(&core, "demo")?;
//! site.wait_condition("demo", "Enrolled", "True", None)?;
//! assert_eq!(core.calls(&node, "enroll")?, [Some(200)]);
//! drop(operator);
//! site.passed()
//! # }
//! ```
//!
//! What waits on the clock is `#[ignore]`d and runs by `cargo xtask test --all`. Tests are modules of `tests/rig.rs`, one process for all.
//! Every child ends with the test run, however that ends. Files are below `target/rig`; what a failed test leaves is named at its end and
//! kept until the next run.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod audit;
mod chart;
pub mod client;
mod core;
pub mod http;
mod operator;
mod processes;
mod programs;
mod secrets;
mod server;
mod site;
pub mod wait;

pub use core::Core;
pub use nix::sys::signal::Signal;
pub use operator::Operator;
pub use processes::{Process, free_port};
pub use reqwest::Method;
pub use server::{Options, Rig, Version};
pub use site::{PATIENCE, Site, policy_manifest};
