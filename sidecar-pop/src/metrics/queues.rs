//! How much waits in the queues between the threads, looked at when somebody asks.

use std::fmt::{self, Debug};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use tokio::sync::mpsc::WeakSender;

type Length = Arc<dyn Fn() -> usize + Send + Sync>;

/// All that were named.
#[derive(Clone, Default)]
pub(crate) struct Queues(Arc<Mutex<Vec<(&'static str, Length)>>>);

impl Queues {
    /// From now on this one, too. One that nobody writes to any more is empty.
    pub(crate) fn watch<T: Send + 'static>(&self, name: &'static str, queue: WeakSender<T>) {
        let length = move || queue.upgrade().map_or(0, |queue| queue.max_capacity() - queue.capacity());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((name, Arc::new(length)));
    }
}

impl EncodeMetric for Queues {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let queues = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (name, length) in queues {
            let length = i64::try_from(length()).unwrap_or(i64::MAX);
            ConstGauge::new(length).encode(encoder.encode_family(&[("queue", name)])?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}

impl Debug for Queues {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Queues").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[test]
    fn what_waits_is_told_and_who_looks_keeps_no_queue_open() {
        let (sender, mut receiver) = mpsc::channel(8);
        let queues = Queues::default();
        queues.watch("news", sender.downgrade());
        let mut registry = prometheus_client::registry::Registry::default();
        registry.register("q", "Q", queues);
        let shows = |length| tapir_runtime::metrics::render(&registry).contains(&format!("q{{queue=\"news\"}} {length}\n"));
        sender.try_send(1).unwrap();
        sender.try_send(2).unwrap();
        assert!(shows(2));
        assert_eq!(receiver.try_recv(), Ok(1));
        assert!(shows(1));
        drop(sender);
        assert!(shows(0));
        receiver.try_recv().unwrap();
        assert_eq!(receiver.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
    }
}
