//! What becomes of files, in numbers.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use strum::IntoEnumIterator as _;

use super::Refusal;
use crate::disk::{Dropped, Entry};

/// Label of refusals.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RefusalLabels {
    /// Core's answer.
    pub status: Refusal,
}

impl EncodeLabelValue for Refusal {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        <&str>::from(*self).encode(encoder)
    }
}

/// All of them. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Files written.
    pub written: Counter,
    /// Rows left out of files.
    pub rows_skipped: Counter,
    /// Tries to write a file that failed.
    pub write_failures: Counter,
    /// Minutes that never became a file.
    pub minutes_lost: Counter,
    /// Files that Core has.
    pub sent: Counter,
    /// Tries to send that failed and are repeated.
    pub send_failures: Counter,
    /// Refusals, by answer.
    pub refused: Family<RefusalLabels, Counter>,
    /// Unsent files dropped because they were too old.
    pub dropped_old: Counter,
    /// Unsent files dropped for want of room.
    pub dropped_room: Counter,
    /// Unsent files removed, and minutes not written, because sending was forbidden.
    pub forgotten: Counter,
    /// Files that wait.
    pub waiting: Gauge,
    /// Octets that wait.
    pub waiting_octets: Gauge,
    /// When Core last took one, in Unix seconds.
    pub last_sent: Gauge,
    /// Octets of what Core has and is still kept.
    pub sent_octets: Gauge,
    /// Files that Core refused and that are kept apart.
    pub refused_files: Gauge,
    /// Their octets.
    pub refused_octets: Gauge,
}

impl Counters {
    pub(super) fn dropped(&self, dropped: Dropped) {
        self.dropped_old.inc_by(dropped.old);
        self.dropped_room.inc_by(dropped.room);
        if dropped != Dropped::default() {
            let Dropped { old, room } = dropped;
            tracing::warn!(old, room, "unsent histogram files dropped");
        }
    }

    pub(super) fn waits(&self, waiting: &[Entry]) {
        self.waiting.set(signed(waiting.len() as u64));
        self.waiting_octets.set(signed(octets(waiting)));
    }

    /// All refusals.
    #[must_use]
    pub fn all_refused(&self) -> u64 {
        Refusal::iter().map(|status| self.refused.get_or_create(&RefusalLabels { status }).get()).sum()
    }

    /// Registers everything. The prefix is the registry's.
    pub fn register(&self, registry: &mut Registry) {
        let Self {
            written,
            rows_skipped,
            write_failures,
            minutes_lost,
            sent,
            send_failures,
            refused,
            dropped_old,
            dropped_room,
            forgotten,
            waiting,
            waiting_octets,
            last_sent,
            sent_octets: _,
            refused_files,
            refused_octets: _,
        } = self.clone();
        // Present from the start, so that an alert on a rate sees the first one.
        for status in Refusal::iter() {
            let _ = refused.get_or_create(&RefusalLabels { status });
        }
        registry.register("aggregates_written", "Histogram files written", written);
        registry.register("aggregate_rows_skipped", "Rows left out of histogram files because they do not fit", rows_skipped);
        registry.register("aggregate_write_failures", "Tries to write a histogram file that failed", write_failures);
        registry.register("aggregate_minutes_lost", "Minutes whose histogram the disk did not take in time", minutes_lost);
        registry.register("aggregates_sent", "Histogram files that Core has", sent);
        registry.register(
            "aggregate_send_failures",
            "Tries to send a histogram file that failed and are repeated",
            send_failures,
        );
        registry.register("aggregates_refused", "Histogram files that Core refused for good, by its answer", refused);
        registry.register("aggregates_dropped_old", "Unsent histogram files dropped because they were too old", dropped_old);
        registry.register("aggregates_dropped_room", "Unsent histogram files dropped for want of room", dropped_room);
        registry.register("aggregates_disabled", "Unsent histogram files removed because sending was switched off", forgotten);
        registry.register("aggregates_set_aside", "Histogram files that Core refused and that are kept apart", refused_files);
        registry.register("aggregates_waiting", "Histogram files that wait to be sent", waiting);
        registry.register("aggregates_waiting_bytes", "Octets of histogram files that wait to be sent", waiting_octets);
        registry.register("aggregate_last_sent_seconds", "When Core last took a histogram file, in Unix seconds", last_sent);
    }
}

pub(super) fn octets(files: &[Entry]) -> u64 {
    files.iter().map(|file| file.octets).sum()
}

pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
