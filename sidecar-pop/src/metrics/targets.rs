//! What became of NOTIFYs, by the resolver that was told.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

/// What can become of them.
const OUTCOMES: [&str; 5] = ["sent", "acknowledged", "refused", "timeout", "given_up"];

/// By resolver; only those that the configuration names. The engine has nothing to do with them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Targets(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    targets: BTreeMap<SocketAddr, [u64; OUTCOMES.len()]>,
    given_up: u64,
}

impl Targets {
    /// Those that are told from now on. Figures of those that are told as before go on.
    pub(crate) fn are(&self, targets: impl Iterator<Item = SocketAddr>) {
        let mut known = self.known();
        let mut former = std::mem::take(&mut known.targets);
        known.targets = targets.map(|target| (target, former.remove(&target).unwrap_or_default())).collect();
    }

    pub(crate) fn count(&self, target: SocketAddr, outcome: &str) {
        let mut known = self.known();
        known.given_up += u64::from(outcome == "given_up");
        let place = OUTCOMES.iter().position(|known| *known == outcome);
        let counts = known.targets.get_mut(&target);
        if let Some(count) = place.zip(counts).and_then(|(place, counts)| counts.get_mut(place)) {
            *count += 1;
        }
    }

    /// How often one was given up, whoever it was.
    pub(crate) fn given_up(&self) -> u64 {
        self.known().given_up
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EncodeMetric for Targets {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let targets = self.known().targets.clone();
        for (target, counts) in targets {
            let target = target.to_string();
            for (outcome, count) in OUTCOMES.into_iter().zip(counts) {
                let labels = [("target", target.as_str()), ("outcome", outcome)];
                ConstCounter::new(count).encode(encoder.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolver_that_is_not_told_any_more_is_not_shown_and_one_that_stays_goes_on() {
        let targets = Targets::default();
        let [one, two, three]: [SocketAddr; 3] = [1, 2, 3].map(|host| SocketAddr::from(([127, 0, 0, host], 53)));
        let shown = || {
            let mut registry = prometheus_client::registry::Registry::default();
            registry.register("n", "N", targets.clone());
            let text = tapir_runtime::metrics::render(&registry);
            text.lines().filter(|line| !line.starts_with('#') && !line.ends_with(" 0")).map(str::to_owned).collect::<Vec<_>>()
        };
        targets.are([one, two].into_iter());
        for (target, outcome) in [(one, "sent"), (one, "sent"), (two, "given_up"), (three, "sent")] {
            targets.count(target, outcome);
        }
        let row = |host, outcome, count| format!("n_total{{target=\"127.0.0.{host}:53\",outcome=\"{outcome}\"}} {count}");
        assert_eq!(shown(), [row(1, "sent", 2), row(2, "given_up", 1)]);
        targets.are([one, three].into_iter());
        assert_eq!(shown(), [row(1, "sent", 2)]);
        assert_eq!(targets.given_up(), 1, "is remembered all the same");
    }
}
