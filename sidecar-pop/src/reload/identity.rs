//! Who this node is, and the connection to Core that follows from that and the configuration.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tapir_runtime::mqtt::{MqttSettings, Qos};
use tapir_runtime::node::NodeMaterial;
use tapir_wire::status::IdentityStatus;

use super::Loader;
use crate::feeds::peers::Identity;
use crate::setup::Setup;
use crate::sources::CoreSource;
use crate::status::Telemetry;

/// As upstream: Core's broker knows these clients.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Seconds that the broker keeps what it has for us over a short break.
const SESSION_EXPIRY: u32 = 60;

impl Loader {
    pub(super) fn load_identity(&mut self, telemetry: &Telemetry) {
        match NodeMaterial::load_connection(&self.directory()) {
            Ok(material) => {
                let identity = IdentityStatus {
                    node: material.document.name.clone(),
                    certificate_serial: material.certificate.serial.clone(),
                    not_after: material.certificate.not_after,
                };
                telemetry.metrics.load("identity", "taken");
                telemetry.identity_read(Some(identity), None);
                telemetry.renewal(material.document.renewal);
                self.identity.send_replace(Some(Identity::from(&material)));
                self.material = Some(material);
            }
            Err(error) => {
                telemetry.metrics.load("identity", "refused");
                tracing::warn!(%error, "identity missing or unusable; the last good one stays, before the first one there is no connection to Core");
                telemetry.identity_read(None, Some(error.to_string()));
            }
        }
    }

    pub(super) fn connect(&self) {
        let wanted = self.settings();
        self.mqtt.send_if_modified(|settings| {
            let modified = *settings != wanted;
            *settings = wanted;
            modified
        });
    }

    /// The connection that is wanted now: none before a configuration says that it is not switched off.
    fn settings(&self) -> Option<MqttSettings> {
        let setup = self.setup.borrow().clone()?;
        let material = self.material.as_ref().filter(|_| !setup.disabled)?;
        let client_id = format!("{}-pop-{}", material.document.name, self.suffix);
        let tls = Some(Arc::clone(&material.tls));
        let mut settings = MqttSettings::new(material.document.mqtt_broker.clone(), client_id, tls, material.generation);
        settings.certificate_serial = Some(material.certificate.serial.clone());
        settings.keep_alive = KEEP_ALIVE;
        settings.clean_start = false;
        settings.session_expiry = Some(SESSION_EXPIRY);
        let usual = material.document.observations_topic();
        let with = |topics: BTreeSet<String>| topics.into_iter().map(|topic| (topic, Qos::AtLeastOnce)).collect();
        let (mut needed, mut other) = (topics(&setup, &usual), BTreeSet::new());
        if let Some(global) = &setup.global_config {
            other.insert(global.topic.clone());
        }
        // What Core names may be granted now, or later, and the usual topic no longer.
        if let Some(told) = &self.from_core {
            let named = |topic: &String| *topic == usual || told.topics.contains(topic);
            other.extend(needed.iter().filter(|topic| named(topic)).cloned());
            needed.retain(|topic| !named(topic));
        }
        (settings.subscriptions, settings.optional_subscriptions) = (with(needed), with(other));
        Some(settings)
    }
}

/// Topics of all sources. Without a source there is still the connection, whose state tells whether Core can be reached.
fn topics(setup: &Setup, usual: &str) -> BTreeSet<String> {
    let of = |core: &CoreSource| if core.topics.is_empty() { vec![usual.to_owned()] } else { core.topics.clone() };
    let mut topics: BTreeSet<String> = setup.rules.cores.iter().flat_map(of).collect();
    if topics.is_empty() {
        topics.insert(usual.to_owned());
    }
    topics
}
