//! What happens at EDM and should not, and what Core is told of it (`telemetry`, off where nothing is said): [`tapir_runtime::telemetry`], for
//! EDM. Numbers and fixed words alone: no name that was asked for, no address, no pseudonym, no path.

mod parts;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use serde_json::{Map, Value};
use tapir_runtime::http::Probe as _;
use tapir_runtime::telemetry::{History, Parts, Shown, State, Teller, counters};
use tapir_wire::status::EventStatus;

use crate::status::EdmProbe;
use parts::{COMPONENTS, Memory};

/// No label of EDM's metrics has a value that comes from outside.
const SHOWN: Shown = Shown { prefix: "tapir_edm_", left_out: &["build_info"], own_labels: &[] };

/// Label of parts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ComponentLabels {
    component: &'static str,
}

/// What happened, and what is remembered of it. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Incidents {
    history: Arc<Mutex<History>>,
    memory: Arc<Mutex<Memory>>,
    events: Family<ComponentLabels, Counter>,
    states: Family<ComponentLabels, Gauge>,
}

impl Incidents {
    /// Registers everything. The prefix is the registry's.
    pub fn register(&self, registry: &mut Registry) {
        let Self { history: _, memory: _, events, states } = self.clone();
        // Present from the start, so that an alert on a rate sees the first one.
        for component in COMPONENTS {
            drop((
                events.get_or_create_owned(&ComponentLabels { component }),
                states.get_or_create_owned(&ComponentLabels { component }),
            ));
        }
        registry.register("exceptional_events", "Parts that became worse", events);
        registry.register("component_state", "0: the part is well, 1: warned of, 2: failed", states);
    }

    /// What happened, the newest last.
    #[must_use]
    pub fn all(&self) -> Vec<EventStatus> {
        lock(&self.history).all()
    }
}

/// EDM, as it tells of itself.
#[derive(Debug)]
pub struct Told(pub Arc<EdmProbe>);

impl Teller for Told {
    fn function(&self) -> &'static str {
        "tapir-edm"
    }

    fn node(&self) -> String {
        self.0.in_force.borrow().shown().map(|link| link.data_key.kid().to_owned()).unwrap_or_default()
    }

    fn parts(&self, now: Timestamp) -> Parts {
        parts::of(&self.0, &mut lock(&self.0.incidents.memory), now)
    }

    fn is_so(&self, component: &'static str, state: State) {
        self.0.incidents.states.get_or_create(&ComponentLabels { component }).set(state as i64);
    }

    fn happened(&self, event: EventStatus) {
        if let Some(component) = COMPONENTS.into_iter().find(|component| *component == event.component) {
            self.0.incidents.events.get_or_create(&ComponentLabels { component }).inc();
        }
        lock(&self.0.incidents.history).push(event);
    }

    fn events(&self) -> Vec<EventStatus> {
        self.0.incidents.all()
    }

    fn is_connected(&self) -> bool {
        self.0.core.borrow().connected
    }

    fn counters(&self) -> Map<String, Value> {
        counters(&self.0.metrics(), &SHOWN)
    }
}

/// Nothing in here is left half done by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use tokio::sync::watch;

    use super::*;
    use crate::events::{self, Events};
    use crate::instance::Instance;
    use crate::memory::Budget;
    use crate::metrics::Metrics;
    use crate::minimiser::{Minimiser, Rotation};
    use crate::outbox::{Bounds, Folders, Store};
    use crate::sessions::{self, Switch};

    fn unchanging<T: Default>() -> watch::Receiver<T> {
        watch::channel(T::default()).1
    }

    /// It is looked each second, on a thread that everything else needs too.
    #[test]
    fn whoever_looks_waits_for_nobody_who_counts() {
        let folder = tempfile::tempdir().unwrap();
        let (metrics, budget) = (Arc::new(Metrics::default()), Budget::new(1 << 24));
        let events = Events::open(folder.path(), events::Settings::default(), &budget);
        let folders = Folders::below(folder.path());
        let store = Store::start(folders, Bounds::default(), Instance::draw(), metrics.aggregates.clone(), Arc::default());
        let sessions = Switch::open(sessions::Settings::new(folder.path()), metrics.sessions.clone(), &budget).unwrap();
        let lag = Arc::clone(&metrics.input.lag);
        let minimiser = Minimiser::new(events.clone(), sessions, metrics.frames.clone(), lag, Arc::clone(&budget));
        let rotation = Rotation::new(minimiser.clone(), metrics.rotation.clone(), store.unwrap());
        let probe = EdmProbe {
            started_at: Timestamp::now(),
            registries: <[Registry; 2]>::default(),
            metrics,
            in_force: unchanging(),
            core: unchanging(),
            input: unchanging(),
            http: unchanging(),
            sending: unchanging(),
            events,
            minimiser: minimiser.clone(),
            rotation,
            data: folder.path().to_owned(),
            fetching: unchanging(),
            incidents: Incidents::default(),
            budget,
        };
        let told = Told(Arc::new(probe));
        let (said, hears) = mpsc::channel();
        minimiser.while_locked(|| {
            std::thread::spawn(move || said.send(told.parts(Timestamp::now()).len()));
            assert_eq!(hears.recv_timeout(Duration::from_secs(60)), Ok(COMPONENTS.len()));
        });
    }
}
