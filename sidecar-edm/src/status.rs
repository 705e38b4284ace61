//! What EDM tells of itself: `/livez`, `/readyz`, `/status`, `/metrics`.

use std::sync::Arc;

use jiff::Timestamp;
use prometheus_client::registry::Registry;
use tapir_runtime::http::{HttpState, Probe};
use tapir_runtime::mqtt::ConnectionState;
use tapir_wire::status::{ConfigStatus, CoreStatus, EdmStatus, IdentityStatus, SidecarStatus};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::input::SocketState;
use crate::metrics::Metrics;
use crate::queue::EventQueue;
use crate::reload::InForce;

/// Where everything that is told comes from.
#[derive(Debug)]
pub struct EdmProbe {
    /// Start of the process.
    pub started_at: Timestamp,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// The same counters and those of others, for `/metrics`.
    pub registry: Registry,
    /// What is in force.
    pub in_force: watch::Receiver<Arc<InForce>>,
    /// Where the connection to the broker stands.
    pub core: watch::Receiver<ConnectionState>,
    /// Where the socket stands.
    pub socket: watch::Receiver<SocketState>,
    /// Where the HTTP port stands.
    pub http: watch::Receiver<HttpState>,
    /// Events that wait.
    pub queue: Arc<EventQueue>,
    /// Cancelled when the worker ended.
    pub worker_gone: CancellationToken,
}

impl EdmProbe {
    fn sidecar_status(&self) -> SidecarStatus {
        let in_force = Arc::clone(&self.in_force.borrow());
        SidecarStatus {
            format: SidecarStatus::FORMAT,
            component: "edm".to_owned(),
            version: tapir_version::VERSION.to_owned(),
            commit: tapir_version::COMMIT.to_owned(),
            started_at: self.started_at,
            config: self.config_status(&in_force),
            identity: in_force.identity.as_ref().map(|identity| IdentityStatus {
                node: identity.material.document.name.clone(),
                certificate_serial: identity.material.certificate.serial.clone(),
                not_after: identity.material.certificate.not_after,
            }),
            identity_error: in_force.identity_error.clone(),
            core: CoreStatus::from(&*self.core.borrow()),
            edm: Some(self.edm_status(&in_force)),
            pop: None,
        }
    }

    fn edm_status(&self, in_force: &InForce) -> EdmStatus {
        let Metrics { connections, frames, events_sent, events_displaced, .. } = &*self.metrics;
        EdmStatus {
            connections: u64::try_from(connections.get()).unwrap_or_default(),
            frames: frames.get(),
            events_sent: events_sent.get(),
            events_queued: self.queue.len() as u64,
            events_dropped: events_displaced.get(),
            well_known_domains: in_force.well_known.as_ref().map(|list| list.dawg().len()),
        }
    }

    /// What is asked for and cannot be had is an error of the configuration, too.
    fn config_status(&self, in_force: &InForce) -> ConfigStatus {
        let config = in_force.config.as_deref();
        let socket = self.socket.borrow().error.as_ref().map(|error| format!("input-unix: {error}"));
        let http = self.http.borrow().error.as_ref().map(|error| format!("http-listen: {error}"));
        let errors: Vec<String> = [in_force.config_error.clone(), socket, http].into_iter().flatten().collect();
        ConfigStatus {
            revision: config.map(|config| config.revision.clone()).unwrap_or_default(),
            loaded_at: in_force.config_loaded_at,
            disabled: config.is_some_and(|config| config.disabled),
            error: (!errors.is_empty()).then(|| errors.join("; ")),
        }
    }
}

impl Probe for EdmProbe {
    fn live(&self) -> Result<(), String> {
        if self.worker_gone.is_cancelled() { Err("the worker ended".to_owned()) } else { Ok(()) }
    }

    /// Takes dnstap and has a configuration. Core may be away: queueing for it is part of the job.
    fn ready(&self) -> Result<(), String> {
        let SocketState { listening, error } = self.socket.borrow().clone();
        if !listening {
            return Err(error.unwrap_or_else(|| "not listening yet".to_owned()));
        }
        if self.in_force.borrow().config.is_none() { Err("no configuration".to_owned()) } else { Ok(()) }
    }

    fn status(&self) -> serde_json::Value {
        serde_json::to_value(self.sidecar_status()).unwrap_or_default()
    }

    fn metrics(&self) -> String {
        self.metrics.events_queued.set(i64::try_from(self.queue.len()).unwrap_or(i64::MAX));
        tapir_runtime::metrics::render(&self.registry)
    }
}
