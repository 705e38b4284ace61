//! How long things took, as a histogram that nobody locks.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// Durations by size. Cloning shares them.
#[derive(Clone, Debug)]
pub(crate) struct Times(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    /// Up to so many microseconds, and how many those are; the last one takes all.
    buckets: Vec<(u64, AtomicU64)>,
    microseconds: AtomicU64,
}

impl Times {
    /// With these bounds, in microseconds and ascending.
    pub(super) fn new(bounds: &[u64]) -> Self {
        let buckets = bounds.iter().copied().chain([u64::MAX]).map(|bound| (bound, AtomicU64::new(0)));
        Self(Arc::new(Counts { buckets: buckets.collect(), microseconds: AtomicU64::new(0) }))
    }

    /// One more.
    pub(crate) fn took(&self, time: Duration) {
        let microseconds = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        if let Some((_, count)) = self.0.buckets.iter().find(|(bound, _)| microseconds <= *bound) {
            count.fetch_add(1, Ordering::Relaxed);
            self.0.microseconds.fetch_add(microseconds, Ordering::Relaxed);
        }
    }
}

impl EncodeMetric for Times {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let seconds = |bound: u64| if bound == u64::MAX { f64::INFINITY } else { bound as f64 / 1e6 };
        let buckets: Vec<_> =
            self.0.buckets.iter().map(|(bound, count)| (seconds(*bound), count.load(Ordering::Relaxed))).collect();
        // Of one moment, whatever comes meanwhile.
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = self.0.microseconds.load(Ordering::Relaxed) as f64 / 1e6;
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn each_is_counted_where_it_belongs() {
        let times = Times::new(&[100, 1_000_000]);
        let mut registry = Registry::default();
        registry.register("lag_seconds", "Lag", times.clone());
        for microseconds in [0, 100, 101, 1_000_000, 2_500_000] {
            times.took(Duration::from_micros(microseconds));
        }
        let text = tapir_runtime::metrics::render(&registry);
        let rows: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let expected = [
            "lag_seconds_sum 3.500201",
            "lag_seconds_count 5",
            "lag_seconds_bucket{le=\"0.0001\"} 2",
            "lag_seconds_bucket{le=\"1.0\"} 4",
            "lag_seconds_bucket{le=\"+Inf\"} 5",
        ];
        assert_eq!(rows, expected);
    }
}
