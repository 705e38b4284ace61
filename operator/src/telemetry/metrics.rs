//! Metrics of the operator, `tapir_operator_*`, and under controller-runtime's names what is the same there.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::edges::Edges;
use crate::cache::Cache;

const PREFIX: &str = "tapir_operator";

/// From a reconcile that finds nothing to do, in memory, to one that waits for Core until its time limit.
const DURATION_BUCKETS: [f64; 15] =
    [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0];

/// The API server waits two seconds.
const REVIEW_BUCKETS: [f64; 8] = [0.001, 0.002, 0.005, 0.02, 0.1, 0.5, 1.0, 2.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ControllerLabels {
    controller: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    controller: String,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    controller: String,
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    verb: String,
    resource: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    action: String,
    outcome: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReviewLabels {
    verdict: String,
    reason: String,
}

#[derive(Clone)]
struct Buckets;

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(DURATION_BUCKETS)
    }
}

/// All metrics; clones share them.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    reconciles: Family<ResultLabels, Counter>,
    durations: Family<ControllerLabels, Histogram, Buckets>,
    errors: Family<ReasonLabels, Counter>,
    malformed: Family<ControllerLabels, Counter>,
    writes: Family<WriteLabels, Counter>,
    nodeman: Family<CallLabels, Counter>,
    polls: Family<CallLabels, Counter>,
    reviews: Family<ReviewLabels, Counter>,
    review_durations: Histogram,
    evictions: Counter,
    leader: Gauge,
    clock_skew: Gauge,
    settled: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            registry: Arc::new(Mutex::new(Registry::default())),
            reconciles: Family::default(),
            durations: Family::new_with_constructor(Buckets),
            errors: Family::default(),
            malformed: Family::default(),
            writes: Family::default(),
            nodeman: Family::default(),
            polls: Family::default(),
            reviews: Family::default(),
            review_durations: Histogram::new(REVIEW_BUCKETS),
            evictions: Counter::default(),
            leader: Gauge::default(),
            clock_skew: Gauge::default(),
            settled: Gauge::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    /// A reconcile ended, well or not.
    pub fn reconciled(&self, controller: &str, well: bool, took: Duration) {
        let labels = ControllerLabels { controller: controller.to_owned() };
        let result = if well { "success" } else { "error" };
        self.reconciles.get_or_create(&ResultLabels { controller: controller.to_owned(), result }).inc();
        self.durations.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// A reconcile ended with an error of this reason.
    pub fn failed(&self, controller: &str, reason: &str) {
        self.errors.get_or_create(&ReasonLabels { controller: controller.to_owned(), reason: reason.to_owned() }).inc();
    }

    /// An object was stored that its own type cannot read.
    pub fn malformed(&self, controller: &str) {
        self.malformed.get_or_create(&ControllerLabels { controller: controller.to_owned() }).inc();
    }

    /// A request that is not a read went to the API server.
    pub fn wrote(&self, verb: &str, resource: &str) {
        self.writes.get_or_create(&WriteLabels { verb: verb.to_owned(), resource: resource.to_owned() }).inc();
    }

    /// A call to nodeman ended.
    pub fn called_nodeman(&self, action: &str, outcome: &str) {
        self.nodeman.get_or_create(&CallLabels { action: action.to_owned(), outcome: outcome.to_owned() }).inc();
    }

    /// Core's clock is so many seconds ahead of this cluster's, by its last answer.
    pub fn clock_skew(&self, seconds: i64) {
        self.clock_skew.set(seconds);
    }

    /// So many edges need nothing now.
    pub fn settled(&self, edges: usize) {
        self.settled.set(i64::try_from(edges).unwrap_or(i64::MAX));
    }

    /// A sidecar was asked for its status.
    pub fn polled(&self, component: &str, outcome: &str) {
        self.polls.get_or_create(&CallLabels { action: component.to_owned(), outcome: outcome.to_owned() }).inc();
    }

    /// The webhook was asked about a new Pod.
    pub fn reviewed(&self, verdict: &str, reason: &str, took: Duration) {
        self.reviews.get_or_create(&ReviewLabels { verdict: verdict.to_owned(), reason: reason.to_owned() }).inc();
        self.review_durations.observe(took.as_secs_f64());
    }

    /// A Pod that was never injected was evicted.
    pub fn evicted(&self) {
        self.evictions.inc();
    }

    /// Whether this replica leads.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// From now on tells of each edge that is in the cache when asked, while this replica leads.
    pub fn tell_of_edges(&self, cache: &Cache) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let edges = Edges { cache: cache.clone(), leader: self.leader.clone() };
        registry.sub_registry_with_prefix(PREFIX).register_collector(Box::new(edges));
    }

    /// All metrics as OpenMetrics text.
    #[must_use]
    pub fn render(&self) -> String {
        let mut output = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing to a String does not fail.
        let _ = text::encode(&mut output, &registry);
        output
    }

    fn register(&self) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Named as everybody's dashboards know them.
        let common = registry.sub_registry_with_prefix("controller_runtime");
        common.register("reconcile", "Reconciles that ended, by result", self.reconciles.clone());
        common.register_with_unit("reconcile_time", "Time that reconciles took", Unit::Seconds, self.durations.clone());
        let registry = registry.sub_registry_with_prefix(PREFIX);
        registry.register("reconcile_errors", "Reconciles that ended with an error, by reason", self.errors.clone());
        registry.register("malformed_objects", "Objects met that their own type cannot read", self.malformed.clone());
        registry.register(
            "api_writes",
            "Requests to the API server that are no reads, leases and Events included",
            self.writes.clone(),
        );
        registry.register("nodeman_requests", "Calls to Core's nodeman, by action and outcome", self.nodeman.clone());
        registry.register("sidecar_polls", "Requests for a sidecar's status, by component and outcome", self.polls.clone());
        registry.register(
            "webhook_reviews",
            "Pods that the webhook was asked about: patched, skipped by a condition, or failed, which admits them too",
            self.reviews.clone(),
        );
        registry.register_with_unit(
            "webhook_review_duration",
            "Time that an answer of the webhook took",
            Unit::Seconds,
            self.review_durations.clone(),
        );
        registry.register(
            "evictions",
            "Pods evicted because they were created before their edge was rendered",
            self.evictions.clone(),
        );
        registry.register("leader", "1 while this replica leads", self.leader.clone());
        registry.register("settled_edges", "Edges that need nothing until something changes", self.settled.clone());
        registry.register_with_unit(
            "core_clock_skew",
            "How far Core's clock is ahead of this cluster's, by its last answer",
            Unit::Seconds,
            self.clock_skew.clone(),
        );
        let build = Info::new(vec![("version", tapir_version::VERSION), ("commit", tapir_version::COMMIT)]);
        registry.register("build", "What this binary was built from", build);
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Metrics").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_the_prefix() {
        let metrics = Metrics::default();
        metrics.reconciled("edge", true, Duration::from_millis(3));
        metrics.wrote("patch", "configmaps");
        metrics.leads(true);
        let text = metrics.render();
        assert!(text.contains("controller_runtime_reconcile_total{controller=\"edge\",result=\"success\"} 1"), "{text}");
        assert!(text.contains("tapir_operator_api_writes_total{verb=\"patch\",resource=\"configmaps\"} 1"), "{text}");
        assert!(text.contains("tapir_operator_leader 1"), "{text}");
        assert!(text.contains("controller_runtime_reconcile_time_seconds_bucket"), "{text}");
    }
}
