//! What is told of each edge, written when somebody asks, out of the cache: no label set is kept for an edge, and one that is gone has none.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::api::status::{CertificateStatus, PodsStatus};
use crate::cache::{Cache, Edge, LeanEdge, LeanStatus};
use crate::sidecars::EdgeKey;

/// They are counted each minute.
const COUNTED_WITHIN: Duration = Duration::from_mins(3);

/// All edges of the cache.
#[derive(Debug)]
pub(super) struct Edges {
    pub cache: Cache,
    /// Only the leader knows them.
    pub leads: Arc<AtomicBool>,
    pub left: Left,
}

/// Pods that still carry the sidecars of an edge that is gone, and when they were counted; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Left(Arc<Mutex<BTreeMap<EdgeKey, (usize, Instant)>>>);

impl Left {
    /// So many are left; none is nothing to tell of.
    pub(super) fn counted(&self, edge: &EdgeKey, pods: usize, now: Instant) {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        left.retain(|known, (_, at)| known != edge && is_fresh(*at, now));
        if pods > 0 {
            left.insert(edge.clone(), (pods, now));
        }
    }

    fn all(&self, now: Instant) -> Vec<(EdgeKey, usize)> {
        let left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        left.iter().filter(|(_, (_, at))| is_fresh(*at, now)).map(|(edge, (pods, _))| (edge.clone(), *pods)).collect()
    }
}

/// Nobody counts any more where the configuration was deleted by hand, or taken over by a new edge.
fn is_fresh(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) < COUNTED_WITHIN
}

/// One metric: its name, without the prefix, and what it means.
struct Family {
    name: &'static str,
    help: &'static str,
    unit: Option<Unit>,
}

/// One line of it: labels beside namespace and edge, and the value.
type Line<'a> = (Vec<(&'static str, &'a str)>, i64);

impl Collector for Edges {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        if !self.leads.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.encode_left(&mut encoder)?;
        let mut edges = self.cache.edges().state();
        edges.sort_unstable_by(|one, other| place(one).cmp(&place(other)));
        let seconds = || Some(Unit::Seconds);
        let family = |name, help, unit| Family { name, help, unit };
        write(
            &mut encoder,
            &family("edge_condition", "1 for the status that a condition of an edge has", None),
            &edges,
            conditions,
        )?;
        let help = "End of the certificate of an edge, in seconds since 1970";
        write(&mut encoder, &family("edge_certificate_not_after_timestamp", help, seconds()), &edges, |status| {
            status.certificate().map(|certificate| (Vec::new(), certificate.not_after.as_second())).into_iter().collect()
        })?;
        let help = "When the certificate of an edge is renewed, in seconds since 1970";
        write(&mut encoder, &family("edge_certificate_renew_at_timestamp", help, seconds()), &edges, |status| {
            let renew_at = |certificate: &CertificateStatus| certificate.renew_at.map(|time| (Vec::new(), time.as_second()));
            status.certificate().and_then(renew_at).into_iter().collect()
        })?;
        write(&mut encoder, &family("edge_pods", "Pods of an edge by state, each a part of the one before", None), &edges, pods)?;
        write(
            &mut encoder,
            &family("edge_rollout_phase", "1 for the phase that the rollout of an edge is in", None),
            &edges,
            |status| status.rollout.iter().map(|rollout| (vec![("phase", rollout.phase.into())], 1)).collect(),
        )
    }
}

impl Edges {
    fn encode_left(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "Pods that still carry the sidecars of an edge that is gone";
        let mut encoder = encoder.encode_descriptor("offboarded_pods", help, None, MetricType::Gauge)?;
        for (EdgeKey { namespace, name }, pods) in self.left.all(Instant::now()) {
            let labels = [("namespace", namespace.as_str()), ("edge", name.as_str())];
            ConstGauge::new(i64::try_from(pods).unwrap_or(i64::MAX)).encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

fn conditions(status: &LeanStatus) -> Vec<Line<'_>> {
    status.conditions.iter().map(|condition| (vec![("type", &*condition.kind), ("status", &*condition.status)], 1)).collect()
}

fn pods(status: &LeanStatus) -> Vec<Line<'_>> {
    let Some(PodsStatus { matched, injected, current, updated }) = &status.pods else { return Vec::new() };
    let states = [("matched", matched), ("injected", injected), ("current", current), ("updated", updated)];
    states.into_iter().map(|(state, count)| (vec![("state", state)], i64::from(*count))).collect()
}

fn write(
    encoder: &mut DescriptorEncoder<'_>,
    family: &Family,
    edges: &[Arc<Edge>],
    lines: impl Fn(&LeanStatus) -> Vec<Line<'_>>,
) -> Result<(), fmt::Error> {
    let mut encoder = encoder.encode_descriptor(family.name, family.help, family.unit.as_ref(), MetricType::Gauge)?;
    // One that its own type cannot read is counted elsewhere.
    for edge in edges.iter().filter_map(|edge| edge.0.as_ref().ok()) {
        for (labels, value) in edge.status.iter().flat_map(&lines) {
            let (namespace, name) = names(edge);
            let labels: Vec<(&str, &str)> = [("namespace", namespace), ("edge", name)].into_iter().chain(labels).collect();
            ConstGauge::new(value).encode(encoder.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn place(edge: &Edge) -> Option<(&str, &str)> {
    edge.0.as_ref().ok().map(names)
}

fn names(edge: &LeanEdge) -> (&str, &str) {
    (edge.metadata.namespace.as_deref().unwrap_or_default(), edge.metadata.name.as_deref().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::telemetry::metrics::Metrics;

    fn edge(name: &str, status: &Value) -> Edge {
        serde_json::from_value(json!({"apiVersion": "dnstapir.se/v1alpha1", "kind": "TapirEdge",
            "metadata": {"name": name, "namespace": "dns"},
            "spec": {"enrollment": {"credentialsSecretRef": {"name": "enrol"}}, "resolver": {"container": "unbound"}}, "status": status}))
        .unwrap()
    }

    fn told(metrics: &Metrics) -> Vec<String> {
        metrics.render().lines().filter(|line| line.starts_with("tapir_operator_edge_")).map(str::to_owned).collect()
    }

    #[test]
    fn what_the_status_says_is_told_by_the_leader_as_long_as_the_edge_is_there() {
        let (metrics, cache) = (Metrics::default(), Cache::default());
        metrics.tell_of_edges(&cache);
        cache.apply_edge(edge("new", &Value::Null));
        let whole = json!({
            "conditions": [{"type": "Ready", "status": "False", "reason": "RolloutHalted"}, {"type": "Enrolled", "status": "True", "reason": "Enrolled"}],
            "node": {"name": "n", "certificate": {"serial": "7", "notAfter": "2026-11-21T00:00:00Z", "renewAt": "2026-11-20T00:00:00Z"}},
            "pods": {"matched": 4, "injected": 3, "current": 2, "updated": 1},
            "rollout": {"phase": "Halted", "target": {"edm": "e", "pop": "p"}},
        });
        cache.apply_edge(edge("a", &whole));
        cache.apply_edge(edge("b", &json!({"conditions": 7})));
        assert_eq!(told(&metrics), Vec::<String>::new(), "who does not lead knows nothing for certain");
        metrics.leads("tapir-operator", true);
        let place = "{namespace=\"dns\",edge=\"a\"";
        let expected = [
            format!("condition{place},type=\"Ready\",status=\"False\"}} 1"),
            format!("condition{place},type=\"Enrolled\",status=\"True\"}} 1"),
            format!("certificate_not_after_timestamp_seconds{place}}} 1795219200"),
            format!("certificate_renew_at_timestamp_seconds{place}}} 1795132800"),
            format!("pods{place},state=\"matched\"}} 4"),
            format!("pods{place},state=\"injected\"}} 3"),
            format!("pods{place},state=\"current\"}} 2"),
            format!("pods{place},state=\"updated\"}} 1"),
            format!("rollout_phase{place},phase=\"Halted\"}} 1"),
        ];
        assert_eq!(told(&metrics), expected.map(|line| format!("tapir_operator_edge_{line}")));
        cache.remove_edge(&edge("a", &whole).0.unwrap().metadata);
        assert_eq!(told(&metrics), Vec::<String>::new());
    }

    #[test]
    fn pods_left_are_told_until_none_is_or_nobody_counts() {
        let (left, begin, minute) = (Left::default(), Instant::now(), Duration::from_mins(1));
        let edge = |name: &str| EdgeKey { namespace: "dns".into(), name: name.into() };
        left.counted(&edge("a"), 3, begin);
        left.counted(&edge("b"), 1, begin);
        left.counted(&edge("a"), 2, begin + minute);
        assert_eq!(left.all(begin + minute), [(edge("a"), 2), (edge("b"), 1)]);
        assert_eq!(left.all(begin + 3 * minute), [(edge("a"), 2)]);
        left.counted(&edge("a"), 0, begin + 2 * minute);
        assert_eq!(left.all(begin + 2 * minute), [(edge("b"), 1)]);
    }
}
