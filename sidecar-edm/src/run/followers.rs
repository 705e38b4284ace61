//! Brings what was read into force, each part in its place.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tapir_runtime::logging;
use tapir_runtime::mqtt::MqttSettings;
use tapir_runtime::telemetry::Sending;
use tokio::sync::watch;

use crate::aggregates::Outbox;
use crate::config::identity::Link;
use crate::dump::Dump;
use crate::events::{self, Events};
use crate::fetched::WantedList;
use crate::input::{Endpoint, Limits};
use crate::minimiser::Rotation;
use crate::outbox::Target;
use crate::reload::InForce;
use crate::settings;

/// Those who follow.
#[derive(Debug)]
pub(super) struct Followers {
    pub(super) instance: String,
    /// Where everything is kept, for as long as the process runs.
    pub(super) data: PathBuf,
    pub(super) rotation: Rotation,
    pub(super) outbox: Outbox,
    pub(super) events: Events,
    pub(super) in_force: watch::Sender<Arc<InForce>>,
    pub(super) mqtt: watch::Sender<Option<MqttSettings>>,
    pub(super) endpoint: watch::Sender<Endpoint>,
    pub(super) limits: watch::Sender<Limits>,
    pub(super) listen: watch::Sender<SocketAddr>,
    pub(super) target: watch::Sender<Option<Arc<Target>>>,
    pub(super) telemetry: watch::Sender<Option<Sending>>,
    pub(super) dump: Dump,
    pub(super) to_fetch: watch::Sender<Option<Arc<WantedList>>>,
    /// What the target was made of.
    pub(super) aimed_at: Mutex<Option<Link>>,
}

impl Followers {
    /// Takes up what was read. What forbids to send comes first, so that nothing can slip out between.
    pub(super) fn follow(&self, read: InForce) {
        let config = read.config.as_deref();
        self.events.configure(config.map(events::Settings::of).unwrap_or_default());
        let mut policy = settings::policy(config);
        policy.sending &= !read.lacks_what_is_left_out;
        self.rotation.take_up(policy, &read.lists);
        self.outbox.set_bounds(settings::bounds(config));
        let forbidden = config.is_some_and(|config| config.disabled);
        if forbidden {
            // An upload ends before what it sends is removed.
            self.aim(None);
            self.rotation.forget();
        }
        if let Some(wanted) = &read.sessions {
            self.rotation.sessions().configure(wanted.clone());
        }
        self.aim(read.aggregates());
        let settings = read.mqtt_settings(&self.instance);
        self.mqtt.send_if_modified(|present| replace(present, settings));
        self.dump.ask(read.dump.clone());
        self.telemetry.send_replace(read.telemetry(&self.instance));
        self.to_fetch.send_if_modified(|present| replace(present, read.to_fetch.clone()));
        // Without a configuration the defaults stay: the resolver knows the socket as a constant.
        if let Some(endpoint) = read.endpoint.clone() {
            self.endpoint.send_if_modified(|present| {
                let is_new = !is_same_place(present, &endpoint);
                *present = endpoint;
                is_new
            });
        }
        if let Some(config) = config {
            self.limits.send_if_modified(|present| replace(present, settings::limits(Some(config))));
            logging::set_level(settings::log_level(config));
            self.listen.send_if_modified(|present| replace(present, config.http_listen));
            if config.data_dir != self.data {
                tracing::warn!(in_use = %self.data.display(), "data-dir is another one: it is used from the next start on");
            }
        }
        self.in_force.send_replace(Arc::new(read));
    }

    /// A new target ends the connection to the old one, so there is none without need.
    fn aim(&self, link: Option<&Link>) {
        let mut aimed_at = self.aimed_at.lock().unwrap_or_else(PoisonError::into_inner);
        if aimed_at.as_ref() == link {
            return;
        }
        let target = link.and_then(|link| {
            let target = Target::new(&link.url, Arc::clone(&link.tls), Arc::clone(&link.data_key));
            target.map_err(|error| tracing::error!(%error, "aggregates cannot be sent there")).ok()
        });
        *aimed_at = link.cloned();
        self.target.send_replace(target.map(Arc::new));
    }
}

/// A certificate may be new in any case.
fn is_same_place(one: &Endpoint, other: &Endpoint) -> bool {
    match (one, other) {
        (Endpoint::Unix { path, mode }, Endpoint::Unix { path: other_path, mode: other_mode }) => {
            path == other_path && mode == other_mode
        }
        (Endpoint::Tcp(one), Endpoint::Tcp(other)) => one == other,
        _ => false,
    }
}

fn replace<T: PartialEq>(present: &mut T, new: T) -> bool {
    let differs = *present != new;
    *present = new;
    differs
}
