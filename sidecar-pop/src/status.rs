//! What POP tells of itself: metrics, `/status`, `/livez`, `/readyz`.

pub mod rows;
mod scrape;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use prometheus_client::registry::Registry;
use tapir_runtime::http::{HttpState, Probe};
use tapir_runtime::mqtt::{ConnectionState, MqttMetrics};
use tapir_runtime::telemetry::{History, Parts};
use tapir_wire::name::Name;
use tapir_wire::node::Renewal;
use tapir_wire::status::{ConfigStatus, CoreStatus, EventStatus, IdentityStatus, PopStatus, SidecarStatus, SourceState};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::feeds::Failures;
use crate::global_config::FromCore;
use crate::metrics::Metrics;
use crate::setup::Setup;
use crate::telemetry::{COMPONENTS, Seen, parts};
use crate::zone::{Serial, Size};
use rows::{CoreRow, Row};
use scrape::Scrape;

/// A resolver that acknowledged nothing is well again when none was given up for so long.
const NOTIFY_MEMORY: SignedDuration = SignedDuration::from_hours(1);
/// The engine looks at the clock twice a second; after this it hangs.
const HUNG: Duration = Duration::from_secs(30);

/// Shared by all tasks.
#[derive(Debug)]
pub struct Telemetry {
    /// Counters and gauges.
    pub metrics: Metrics,
    registry: Registry,
    http: watch::Sender<HttpState>,
    started_at: Timestamp,
    facts: Shared,
}

type Shared = Arc<Mutex<Facts>>;

/// What may be wrong with this POP itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// The address of the zone.
    Listen,
    /// What was kept of before the start. Stays until the next one: what is lost is lost.
    Kept,
    /// The disk that state is kept on.
    Disk,
    /// The file that the zone is written to.
    ZoneFile,
    /// What the configuration asks for and cannot be had.
    Unserved,
    /// Core cannot be told.
    Telemetry,
    /// Local data that has no room in the zone.
    LocalData,
}

#[derive(Debug)]
struct Facts {
    config: ConfigStatus,
    identity: Option<IdentityStatus>,
    identity_error: Option<String>,
    keys_error: Option<(SourceState, String)>,
    core: Option<watch::Receiver<ConnectionState>>,
    /// The sources apart.
    pop: PopStatus,
    sources: Vec<Row>,
    failures: Failures,
    /// The configuration in force, and how many there were.
    setup: Option<Arc<Setup>>,
    generation: u64,
    /// Trusted keys, and since when.
    keys: Option<(usize, Timestamp)>,
    renewal: Option<Renewal>,
    /// How many NOTIFYs were given up, and when one was last.
    given_up: (u64, Option<Timestamp>),
    core_sources: Arc<[String]>,
    troubles: BTreeMap<Trouble, String>,
    events: History,
    published: bool,
    beat: Instant,
}

impl Telemetry {
    /// Metrics of the connection are the caller's, who makes it.
    #[must_use]
    pub fn new(mqtt: Option<&MqttMetrics>, core: Option<watch::Receiver<ConnectionState>>) -> Arc<Self> {
        let metrics = Metrics::default();
        let mut registry = tapir_runtime::metrics::registry("tapir_pop");
        metrics.register(&mut registry);
        if let Some(mqtt) = mqtt {
            mqtt.register(&mut registry);
        }
        let facts = Facts {
            config: ConfigStatus::default(),
            identity: None,
            identity_error: None,
            keys_error: None,
            core,
            pop: PopStatus::default(),
            sources: Vec::new(),
            failures: Failures::default(),
            setup: None,
            generation: 0,
            keys: None,
            renewal: None,
            given_up: (0, None),
            core_sources: Arc::default(),
            troubles: BTreeMap::new(),
            events: History::default(),
            published: false,
            beat: Instant::now(),
        };
        let facts = Arc::new(Mutex::new(facts));
        registry.register_collector(Box::new(Scrape(Arc::clone(&facts))));
        Arc::new(Self { metrics, registry, http: watch::Sender::default(), started_at: Timestamp::now(), facts })
    }

    /// For the task that serves this.
    #[must_use]
    pub fn http_state(&self) -> watch::Sender<HttpState> {
        self.http.clone()
    }

    /// Whether what a source has that comes with the configuration made this program panic.
    pub(crate) fn read_inside(&self, source: &str, panicked: bool) {
        let failures = self.facts().failures.clone();
        if panicked { failures.panicked(&Arc::from(source)) } else { failures.well(source) }
    }

    /// Counts how often sources could not be had.
    pub(crate) fn counting(&self, failures: Failures) {
        self.facts().failures = failures;
    }

    /// The zone that is published follows from this configuration.
    pub fn configured(&self, setup: &Arc<Setup>) {
        let mut facts = self.facts();
        if facts.setup.as_ref().is_some_and(|known| Arc::ptr_eq(known, setup)) {
            return;
        }
        let now = Timestamp::now();
        facts.setup = Some(Arc::clone(setup));
        facts.generation += 1;
        facts.core_sources = setup.rules.cores.iter().map(|core| core.name.clone()).collect();
        facts.pop.zone = setup.zone.name().to_string();
        facts.troubles.remove(&Trouble::Unserved);
        if !setup.unserved.is_empty() {
            facts.troubles.insert(Trouble::Unserved, setup.unserved.join("; "));
        }
        facts.config = ConfigStatus {
            revision: setup.revision.clone(),
            loaded_at: Some(now),
            disabled: setup.disabled,
            error: facts.config.error.take(),
        };
    }

    /// What became of the newest `pop.yaml`.
    pub(crate) fn config_read(&self, error: Option<String>) {
        self.facts().config.error = error;
    }

    /// What became of the newest identity; `None` in front: the old one stays.
    pub(crate) fn identity_read(&self, identity: Option<IdentityStatus>, error: Option<String>) {
        let mut facts = self.facts();
        if identity.is_some() {
            facts.identity = identity;
        }
        facts.identity_error = error;
    }

    /// Name of the node; empty before its identity is known.
    pub(crate) fn node(&self) -> String {
        self.facts().identity.as_ref().map(|identity| identity.node.clone()).unwrap_or_default()
    }

    /// When the certificate of the newest identity is to be renewed.
    pub(crate) fn renewal(&self, renewal: Option<Renewal>) {
        self.facts().renewal = renewal;
    }

    /// Settings of Core: whether they are followed, those in force, and what became of the newest ones, if any were read now.
    pub(crate) fn core_settings(&self, followed: bool, in_force: Option<&FromCore>, read: Option<Option<String>>) {
        let known = &mut self.facts().pop.core_settings;
        if !followed {
            *known = None;
            return;
        }
        let status = known.get_or_insert_default();
        if let Some(error) = read {
            status.error = error;
        }
        let told = in_force.map(|told| (told.version.clone(), told.topics.clone())).unwrap_or_default();
        if told != (status.version.clone(), status.topics.clone()) {
            (status.version, status.topics) = told;
            status.taken_at = in_force.map(|_| Timestamp::now());
        }
    }

    /// Something happened that should not.
    pub(crate) fn event(&self, event: EventStatus) {
        if let Some(component) = COMPONENTS.iter().find(|component| **component == event.component) {
            self.metrics.event(component);
        }
        self.facts().events.push(event);
    }

    /// What happened, the newest last.
    pub(crate) fn events(&self) -> Vec<EventStatus> {
        self.facts().events.all()
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.facts().core.as_ref().is_some_and(|core| core.borrow().connected)
    }

    /// How each part is.
    pub(crate) fn parts(&self, now: Timestamp) -> Parts {
        let (document, given_up) = (self.document(), self.metrics.targets.given_up());
        let mut facts = self.facts();
        let failures = facts.failures.all();
        if given_up > facts.given_up.0 {
            facts.given_up = (given_up, Some(now));
        }
        let gave_up = facts.given_up.1.is_some_and(|last| now.duration_since(last) < NOTIFY_MEMORY);
        parts(&Seen {
            document: &document,
            core_sources: &facts.core_sources,
            at_fault: &failures,
            troubles: &facts.troubles,
            renewal: facts.renewal,
            gave_up,
            now,
        })
    }

    /// What became of the newest trusted keys, and what that makes of Core's source.
    pub(crate) fn keys_read(&self, error: Option<(SourceState, String)>) {
        self.facts().keys_error = error;
    }

    /// So many trusted keys are in force from now on.
    pub(crate) fn keys_in_force(&self, keys: usize) {
        self.facts().keys = Some((keys, Timestamp::now()));
    }

    /// Something is wrong, or right again.
    pub(crate) fn trouble(&self, what: Trouble, error: Option<String>) {
        let troubles = &mut self.facts().troubles;
        match error {
            Some(error) => troubles.insert(what, error),
            None => troubles.remove(&what),
        };
    }

    /// How it is with the sources of the newest configuration.
    pub(crate) fn sources(&self, rows: Vec<Row>) {
        let former = std::mem::replace(&mut self.facts().sources, rows);
        // Not while others wait.
        drop(former);
    }

    /// These are all that there may be from now on.
    pub(crate) fn configured_sources(&self, sources: &[String]) {
        let failures = self.facts().failures.clone();
        failures.keep(sources);
    }

    /// Observations came or went.
    pub(crate) fn observed(&self, source: &str, row: &CoreRow, (live, remembered): (u64, u64)) {
        self.metrics.observed(live, remembered);
        let mut facts = self.facts();
        if let Some(known) = facts.sources.iter_mut().find(|known| known.told.name == source) {
            known.told = Arc::new(rows::of_core(source, Some(*row)));
        }
    }

    pub(crate) fn looptest(&self, now: Timestamp) {
        self.metrics.last_looptest.set(now.as_second());
        self.facts().pop.last_looptest = Some(now);
    }

    /// A version is published now: whoever sees it here sees it served, and the other way round. Nobody who holds what is served may ask here.
    pub(crate) fn published(&self, zone: &Name, serial: Serial, size: Size, publish: impl FnOnce()) {
        self.metrics.published(serial, &size);
        let mut facts = self.facts();
        facts.published = true;
        facts.pop.serial = serial.0;
        facts.pop.records = size.records;
        facts.pop.zone = zone.to_string();
        publish();
    }

    pub(crate) fn beat(&self) {
        self.facts().beat = Instant::now();
    }

    /// The document of `/status`.
    #[must_use]
    pub fn document(&self) -> SidecarStatus {
        let facts = self.facts();
        let rows = facts.sources.clone();
        let (core_sources, keys_error) = (Arc::clone(&facts.core_sources), facts.keys_error.clone());
        let state = facts.core.as_ref().map(|core| core.borrow().clone()).unwrap_or_default();
        let core = CoreStatus::from(&state);
        let mut pop = facts.pop.clone();
        pop.events = facts.events.all();
        if let Some(settings) = &mut pop.core_settings
            && !state.refused.is_empty()
        {
            settings.error = Some(format!("the broker does not grant {}", state.refused.join(", ")));
        }
        let http = self.http.borrow().error.clone().map(|error| format!("cannot bind the address of probes and status, {error}"));
        pop.errors = facts.troubles.values().cloned().chain(http).collect();
        let mut document = SidecarStatus {
            format: SidecarStatus::FORMAT,
            component: "pop".to_owned(),
            version: tapir_version::VERSION.to_owned(),
            commit: tapir_version::COMMIT.to_owned(),
            started_at: self.started_at,
            config: facts.config.clone(),
            identity: facts.identity.clone(),
            identity_error: facts.identity_error.clone(),
            core,
            edm: None,
            pop: None,
        };
        // The engine tells its own facts here: it does not wait for all that there is to say of hundreds of sources.
        drop(facts);
        let now = Timestamp::now();
        pop.sources = rows.iter().map(|row| row.as_told(&core_sources, keys_error.as_ref(), now)).collect();
        document.pop = Some(pop);
        document
    }

    /// Nothing in here is left half done by a panic.
    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Probe for Telemetry {
    fn live(&self) -> Result<(), String> {
        let since = self.facts().beat.elapsed();
        if since > HUNG { Err(format!("the engine gave no sign for {} s", since.as_secs())) } else { Ok(()) }
    }

    fn ready(&self) -> Result<(), String> {
        if self.facts().published { Ok(()) } else { Err("no zone published yet: no configuration".to_owned()) }
    }

    fn status(&self) -> serde_json::Value {
        serde_json::to_value(self.document()).unwrap_or_default()
    }

    fn metrics(&self) -> String {
        tapir_runtime::metrics::render(&self.registry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The clock is the test's: nothing here takes half a minute.
    #[tokio::test(start_paused = true)]
    async fn an_engine_that_gives_no_sign_for_half_a_minute_is_not_alive_and_one_sign_makes_it_so() {
        let telemetry = Telemetry::new(None, None);
        tokio::time::advance(HUNG).await;
        assert_eq!(telemetry.live(), Ok(()));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(telemetry.live(), Err("the engine gave no sign for 31 s".to_owned()));
        telemetry.beat();
        assert_eq!(telemetry.live(), Ok(()));
    }
}
