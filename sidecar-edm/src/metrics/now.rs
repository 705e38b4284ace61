//! What is at the moment of asking.

use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tapir_wire::status::{CertificateEnds, MemoryStatus, StorageStatus};

use crate::reload::InForce;

/// Label of memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct PartLabels {
    /// What holds it.
    part: &'static str,
}

/// Label of folders.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct FolderLabels {
    /// Its name.
    folder: String,
}

/// Label of certificates.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ServiceLabels {
    /// Whom it is shown to.
    service: &'static str,
}

/// Gauges that are set when they are asked for. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Now {
    well_known_domains: Gauge,
    ignored_names: Gauge,
    ignored_clients: Gauge,
    certificate_end: Family<ServiceLabels, Gauge>,
    memory: Family<PartLabels, Gauge>,
    memory_bound: Gauge,
    storage: Family<FolderLabels, Gauge>,
}

impl Now {
    pub(super) fn register(&self, registry: &mut Registry) {
        let Self { well_known_domains, ignored_names, ignored_clients, certificate_end, memory, memory_bound, storage } =
            self.clone();
        registry.register("well_known_domains", "Words in the list of well-known domains", well_known_domains);
        registry.register("ignored_names", "Words in the list of names that are left out", ignored_names);
        registry.register("ignored_clients", "Prefixes in the list of clients that are left out", ignored_clients);
        registry.register(
            "certificate_not_after_timestamp_seconds",
            "End of the certificate that is shown there, in Unix seconds; 0 without one",
            certificate_end,
        );
        registry.register("memory_bytes", "Octets that large parts of memory hold", memory);
        registry.register("memory_bound_bytes", "Octets that they may hold together; beyond it no sketch is begun", memory_bound);
        registry.register("storage_bytes", "Octets that folders hold, as of the last look at them", storage);
    }

    /// This is how it is.
    pub fn tell(&self, in_force: &InForce, memory: &MemoryStatus, storage: &StorageStatus) {
        let lists = &in_force.lists;
        let words = |list: &Option<std::sync::Arc<crate::list::List>>| list.as_ref().map_or(0, |list| signed(list.words()));
        self.well_known_domains.set(words(&lists.well_known));
        self.ignored_names.set(words(&lists.ignored_names));
        self.ignored_clients.set(signed(lists.ignored_clients.len() as u64));
        let CertificateEnds { events, aggregates, input } = in_force.certificate_ends();
        for (service, end) in [("events", events), ("aggregates", aggregates), ("input", input)] {
            self.certificate_end.get_or_create(&ServiceLabels { service }).set(end.map_or(0, Timestamp::as_second));
        }
        for (part, octets) in [
            ("lists", memory.lists),
            ("rows", memory.rows),
            ("sketches", memory.sketches),
            ("seen_table", memory.seen_table),
            ("sessions", memory.sessions),
        ] {
            self.memory.get_or_create(&PartLabels { part }).set(signed(octets));
        }
        self.memory_bound.set(signed(memory.bound));
        for (folder, octets) in &storage.folders {
            self.storage.get_or_create(&FolderLabels { folder: folder.clone() }).set(signed(*octets));
        }
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
