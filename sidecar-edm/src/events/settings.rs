//! What of the configuration concerns events.

use std::time::Duration;

use tapir_wire::config::edm::EdmConfig;

use super::limits::Allowed;
use super::queue::record;
use crate::privacy::Zone;

const DAY: Duration = Duration::from_secs(24 * 3600);
const MIB: u64 = 1 << 20;
/// Events that wait have this part of all that EDM may keep on disk: with 2 GiB some five million of them.
const WAITING_SHARE: u64 = 8;
/// Twice what may come to be in a second, so that what waited becomes less.
const SENT_A_SECOND: u32 = 2000;

/// What is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// A configuration is in force, and it does not forbid to send.
    pub sending: bool,
    /// A configuration is in force, and it forbids to send: what waits is forgotten.
    pub forbidden: bool,
    /// Names remembered at most. Each takes 12 octets of memory, and up to 15 on disk.
    pub seen_names: usize,
    /// A name that nobody asked for this long is forgotten.
    pub forget_after: Duration,
    /// Octets of events in memory that wait to be written at most.
    pub buffered_octets: usize,
    /// Octets on disk of events that wait at most; an event takes some 50.
    pub waiting_octets: u64,
    /// How many events there may be.
    pub allowed: Allowed,
    /// Which names may make events although they say something of the site or of clients.
    pub reported: Reported,
    /// Names of events in lower case.
    pub lower_case: bool,
    /// Events a second to the broker at most, so that what waited over an outage does not flood it; zero without a limit.
    pub sent_a_second: u32,
    /// Upstream's way: an event is done with when it is written to the connection, not when the broker has acknowledged it.
    pub at_most_once: bool,
}

/// Names that make events only where this says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reported {
    /// Below `in-addr.arpa` and `ip6.arpa`, the zones of RFC 6303 among them.
    pub reverse_zones: bool,
    /// Below `home.arpa` (RFC 8375).
    pub home_arpa: bool,
    /// `localhost` and below.
    pub localhost: bool,
    /// Below `local`.
    pub local: bool,
    /// Other special-use names, and those of a single label.
    pub other_special_use: bool,
    /// Names that spell the asking client's address.
    pub client_addresses: bool,
}

impl Reported {
    /// Everything, as upstream.
    pub const ALL: Self = Self {
        reverse_zones: true,
        home_arpa: true,
        localhost: true,
        local: true,
        other_special_use: true,
        client_addresses: true,
    };

    /// Names of this zone may make events.
    #[must_use]
    pub const fn contains(&self, zone: Zone) -> bool {
        match zone {
            Zone::Reverse => self.reverse_zones,
            Zone::HomeArpa => self.home_arpa,
            Zone::Localhost => self.localhost,
            Zone::Local => self.local,
            Zone::Other => self.other_special_use,
        }
    }
}

impl Default for Settings {
    /// While there is no configuration: nothing is sent.
    fn default() -> Self {
        Self {
            sending: false,
            forbidden: false,
            seen_names: 100_000,
            forget_after: 30 * DAY,
            buffered_octets: 1000 * record::LONGEST,
            waiting_octets: 2048 * MIB / WAITING_SHARE,
            allowed: Allowed::of(None, None),
            reported: Reported::default(),
            lower_case: false,
            sent_a_second: SENT_A_SECOND,
            at_most_once: false,
        }
    }
}

impl Settings {
    /// Of this configuration.
    #[must_use]
    pub fn of(config: &EdmConfig) -> Self {
        let forbidden = config.disabled || config.disable_mqtt;
        Self {
            sending: !forbidden,
            forbidden,
            seen_names: config.qname_seen_entries,
            buffered_octets: config.newqname_buffer.saturating_mul(record::LONGEST),
            waiting_octets: u64::from(config.storage_mib) * MIB / WAITING_SHARE,
            allowed: Allowed::of(config.newqname_per_second, config.newqname_per_domain),
            reported: Reported {
                reverse_zones: config.newqname_reverse_zones,
                home_arpa: config.newqname_home_arpa,
                localhost: config.newqname_localhost,
                local: config.newqname_local,
                other_special_use: config.newqname_special_use,
                client_addresses: config.newqname_client_addresses,
            },
            lower_case: config.newqname_lower_case,
            sent_a_second: config.newqname_sent_per_second.unwrap_or(SENT_A_SECOND),
            at_most_once: config.mqtt_qos == 0,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_configured_is_in_force() {
        let of = |text: &str| Settings::of(&EdmConfig::parse(text).unwrap().config);
        let usual = of("format = 2\n");
        assert_eq!(usual, Settings { sending: true, ..Settings::default() });
        let other = of(concat!(
            "format = 2\nmqtt-qos = 0\nnewqname-per-second = 100\nnewqname-per-domain = 2\nnewqname-sent-per-second = 200\n",
            "newqname-local = true\nnewqname-lower-case = true\nqname-seen-entries = 7\nstorage-mib = 64\nnewqname-buffer = 10\n",
        ));
        assert_eq!((other.seen_names, other.sent_a_second, other.waiting_octets), (7, 200, 8 << 20));
        assert!(other.at_most_once && other.lower_case && other.reported.local && !other.reported.localhost);
        assert_ne!(other.allowed, usual.allowed);
        for off in ["disabled", "disable-mqtt"] {
            let Settings { sending, forbidden, .. } = of(&format!("format = 2\n{off} = true\n"));
            assert!(!sending && forbidden, "{off}");
        }
        assert!(!Settings::default().forbidden, "nobody has said anything yet");
    }
}
