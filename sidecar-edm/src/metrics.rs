//! What EDM counts. Never a label that comes from outside: no names, no addresses.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use strum::IntoEnumIterator as _;

use crate::input::End;
use crate::minimise::Reason;

/// Label of closed connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ClosedLabels {
    /// How it ended.
    pub end: End,
}

/// Label of frames without an event.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabels {
    /// Why.
    pub reason: Reason,
}

macro_rules! label_from_name {
    ($($label:ty),*) => {$(
        impl EncodeLabelValue for $label {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
                <&str>::from(*self).encode(encoder)
            }
        }
    )*};
}

label_from_name!(End, Reason);

/// All counters. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// dnstap connections open now.
    pub connections: Gauge,
    /// Connections that ended, by how.
    pub connections_closed: Family<ClosedLabels, Counter>,
    /// Connections that could not be accepted.
    pub accept_errors: Counter,
    /// Data frames read.
    pub frames: Counter,
    /// Data frames dropped because the worker did not keep up.
    pub frames_dropped: Counter,
    /// Data frames that made no event, by reason.
    pub frames_without_event: Family<ReasonLabels, Counter>,
    /// Events that came to be.
    pub events: Counter,
    /// Events acknowledged by the broker.
    pub events_sent: Counter,
    /// Events displaced by newer ones.
    pub events_displaced: Counter,
    /// Events forgotten because sending was switched off.
    pub events_disabled: Counter,
    /// Events that can never be sent (longer than the broker takes).
    pub events_unsendable: Counter,
    /// Attempts to send that failed; the event is tried again.
    pub send_failures: Counter,
    /// Events that wait, those on their way included.
    pub events_queued: Gauge,
    /// Names remembered as seen.
    pub seen_names: Gauge,
    /// Names forgotten to make room.
    pub seen_forgotten: Counter,
    /// Reads of the configuration folder that found something refused.
    pub reload_errors: Counter,
}

impl Metrics {
    /// Registers everything. The prefix is the registry's.
    pub fn register(&self, registry: &mut Registry) {
        let Self {
            connections,
            connections_closed,
            accept_errors,
            frames,
            frames_dropped,
            frames_without_event,
            events,
            events_sent,
            events_displaced,
            events_disabled,
            events_unsendable,
            send_failures,
            events_queued,
            seen_names,
            seen_forgotten,
            reload_errors,
        } = self.clone();
        // Present from the start, so that an alert on a rate sees the first one.
        for end in End::iter() {
            let _ = connections_closed.get_or_create(&ClosedLabels { end });
        }
        for reason in Reason::iter() {
            let _ = frames_without_event.get_or_create(&ReasonLabels { reason });
        }
        registry.register("input_connections", "dnstap connections open now", connections);
        registry.register("input_connections_closed", "dnstap connections that ended, by how", connections_closed);
        registry.register("input_accept_errors", "dnstap connections that could not be accepted", accept_errors);
        registry.register("frames", "dnstap frames read", frames);
        registry.register("frames_dropped", "dnstap frames dropped because the worker did not keep up", frames_dropped);
        registry.register("frames_without_event", "dnstap frames that made no event, by reason", frames_without_event);
        registry.register("events", "new_qname events that came to be", events);
        registry.register("events_sent", "new_qname events acknowledged by the broker", events_sent);
        registry.register("events_displaced", "new_qname events lost to a full queue", events_displaced);
        registry.register("events_disabled", "new_qname events forgotten because sending was switched off", events_disabled);
        registry.register("events_unsendable", "new_qname events that the broker can never take", events_unsendable);
        registry.register("event_send_failures", "Attempts to send an event that failed and are repeated", send_failures);
        registry.register("events_queued", "new_qname events that wait, those on their way included", events_queued);
        registry.register("seen_names", "Names remembered as seen", seen_names);
        registry.register("seen_names_forgotten", "Names forgotten to make room for newer ones", seen_forgotten);
        registry.register("reload_errors", "Reads of the configuration folder in which something was refused", reload_errors);
    }
}
