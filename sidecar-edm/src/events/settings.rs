//! What of the configuration concerns events.

use tapir_wire::config::edm::EdmConfig;

/// What is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// A configuration is in force, and it does not forbid to send.
    pub sending: bool,
    /// Names remembered at most.
    pub seen_names: usize,
    /// Events that wait at most.
    pub waiting_events: usize,
}

impl Default for Settings {
    /// While there is no configuration: nothing is sent.
    fn default() -> Self {
        Self { sending: false, seen_names: 100_000, waiting_events: 1000 }
    }
}

impl Settings {
    /// Of this configuration.
    #[must_use]
    pub fn of(config: &EdmConfig) -> Self {
        Self { sending: !config.disabled, seen_names: config.qname_seen_entries, waiting_events: config.newqname_buffer }
    }
}
