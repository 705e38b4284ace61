//! Counters and gauges, `tapir_pop_…` (spec chapter 8.4).
//!
//! Labels are kinds of things, and names from the configuration: sources, rules, resolvers that are told. Never a name that is listed or
//! asked for, nor an address of who asks. Nothing is counted by walking through what is held, and nobody who counts waits for who reads.

mod decisions;
mod fixed;
mod queues;
mod targets;
mod times;
mod unplaced;

use std::net::SocketAddr;
use std::sync::Arc;

use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use strum::VariantNames as _;
use tapir_wire::jws::VerifyError;
use tapir_wire::observation::{ObservationError, RejectReason};

use crate::intake::Reject;
use crate::knowledge::observations::Refusal;
use crate::names::UnfitName;
use crate::telemetry::COMPONENTS;
use crate::zone::tally::Tally;
use crate::zone::{Serial, Size};
pub(crate) use decisions::{Deciding, Decisions, Occasion, Pass};
pub(crate) use fixed::Fixed;
pub(crate) use queues::Queues;
pub(crate) use targets::Targets;
pub(crate) use times::Times;
use unplaced::Unplaced;

/// Kinds of transfers: the zone, because that was asked for; what changed; the zone, because what changed is not known or more.
pub(crate) const TRANSFERS: [&str; 3] = ["axfr", "ixfr", "ixfr_whole"];
/// What can become of one.
const TRANSFERRED: [&str; 5] = ["done", "busy", "gone", "slow", "unreadable"];
/// What may be loaded, and what may become of that.
const LOADED: [&str; 4] = ["config", "identity", "keys", "settings"];
/// Kept state.
const STATES: [&str; 5] = ["config", "journal", "serial", "zone", "zone_file"];
/// Microseconds: signatures of one message.
const VERIFICATION: [u64; 7] = [50, 100, 200, 500, 1000, 5000, 50_000];
/// Microseconds: from the end of a name to the version without it.
const LAG: [u64; 8] = [50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000, 10_000_000, 60_000_000];

/// All of them. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Metrics {
    queries: Fixed<Counter, 1>,
    refused: Fixed<Counter, 1>,
    /// Requests over UDP that were dropped, since as many waited for the disk as may.
    pub dropped: Counter,
    transfers: Fixed<Counter, 2>,
    transfer_octets: Fixed<Counter, 1>,
    /// NOTIFYs.
    pub(crate) targets: Targets,
    messages: Fixed<Counter, 1>,
    /// How long the signatures of one message took.
    pub(crate) verification: Times,
    observations: Fixed<Counter, 1>,
    observed_names: Fixed<Gauge, 1>,
    /// How late names leave.
    pub(crate) lag: Times,
    loads: Fixed<Counter, 2>,
    state_errors: Fixed<Counter, 1>,
    events: Fixed<Counter, 1>,
    component_state: Fixed<Gauge, 1>,
    /// Decisions of the policy.
    pub(crate) decisions: Decisions,
    /// What waits.
    pub(crate) queues: Queues,
    unplaced: Unplaced,
    /// Addresses at which the zone is served.
    pub listening: Gauge,
    /// Versions of the zone that were published.
    pub publications: Counter,
    /// The serial that is served.
    pub serial: Gauge,
    records: Fixed<Gauge, 2>,
    changed: Gauge,
    journal_octets: Gauge,
    journal_versions: Gauge,
    /// Time of the last loop test, Unix seconds; 0 before the first.
    pub last_looptest: Gauge,
    /// How long the last building of the zone took.
    pub build_microseconds: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let transports = || Fixed::new(["transport"], [["udp"], ["tcp"]]);
        let components = || COMPONENTS.map(|component| [component]);
        Self {
            queries: transports(),
            refused: transports(),
            dropped: Counter::default(),
            transfers: Fixed::new(["kind", "outcome"], pairs(&TRANSFERS, &TRANSFERRED)),
            transfer_octets: Fixed::new(["kind"], TRANSFERS.map(|kind| [kind])),
            targets: Targets::default(),
            messages: Fixed::new(["outcome"], message_outcomes().map(|outcome| [outcome])),
            verification: Times::new(&VERIFICATION),
            observations: Fixed::new(["outcome"], entry_outcomes().map(|outcome| [outcome])),
            observed_names: Fixed::new(["state"], [["live"], ["remembered"]]),
            lag: Times::new(&LAG),
            loads: Fixed::new(["what", "outcome"], pairs(&LOADED, &["taken", "refused"])),
            state_errors: Fixed::new(["what"], STATES.map(|what| [what])),
            events: Fixed::new(["component"], components()),
            component_state: Fixed::new(["component"], components()),
            decisions: Decisions::default(),
            queues: Queues::default(),
            unplaced: Unplaced::default(),
            listening: Gauge::default(),
            publications: Counter::default(),
            serial: Gauge::default(),
            records: Fixed::new(["action", "owner"], Tally::default().rows().map(|(labels, _)| labels)),
            changed: Gauge::default(),
            journal_octets: Gauge::default(),
            journal_versions: Gauge::default(),
            last_looptest: Gauge::default(),
            build_microseconds: Gauge::default(),
        }
    }
}

impl Metrics {
    /// Registers everything.
    pub fn register(&self, registry: &mut Registry) {
        let Self {
            queries,
            refused,
            dropped,
            transfers,
            transfer_octets,
            targets,
            messages,
            verification,
            observations,
            observed_names,
            lag,
            loads,
            state_errors,
            events,
            component_state,
            decisions,
            queues,
            unplaced,
            listening,
            publications,
            serial,
            records,
            changed,
            journal_octets,
            journal_versions,
            last_looptest,
            build_microseconds,
        } = self.clone();
        registry.register("dns_queries", "DNS requests by transport", queries);
        registry.register("dns_refused", "DNS requests and connections that were turned away", refused);
        registry.register("dns_dropped", "DNS requests over UDP that were dropped, since too many wait for the disk", dropped);
        registry.register("dns_transfers", "Zone transfers by kind and outcome", transfers);
        registry.register("dns_transfer_octets", "Octets of zone transfers, broken off ones included", transfer_octets);
        registry.register("dns_listening", "Addresses at which the zone is served", listening);
        registry.register("notifies", "NOTIFY messages by resolver and outcome", targets);
        registry.register("messages", "Messages of Core by outcome", messages);
        registry.register("verification_seconds", "Time that the signatures of a message of Core took", verification);
        registry.register(
            "observations",
            "Entries of accepted messages by outcome, and names that were displaced by others",
            observations,
        );
        registry.register("observed_names", "Names that are known from observations", observed_names);
        registry.register("expiry_lag_seconds", "Time from the end of an observation to the version of the zone without it", lag);
        registry.register("last_looptest_timestamp_seconds", "Time of the last loop test that came through", last_looptest);
        registry.register("loads", "Loads of configuration, identity, trusted keys and settings of Core by outcome", loads);
        registry.register("state_errors", "Reads and writes of kept state that failed", state_errors);
        registry.register("events", "Exceptional events by part", events);
        registry.register("component_state", "0: the part is well, 1: warned of, 2: failed", component_state);
        registry.register("policy_decisions", "Decisions about listed names by what made them", decisions);
        registry.register("queue_length", "Messages, and news of sources, that wait", queues);
        registry.register("unplaced_names", "Names that are blocked since their local data has no room in the zone", unplaced);
        registry.register("zone_publications", "Versions of the zone that were published", publications);
        registry.register("zone_serial", "Serial that is served", serial);
        registry.register("zone_records", "Policy records in the zone by action and owner", records);
        registry.register("zone_changed_timestamp_seconds", "Time of the last version of the zone", changed);
        registry.register("zone_build_microseconds", "Duration of the last building of the zone", build_microseconds);
        registry.register("journal_octets", "Size of the history that IXFR is answered from", journal_octets);
        registry.register("journal_versions", "Versions in the history that IXFR is answered from", journal_versions);
    }

    pub(crate) fn query(&self, transport: &'static str) {
        self.queries.add([transport], 1);
    }

    pub(crate) fn refused(&self, transport: &'static str) {
        self.refused.add([transport], 1);
    }

    pub(crate) fn transfer(&self, kind: &'static str, outcome: &'static str, octets: u64) {
        self.transfers.add([kind, outcome], 1);
        self.transfer_octets.add([kind], octets);
    }

    pub(crate) fn notify(&self, target: SocketAddr, outcome: &'static str) {
        self.targets.count(target, outcome);
    }

    pub(crate) fn message(&self, outcome: &'static str) {
        self.messages.add([outcome], 1);
    }

    pub(crate) fn observation(&self, outcome: &'static str, count: u64) {
        self.observations.add([outcome], count);
    }

    pub(crate) fn observed(&self, live: u64, remembered: u64) {
        self.observed_names.set(["live"], live);
        self.observed_names.set(["remembered"], remembered);
    }

    pub(crate) fn load(&self, what: &'static str, outcome: &'static str) {
        self.loads.add([what, outcome], 1);
    }

    /// Sources of the zone, and how many names of each have no room for their local data.
    pub(crate) fn unplaced(&self, sources: impl Iterator<Item = (Arc<str>, u64)>) {
        self.unplaced.are(sources);
    }

    pub(crate) fn state_error(&self, what: &'static str) {
        self.state_errors.add([what], 1);
    }

    pub(crate) fn event(&self, component: &'static str) {
        self.events.add([component], 1);
    }

    pub(crate) fn component(&self, component: &'static str, state: tapir_runtime::telemetry::State) {
        self.component_state.set([component], state as u64);
    }

    pub(crate) fn published(&self, serial: Serial, size: &Size) {
        self.publications.inc();
        self.serial.set(i64::from(serial.0));
        self.changed.set(Timestamp::now().as_second());
        for (labels, count) in size.kinds.rows() {
            self.records.set(labels, count);
        }
    }

    pub(crate) fn journal(&self, octets: u64, versions: usize) {
        self.journal_octets.set(i64::try_from(octets).unwrap_or(i64::MAX));
        self.journal_versions.set(i64::try_from(versions).unwrap_or(i64::MAX));
    }
}

fn pairs(first: &'static [&'static str], second: &'static [&'static str]) -> impl Iterator<Item = [&'static str; 2]> {
    first.iter().flat_map(|first| second.iter().map(|second| [*first, *second]))
}

/// What becomes of a message.
fn message_outcomes() -> impl Iterator<Item = &'static str> {
    let taken = ["accepted", "settings"].into_iter().chain(Reject::OWN_LABELS);
    taken.chain(VerifyError::VARIANTS.iter().chain(ObservationError::VARIANTS).copied())
}

/// What becomes of an entry of one.
fn entry_outcomes() -> impl Iterator<Item = &'static str> {
    let taken = ["added", "removed", "displaced"].into_iter();
    let refused = RejectReason::VARIANTS.iter().chain(UnfitName::VARIANTS).chain(Refusal::VARIANTS);
    taken.chain(refused.copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_label_value_is_there_twice() {
        for outcomes in [message_outcomes().collect::<Vec<_>>(), entry_outcomes().collect()] {
            let mut once = outcomes.clone();
            once.sort_unstable();
            once.dedup();
            assert_eq!(once.len(), outcomes.len(), "{outcomes:?}");
        }
    }
}
