//! What POP tells of itself: metrics, `/status`, `/livez`, `/readyz`.

mod rows;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::registry::Registry;
use tapir_runtime::http::{HttpState, Probe};
use tapir_runtime::mqtt::{ConnectionState, MqttMetrics};
use tapir_wire::status::{ConfigStatus, CoreStatus, IdentityStatus, PopStatus, SidecarStatus, SourceState};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::metrics::Metrics;
use crate::setup::Setup;
use crate::zone::{Content, Serial};

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
    facts: Mutex<Facts>,
}

/// What may be wrong with this POP itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// The address of the zone.
    Listen,
    /// Observations of before the start. Stays until the next one: what is lost is lost.
    Kept,
}

#[derive(Debug)]
struct Facts {
    config: ConfigStatus,
    /// The configuration that `config` speaks of.
    setup: Option<Arc<Setup>>,
    identity: Option<IdentityStatus>,
    identity_error: Option<String>,
    keys_error: Option<(SourceState, String)>,
    core: Option<watch::Receiver<ConnectionState>>,
    pop: PopStatus,
    core_source: Option<String>,
    troubles: BTreeMap<Trouble, String>,
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
            setup: None,
            identity: None,
            identity_error: None,
            keys_error: None,
            core,
            pop: PopStatus::default(),
            core_source: None,
            troubles: BTreeMap::new(),
            published: false,
            beat: Instant::now(),
        };
        Arc::new(Self {
            metrics,
            registry,
            http: watch::Sender::default(),
            started_at: Timestamp::now(),
            facts: Mutex::new(facts),
        })
    }

    /// For the task that serves this.
    #[must_use]
    pub fn http_state(&self) -> watch::Sender<HttpState> {
        self.http.clone()
    }

    /// A configuration came into force: the zone that follows from it is published.
    pub(crate) fn configured(&self, setup: &Arc<Setup>) {
        let mut facts = self.facts();
        let now = Timestamp::now();
        let before = facts.setup.replace(Arc::clone(setup));
        let old = std::mem::take(&mut facts.pop.sources);
        let mut sources: Vec<_> =
            setup.rules.lists.iter().map(|list| rows::of_list(list, before.as_deref(), &old, now)).collect();
        sources.extend(setup.idle_sources.iter().map(|(name, reason)| rows::failed(name, reason)));
        if let Some(core) = &setup.rules.core {
            let kept = old.into_iter().find(|row| row.name == core.name);
            sources.push(kept.unwrap_or_else(|| rows::empty(&core.name)));
        }
        sources.sort_by_key(|row| setup.sources.iter().position(|name| *name == row.name));
        facts.core_source = setup.rules.core.as_ref().map(|core| core.name.clone());
        facts.pop.sources = sources;
        facts.pop.zone = setup.zone.name().to_string();
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

    /// What became of the newest trusted keys, and what that makes of Core's source.
    pub(crate) fn keys_read(&self, error: Option<(SourceState, String)>) {
        self.facts().keys_error = error;
    }

    /// Something is wrong, or right again.
    pub(crate) fn trouble(&self, what: Trouble, error: Option<String>) {
        let troubles = &mut self.facts().troubles;
        match error {
            Some(error) => troubles.insert(what, error),
            None => troubles.remove(&what),
        };
    }

    /// Observations came or went.
    pub(crate) fn observed(&self, refused: u64, now: Timestamp, remembered: usize, live: usize) {
        self.metrics.observed_names.set(i64::try_from(remembered).unwrap_or(i64::MAX));
        let mut facts = self.facts();
        let Some(name) = facts.core_source.clone() else { return };
        let Some(row) = facts.pop.sources.iter_mut().find(|row| row.name == name) else { return };
        row.rejected += refused;
        if row.entries != live as u64 {
            row.updated_at = Some(now);
        }
        row.entries = live as u64;
    }

    pub(crate) fn looptest(&self, now: Timestamp) {
        self.metrics.last_looptest.set(now.as_second());
        self.facts().pop.last_looptest = Some(now);
    }

    pub(crate) fn published(&self, content: &Content, serial: Serial) {
        let records = content.records.len() as u64;
        self.metrics.publications.inc();
        self.metrics.serial.set(i64::from(serial.0));
        self.metrics.records.set(i64::try_from(records).unwrap_or(i64::MAX));
        let mut facts = self.facts();
        facts.published = true;
        facts.pop.serial = serial.0;
        facts.pop.records = records;
        facts.pop.zone = content.zone.name().to_string();
    }

    pub(crate) fn beat(&self) {
        self.facts().beat = Instant::now();
    }

    /// The document of `/status`.
    #[must_use]
    pub fn document(&self) -> SidecarStatus {
        let facts = self.facts();
        let core = facts.core.as_ref().map(|core| CoreStatus::from(&*core.borrow())).unwrap_or_default();
        let mut pop = facts.pop.clone();
        let http = self.http.borrow().error.clone().map(|error| format!("cannot bind the address of probes and status, {error}"));
        pop.errors = facts.troubles.values().cloned().chain(http).collect();
        if let Some(row) = pop.sources.iter_mut().find(|row| Some(&row.name) == facts.core_source.as_ref()) {
            (row.state, row.error) = match &facts.keys_error {
                Some((state, error)) => (*state, Some(error.clone())),
                None => (SourceState::Ready, None),
            };
        }
        SidecarStatus {
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
            pop: Some(pop),
        }
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
