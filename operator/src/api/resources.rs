//! Compute resources of a sidecar.
//!
//! All four values are always there: a ResourceQuota refuses a Pod when one of its containers lacks a value that the quota counts,
//! and a refused Pod is a resolver less.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::{CPU, MEMORY};

/// What a sidecar asks for and what it may use at most. A BestEffort Pod gets neither, so that it stays BestEffort; in a Guaranteed
/// Pod both become `requests.cpu` and `limits.memory`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, KubeSchema)]
#[x_kube(validation = (
    "quantity(self.requests.cpu).compareTo(quantity(self.limits.cpu)) <= 0",
    "resources.requests.cpu is more than resources.limits.cpu: raise the limit or lower the request"
))]
#[x_kube(validation = (
    "quantity(self.requests.memory).compareTo(quantity(self.limits.memory)) <= 0",
    "resources.requests.memory is more than resources.limits.memory: raise the limit or lower the request"
))]
pub struct Resources {
    /// What the scheduler sets aside.
    #[serde(default = "default_requests")]
    pub requests: Amounts,
    /// What the container may use at most.
    #[serde(default = "default_limits")]
    pub limits: Limits,
}

/// Requests.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct Amounts {
    /// Cores, or thousandths of a core (`50m`).
    #[serde(default = "default_cpu_request")]
    #[schemars(length(max = 8), regex(pattern = CPU))]
    pub cpu: String,
    /// Bytes (`64Mi`).
    #[serde(default = "default_memory_request")]
    #[schemars(length(max = 16), regex(pattern = MEMORY))]
    pub memory: String,
}

/// Limits.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct Limits {
    /// Cores, or thousandths of a core (`500m`).
    #[serde(default = "default_cpu_limit")]
    #[schemars(length(max = 8), regex(pattern = CPU))]
    pub cpu: String,
    /// Bytes (`256Mi`). The sidecar keeps its own bounds below it.
    #[serde(default = "default_memory_limit")]
    #[schemars(length(max = 16), regex(pattern = MEMORY))]
    pub memory: String,
}

impl Default for Resources {
    fn default() -> Self {
        Self { requests: default_requests(), limits: default_limits() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        default_limits()
    }
}

fn default_requests() -> Amounts {
    Amounts { cpu: default_cpu_request(), memory: default_memory_request() }
}

fn default_limits() -> Limits {
    Limits { cpu: default_cpu_limit(), memory: default_memory_limit() }
}

fn default_cpu_request() -> String {
    "50m".to_owned()
}

fn default_memory_request() -> String {
    "64Mi".to_owned()
}

fn default_cpu_limit() -> String {
    "500m".to_owned()
}

/// Twice what a full set of seen names, a full event queue and a large well-known list took together.
fn default_memory_limit() -> String {
    "256Mi".to_owned()
}
