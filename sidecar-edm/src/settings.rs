//! What the configuration says to each part.

use std::time::Duration;

use tapir_wire::config::edm::EdmConfig;

use crate::config::endpoint;
use crate::decode::CountedTypes;
use crate::histogram::{Settings, Threshold};
use crate::input::Limits;
use crate::minimiser::Policy;
use crate::outbox::Bounds;

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

#[cfg(test)]
mod tests {
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
    fn limits_and_bounds_follow() {
        let limits = limits(Some(&config("input-max-connections = 3")));
        assert_eq!((limits.connections, limits.grace), (3, INPUT_GRACE));
        assert_eq!(super::limits(None).grace, INPUT_GRACE);
        assert_eq!(bounds(Some(&config("storage-mib = 64"))).outbox.octets, 8 << 20);
        assert_eq!(bounds(Some(&config(""))), Bounds::default());
    }
}
