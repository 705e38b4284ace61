//! What is counted of events. Never a label that comes from outside.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use strum::IntoEnumIterator as _;

use super::Outcome;

/// Label of candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabels {
    outcome: Outcome,
}

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        <&str>::from(*self).encode(encoder)
    }
}

/// All counters. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Candidates by what became of them.
    pub candidates: Family<OutcomeLabels, Counter>,
    /// Events acknowledged by the broker.
    pub sent: Counter,
    /// Events displaced by newer ones.
    pub displaced: Counter,
    /// Events forgotten because sending was switched off.
    pub disabled: Counter,
    /// Events that can never be sent.
    pub unsendable: Counter,
    /// Attempts to send that failed; the event is tried again.
    pub send_failures: Counter,
    /// Events that wait, those on their way included.
    pub queued: Gauge,
    /// Names remembered as seen.
    pub seen_names: Gauge,
    /// Names forgotten to make room.
    pub seen_forgotten: Counter,
}

impl Counters {
    /// Counts so many candidates with one outcome.
    pub fn count(&self, outcome: Outcome, candidates: u64) {
        self.candidates.get_or_create(&OutcomeLabels { outcome }).inc_by(candidates);
    }

    /// How many candidates had this outcome.
    #[must_use]
    pub fn counted(&self, outcome: Outcome) -> u64 {
        self.candidates.get_or_create(&OutcomeLabels { outcome }).get()
    }

    /// Registers everything. The prefix is the registry's.
    pub fn register(&self, registry: &mut Registry) {
        // Present from the start, so that an alert on a rate sees the first one.
        for outcome in Outcome::iter() {
            self.count(outcome, 0);
        }
        let Self { candidates, sent, displaced, disabled, unsendable, send_failures, queued, seen_names, seen_forgotten } =
            self.clone();
        registry.register("event_candidates", "Responses with names that are not well known, by what became of them", candidates);
        registry.register("events_sent", "new_qname events acknowledged by the broker", sent);
        registry.register("events_displaced", "new_qname events lost to a full queue", displaced);
        registry.register("events_disabled", "new_qname events forgotten because sending was switched off", disabled);
        registry.register("events_unsendable", "new_qname events that the broker can never take", unsendable);
        registry.register("event_send_failures", "Attempts to send an event that failed and are repeated", send_failures);
        registry.register("events_queued", "new_qname events that wait, those on their way included", queued);
        registry.register("seen_names", "Names remembered as seen", seen_names);
        registry.register("seen_names_forgotten", "Names forgotten to make room for newer ones", seen_forgotten);
    }
}
