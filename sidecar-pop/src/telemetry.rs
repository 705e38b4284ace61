//! What happens and should not, and what Core is told of it (`telemetry`, off where nothing is said): [`tapir_runtime::telemetry`], for POP.

#[cfg(test)]
mod events;
mod parts;
#[cfg(test)]
mod report;

use jiff::Timestamp;
use serde_json::{Map, Value};
use tapir_runtime::http::Probe as _;
use tapir_runtime::telemetry::{Parts, Shown, State, Teller, counters};
use tapir_wire::status::EventStatus;

use crate::status::Telemetry;
pub(crate) use parts::{COMPONENTS, Seen, parts};

/// Targets, rules and sources have names and addresses that the configuration made up. What there is of each source is said by its state.
const SHOWN: Shown =
    Shown { prefix: "tapir_pop_", left_out: &["build_info", "source_"], own_labels: &["target", "rule", "source"] };

impl Teller for Telemetry {
    fn function(&self) -> &'static str {
        "tapir-pop"
    }

    fn node(&self) -> String {
        Self::node(self)
    }

    fn parts(&self, now: Timestamp) -> Parts {
        Self::parts(self, now)
    }

    fn is_so(&self, part: &'static str, state: State) {
        self.metrics.component(part, state);
    }

    fn happened(&self, event: EventStatus) {
        self.event(event);
    }

    fn events(&self) -> Vec<EventStatus> {
        Self::events(self)
    }

    fn is_connected(&self) -> bool {
        Self::is_connected(self)
    }

    fn counters(&self) -> Map<String, Value> {
        counters(&self.metrics(), &SHOWN)
    }
}
