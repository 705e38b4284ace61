//! Counters and gauges, `tapir_pop_…`.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

type Labels<const N: usize> = [(&'static str, &'static str); N];

/// All of them. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    queries: Family<Labels<1>, Counter>,
    refused: Family<Labels<1>, Counter>,
    transfers: Family<Labels<1>, Counter>,
    notifies: Family<Labels<1>, Counter>,
    messages: Family<Labels<1>, Counter>,
    observations: Family<Labels<1>, Counter>,
    loads: Family<Labels<2>, Counter>,
    state_errors: Family<Labels<1>, Counter>,
    /// Addresses at which the zone is served.
    pub listening: Gauge,
    /// Versions of the zone that were published.
    pub publications: Counter,
    /// The serial that is served.
    pub serial: Gauge,
    /// Records in the zone.
    pub records: Gauge,
    /// Names with a live observation, and those that are only remembered against replay.
    pub observed_names: Gauge,
    /// Time of the last loop test, Unix seconds; 0 before the first.
    pub last_looptest: Gauge,
    /// How long the last building of the zone took.
    pub build_microseconds: Gauge,
}

impl Metrics {
    /// Registers everything.
    pub fn register(&self, registry: &mut Registry) {
        let Self {
            queries,
            refused,
            transfers,
            notifies,
            messages,
            observations,
            loads,
            state_errors,
            listening,
            publications,
            serial,
            records,
            observed_names,
            last_looptest,
            build_microseconds,
        } = self.clone();
        registry.register("dns_queries", "DNS requests by transport", queries);
        registry.register("dns_refused", "DNS requests and connections that were turned away", refused);
        registry.register("dns_transfers", "Zone transfers by outcome", transfers);
        registry.register("dns_listening", "Addresses at which the zone is served", listening);
        registry.register("notifies", "NOTIFY messages by outcome", notifies);
        registry.register("messages", "Messages of Core by outcome", messages);
        registry.register(
            "observations",
            "Entries of accepted messages by outcome, and names that were displaced by others",
            observations,
        );
        registry.register("observed_names", "Names that are remembered from observations", observed_names);
        registry.register("last_looptest_timestamp_seconds", "Time of the last loop test that came through", last_looptest);
        registry.register("loads", "Loads of configuration, identity, trusted keys and settings of Core by outcome", loads);
        registry.register("state_errors", "Reads and writes of kept state that failed", state_errors);
        registry.register("zone_publications", "Versions of the zone that were published", publications);
        registry.register("zone_serial", "Serial that is served", serial);
        registry.register("zone_records", "Policy records in the zone", records);
        registry.register("zone_build_microseconds", "Duration of the last building of the zone", build_microseconds);
    }

    pub(crate) fn query(&self, transport: &'static str) {
        self.queries.get_or_create(&[("transport", transport)]).inc();
    }

    pub(crate) fn refused(&self, transport: &'static str) {
        self.refused.get_or_create(&[("transport", transport)]).inc();
    }

    pub(crate) fn transfer(&self, outcome: &'static str) {
        self.transfers.get_or_create(&[("outcome", outcome)]).inc();
    }

    pub(crate) fn notify(&self, outcome: &'static str) {
        self.notifies.get_or_create(&[("outcome", outcome)]).inc();
    }

    pub(crate) fn notifies_given_up(&self) -> u64 {
        self.notifies.get(&[("outcome", "given_up")]).map_or(0, |counter| counter.get())
    }

    pub(crate) fn message(&self, outcome: &'static str) {
        self.messages.get_or_create(&[("outcome", outcome)]).inc();
    }

    pub(crate) fn observation(&self, outcome: &'static str, count: u64) {
        self.observations.get_or_create(&[("outcome", outcome)]).inc_by(count);
    }

    pub(crate) fn load(&self, what: &'static str, outcome: &'static str) {
        self.loads.get_or_create(&[("what", what), ("outcome", outcome)]).inc();
    }

    pub(crate) fn state_error(&self, what: &'static str) {
        self.state_errors.get_or_create(&[("what", what)]).inc();
    }
}
