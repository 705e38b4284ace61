//! What the configuration says to each part.

use std::time::Duration;

use tapir_runtime::logging::LevelFilter;
use tapir_wire::config::edm::{EdmConfig, Secret};

use crate::config::endpoint;
use crate::decode::CountedTypes;
use crate::histogram::{Settings, Threshold};
use crate::input::Limits;
use crate::minimiser::Policy;
use crate::outbox::Bounds;
use crate::sessions::{self, Kept, Source, Wanted};

/// Time for frames that were received before shutdown: a part of what there is for everything.
const INPUT_GRACE: Duration = Duration::from_millis(1500);

/// What frames are judged by.
#[must_use]
pub fn policy(config: Option<&EdmConfig>) -> Policy {
    let Some(config) = config else { return Policy::default() };
    let all = config.counted_types.iter().any(|name| name == EdmConfig::ALL_RESPONSES);
    let types = CountedTypes::of(config.counted_types.iter().filter_map(|name| name.parse().ok()));
    let threshold = Threshold::new(config.histogram_hll_explicit_threshold).unwrap_or_default();
    Policy {
        sending: !config.disabled,
        types: if all { CountedTypes::ALL_RESPONSES } else { types },
        once: config.deduplicate_responses,
        histogram: Settings { threshold, counts_only: config.histogram_counts_only },
    }
}

/// How much is logged where the environment does not say it.
#[must_use]
pub const fn log_level(config: &EdmConfig) -> LevelFilter {
    if config.debug { LevelFilter::DEBUG } else { LevelFilter::INFO }
}

/// What one resolver may take.
#[must_use]
pub fn limits(config: Option<&EdmConfig>) -> Limits {
    Limits { grace: INPUT_GRACE, ..config.map(endpoint::limits).unwrap_or_default() }
}

/// What the folders of aggregates may hold: a part of what all folders may hold together.
#[must_use]
pub fn bounds(config: Option<&EdmConfig>) -> Bounds {
    let mut bounds = Bounds::default();
    if let Some(config) = config {
        let all = u64::from(config.storage_mib) << 20;
        for (bound, part) in [(&mut bounds.outbox, 8), (&mut bounds.sent, 16), (&mut bounds.refused, 64)] {
            bound.octets = bound.octets.min(all / part);
        }
    }
    bounds
}

/// Session files: whether, of what key, and a quarter of what all folders may hold together.
#[must_use]
pub fn sessions(config: &EdmConfig, secret: Result<Secret, String>) -> Wanted {
    let (salt, settings) = (config.cryptopan_key_salt.clone(), session_files(config));
    Wanted { on: writes_sessions(config), source: secret.map(|secret| Source { secret, salt }), settings }
}

/// Where session files go, and how much of them there may be.
#[must_use]
pub fn session_files(config: &EdmConfig) -> sessions::Settings {
    let mut settings = sessions::Settings::new(&config.data_dir);
    settings.bound.octets = (u64::from(config.storage_mib) << 20) / 4;
    settings.kept = Kept { subnets: config.session_keep_ecs, cookies: config.session_keep_cookies };
    settings.pseudonyms = usize::try_from(config.cryptopan_address_entries).unwrap_or_default();
    settings
}

/// An edge that was switched off writes none either.
#[must_use]
pub const fn writes_sessions(config: &EdmConfig) -> bool {
    !config.disabled && !config.disable_session_files
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config(more: &str) -> EdmConfig {
        EdmConfig::parse(&format!("format = 2\n{more}")).unwrap().config
    }

    #[test]
    fn nothing_counts_without_a_configuration_or_when_it_forbids_to_send() {
        assert!(!policy(None).sending && !policy(Some(&config("disabled = true"))).sending);
        assert_eq!(policy(Some(&config(""))), Policy { sending: true, ..Policy::default() });
    }

    #[test]
    fn how_answers_are_counted() {
        let said = config(
            "counted-types = ['AUTH_RESPONSE', 'CLIENT_RESPONSE']\nhistogram-hll-explicit-threshold = 50\nhistogram-counts-only = true",
        );
        let Policy { types, histogram, .. } = policy(Some(&said));
        assert_eq!((1..=14).filter(|number| types.counts(*number)).collect::<Vec<_>>(), [2, 6]);
        assert_eq!((histogram.threshold.clients(), histogram.counts_only), (50, true));
        assert_eq!(policy(Some(&config("counted-types = ['ALL_RESPONSES']"))).types, CountedTypes::ALL_RESPONSES);
    }

    #[test]
    fn session_files_are_off_unless_they_are_asked_for() {
        let said = |more: &str| sessions(&config(&format!("data-dir = '/data'\n{more}")), Err("none".to_owned()));
        assert!(!said("").on && !said("disabled = true\ndisable-session-files = false").on);
        let usual = said("disable-session-files = false");
        let settings = sessions::Settings::new(Path::new("/data"));
        assert!(usual.on && usual.source == Err("none".to_owned()));
        assert_eq!(usual.settings, sessions::Settings { pseudonyms: 100_000, ..settings.clone() });
        let other = said("storage-mib = 64\nsession-keep-ecs = true\ncryptopan-address-entries = 0");
        let kept = Kept { subnets: true, cookies: false };
        let bound = crate::disk::Bound { octets: 16 << 20, ..settings.bound };
        assert_eq!(other.settings, sessions::Settings { bound, kept, pseudonyms: 0, ..settings });
    }

    #[test]
    fn limits_and_bounds_follow() {
        let limits = limits(Some(&config("input-max-connections = 3")));
        assert_eq!((limits.connections, limits.grace), (3, INPUT_GRACE));
        assert_eq!(super::limits(None).grace, INPUT_GRACE);
        assert_eq!(bounds(Some(&config("storage-mib = 64"))).outbox.octets, 8 << 20);
        assert_eq!(bounds(Some(&config(""))), Bounds::default());
    }
}
