//! What EDM counts. Never a label that comes from outside: no names, no addresses.

mod now;
mod upstream;

use std::sync::Arc;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

pub use now::Now;

use crate::dump::Dumped;
use crate::events::Events;
use crate::fetched::Fetches;
use crate::input::{Counts, End};
use crate::minimiser::{FrameCounts, RotationCounts};
use crate::outbox;
use crate::sessions;
use crate::telemetry::Incidents;

/// Label of closed connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ClosedLabels {
    /// How it ended.
    pub end: End,
}

impl EncodeLabelValue for End {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        <&str>::from(*self).encode(encoder)
    }
}

/// The counters of all parts but the events, which have their own. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Of the connections.
    pub input: Counts,
    /// Of the frames.
    pub frames: FrameCounts,
    /// Of the ends of minutes.
    pub rotation: RotationCounts,
    /// Of the outbox.
    pub aggregates: outbox::Counters,
    /// Of the session files.
    pub sessions: sessions::Counters,
    /// Reads of the configuration folder in which something was refused.
    pub reload_errors: Counter,
    /// Of lists that servers have.
    pub fetches: Fetches,
    /// Of the debug dump.
    pub dumped: Dumped,
    /// Of exceptional events.
    pub incidents: Incidents,
    /// What is at this moment.
    pub now: Now,
}

impl Metrics {
    /// Everything under its own name, beginning with `tapir_edm_`.
    #[must_use]
    pub fn own(&self, events: &Events) -> Registry {
        let mut registry = tapir_runtime::metrics::registry("tapir_edm");
        self.input.register(&mut registry);
        self.frames.register(&mut registry);
        self.rotation.register(&mut registry);
        self.aggregates.register(&mut registry);
        self.sessions.register(&mut registry);
        self.now.register(&mut registry);
        self.fetches.register(&mut registry);
        self.dumped.register(&mut registry);
        self.incidents.register(&mut registry);
        events.register(&mut registry);
        let reload_errors = self.reload_errors.clone();
        registry.register("reload_errors", "Reads of the configuration folder in which something was refused", reload_errors);
        registry
    }

    /// Upstream's names for what is the same thing here, beginning with `edm_`.
    #[must_use]
    pub fn upstream(self: &Arc<Self>, events: &Events) -> Registry {
        let mut registry = Registry::with_prefix("edm");
        registry.register_collector(Box::new(upstream::Names { metrics: Arc::clone(self), events: events.clone() }));
        registry
    }
}
