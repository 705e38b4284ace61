//! Figures told apart by labels whose values are known beforehand.
//!
//! Each is there from the start, so that its rate is known from the first event on; and it is found without a lock, so that nobody who
//! counts waits for somebody who reads.

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::{MetricType, TypedMetric};

/// A figure for each of some label values. Cloning shares them.
#[derive(Debug)]
pub(crate) struct Fixed<M, const N: usize> {
    keys: [&'static str; N],
    cells: Arc<[([&'static str; N], M)]>,
}

impl<M: Default, const N: usize> Fixed<M, N> {
    pub(super) fn new(keys: [&'static str; N], values: impl IntoIterator<Item = [&'static str; N]>) -> Self {
        Self { keys, cells: values.into_iter().map(|values| (values, M::default())).collect() }
    }

    /// Nothing where the values are none of those that were said: whoever adds one says it.
    pub(crate) fn of(&self, values: [&'static str; N]) -> Option<&M> {
        let found = self.cells.iter().find(|(known, _)| *known == values).map(|(_, figure)| figure);
        debug_assert!(found.is_some(), "{:?} may not be {values:?}", self.keys);
        found
    }
}

impl<const N: usize> Fixed<Counter, N> {
    pub(super) fn add(&self, values: [&'static str; N], count: u64) {
        if let Some(counter) = self.of(values) {
            counter.inc_by(count);
        }
    }
}

impl<const N: usize> Fixed<Gauge, N> {
    pub(super) fn set(&self, values: [&'static str; N], figure: u64) {
        if let Some(gauge) = self.of(values) {
            gauge.set(i64::try_from(figure).unwrap_or(i64::MAX));
        }
    }
}

impl<M, const N: usize> Clone for Fixed<M, N> {
    fn clone(&self) -> Self {
        Self { keys: self.keys, cells: Arc::clone(&self.cells) }
    }
}

impl<M: EncodeMetric + TypedMetric, const N: usize> EncodeMetric for Fixed<M, N> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for (values, figure) in &*self.cells {
            let labels: [(&str, &str); N] = std::array::from_fn(|at| {
                (self.keys.get(at).copied().unwrap_or_default(), values.get(at).copied().unwrap_or_default())
            });
            figure.encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        M::TYPE
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn all_are_there_from_the_start_and_each_is_counted_for_itself() {
        let counters: Fixed<Counter, 2> = Fixed::new(["what", "outcome"], [["a", "good"], ["a", "bad"], ["b", "bad"]]);
        let mut registry = Registry::default();
        registry.register("things", "Things", counters.clone());
        counters.add(["a", "bad"], 2);
        counters.add(["b", "bad"], 1);
        let text = tapir_runtime::metrics::render(&registry);
        let rows: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let expected = [
            "things_total{what=\"a\",outcome=\"good\"} 0",
            "things_total{what=\"a\",outcome=\"bad\"} 2",
            "things_total{what=\"b\",outcome=\"bad\"} 1",
        ];
        assert_eq!(rows, expected);
    }
}
