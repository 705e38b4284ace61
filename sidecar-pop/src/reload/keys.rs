//! Keys: those that observations are verified with, and the one that reports to Core are signed with.

use std::sync::Arc;

use tapir_runtime::node::{NodeMaterial, current};
use tapir_runtime::telemetry::Sending;
use tapir_wire::config::pop::Telemetry as Reports;
use tapir_wire::jwk::TrustedKeys;
use tapir_wire::node::TRUSTED_KEYS;
use tapir_wire::status::SourceState;

use super::{Loader, read};
use crate::status::{Telemetry, Trouble};

impl Loader {
    pub(super) fn load_keys(&self, telemetry: &Telemetry) {
        let file = current(&self.directory()).join(TRUSTED_KEYS);
        let keys = match read(&file) {
            Ok(Some(text)) if !text.trim().is_empty() => TrustedKeys::from_jwks(&text).map_err(|error| error.to_string()),
            Ok(_) => {
                // Before the enrolment, or gone: nothing new.
                let missing = self.keys.borrow().is_none();
                telemetry.keys_read(missing.then(|| (SourceState::Pending, format!("{TRUSTED_KEYS} is missing"))));
                return;
            }
            Err(error) => Err(error.to_string()),
        };
        let error = match keys {
            Ok(keys) if keys.is_empty() => "no key in it can verify".to_owned(),
            Ok(keys) => {
                let same = self.keys.borrow().as_ref().is_some_and(|old| old.kids().eq(keys.kids()) && **old == keys);
                telemetry.metrics.load("keys", "taken");
                telemetry.keys_read(None);
                if !same {
                    telemetry.keys_in_force(keys.len());
                    tracing::info!(keys = keys.len(), skipped = keys.skipped().len(), "trusted keys in force");
                    self.keys.send_replace(Some(Arc::new(keys)));
                }
                return;
            }
            Err(error) => error,
        };
        telemetry.metrics.load("keys", "refused");
        tracing::error!(error, "trusted keys refused, the last good ones stay in force");
        let state = if self.keys.borrow().is_some() { SourceState::Stale } else { SourceState::Failed };
        telemetry.keys_read(Some((state, format!("{TRUSTED_KEYS} is refused: {error}"))));
    }

    /// The key is read only where something is signed with it.
    pub(super) fn load_reports(&self, telemetry: &Telemetry) {
        let wanted = self.base.as_ref().filter(|base| !base.disabled).and_then(|base| base.telemetry.as_deref());
        let (sending, error) = match (wanted, &self.material) {
            (Some(topic), Some(NodeMaterial { document, .. })) => {
                let named = if topic == Reports::TOPIC { document.topic("status") } else { None };
                match NodeMaterial::load_data_key(&self.directory(), &document.name) {
                    Ok(Some(key)) => {
                        let topic = named.unwrap_or_else(|| document.of_this_node(topic));
                        let function_id = format!("{}-{}", document.name, self.suffix);
                        (Some(Sending { topic, function_id, key }), None)
                    }
                    Ok(None) => (None, Some("telemetry: datakey.jwk is missing, with which it is signed".to_owned())),
                    Err(error) => (None, Some(format!("telemetry: {error}"))),
                }
            }
            _ => (None, None),
        };
        telemetry.trouble(Trouble::Telemetry, error);
        self.sending.send_replace(sending);
    }
}
