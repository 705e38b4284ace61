//! The decision for one candidate, on the thread of its connection.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use prometheus_client::registry::Registry;

use super::clerk::{Clerk, Start};
use super::handover::Handover;
use super::limits::Limits;
use super::publisher::{Broker, Publisher};
use super::queue::Queue;
use super::seen::{Found, Table};
use super::settings::Settings;
use super::{Candidate, Counters, Outcome};
use crate::memory::Budget;
use crate::names::WireName;
use crate::privacy;

/// Below this zone every name may make an event, list or no list: it is how operators test the loop through Core.
const LOOPTEST: [&[u8]; 3] = [b"looptest", b"dnstapir", b"se"];

/// Events that wait for the disk have this part of what the container leaves at most.
const BUFFERED_SHARE: usize = 16;

/// Where candidates are offered. Cloning shares it; when the last one goes, what is not written yet is written by a thread that ends then.
#[derive(Clone, Debug)]
pub struct Events {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: ArcSwap<Settings>,
    table: Arc<ArcSwap<Table>>,
    limits: Limits,
    handover: Arc<Handover>,
    queue: Arc<Queue>,
    counters: Counters,
    started: Instant,
    unusable: Option<String>,
    /// Octets of events in memory at most, whatever the settings say.
    most_buffered: usize,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.handover.close();
    }
}

/// What is held at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Events that wait, those on their way included.
    pub events: u64,
    /// Their octets on disk.
    pub octets: u64,
    /// Names remembered as seen.
    pub seen_names: u64,
    /// Octets of the table that they are remembered in.
    pub seen_table: u64,
}

impl Events {
    /// With what is kept in `folder`. Nothing that is wrong there ends the process; it is told, and events go on without.
    #[must_use]
    pub fn open(folder: &Path, settings: Settings, budget: &Arc<Budget>) -> Self {
        let handover = Arc::new(Handover::default());
        let table = Arc::new(ArcSwap::from_pointee(Table::new(0)));
        let counters = Counters::default();
        let (theirs, their_table) = (Arc::clone(&handover), Arc::clone(&table));
        let Start { clerk, queue, age, unusable } = Clerk::open(folder, &settings, budget, theirs, their_table, counters.clone());
        if let Err(error) = std::thread::Builder::new().name("events".to_owned()).spawn(move || clerk.run()) {
            // Then nothing is taken either.
            tracing::error!(%error, "there can be no thread that writes events: none are made");
            handover.close();
            handover.end();
        }
        let limits = Limits::new(table.load().secret(), age);
        let inner = Inner {
            settings: ArcSwap::from_pointee(Settings::default()),
            table,
            limits,
            handover,
            queue,
            counters,
            started: Instant::now(),
            unusable,
            most_buffered: budget.bound() / BUFFERED_SHARE,
        };
        let events = Self { inner: Arc::new(inner) };
        events.configure(settings);
        events
    }

    /// Why the folder could not be used when it was opened, if it could not; then all is in memory.
    #[must_use]
    pub fn unusable(&self) -> Option<&str> {
        self.inner.unusable.as_deref()
    }

    /// Decides, and counts what was decided. Never waits for disk or network. A name that was seen costs one look into memory.
    pub fn offer(&self, candidate: &Candidate<'_>) -> Outcome {
        let outcome = self.decide(candidate, || u64::try_from(self.inner.started.elapsed().as_nanos()).unwrap_or(u64::MAX));
        self.inner.counters.count(outcome);
        outcome
    }

    /// Takes other settings into force. Events of somebody who must not send any more are forgotten.
    pub fn configure(&self, mut settings: Settings) {
        // While the disk hangs these are in memory, with as many that it was given before.
        settings.buffered_octets = settings.buffered_octets.min(self.inner.most_buffered);
        self.inner.settings.store(Arc::new(settings.clone()));
        if settings.forbidden {
            self.inner.queue.close();
        }
        self.inner.handover.configure(settings);
    }

    /// The way out, for one task.
    #[must_use]
    pub fn publisher(&self, broker: Broker) -> Publisher {
        Publisher::new(self.clone(), broker)
    }

    /// What is held at this moment.
    #[must_use]
    pub fn held(&self) -> Held {
        let Inner { queue, table, .. } = &*self.inner;
        let table = table.load();
        Held { events: queue.len(), octets: queue.octets(), seen_names: table.len(), seen_table: table.octets() as u64 }
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.inner.counters
    }

    /// Registers everything that is counted.
    pub fn register(&self, registry: &mut Registry) {
        self.inner.counters.register(registry);
    }

    /// The end: nothing more is taken, and what is not on disk yet is brought there. False when the disk did not take it in time.
    #[must_use]
    pub fn finish(&self, patience: Duration) -> bool {
        self.inner.handover.close();
        self.inner.handover.ended(patience)
    }

    pub(super) fn queue(&self) -> &Queue {
        &self.inner.queue
    }

    pub(super) fn settings(&self) -> Arc<Settings> {
        self.inner.settings.load_full()
    }

    /// Nothing is on its way into the queue, and nothing is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.inner.handover.is_empty() && self.inner.queue.is_empty()
    }

    fn decide(&self, candidate: &Candidate<'_>, now: impl Fn() -> u64) -> Outcome {
        let Inner { settings, table, limits, handover, .. } = &*self.inner;
        let settings = settings.load();
        if !settings.sending {
            return Outcome::NotSending;
        }
        if !candidate.has_list && !is_looptest(candidate.key.name()) {
            return Outcome::NoList;
        }
        if privacy::zone(candidate.key).is_some_and(|zone| !settings.reported.contains(zone)) {
            return Outcome::SpecialUse;
        }
        let known = table.load();
        let print = known.secret().fingerprint(candidate.key.octets());
        match known.find(print) {
            Found::New => {}
            Found::Marked => return Outcome::Seen,
            Found::Renewed => {
                handover.put_mark(print, table);
                return Outcome::Seen;
            }
        }
        // Before the search for the address, which takes longer than all the rest: what is limited makes no event either way.
        if let Err(outcome) = limits.take(candidate.key, &settings.allowed, now()) {
            return outcome;
        }
        let client = client_ip(candidate.client).filter(|_| !settings.reported.client_addresses);
        if client.is_some_and(|client| privacy::embeds(candidate.name.labels(), client)) {
            // Marked, so that it makes no event when somebody else asks for it either.
            handover.put_mark(print, table);
            return Outcome::ClientAddress;
        }
        handover.put(candidate, print, table)
    }
}

fn client_ip(octets: &[u8]) -> Option<IpAddr> {
    match *octets {
        [a, b, c, d] => Some(IpAddr::from([a, b, c, d])),
        _ => <[u8; 16]>::try_from(octets).ok().map(IpAddr::from),
    }
}

/// The key is one of a name below the zone.
fn is_looptest(key: WireName<'_>) -> bool {
    let above = key.label_count().saturating_sub(LOOPTEST.len());
    above > 0 && key.labels().skip(above).eq(LOOPTEST)
}

#[cfg(test)]
#[path = "gate_tests.rs"]
pub(super) mod tests;
