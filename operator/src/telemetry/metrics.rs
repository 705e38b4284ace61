//! Metrics of the operator, `tapir_operator_*`, and under controller-runtime's names what is the same there.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::edges::{Edges, Left};
use crate::cache::Cache;
use crate::sidecars::EdgeKey;

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
struct CoreLabels {
    endpoint: String,
    outcome: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PollLabels {
    component: String,
    outcome: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClientLabels {
    code: String,
    method: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NameLabels {
    name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WebhookLabels {
    webhook: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WebhookCodeLabels {
    webhook: &'static str,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReviewLabels {
    verdict: String,
    reason: String,
}

const WEBHOOK: WebhookLabels = WebhookLabels { webhook: "/mutate" };

#[derive(Clone)]
struct ReviewBuckets;

impl MetricConstructor<Histogram> for ReviewBuckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(REVIEW_BUCKETS)
    }
}

/// A gauge that is one higher as long as this lives.
#[derive(Debug)]
pub struct UnderWay(Gauge);

impl UnderWay {
    fn begun(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.dec();
    }
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
    all_errors: Family<ControllerLabels, Counter>,
    active: Family<ControllerLabels, Gauge>,
    most: Family<ControllerLabels, Gauge>,
    depths: Family<NameLabels, Gauge>,
    requests: Family<ClientLabels, Counter>,
    errors: Family<ReasonLabels, Counter>,
    malformed: Family<ControllerLabels, Counter>,
    writes: Family<WriteLabels, Counter>,
    core: Family<CoreLabels, Counter>,
    polls: Family<PollLabels, Counter>,
    reviews: Family<ReviewLabels, Counter>,
    review_codes: Family<WebhookCodeLabels, Counter>,
    reviewing: Family<WebhookLabels, Gauge>,
    review_durations: Family<WebhookLabels, Histogram, ReviewBuckets>,
    evictions: Counter,
    leader: Family<NameLabels, Gauge>,
    leads: Arc<AtomicBool>,
    left: Left,
    clock_skew: Gauge,
    settled: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            registry: Arc::new(Mutex::new(Registry::default())),
            reconciles: Family::default(),
            durations: Family::new_with_constructor(Buckets),
            all_errors: Family::default(),
            active: Family::default(),
            most: Family::default(),
            depths: Family::default(),
            requests: Family::default(),
            errors: Family::default(),
            malformed: Family::default(),
            writes: Family::default(),
            core: Family::default(),
            polls: Family::default(),
            reviews: Family::default(),
            review_codes: Family::default(),
            reviewing: Family::default(),
            review_durations: Family::new_with_constructor(ReviewBuckets),
            evictions: Counter::default(),
            leader: Family::default(),
            leads: Arc::default(),
            left: Left::default(),
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
        // Also without any, so that there is something to compare the first one with.
        self.all_errors.get_or_create(&labels).inc_by(u64::from(!well));
    }

    /// A controller works on at most so many objects at a time.
    pub fn controller(&self, controller: &str, most: u16) {
        self.most.get_or_create(&ControllerLabels { controller: controller.to_owned() }).set(most.into());
    }

    /// A controller works on an object, until the answer is dropped.
    #[must_use]
    pub fn working(&self, controller: &str) -> UnderWay {
        UnderWay::begun(self.active.get_or_create(&ControllerLabels { controller: controller.to_owned() }).clone())
    }

    /// So many objects that something changed for wait for a controller.
    pub fn waiting(&self, controller: &str, depth: usize) {
        let depth = i64::try_from(depth).unwrap_or(i64::MAX);
        self.depths.get_or_create(&NameLabels { name: controller.to_owned() }).set(depth);
    }

    /// The API server answered a request, or did not.
    pub fn requested(&self, method: &str, code: Option<u16>) {
        let code = code.map_or_else(|| "<error>".to_owned(), |code| code.to_string());
        self.requests.get_or_create(&ClientLabels { code, method: method.to_owned() }).inc();
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

    /// A call to an endpoint of Core ended.
    pub fn called_core(&self, endpoint: &str, outcome: &str) {
        self.core.get_or_create(&CoreLabels { endpoint: endpoint.to_owned(), outcome: outcome.to_owned() }).inc();
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
        self.polls.get_or_create(&PollLabels { component: component.to_owned(), outcome: outcome.to_owned() }).inc();
    }

    /// The webhook is being asked about a new Pod, until the answer is dropped.
    #[must_use]
    pub fn reviewing(&self) -> UnderWay {
        UnderWay::begun(self.reviewing.get_or_create(&WEBHOOK).clone())
    }

    /// The webhook was asked about a new Pod, and answered with this code of HTTP.
    pub fn reviewed(&self, verdict: &str, reason: &str, code: u16, took: Duration) {
        self.reviews.get_or_create(&ReviewLabels { verdict: verdict.to_owned(), reason: reason.to_owned() }).inc();
        self.review_codes.get_or_create(&WebhookCodeLabels { webhook: WEBHOOK.webhook, code }).inc();
        self.review_durations.get_or_create(&WEBHOOK).observe(took.as_secs_f64());
    }

    /// A Pod that was never injected was evicted.
    pub fn evicted(&self) {
        self.evictions.inc();
    }

    /// So many Pods still carry the sidecars of an edge that is gone; to be told again within a few minutes.
    pub fn left(&self, edge: &EdgeKey, pods: usize) {
        self.left.counted(edge, pods, Instant::now());
    }

    /// Whether this replica leads by this Lease.
    pub fn leads(&self, lease: &str, leads: bool) {
        self.leads.store(leads, Ordering::Relaxed);
        self.leader.get_or_create(&NameLabels { name: lease.to_owned() }).set(i64::from(leads));
    }

    /// From now on tells of each edge that is in the cache when asked, while this replica leads.
    pub fn tell_of_edges(&self, cache: &Cache) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let edges = Edges { cache: cache.clone(), leads: Arc::clone(&self.leads), left: self.left.clone() };
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
        common.register("reconcile_errors", "Reconciles that ended with an error", self.all_errors.clone());
        common.register("active_workers", "Objects that a controller works on now", self.active.clone());
        common.register("max_concurrent_reconciles", "Objects that it works on at most", self.most.clone());
        common.register("webhook_requests", "Requests to the webhook, by HTTP status code", self.review_codes.clone());
        common.register("webhook_requests_in_flight", "Requests that the webhook works on now", self.reviewing.clone());
        common.register_with_unit(
            "webhook_latency",
            "Time that an answer of the webhook took",
            Unit::Seconds,
            self.review_durations.clone(),
        );
        registry.register(
            "workqueue_depth",
            "Objects that something changed for and that wait for a controller",
            self.depths.clone(),
        );
        registry.register("rest_client_requests", "Requests to the API server, by status code and method", self.requests.clone());
        registry.register("leader_election_master_status", "1 while this replica leads by this Lease", self.leader.clone());
        let registry = registry.sub_registry_with_prefix(PREFIX);
        registry.register("reconcile_errors", "Reconciles that ended with an error, by reason", self.errors.clone());
        registry.register("malformed_objects", "Objects met that their own type cannot read", self.malformed.clone());
        registry.register(
            "api_writes",
            "Requests to the API server that are no reads, leases and Events included",
            self.writes.clone(),
        );
        registry.register("core_requests", "Calls to Core's nodeman, by endpoint and outcome", self.core.clone());
        registry.register("sidecar_polls", "Requests for a sidecar's status, by component and outcome", self.polls.clone());
        registry.register(
            "webhook_reviews",
            "Pods that the webhook was asked about: patched, skipped by a condition, or failed, which admits them too",
            self.reviews.clone(),
        );
        registry.register(
            "evictions",
            "Pods evicted because they have no sidecars, or by strategy Evict",
            self.evictions.clone(),
        );
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
    fn names_are_those_of_the_reference() {
        let metrics = Metrics::default();
        metrics.reconciled("edge", true, Duration::from_millis(3));
        metrics.controller("edge", 8);
        metrics.waiting("edge", 5);
        metrics.wrote("patch", "configmaps");
        metrics.requested("PATCH", Some(200));
        metrics.requested("GET", None);
        metrics.called_core("renew", "Success");
        metrics.polled("pop", "unreachable");
        metrics.reviewed("patched", "", 200, Duration::from_millis(3));
        metrics.leads("tapir-operator", true);
        let working = metrics.working("edge");
        let reviewing = metrics.reviewing();
        let text = metrics.render();
        for line in [
            "controller_runtime_reconcile_total{controller=\"edge\",result=\"success\"} 1",
            "controller_runtime_reconcile_errors_total{controller=\"edge\"} 0",
            "controller_runtime_reconcile_time_seconds_count{controller=\"edge\"} 1",
            "controller_runtime_active_workers{controller=\"edge\"} 1",
            "controller_runtime_max_concurrent_reconciles{controller=\"edge\"} 8",
            "controller_runtime_webhook_requests_total{webhook=\"/mutate\",code=\"200\"} 1",
            "controller_runtime_webhook_requests_in_flight{webhook=\"/mutate\"} 1",
            "controller_runtime_webhook_latency_seconds_count{webhook=\"/mutate\"} 1",
            "workqueue_depth{name=\"edge\"} 5",
            "rest_client_requests_total{code=\"200\",method=\"PATCH\"} 1",
            "rest_client_requests_total{code=\"<error>\",method=\"GET\"} 1",
            "leader_election_master_status{name=\"tapir-operator\"} 1",
            "tapir_operator_api_writes_total{verb=\"patch\",resource=\"configmaps\"} 1",
            "tapir_operator_core_requests_total{endpoint=\"renew\",outcome=\"Success\"} 1",
            "tapir_operator_sidecar_polls_total{component=\"pop\",outcome=\"unreachable\"} 1",
        ] {
            assert!(text.lines().any(|told| told == line), "{line} is not in\n{text}");
        }
        drop((working, reviewing));
        metrics.leads("tapir-operator", false);
        let text = metrics.render();
        for line in [
            "active_workers{controller=\"edge\"} 0",
            "in_flight{webhook=\"/mutate\"} 0",
            "master_status{name=\"tapir-operator\"} 0",
        ] {
            assert!(text.lines().any(|told| told.ends_with(line)), "{line} is not in\n{text}");
        }
    }
}
