//! What EDM tells of itself: `/livez`, `/readyz`, `/status`, `/metrics`.

use std::path::PathBuf;
use std::sync::Arc;

use hyper::StatusCode;
use jiff::Timestamp;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tapir_runtime::http::{HttpState, Order, Probe};
use tapir_runtime::mqtt::ConnectionState;
use tapir_wire::status::{
    AggregateStatus, ConfigStatus, CoreStatus, EdmStatus, IdentityStatus, MemoryStatus, NewNameStatus, SessionStatus,
    SidecarStatus, StorageStatus,
};
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::events::{Events, Outcome};
use crate::fetched::Fetching;
use crate::input::InputState;
use crate::memory::Budget;
use crate::metrics::Metrics;
use crate::minimiser::{Held, Minimiser, Rotation};
use crate::outbox::SenderState;
use crate::reload::InForce;
use crate::telemetry::Incidents;

/// Where a minute can be ended by hand.
const ROTATE: &str = "/debug/rotate-parquet";

/// Where everything that is told comes from.
#[derive(Debug)]
pub struct EdmProbe {
    /// Start of the process.
    pub started_at: Timestamp,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// The same counters and those of others, under all of their names, for `/metrics`.
    pub registries: [Registry; 2],
    /// What is in force.
    pub in_force: watch::Receiver<Arc<InForce>>,
    /// Where the connection to the broker stands.
    pub core: watch::Receiver<ConnectionState>,
    /// Where the input stands.
    pub input: watch::Receiver<InputState>,
    /// Where the HTTP port stands.
    pub http: watch::Receiver<HttpState>,
    /// How the sending of aggregates goes.
    pub sending: watch::Receiver<SenderState>,
    /// Events.
    pub events: Events,
    /// What is counted at present.
    pub minimiser: Minimiser,
    /// Ends a minute, where that is allowed.
    pub rotation: Rotation,
    /// Where everything is kept.
    pub data: PathBuf,
    /// Where the fetching of a list stands.
    pub fetching: watch::Receiver<Fetching>,
    /// What happened that should not.
    pub incidents: Incidents,
    /// What the large parts of memory may hold.
    pub budget: Arc<Budget>,
}

impl EdmProbe {
    /// The document of `/status`.
    #[must_use]
    pub fn document(&self) -> SidecarStatus {
        let in_force = Arc::clone(&self.in_force.borrow());
        self.with(&in_force, self.memory_status(&in_force))
    }

    /// The same without what is held in memory: only those who count know that, and whoever asks waits for them.
    #[must_use]
    pub fn without_memory(&self) -> SidecarStatus {
        self.with(&self.in_force.borrow().clone(), MemoryStatus::default())
    }

    fn with(&self, in_force: &InForce, memory: MemoryStatus) -> SidecarStatus {
        SidecarStatus {
            format: SidecarStatus::FORMAT,
            component: "edm".to_owned(),
            version: tapir_version::VERSION.to_owned(),
            commit: tapir_version::COMMIT.to_owned(),
            started_at: self.started_at,
            config: self.config_status(in_force),
            identity: in_force.shown().map(|link| IdentityStatus {
                node: link.data_key.kid().to_owned(),
                certificate_serial: link.certificate.serial.clone(),
                not_after: link.certificate.not_after,
            }),
            identity_error: in_force.identity_error.clone(),
            core: CoreStatus::from(&*self.core.borrow()),
            edm: Some(self.edm_status(in_force, memory)),
            pop: None,
        }
    }

    fn edm_status(&self, in_force: &InForce, memory: MemoryStatus) -> EdmStatus {
        let (input, events, lists) = (&self.metrics.input, self.events.counters(), &in_force.lists);
        EdmStatus {
            connections: unsigned(&input.connections),
            frames: input.frames.get(),
            events_sent: events.sent.get(),
            events_queued: self.events.held().events,
            events_dropped: events.displaced.get() + events.counted(Outcome::Full),
            well_known_domains: lists.well_known.as_ref().map(|list| list.words()),
            ignored_names: lists.ignored_names.as_ref().map(|list| list.words()),
            ignored_clients: lists.ignored_clients.len() as u64,
            frames_dropped: input.frames_dropped.get(),
            aggregates: self.aggregate_status(in_force),
            sessions: self.session_status(),
            memory,
            events: self.event_status(),
            incidents: self.incidents.all(),
            storage: self.storage_status(in_force),
            certificates: in_force.certificate_ends(),
        }
    }

    fn event_status(&self) -> NewNameStatus {
        let counters = self.events.counters();
        let last_sent = Some(counters.last_sent.get()).filter(|second| *second > 0);
        let losses = counters.losses().into_iter().filter(|(_, count)| *count > 0);
        NewNameStatus {
            queued_octets: self.events.held().octets,
            last_sent: last_sent.and_then(|second| Timestamp::from_second(second).ok()),
            dropped: losses.map(|(why, count)| (why.to_owned(), count)).collect(),
        }
    }

    fn storage_status(&self, in_force: &InForce) -> StorageStatus {
        let (files, events) = (&self.metrics.aggregates, self.events.counters());
        let folders = [
            ("outbox", &files.waiting_octets),
            ("sent", &files.sent_octets),
            ("refused", &files.refused_octets),
            ("waiting", &events.waiting_octets),
            ("seen", &events.seen_octets),
            ("sessions", &self.metrics.sessions.octets),
        ];
        StorageStatus {
            folder: self.data.display().to_string(),
            bound: in_force.config.as_ref().map(|config| u64::from(config.storage_mib) << 20),
            folders: folders.map(|(name, octets)| (name.to_owned(), unsigned(octets))).into(),
            refused_files: unsigned(&files.refused_files),
        }
    }

    fn session_status(&self) -> SessionStatus {
        let (counters, state) = (&self.metrics.sessions, self.rotation.sessions().state());
        SessionStatus {
            enabled: state.on,
            key: state.has_key,
            error: state.error,
            rows: counters.rows.get(),
            rows_dropped: counters.all_dropped(),
            octets: unsigned(&counters.octets),
            files_dropped: counters.files_dropped_old.get() + counters.files_dropped_room.get(),
        }
    }

    fn aggregate_status(&self, in_force: &InForce) -> AggregateStatus {
        let counters = &self.metrics.aggregates;
        let SenderState { last_sent, error, refused } = self.sending.borrow().clone();
        let faults = in_force.identity.as_ref().map(|identity| identity.aggregates_faults.join("; "));
        AggregateStatus {
            written: counters.written.get(),
            sent: counters.sent.get(),
            waiting: unsigned(&counters.waiting),
            waiting_octets: unsigned(&counters.waiting_octets),
            lost: counters.dropped_old.get() + counters.dropped_room.get() + counters.minutes_lost.get(),
            last_sent,
            error: faults.filter(|faults| !faults.is_empty()).or(error),
            refused,
        }
    }

    fn memory_status(&self, in_force: &InForce) -> MemoryStatus {
        let Held { rows, sketches } = self.minimiser.held();
        let lists = [&in_force.lists.well_known, &in_force.lists.ignored_names];
        MemoryStatus {
            bound: self.budget.bound() as u64,
            used: self.budget.used() as u64,
            lists: lists.into_iter().flatten().map(|list| list.octets() as u64).sum(),
            rows: rows as u64,
            sketches: sketches as u64,
            sketches_lost: self.metrics.rotation.sketches_lost.get(),
            seen_names: self.events.held().seen_names,
            sessions: self.rotation.sessions().state().octets as u64,
            seen_table: self.events.held().seen_table,
        }
    }

    /// What is asked for and cannot be had is an error of the configuration, too.
    fn config_status(&self, in_force: &InForce) -> ConfigStatus {
        let config = in_force.config.as_deref();
        let input = self.input.borrow().error.as_ref().map(|error| format!("dnstap input: {error}"));
        let http = self.http.borrow().error.as_ref().map(|error| format!("http-listen: {error}"));
        let list = self.fetching.borrow().error.as_ref().map(|error| format!("well-known-domains-url: {error}"));
        let errors: Vec<String> = [in_force.config_error.clone(), list, input, http].into_iter().flatten().collect();
        ConfigStatus {
            revision: config.map(|config| config.revision.clone()).unwrap_or_default(),
            loaded_at: in_force.config_loaded_at,
            disabled: config.is_some_and(|config| config.disabled),
            error: (!errors.is_empty()).then(|| errors.join("; ")),
        }
    }
}

impl Probe for EdmProbe {
    /// Whatever panics ends the process.
    fn live(&self) -> Result<(), String> {
        Ok(())
    }

    /// Takes dnstap and has a configuration. Core may be away: queueing for it is part of the job.
    fn ready(&self) -> Result<(), String> {
        let InputState { listening, error } = self.input.borrow().clone();
        if listening.is_none() {
            return Err(error.unwrap_or_else(|| "not listening yet".to_owned()));
        }
        if self.in_force.borrow().config.is_none() { Err("no configuration".to_owned()) } else { Ok(()) }
    }

    fn status(&self) -> serde_json::Value {
        serde_json::to_value(self.document()).unwrap_or_default()
    }

    fn metrics(&self) -> String {
        let in_force = Arc::clone(&self.in_force.borrow());
        self.metrics.now.tell(&in_force, &self.memory_status(&in_force), &self.storage_status(&in_force));
        self.metrics.rotation.observe(Timestamp::now());
        let [own, upstream] = &self.registries;
        tapir_runtime::metrics::render_all(&[own, upstream])
    }

    /// As upstream has it (`spec/edm.md` 12.4).
    fn order(&self, path: &str) -> Option<Order> {
        let allowed = self.in_force.borrow().config.as_ref().is_some_and(|config| config.enable_manual_parquet_rotation);
        if !allowed || path != ROTATE {
            return None;
        }
        let rotation = self.rotation.clone();
        Some(Box::pin(async move {
            match spawn_blocking(move || rotation.rotate(Timestamp::now())).await {
                Ok(()) => (StatusCode::ACCEPTED, "rotation requested\n".to_owned()),
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
            }
        }))
    }
}

fn unsigned(gauge: &Gauge) -> u64 {
    u64::try_from(gauge.get()).unwrap_or_default()
}
