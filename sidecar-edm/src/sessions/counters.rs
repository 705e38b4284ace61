//! What becomes of rows and files, in numbers.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use strum::{EnumIter, IntoEnumIterator as _, IntoStaticStr};

use crate::disk::Dropped;

/// Why a row is in no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Reason {
    /// There is no key for pseudonyms.
    NoKey,
    /// The thread that writes was behind.
    Busy,
    /// Larger than a file's row may be.
    TooLarge,
    /// The file of this interval is as large as one may be.
    FileFull,
    /// Little is left of the disk.
    DiskLow,
    /// The file could not be written.
    WriteFailed,
    /// The process ended before their file did.
    Ended,
}

/// Label of rows that were dropped.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabels {
    /// Why.
    pub reason: Reason,
}

impl EncodeLabelValue for Reason {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        <&str>::from(*self).encode(encoder)
    }
}

/// All of them. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Rows in finished files.
    pub rows: Counter,
    /// Rows that are in none.
    pub rows_dropped: Family<ReasonLabels, Counter>,
    /// Rows without their message, since it tells of the client and cannot be changed.
    pub messages_left_out: Counter,
    /// Finished files.
    pub files: Counter,
    /// Files that could not be written.
    pub write_failures: Counter,
    /// Files dropped because they were too old.
    pub files_dropped_old: Counter,
    /// Files dropped for want of room.
    pub files_dropped_room: Counter,
    /// Octets of all finished files.
    pub octets: Gauge,
    /// Pseudonyms found in the cache.
    pub cache_hits: Counter,
    /// Pseudonyms that lost their place in it.
    pub cache_evicted: Counter,
    /// Keys that were derived, each with 64 MiB of memory for a moment.
    pub keys_derived: Counter,
}

impl Counters {
    /// Rows that are in no file, whatever the reason.
    #[must_use]
    pub fn all_dropped(&self) -> u64 {
        Reason::iter().map(|reason| self.rows_dropped.get_or_create(&ReasonLabels { reason }).get()).sum()
    }

    /// Rows that are in no file.
    pub fn dropped(&self, reason: Reason, rows: u64) {
        if rows == 0 {
            return;
        }
        self.rows_dropped.get_or_create(&ReasonLabels { reason }).inc_by(rows);
    }

    pub(super) fn files_dropped(&self, dropped: Dropped) {
        let Dropped { old, room } = dropped;
        self.files_dropped_old.inc_by(old);
        self.files_dropped_room.inc_by(room);
        if dropped != Dropped::default() {
            tracing::info!(old, room, "session files dropped");
        }
    }

    /// Registers everything. The prefix is the registry's.
    pub fn register(&self, registry: &mut Registry) {
        let Self {
            rows,
            rows_dropped,
            messages_left_out,
            files,
            write_failures,
            files_dropped_old,
            files_dropped_room,
            octets,
            cache_hits,
            cache_evicted,
            keys_derived,
        } = self.clone();
        // Present from the start, so that an alert on a rate sees the first one.
        for reason in Reason::iter() {
            let _ = rows_dropped.get_or_create(&ReasonLabels { reason });
        }
        registry.register("session_rows", "Rows in finished session files", rows);
        registry.register("session_rows_dropped", "Rows that are in no session file, by reason", rows_dropped);
        registry.register(
            "session_messages_left_out",
            "Rows without their message, out of which the client could not be taken",
            messages_left_out,
        );
        registry.register("session_files", "Session files written", files);
        registry.register("session_write_failures", "Session files that could not be written", write_failures);
        registry.register("session_files_dropped_old", "Session files dropped because they were too old", files_dropped_old);
        registry.register("session_files_dropped_room", "Session files dropped for want of room", files_dropped_room);
        registry.register("session_files_bytes", "Octets of all session files", octets);
        registry.register("pseudonym_cache_hits", "Pseudonyms found in the cache", cache_hits);
        registry.register("pseudonym_cache_evicted", "Pseudonyms that lost their place in the cache", cache_evicted);
        registry.register("pseudonym_keys_derived", "Keys for pseudonyms that were derived", keys_derived);
    }
}
