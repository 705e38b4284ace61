//! End-to-end scenarios, named by what they prove. `cargo xtask test` runs them on a prepared cluster.
//!
//! Scenarios that disturb what others share (operator, Core, broker) take [`exclusive`]; all others take [`shared`].

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::panic_in_result_fn)]

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

#[path = "cluster/admission.rs"]
mod admission;
#[path = "cluster/admission_cases.rs"]
mod admission_cases;
#[path = "cluster/aggregates.rs"]
mod aggregates;
#[path = "cluster/bad_input.rs"]
mod bad_input;
#[path = "cluster/converged.rs"]
mod converged;
#[path = "cluster/crashes.rs"]
mod crashes;
#[path = "cluster/disturbances.rs"]
mod disturbances;
#[path = "cluster/eviction_blocked.rs"]
mod eviction_blocked;
#[path = "../../../sidecar-edm/tests/support/histogram.rs"]
mod histogram;
#[path = "cluster/loop_closes.rs"]
mod loop_closes;
#[path = "cluster/namespace_deletion.rs"]
mod namespace_deletion;
#[path = "../../../sidecar-edm/tests/support/parquet.rs"]
mod parquet;
#[path = "cluster/privacy.rs"]
mod privacy;
#[path = "cluster/prompt.rs"]
mod prompt;
#[path = "cluster/quota.rs"]
mod quota;
#[path = "cluster/renewal.rs"]
mod renewal;
#[path = "cluster/rollout.rs"]
mod rollout;
#[path = "cluster/telemetry.rs"]
mod telemetry;
#[path = "cluster/webhook.rs"]
mod webhook;

static COMMON_PARTS: RwLock<()> = RwLock::new(());

/// For scenarios that need operator, Core and broker undisturbed.
fn shared() -> RwLockReadGuard<'static, ()> {
    COMMON_PARTS.read().unwrap_or_else(PoisonError::into_inner)
}

/// For scenarios that disturb operator, Core or broker.
fn exclusive() -> RwLockWriteGuard<'static, ()> {
    COMMON_PARTS.write().unwrap_or_else(PoisonError::into_inner)
}
