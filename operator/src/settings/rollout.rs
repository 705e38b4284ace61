//! How new images reach Pods, and how often Core is called.

use std::time::Duration;

use clap::Args;
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::Selector;

/// Settings of rollouts, each also as an environment variable.
#[derive(Clone, Debug, Args)]
pub(super) struct RolloutArguments {
    /// Edges whose Pods may be in motion at the same time.
    #[arg(long, env = "ROLLOUT_MAX_CONCURRENT_EDGES", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000), global = true)]
    rollout_max_concurrent_edges: u32,
    /// Edges that go first: a label selector as JSON, with `matchLabels` and `matchExpressions`. An empty one means that none does.
    #[arg(long, env = "ROLLOUT_CANARY_SELECTOR", default_value = "{}", value_parser = selector, global = true)]
    rollout_canary_selector: Selector,
    /// How long all of those must have run well before the others follow, such as 10m.
    #[arg(long, env = "ROLLOUT_CANARY_SOAK", default_value = "10m", value_parser = duration, global = true)]
    rollout_canary_soak: Duration,
    /// Whether a Pod may be created that pulls a new image before a sidecar is restarted with it.
    #[arg(long, env = "ROLLOUT_PRE_PULL", default_value = "false", action = clap::ArgAction::Set, global = true)]
    rollout_pre_pull: bool,
    /// Calls to Core, all edges together.
    #[arg(long, env = "CORE_REQUESTS_PER_SECOND", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000), global = true)]
    core_requests_per_second: u32,
}

/// How new images reach Pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    pub max_concurrent_edges: u32,
    /// None: no edge goes first.
    pub canaries: Option<Selector>,
    pub canary_soak: Duration,
    pub pre_pull: bool,
}

impl Default for Rollout {
    fn default() -> Self {
        Self { max_concurrent_edges: 1, canaries: None, canary_soak: Duration::from_mins(10), pre_pull: false }
    }
}

impl RolloutArguments {
    /// Rollouts, and calls to Core in a second.
    pub(super) fn split(self) -> (Rollout, u32) {
        // Destructured whole, so that a new argument cannot be forgotten here.
        let Self {
            rollout_max_concurrent_edges: max_concurrent_edges,
            rollout_canary_selector: selector,
            rollout_canary_soak: canary_soak,
            rollout_pre_pull: pre_pull,
            core_requests_per_second,
        } = self;
        let canaries = (!selector.selects_all()).then_some(selector);
        (Rollout { max_concurrent_edges, canaries, canary_soak, pre_pull }, core_requests_per_second)
    }
}

fn selector(text: &str) -> Result<Selector, String> {
    let selector: LabelSelector = serde_json::from_str(text).map_err(|error| format!("is no label selector: {error}"))?;
    Selector::try_from(selector).map_err(|error| format!("is no label selector: {error}"))
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration: SignedDuration = text.parse().map_err(|error| format!("write one such as 10m: {error}"))?;
    Duration::try_from(duration).map_err(|_| "is less than nothing".to_owned())
}
