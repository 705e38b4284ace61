//! What builder and keeper are to do, and what becomes of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tapir_table::{Codes, KeyBuf, Tree};
use tokio::time::Instant;

use super::builder::{self, Done, Job, ListError};
use super::list::List;
use super::observe::touch;
use super::world::{Says, World};
use super::{Engine, Outcome};
use crate::feeds::{Health, SourceNews, Told};
use crate::names::ZoneName;
use crate::sources::ListText;
use crate::status::Trouble;
use crate::zone::known::Known;
use crate::zone::source::AnySource;
use crate::zone::{Serial, Snapshot};

/// Changes of the zone in memory before they are written into a new base: at least so many, or a share of it.
const LEAST_MERGED: usize = 65_536;
const MERGED_SHARE: u64 = 8;
/// Fewer are written where that was not done lately: a start has to read them all.
const LEAST_TIDIED: usize = 8192;
const TIDIED_SHARE: u64 = 64;
/// Likewise where the log is half as long as history may be.
const TIDIED_LOG: f64 = 0.5;
/// Lately: so long ago at least, and so many times as long as it took.
const TIDY_EVERY: Duration = Duration::from_secs(15);
const TIDY_SHARE: u32 = 50;
/// Where the log is as long as history may be.
const SHORTEN_EVERY: Duration = Duration::from_secs(1);
const SHORTEN_SHARE: u32 = 2;
/// Names that may be touched while the zone is made anew. More, and it is made once more.
const MOST_MEANWHILE: usize = 262_144;
/// After work that failed.
const PAUSE: Duration = Duration::from_secs(5);
/// For so long a list that comes is waited for, and ends what is being made without it.
const TOGETHER: Duration = Duration::from_secs(2);

/// What the builder is at.
#[derive(Debug)]
pub(super) enum Running {
    Reading,
    Rebuild(Box<Building>),
    /// The version that becomes the base, and since when.
    Merge(Serial, Instant),
    Condense,
    /// Since when the file is being written.
    Write(Instant),
}

/// The zone as a file.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// What stands there, and where.
    is: Option<(Serial, PathBuf)>,
    /// Not before this.
    not_before: Option<Instant>,
}

/// Between two files at least, and as many times as long as the last one took.
const FILE_EVERY: Duration = Duration::from_secs(1);
const FILE_SHARE: u32 = 10;

impl Running {
    pub(super) fn rebuild(&mut self) -> Option<&mut Building> {
        if let Self::Rebuild(building) = self { Some(building) } else { None }
    }
}

/// A zone that is made anew.
#[derive(Debug)]
pub(super) struct Building {
    pub(super) world: World,
    /// Names that were published otherwise since it was begun.
    pub(super) meanwhile: Tree<Codes>,
    /// Names of which sources said something else since then.
    pub(super) touched: Tree<Codes>,
    /// What is published could not be read, so that it was begun from nothing.
    pub(super) from_nothing: bool,
    given_up: Arc<AtomicBool>,
}

impl Building {
    pub(super) fn observed(&mut self, source: &str, says: &Says<'_>, names: &[KeyBuf], values: &[Known]) {
        if !self.is_late() && self.world.refresh(source, says) {
            let reaches = self.world.reaches(source, values);
            names.iter().for_each(|key| touch(&mut self.touched, key, reaches));
        }
    }

    pub(super) fn told(&mut self, source: &str, whole: u64, list: &List, names: &[(KeyBuf, [Known; 2])]) {
        if !self.is_late() && self.world.fits(source, whole) && self.world.refresh(source, &Says::List(list)) {
            for (key, values) in names {
                let reaches = self.world.reaches(source, values);
                touch(&mut self.touched, key, reaches);
            }
        }
    }

    /// Whether so much happened meanwhile that it is to be made once more: more of that is not remembered, however long it takes.
    pub(super) fn is_late(&self) -> bool {
        self.touched.len().max(self.meanwhile.len()) > MOST_MEANWHILE
    }
}

#[cfg(test)]
impl Wanted {
    /// Nothing is waited for.
    pub(super) const fn look_now(&mut self) {
        (self.not_before, self.condense_at) = (None, None);
    }
}

/// What the builder is to do.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Everything is to be decided anew.
    pub(super) rebuild: bool,
    /// Since when, where that is for a list that came whole.
    pub(super) since: Option<Instant>,
    /// A base is to be written, however little changed.
    pub(super) merge: bool,
    /// When the last one was written, and how long that took.
    pub(super) merged: Option<(Instant, Duration)>,
    /// What is published cannot be read.
    pub(super) from_nothing: bool,
    /// Not before this.
    pub(super) not_before: Option<Instant>,
    /// Tables of observations not before this.
    condense_at: Option<Instant>,
}

impl Engine {
    /// A list came whole. Lists that change together come one after the other, and are to be one version: what is being made without this one
    /// is given up, but not for ever.
    pub(super) fn list_came(&mut self) {
        self.wanted.rebuild = true;
        if self.wanted.since.get_or_insert_with(Instant::now).elapsed() < TOGETHER {
            self.give_up();
        }
    }

    /// Whether another list will be there in a moment.
    fn more_comes(&mut self) -> bool {
        self.coming.retain(|_, since| since.elapsed() < TOGETHER);
        !self.coming.is_empty()
    }

    /// Nobody wants the zone that is being made any more.
    pub(super) fn give_up(&mut self) {
        if let Some(building) = self.running.as_mut().and_then(Running::rebuild) {
            building.given_up.store(true, Ordering::Relaxed);
        }
    }

    /// Gives the builder the next piece of work, if it has none.
    pub(super) fn start_jobs(&mut self) {
        if self.running.is_some() || self.wanted.not_before.is_some_and(|at| at > Instant::now()) {
            return;
        }
        let (job, running) = match self.next_job() {
            Some(next) => next,
            None => return,
        };
        if self.jobs.try_send(job).is_ok() {
            self.running = Some(running);
        }
    }

    fn next_job(&mut self) -> Option<(Job, Running)> {
        let setup = self.setup.clone()?;
        let unread: Vec<ListText> = setup.rules.lists.iter().filter(|list| !self.is_read(list, &setup.zone)).cloned().collect();
        if !unread.is_empty() {
            return Some((Job::Read(unread, setup.zone.clone()), Running::Reading));
        }
        if self.wanted.rebuild && !self.more_comes() && self.has_what_it_had() {
            return self.rebuild_job();
        }
        if self.wanted.merge || self.has_many_changes() {
            return self.merge_job();
        }
        self.condense_job().or_else(|| self.write_job(setup.zone_file.as_ref()?))
    }

    /// Whether so much changed since the base was written that another one is worth its while.
    fn has_many_changes(&self) -> bool {
        let (Some(layers), Some(store)) = (&self.layers, &self.store) else { return false };
        let (base, changes) = (layers.base.nodes(), layers.changes());
        let beyond = |least: usize, share: u64| changes > least && changes as u64 > base / share;
        let rested = |every: Duration, share: u32| {
            self.keeping.settling == 0 && self.wanted.merged.is_none_or(|(at, took)| at.elapsed() >= every.max(took * share))
        };
        beyond(LEAST_MERGED, MERGED_SHARE)
            || rested(SHORTEN_EVERY, SHORTEN_SHARE) && store.log.is_long(1.0)
            || rested(TIDY_EVERY, TIDY_SHARE) && (beyond(LEAST_TIDIED, TIDIED_SHARE) || store.log.is_long(TIDIED_LOG))
    }

    /// The newest version, once it is time. Its configuration has to be in force: another one may want it elsewhere, or not at all.
    fn write_job(&self, path: &Path) -> Option<(Job, Running)> {
        let zone = self.published.borrow().clone()?;
        let is = (zone.serial, path.to_owned());
        if self.written.is.as_ref() == Some(&is) || self.written.not_before.is_some_and(|at| at > Instant::now()) {
            return None;
        }
        Some((Job::Write(zone, path.to_owned()), Running::Write(Instant::now())))
    }

    fn file_written(&mut self, zone: &Snapshot, path: PathBuf, written: std::io::Result<()>, since: Instant) {
        let mut pause = FILE_EVERY.max(since.elapsed() * FILE_SHARE);
        let trouble = written.err().map(|error| {
            self.telemetry.metrics.state_error("zone_file");
            pause = pause.max(PAUSE);
            format!("zoneFile: {} cannot be written: {error}; check path, permissions and free space", path.display())
        });
        if trouble.is_none() {
            self.written.is = Some((zone.serial, path));
        }
        self.written.not_before = Some(Instant::now() + pause);
        if let Some(error) = &trouble {
            tracing::error!(error, "resolvers that read the zone from a file keep an older version");
        }
        self.telemetry.trouble(Trouble::ZoneFile, trouble);
    }

    fn is_read(&self, list: &ListText, zone: &ZoneName) -> bool {
        self.texts.get(&list.source).is_some_and(|(known, of)| known.text == list.text && of == zone)
    }

    /// Whether every source has told what it holds that held something before the start. One that does not come is waited for so long and not longer.
    fn has_what_it_had(&mut self) -> bool {
        if self.awaited_until <= Instant::now() && !self.awaited.is_empty() {
            tracing::warn!(sources = ?self.awaited, "sources that held something before the start do not come, going on without");
            self.awaited.clear();
        }
        self.awaited.is_empty()
    }

    fn rebuild_job(&mut self) -> Option<(Job, Running)> {
        let setup = self.setup.clone()?;
        let (lists, cores) = (&self.lists, &self.cores);
        let mut world = World::new(&setup, self.room, |name| {
            let core = cores.get(name).filter(|_| setup.rules.cores.iter().any(|core| core.name == name));
            match (core, lists.get(name)) {
                (Some(core), _) => Says::Plain(core.source()),
                (None, Some(list)) => Says::List(list),
                (None, None) => Says::Plain(AnySource::nothing()),
            }
        });
        world.deciding = self.telemetry.metrics.decisions.of(&setup.rules.policy);
        let from_nothing = self.wanted.from_nothing;
        let layers =
            if from_nothing { crate::zone::layers::Layers::new(crate::zone::nothing()?) } else { self.layers.clone()? };
        let given_up = Arc::<AtomicBool>::default();
        let zone = builder::Zone {
            world: Some(world.clone()),
            layers,
            palette: self.sets.now(),
            to: self.store.as_mut()?.next_base(),
            given_up: Arc::clone(&given_up),
        };
        self.wanted.rebuild = false;
        let (meanwhile, touched) = (Tree::new(), Tree::new());
        let building = Building { world, meanwhile, touched, from_nothing, given_up };
        Some((Job::Rebuild(Box::new(zone)), Running::Rebuild(Box::new(building))))
    }

    fn merge_job(&mut self) -> Option<(Job, Running)> {
        let serial = self.published.borrow().as_ref()?.serial;
        let layers = self.layers.as_mut()?;
        if let Err(error) = layers.freeze() {
            self.unreadable(&error);
            return None;
        }
        self.wanted.merge = false;
        let zone = builder::Zone {
            world: None,
            layers: layers.clone(),
            palette: self.sets.now(),
            to: self.store.as_mut()?.next_base(),
            given_up: Arc::default(),
        };
        Some((Job::Merge(Box::new(zone)), Running::Merge(serial, Instant::now())))
    }

    fn condense_job(&mut self) -> Option<(Job, Running)> {
        if self.wanted.condense_at.is_some_and(|at| at > Instant::now()) {
            return None;
        }
        for (source, core) in &mut self.cores {
            let Some(log) = core.log.as_mut().filter(|log| log.is_long()) else { continue };
            match log.condense(&core.observations) {
                Ok(condense) => return Some((Job::Condense(Arc::clone(source), condense), Running::Condense)),
                Err(error) => {
                    self.telemetry.metrics.state_error("journal");
                    tracing::error!(%error, "another log of observations cannot be begun");
                    self.wanted.condense_at = Some(Instant::now() + PAUSE);
                    return None;
                }
            }
        }
        None
    }

    /// Something was finished elsewhere.
    pub(super) fn outcome(&mut self, outcome: Outcome, now: Timestamp) {
        match outcome {
            Outcome::Built(done) => {
                let running = self.running.take();
                self.built(done, running, now);
            }
            Outcome::Kept(kept) => self.kept(kept),
        }
    }

    fn built(&mut self, done: Done, running: Option<Running>, now: Timestamp) {
        match (done, running) {
            (Done::Read(lists, zone), _) => self.lists_read(lists, &zone),
            (Done::Rebuilt(Ok((base, made))), Some(Running::Rebuild(building))) => self.swap(*building, &base, made, now),
            (Done::Rebuilt(Err(crate::zone::rebuild::RebuildError::GivenUp)), _) => self.wanted.rebuild = true,
            (Done::Rebuilt(Err(error)), running) => {
                self.telemetry.metrics.state_error("zone");
                tracing::error!(%error, "the zone could not be made anew");
                self.wanted.rebuild = true;
                // What is published may be what cannot be read: everything is made from its sources then, at once.
                self.wanted.from_nothing = true;
                if !matches!(running, Some(Running::Rebuild(building)) if !building.from_nothing) {
                    self.wanted.not_before = Some(Instant::now() + PAUSE);
                }
            }
            (Done::Merged(Ok(base)), Some(Running::Merge(serial, since))) => {
                self.wanted.merged = Some((Instant::now(), since.elapsed()));
                self.rebase(&base, serial, now);
            }
            (Done::Merged(Err(error)), _) => self.unreadable(&error),
            (Done::Condensed(source, written), _) => self.condensed(&source, written),
            (Done::Written(zone, path, written), Some(Running::Write(since))) => self.file_written(&zone, path, written, since),
            (Done::Rebuilt(Ok(_)) | Done::Merged(Ok(_)) | Done::Written(..), _) => {}
        }
    }

    fn lists_read(&mut self, lists: Vec<(ListText, Result<SourceNews, ListError>)>, zone: &ZoneName) {
        for (list, news) in lists {
            let source: Arc<str> = Arc::from(list.source.as_str());
            if matches!(news, Err(ListError::Panicked(_))) {
                self.telemetry.read_inside(&source, true);
            }
            let news = news.unwrap_or_else(|error| SourceNews::Health(Health::bad(error.to_string(), Timestamp::now(), None)));
            if let SourceNews::Whole { meta, .. } = &news {
                report_rejected(&list.source, &meta.rejected);
            }
            self.texts.insert(list.source.clone(), (list, zone.clone()));
            self.told(Told { source, news });
        }
    }

    fn condensed(&mut self, source: &str, written: std::io::Result<crate::state::observation_log::Condensed>) {
        match (written, self.cores.get_mut(source)) {
            (Ok(done), Some(core)) => {
                if let Some(log) = &mut core.log {
                    log.condensed(done);
                }
                // All that is known is there.
                if core.trouble.take().is_some() {
                    self.report_disk();
                }
            }
            (Err(error), core) => {
                // Not all stands in the logs.
                if let Some(log) = core.filter(|core| core.trouble.is_some()).and_then(|core| core.log.as_mut()) {
                    log.lengthen();
                }
                self.telemetry.metrics.state_error("journal");
                tracing::error!(%error, "tables of observations cannot be written, their logs grow on");
                self.wanted.condense_at = Some(Instant::now() + PAUSE);
            }
            (Ok(_), None) => {}
        }
    }

    /// The zone, or a source, cannot be read: it is made anew.
    pub(super) fn unreadable(&mut self, error: &dyn std::fmt::Display) {
        self.telemetry.metrics.state_error("zone");
        tracing::error!(%error, "what is kept of the zone cannot be read, it is made anew");
        self.wanted.rebuild = true;
        self.wanted.from_nothing = true;
    }
}

fn report_rejected(source: &str, rejected: &crate::feeds::Rejected) {
    if let Some(first) = rejected.first.first() {
        let (rejected, line, reason) = (rejected.count, first.line, &first.reason);
        tracing::warn!(source, rejected, line, reason, "entries of a list are refused, the rest is in force");
    }
}
