//! Upstream's names (`spec/edm.md` 12.1), so that dashboards carry over.
//!
//! `edm_cryptopan_lru_*` tells of addresses in session rows alone, since no other is looked up. Not here: what Go tells of itself.

use std::fmt::Error;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::Metrics;
use crate::events::{Events, Outcome};
use crate::minimiser::Fate;

/// Tells them when asked.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) metrics: Arc<Metrics>,
    pub(super) events: Events,
}

impl Collector for Names {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let (frames, events) = (&self.metrics.frames, self.events.counters());
        let of = |fates: &[Fate]| fates.iter().map(|fate| frames.of(*fate)).sum::<u64>();
        let unparsable = of(&[Fate::NoMessage, Fate::DnsTruncated, Fate::DnsName, Fate::DnsRecordData]);
        let counters = [
            ("processed_dnstap", "dnstap frames looked at", frames.all()),
            ("new_qname_queued", "new_qname events queued", events.counted(Outcome::Queued)),
            (
                "new_qname_discarded",
                "new_qname events dropped because the queue was full",
                events.displaced.get() + events.counted(Outcome::Full),
            ),
            ("seen_qname_lru_evicted", "Names forgotten to make room for newer ones", events.seen_forgotten.get()),
            ("ignored_client_ip", "dnstap frames left out by their client", of(&[Fate::ClientIgnored])),
            ("ignored_client_ip_error", "dnstap frames left out because the client is not known", of(&[Fate::ClientUnknown])),
            ("ignored_question_name", "dnstap frames left out by a name", of(&[Fate::NameIgnored])),
            ("ignored_dns_parse_error", "dnstap frames without a DNS message that can be read", unparsable),
            ("ignored_empty_question_section", "dnstap frames without a question", of(&[Fate::NoQuestion])),
            ("cryptopan_lru_hit", "Pseudonyms found in the cache", self.metrics.sessions.cache_hits.get()),
            ("cryptopan_lru_evicted", "Pseudonyms that lost their place in the cache", self.metrics.sessions.cache_evicted.get()),
            // A name that was read is one.
            ("ignored_invalid_question_name", "dnstap frames with a name that is none", 0),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        let waiting = ConstGauge::new(i64::try_from(self.events.held().events).unwrap_or(i64::MAX));
        waiting.encode(encoder.encode_descriptor(
            "new_qname_ch_len",
            "new_qname events that wait",
            None,
            waiting.metric_type(),
        )?)
    }
}
