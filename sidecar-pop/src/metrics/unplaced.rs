//! Names whose local data has no room in the zone, by source.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

type Rows = Arc<[(Arc<str>, u64)]>;

/// Of each source of the zone that is published, also of those of which there is none.
#[derive(Clone, Debug, Default)]
pub(super) struct Unplaced(Arc<Mutex<Rows>>);

impl Unplaced {
    /// From now on these, and no others.
    pub(super) fn are(&self, rows: impl Iterator<Item = (Arc<str>, u64)>) {
        let rows = rows.collect();
        let former = std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), rows);
        // Not while who reads waits.
        drop(former);
    }
}

impl EncodeMetric for Unplaced {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let rows = Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for (source, names) in &*rows {
            let names = i64::try_from(*names).unwrap_or(i64::MAX);
            ConstGauge::new(names).encode(encoder.encode_family(&[("source", &**source)])?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_is_shown_as_long_as_the_zone_has_it() {
        let unplaced = Unplaced::default();
        let mut registry = prometheus_client::registry::Registry::default();
        registry.register("u", "U", unplaced.clone());
        let shown = |rows: &[(&str, u64)]| {
            unplaced.are(rows.iter().map(|(source, names)| (Arc::from(*source), *names)));
            let text = tapir_runtime::metrics::render(&registry);
            text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(shown(&[("one", 3), ("two", 0)]), ["u{source=\"one\"} 3", "u{source=\"two\"} 0"]);
        assert_eq!(shown(&[("two", 1)]), ["u{source=\"two\"} 1"]);
    }
}
