//! What is counted of events. Never a label that comes from outside.

use jiff::Timestamp;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use strum::IntoEnumIterator as _;

use super::Outcome;

/// Label of candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: Outcome,
}

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        <&str>::from(*self).encode(encoder)
    }
}

/// All counters. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Counters {
    family: Family<OutcomeLabels, Counter>,
    /// The members of the family in the order of the outcomes: it is locked for each look-up.
    candidates: Vec<Counter>,
    /// Events acknowledged by the broker.
    pub sent: Counter,
    /// Events displaced by newer ones.
    pub displaced: Counter,
    /// Events forgotten because sending was switched off.
    pub disabled: Counter,
    /// Events that can never be sent.
    pub unsendable: Counter,
    /// Events that the disk did not give back.
    pub unreadable: Counter,
    /// Attempts to send that failed; the event is tried again.
    pub send_failures: Counter,
    /// Writes of events or names seen that failed; they are tried again.
    pub write_failures: Counter,
    /// Events that wait, those on their way included.
    pub queued: Gauge,
    /// Octets of their files.
    pub queued_octets: Gauge,
    /// Files of events and of names seen that were damaged at the start.
    pub damaged: Counter,
    /// Names remembered as seen.
    pub seen_names: Gauge,
    /// Names forgotten, by age or to make room.
    pub seen_forgotten: Counter,
    /// When the broker last acknowledged one, in Unix seconds.
    pub last_sent: Gauge,
    /// Octets of the folder of names seen, what is set aside there included.
    pub seen_octets: Gauge,
    /// Octets of the folder of events that wait, in the same way.
    pub waiting_octets: Gauge,
}

impl Default for Counters {
    fn default() -> Self {
        let family = Family::<OutcomeLabels, Counter>::default();
        // Present from the start, so that an alert on a rate sees the first one.
        let candidates = Outcome::iter().map(|outcome| family.get_or_create(&OutcomeLabels { outcome }).clone()).collect();
        Self {
            family,
            candidates,
            sent: Counter::default(),
            displaced: Counter::default(),
            disabled: Counter::default(),
            unsendable: Counter::default(),
            unreadable: Counter::default(),
            send_failures: Counter::default(),
            write_failures: Counter::default(),
            queued: Gauge::default(),
            queued_octets: Gauge::default(),
            damaged: Counter::default(),
            seen_names: Gauge::default(),
            seen_forgotten: Counter::default(),
            last_sent: Gauge::default(),
            seen_octets: Gauge::default(),
            waiting_octets: Gauge::default(),
        }
    }
}

impl Counters {
    /// Counts a candidate.
    #[inline]
    pub fn count(&self, outcome: Outcome) {
        if let Some(counter) = self.candidates.get(outcome as usize) {
            counter.inc();
        }
    }

    /// How many candidates had this outcome.
    #[must_use]
    pub fn counted(&self, outcome: Outcome) -> u64 {
        self.candidates.get(outcome as usize).map_or(0, Counter::get)
    }

    /// One was acknowledged.
    pub(super) fn acknowledged(&self) {
        self.sent.inc();
        self.last_sent.set(Timestamp::now().as_second());
    }

    /// What was lost and what was held back, by why.
    #[must_use]
    pub fn losses(&self) -> [(&'static str, u64); 8] {
        let of = |outcome: Outcome| (<&str>::from(outcome), self.counted(outcome));
        [
            ("displaced", self.displaced.get()),
            ("disabled", self.disabled.get()),
            ("unsendable", self.unsendable.get()),
            ("unreadable", self.unreadable.get()),
            of(Outcome::Full),
            of(Outcome::LimitedRate),
            of(Outcome::LimitedDomain),
            of(Outcome::StartUp),
        ]
    }

    /// Registers everything. The prefix is the registry's.
    pub fn register(&self, registry: &mut Registry) {
        let Self {
            family,
            candidates: _,
            sent,
            displaced,
            disabled,
            unsendable,
            unreadable,
            send_failures,
            write_failures,
            queued,
            queued_octets,
            damaged,
            seen_names,
            seen_forgotten,
            last_sent,
            seen_octets: _,
            waiting_octets: _,
        } = self.clone();
        registry.register("event_candidates", "Responses with names that are not well known, by what became of them", family);
        registry.register("events_sent", "new_qname events acknowledged by the broker", sent);
        registry.register("event_last_sent_seconds", "When the broker last acknowledged an event, in Unix seconds", last_sent);
        registry.register("events_displaced", "new_qname events lost to a full queue", displaced);
        registry.register("events_disabled", "new_qname events forgotten because sending was switched off", disabled);
        registry.register("events_unsendable", "new_qname events that the broker can never take", unsendable);
        registry.register("events_unreadable", "new_qname events that the disk did not give back", unreadable);
        registry.register("event_send_failures", "Attempts to send an event that failed and are repeated", send_failures);
        registry.register(
            "event_write_failures",
            "Writes of events or of names seen that failed and are repeated",
            write_failures,
        );
        registry.register("events_queued", "new_qname events that wait, those on their way included", queued);
        registry.register("events_queued_octets", "Octets on disk of new_qname events that wait", queued_octets);
        registry.register("damaged_files", "Files of events and of names seen that were damaged at the start", damaged);
        registry.register("seen_names", "Names remembered as seen", seen_names);
        registry.register("seen_names_forgotten", "Names forgotten by age or to make room for newer ones", seen_forgotten);
    }
}
