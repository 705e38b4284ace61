//! Observations: what Core says, and that it ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tapir_table::{Code, Codes, KeyBuf, Tree};
use tapir_wire::tags::Tag;
use tokio::sync::{mpsc, watch};

use super::disk::no_disk;
use super::list::Effect;
use super::world::Says;
use super::{Engine, TURN};
use crate::feeds::{SourceNews, Told};
use crate::intake::Observed;
use crate::knowledge::observations::{Known, LONGEST_TTL, Observations, Refusal};
use crate::setup::Setup;
use crate::state::observation_log::ObservationLog;
use crate::zone::known;
use crate::zone::source::AnySource;

/// Names that end in one go.
const EXPIRED: usize = 1024;
/// What ended waits no longer for its version, however far apart versions are to be.
const ENDED: Duration = Duration::from_millis(100);

/// A source of observations.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) observations: Observations,
    /// None where the disk does not take it.
    pub(super) log: Option<ObservationLog>,
    /// Entries that were refused.
    pub(super) refused: u64,
    pub(super) updated_at: Option<Timestamp>,
    /// Written since the log was flushed.
    pub(super) written: bool,
    /// Why not all that is known is written down.
    pub(super) trouble: Option<String>,
    /// Names displace each other: said once until there is room again.
    crowded: bool,
}

impl Core {
    pub(super) const fn new(observations: Observations, log: Option<ObservationLog>) -> Self {
        Self { observations, log, refused: 0, updated_at: None, written: false, trouble: None, crowded: false }
    }

    pub(super) fn source(&self) -> AnySource {
        AnySource::observed(self.observations.live())
    }
}

/// How a name stands among those that are to be decided anew.
pub(super) const fn touch_of(reaches: bool) -> Codes {
    Codes::new(Code::LISTED, if reaches { Code::LISTED } else { Code::SILENT })
}

/// Adds a name; what reached below once still does.
pub(super) fn touch(touched: &mut Tree<Codes>, key: &KeyBuf, reaches: bool) {
    let before = touched.get(key.as_bytes()).is_some_and(|codes| !codes.below.is_silent());
    touched.insert(key, touch_of(reaches || before));
}

impl Engine {
    /// A message, and those that wait behind it, until it is time to look after the rest.
    pub(super) fn observe_all(
        &mut self,
        first: Observed,
        observed: &mut mpsc::Receiver<Observed>,
        setups: &mut watch::Receiver<Option<Arc<Setup>>>,
    ) {
        let started = Instant::now();
        let mut next = Some(first);
        while let Some(message) = next {
            self.catch_up(setups);
            self.observe(&message, Timestamp::now());
            next = if started.elapsed() < TURN { observed.try_recv().ok() } else { None };
        }
        self.write_down();
    }

    /// Applies an accepted message.
    pub(super) fn observe(&mut self, Observed { source, message }: &Observed, now: Timestamp) {
        let Some(setup) = self.setup.clone() else { return };
        let Some(configured) = setup.rules.cores.iter().find(|core| core.name == **source) else { return };
        let Some(core) = self.cores.get_mut(source) else { return };
        let metrics = &self.telemetry.metrics;
        let (mut changes, mut refused) = (Vec::new(), 0);
        for (reason, count) in &message.rejected {
            metrics.observation(reason.into(), *count);
            refused += count;
        }
        let entries = message.added.iter().map(|entry| (entry, false)).chain(message.removed.iter().map(|entry| (entry, true)));
        for (entry, removal) in entries {
            if let Err(unfit) = setup.zone.check(&entry.name) {
                metrics.observation(unfit.into(), 1);
                refused += 1;
                continue;
            }
            let Ok(key) = KeyBuf::from_wire(&entry.name.to_wire(), setup.zone.room()) else { continue };
            let ttl: SignedDuration = configured.max_ttl.min(LONGEST_TTL);
            let outcome = if removal {
                core.observations.remove(&key, entry, now).map(Known::Over)
            } else {
                core.observations.add(&key, entry, ttl, now).map(Known::Live)
            };
            match outcome {
                Ok(known) => {
                    metrics.observation(if removal { "removed" } else { "added" }, 1);
                    changes.push((key, known));
                    if !removal && entry.tag_mask & Tag::LOOPTEST.mask() != 0 {
                        self.telemetry.looptest(now);
                    }
                }
                Err(refusal) => {
                    metrics.observation(refusal.into(), 1);
                    // A removal of what is not there is normal; everything else is worth a figure in the status.
                    refused += u64::from(refusal != Refusal::Unknown);
                }
            }
        }
        core.refused += refused;
        let displaced = core.observations.take_displaced();
        report_displaced(core, displaced.len(), metrics);
        if !changes.is_empty() {
            core.updated_at = Some(now);
            if let Some(log) = &mut core.log {
                core.written = true;
                changes.iter().for_each(|(key, known)| log.note(key, *known));
            }
        }
        let names: Vec<KeyBuf> = changes.into_iter().map(|(key, _)| key).chain(displaced).collect();
        self.observed(source, &names);
        self.report_core(source);
    }

    /// What came is written down, before any of it is published.
    pub(super) fn write_down(&mut self) {
        let Some(store) = &self.store else { return };
        let mut said = false;
        for core in self.cores.values_mut() {
            let Some(Err(error)) = core.log.as_mut().map(ObservationLog::write) else { continue };
            self.telemetry.metrics.state_error("journal");
            if core.trouble.is_none() {
                tracing::error!(%error, "observations cannot be written down; a restart would forget them");
            }
            core.trouble = Some(no_disk(&store.folder, &error));
            said = true;
        }
        if said {
            self.report_disk();
        }
    }

    /// Names of a source say something else by now.
    fn observed(&mut self, source: &Arc<str>, names: &[KeyBuf]) {
        let Some(core) = self.cores.get(source) else { return };
        let says = Says::Plain(core.source());
        let observed = [known::Known::Observed(0)];
        if let Some(world) = &mut self.world
            && world.refresh(source, &says)
        {
            let reaches = world.reaches(source, &observed);
            names.iter().for_each(|key| touch(&mut self.touched, key, reaches));
        }
        if let Some(building) = self.running.as_mut().and_then(super::Running::rebuild) {
            building.observed(source, &says, names, &observed);
        }
    }

    /// Ends what is over by now; whether there is more.
    pub(super) fn expire(&mut self, now: Timestamp) -> bool {
        let started = Instant::now();
        let sources: Vec<Arc<str>> = self.cores.keys().map(Arc::clone).collect();
        for source in sources {
            while let Some(core) = self.cores.get_mut(&source) {
                if core.observations.next_due().is_none_or(|due| i64::from(due) > now.as_second()) {
                    break;
                }
                let (mut names, first) = (Vec::new(), core.observations.live().earliest());
                core.observations.expire(now, EXPIRED, |key| names.push(*key));
                if !names.is_empty() {
                    core.updated_at = Some(now);
                    let first = first.and_then(|second| Timestamp::from_second(second.into()).ok());
                    self.ended = self.ended.into_iter().chain(first).min();
                    self.earliest = self.earliest.min(tokio::time::Instant::now() + ENDED);
                    self.observed(&source, &names);
                    self.report_core(&source);
                }
                if started.elapsed() >= TURN {
                    return true;
                }
            }
        }
        false
    }

    /// News of a source that is fetched.
    pub(super) fn told(&mut self, Told { source, news }: Told) {
        let news = match news {
            SourceNews::Observed(message) => {
                self.observe(&Observed { source, message: *message }, Timestamp::now());
                return self.write_down();
            }
            SourceNews::Coming => {
                self.coming.insert(source, Instant::now());
                return;
            }
            news => news,
        };
        self.awaited.remove(&*source);
        self.coming.remove(&source);
        let list = self.lists.entry(Arc::clone(&source)).or_default();
        let whole = list.whole;
        match list.take(news) {
            Effect::None => {}
            Effect::All => self.list_came(),
            Effect::Touched(names) => {
                self.wanted.rebuild |= list.changes.len() > super::list::MOST_CHANGES;
                // A world of before the last whole is made anew anyway.
                if let Some(world) = &mut self.world
                    && world.fits(&source, whole)
                    && world.refresh(&source, &Says::List(list))
                {
                    for (key, values) in &names {
                        let reaches = world.reaches(&source, values);
                        touch(&mut self.touched, key, reaches);
                    }
                }
                if let Some(building) = self.running.as_mut().and_then(super::Running::rebuild) {
                    building.told(&source, whole, list, &names);
                }
            }
        }
        self.report_sources();
    }
}

/// An error once an episode, not for each name: it comes exactly when most is to be done.
fn report_displaced(core: &mut Core, displaced: usize, metrics: &crate::metrics::Metrics) {
    if displaced > 0 {
        metrics.observation("displaced", displaced as u64);
        if !core.crowded {
            let names = core.observations.live().len();
            tracing::error!(names, "more is observed than has room: names that end first are given up early");
        }
        core.crowded = true;
    } else if core.observations.has_room() {
        core.crowded = false;
    }
}
