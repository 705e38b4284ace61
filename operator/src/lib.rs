//! Operator of DNS TAPIR Edge: enrols nodes, keeps their identities, renders what Pods get, reports what comes back.
//!
//! It never sees DNS data, and it never changes a workload: an admission policy copies what it rendered into new Pods.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod api;
pub mod api_client;
pub mod apply;
pub mod build;
pub mod cache;
pub mod conditions;
pub mod crds;
pub mod digest;
pub mod edge;
pub mod failpoint;
pub mod http;
pub mod identity;
pub mod leader;
pub mod leftovers;
pub mod names;
pub mod nodeman;
pub mod operator;
pub mod pods;
pub mod policy;
pub mod rollout;
pub mod runner;
pub mod settings;
pub mod sidecars;
pub mod telemetry;
pub mod webhook;
