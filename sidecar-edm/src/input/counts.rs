//! What the input counts.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use strum::IntoEnumIterator as _;

use super::end::End;
use super::lag::{Lag, Telling};
use crate::metrics::ClosedLabels;

/// Counters of all connections. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Connections open now.
    pub connections: Gauge,
    /// Connections that ended, by how; also those that were refused.
    pub closed: Family<ClosedLabels, Counter>,
    /// Connections that could not be accepted.
    pub accept_errors: Counter,
    /// Data frames read.
    pub frames: Counter,
    /// Data frames read and dropped because the work on those before them took too long.
    pub frames_dropped: Counter,
    /// Octets read.
    pub octets: Counter,
    /// Reads.
    pub reads: Counter,
    /// Reads that filled all the room there was.
    pub full_reads: Counter,
    /// How far the input is behind.
    pub lag: Arc<Lag>,
}

impl Counts {
    /// Registers everything. The prefix is the registry's.
    pub fn register(&self, registry: &mut Registry) {
        let Self { connections, closed, accept_errors, frames, frames_dropped, octets, reads, full_reads, lag } = self.clone();
        // Present from the start, so that an alert on a rate sees the first one.
        for end in End::iter() {
            let _ = closed.get_or_create(&ClosedLabels { end });
        }
        registry.register("input_connections", "dnstap connections open now", connections);
        registry.register("input_connections_closed", "dnstap connections that ended, by how", closed);
        registry.register("input_accept_errors", "dnstap connections that could not be accepted", accept_errors);
        registry.register("input_frames", "dnstap frames read", frames);
        registry.register(
            "input_frames_dropped",
            "dnstap frames dropped because the work on others took too long",
            frames_dropped,
        );
        registry.register("input_octets", "Octets read from dnstap connections", octets);
        registry.register("input_reads", "Reads from dnstap connections", reads);
        registry.register("input_full_reads", "Reads from dnstap connections that left more waiting", full_reads);
        registry.register_collector(Box::new(Telling(lag)));
    }

    pub(super) fn ended(&self, end: End) {
        self.closed.get_or_create(&ClosedLabels { end }).inc();
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn all_is_told_from_the_start() {
        let (counts, mut registry) = (Counts::default(), tapir_runtime::metrics::registry("tapir_edm"));
        counts.register(&mut registry);
        counts.ended(End::Limit);
        counts.lag.aged(Instant::now(), Duration::from_millis(1500));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "tapir_edm_input_connections_closed_total{end=\"limit\"} 1",
            "tapir_edm_input_connections_closed_total{end=\"idle\"} 0",
            "tapir_edm_input_lag_seconds 1.5",
            "tapir_edm_input_waiting_octets 0.0",
            "tapir_edm_input_full_reads_total 0",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} not in\n{text}");
        }
    }
}
