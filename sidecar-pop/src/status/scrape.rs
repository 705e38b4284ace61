//! Metrics of what is known anyway: the sources, the configuration, certificate and keys. Looked at when somebody asks; what there is none
//! of is not shown.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError};

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use tapir_wire::config::pop::List;
use tapir_wire::node::Renewal;
use tapir_wire::status::SourceState;

use super::Shared;
use super::rows::Row;
use crate::feeds::Failed;

/// Looks there.
#[derive(Debug)]
pub(super) struct Scrape(pub(super) Shared);

/// What was found, of one moment.
struct Seen {
    rows: Vec<(Row, SourceState)>,
    failures: BTreeMap<Arc<str>, Failed>,
    generation: u64,
    loaded_at: Option<Timestamp>,
    refused: bool,
    not_after: Option<Timestamp>,
    renewal: Option<Renewal>,
    keys: Option<(usize, Timestamp)>,
}

impl Scrape {
    /// Whoever tells something here waits for this: it copies no text.
    fn look(&self) -> Seen {
        let facts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (sources, cores) = (&facts.sources, &facts.core_sources);
        let failures = facts.failures.clone();
        let seen = Seen {
            rows: sources.iter().map(|row| (row.clone(), row.state(cores, facts.keys_error.as_ref()))).collect(),
            failures: BTreeMap::new(),
            generation: facts.generation,
            loaded_at: facts.config.loaded_at,
            refused: facts.config.error.is_some(),
            not_after: facts.identity.as_ref().map(|identity| identity.not_after),
            renewal: facts.renewal,
            keys: facts.keys,
        };
        drop(facts);
        Seen { failures: failures.all(), ..seen }
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let seen = self.look();
        let mut page = Page(&mut encoder);
        page.sources(&seen)?;
        page.configuration(&seen)?;
        page.identity(&seen)
    }
}

/// What is written to.
struct Page<'a, 'b>(&'a mut DescriptorEncoder<'b>);

impl Page<'_, '_> {
    fn sources(&mut self, seen: &Seen) -> fmt::Result {
        let rows = || seen.rows.iter().map(|(row, _)| (row, [("source", row.told.name.as_str()), ("list", list(row.list))]));
        self.gauges("source_names", "Names that a source holds", rows().map(|(row, labels)| (labels, figure(row.told.entries))))?;
        self.gauges(
            "source_rejected",
            "Entries of a source that were refused",
            rows().map(|(row, labels)| (labels, figure(row.told.rejected))),
        )?;
        self.gauges(
            "source_serial",
            "Version that a source gave what it holds",
            rows().filter_map(|(row, labels)| Some((labels, i64::from(row.told.serial?)))),
        )?;
        self.gauges(
            "source_updated_timestamp_seconds",
            "Time of the last change of a source",
            rows().filter_map(|(row, labels)| Some((labels, row.told.updated_at?.as_second()))),
        )?;
        self.gauges(
            "source_expires_timestamp_seconds",
            "When what a source holds stops to count, unless it is reached before",
            rows().filter_map(|(row, labels)| Some((labels, row.told.expires_at?.as_second()))),
        )?;
        let states = seen.rows.iter().map(|(row, state)| ([("source", row.told.name.as_str()), ("state", label(*state))], 1));
        self.gauges("source_state", "1 for the state that a source has", states)?;
        let of = |row: &Row| seen.failures.get(row.told.name.as_str()).copied().unwrap_or_default();
        self.counters(
            "source_failures",
            "Attempts to have a source that failed",
            rows().map(|(row, labels)| (labels, of(row).attempts)),
        )?;
        self.counters(
            "source_panics",
            "Attempts to have a source that ended in a panic, a fault of POP that what the source has brings out",
            rows().map(|(row, labels)| (labels, of(row).panics)),
        )
    }

    fn configuration(&mut self, seen: &Seen) -> fmt::Result {
        self.gauge("config_generation", "Configurations that came into force", Some(figure(seen.generation)))?;
        self.gauge("config_refused", "1 while the newest configuration is not in force", Some(i64::from(seen.refused)))?;
        let loaded = seen.loaded_at.map(Timestamp::as_second);
        self.gauge("config_loaded_timestamp_seconds", "Since when the configuration is in force", loaded)
    }

    fn identity(&mut self, seen: &Seen) -> fmt::Result {
        let renewal = |at: fn(&Renewal) -> Timestamp| seen.renewal.as_ref().map(|renewal| at(renewal).as_second());
        let end = seen.not_after.map(Timestamp::as_second);
        self.gauge("certificate_not_after_timestamp_seconds", "End of the node's certificate", end)?;
        let due = renewal(|renewal| renewal.due);
        self.gauge("certificate_renewal_due_timestamp_seconds", "When the certificate is to be renewed", due)?;
        let overdue = renewal(|renewal| renewal.overdue);
        self.gauge("certificate_renewal_overdue_timestamp_seconds", "From when on its renewal is late", overdue)?;
        self.gauge(
            "trusted_keys",
            "Keys that messages of Core may be signed with",
            seen.keys.map(|(keys, _)| figure(keys as u64)),
        )?;
        let loaded = seen.keys.map(|(_, since)| since.as_second());
        self.gauge("trusted_keys_loaded_timestamp_seconds", "Since when these keys are in force", loaded)
    }

    fn gauge(&mut self, name: &str, help: &str, figure: Option<i64>) -> fmt::Result {
        let single = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        figure.map_or(Ok(()), |figure| ConstGauge::new(figure).encode(single))
    }

    fn counters<L: EncodeLabelSet>(&mut self, name: &str, help: &str, rows: impl Iterator<Item = (L, u64)>) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, count) in rows {
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn gauges<L: EncodeLabelSet>(&mut self, name: &str, help: &str, rows: impl Iterator<Item = (L, i64)>) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, figure) in rows {
            ConstGauge::new(figure).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

fn figure(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

const fn list(list: List) -> &'static str {
    match list {
        List::Allow => "Allow",
        List::Deny => "Deny",
        List::Doubt => "Doubt",
    }
}

const fn label(state: SourceState) -> &'static str {
    match state {
        SourceState::Ready => "Ready",
        SourceState::Pending => "Pending",
        SourceState::Stale => "Stale",
        SourceState::Failed => "Failed",
        SourceState::Unknown => "Unknown",
    }
}
