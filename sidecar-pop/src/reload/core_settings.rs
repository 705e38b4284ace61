//! What Core says of its settings, signed, or before the key is known.

use tapir_wire::jws::{self, VerifyError};

use super::Loader;
use crate::global_config::FromCore;
use crate::intake::Settings;
use crate::status::Telemetry;

/// Settings that nobody knows the key of are kept up to this size; Core's have a few hundred octets.
const LONGEST_UNPROVEN: usize = 64 * 1024;

impl Loader {
    pub(super) fn hear_settings(&mut self, settings: Settings, telemetry: &Telemetry) {
        match settings {
            Settings::Signed(payload) => {
                self.unproven = None;
                self.take_settings(&payload, telemetry);
            }
            Settings::Unproven(message) => {
                self.unproven = (message.len() <= LONGEST_UNPROVEN).then_some(message);
                // The keys may have come just now.
                self.prove_settings(telemetry);
            }
        }
    }

    /// Core says its settings once. If they came before the key, they are held against the keys whenever those are read.
    pub(super) fn prove_settings(&mut self, telemetry: &Telemetry) {
        if self.base.as_ref().is_some_and(|base| base.global_config.is_none()) {
            self.unproven = None;
        }
        let Some(message) = &self.unproven else { return };
        let verified = self.keys.borrow().as_deref().map(|keys| jws::verify(message, keys));
        match verified {
            None | Some(Err(VerifyError::UnknownKey)) => {}
            Some(Ok(payload)) => {
                self.unproven = None;
                telemetry.metrics.message("settings");
                self.take_settings(&payload, telemetry);
            }
            Some(Err(error)) => {
                self.unproven = None;
                telemetry.metrics.message(error.into());
                tracing::warn!(%error, "settings of Core refused");
            }
        }
    }

    /// Settings that Core signed; they are in force at once or not at all.
    fn take_settings(&mut self, payload: &[u8], telemetry: &Telemetry) {
        let Some(allowed) = self.base.as_ref().and_then(|base| base.global_config.as_ref()) else { return };
        let error = match FromCore::judge(payload, allowed, self.from_core.as_ref()) {
            Ok(told) => {
                telemetry.metrics.load("settings", "taken");
                if self.from_core.as_ref() != Some(&told) {
                    tracing::info!(version = told.version, topics = ?told.topics, "settings of Core in force");
                    self.from_core = Some(told);
                    self.put_in_force();
                    self.connect();
                }
                None
            }
            Err(error) => {
                telemetry.metrics.load("settings", "refused");
                tracing::warn!(%error, "settings of Core refused");
                Some(error.to_string())
            }
        };
        self.tell_core_settings(telemetry, Some(error));
    }

    pub(super) fn tell_core_settings(&self, telemetry: &Telemetry, read: Option<Option<String>>) {
        let followed = self.base.as_ref().is_some_and(|base| base.global_config.is_some());
        telemetry.core_settings(followed, self.from_core.as_ref(), read);
    }
}
