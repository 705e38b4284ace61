//! What the engine itself reads from the disk and writes there: the zone's files, its log, and numbers.
//!
//! Where there is no disk, or one that fails or hangs, everything goes on in memory and says so: protection is worth more.

mod open;
mod replay;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tapir_table::{Cursor as _, Palette};

use super::disk::no_disk;
use crate::setup::Setup;
use crate::state::failpoint::pass;
use crate::state::manifest::{self, Manifest};
use crate::state::numbers::{Gate, Next, Numbers, Reserved};
use crate::state::scribe::Scribe;
use crate::state::unwritten::Unwritten;
use crate::state::zone_log::record::{Body, Step};
use crate::state::zone_log::{Limits, ZoneLog};
use crate::zone::Serial;
use crate::zone::layers::Layers;
pub(super) use open::{KeptZone, Opened};

/// Octets of history at least.
const LEAST_HISTORY: u64 = 4 << 20;
/// Octets of one file of the log.
const SEGMENT: u64 = 1 << 20;
/// After a failed write.
const PAUSE: Duration = Duration::from_secs(5);

/// Files of the zone, and numbers.
#[derive(Debug)]
pub(super) struct Store {
    /// Folder of all state.
    pub(super) folder: PathBuf,
    lock: Option<File>,
    /// Why there is no disk.
    pub(super) trouble: Option<String>,
    /// History, and what a restart has to catch up with.
    pub(super) log: ZoneLog,
    limits: Limits,
    numbers: Numbers,
    /// Where reservations are written through.
    pub(super) gate: Gate,
    unwritten: Unwritten,
    retry: Option<Instant>,
    generation: u64,
    /// Writes what the engine may not wait for.
    scribe: Scribe,
    /// As it stands in its file.
    pub(super) manifest: Option<Manifest>,
}

impl Store {
    /// Folder of the zone's files.
    #[must_use]
    pub(super) fn zone_folder(&self) -> PathBuf {
        self.folder.join("zone")
    }

    /// Whether there is a disk that is written to.
    #[must_use]
    pub(super) const fn has_disk(&self) -> bool {
        self.lock.is_some() && self.trouble.is_none()
    }

    /// The number of the next version. Where it could not be reserved, a mark tells a restart that it is in use.
    pub(super) fn number(&mut self, now: Timestamp) -> (Serial, Option<io::Error>) {
        // Who ends before the number is seen has not used it: it is reserved as one that is to come.
        let due = self.due(now);
        let (serial, ready) = match self.numbers.take(now) {
            Next::Ready(serial) => (serial, true),
            Next::Unreserved(serial) => (serial, false),
        };
        let mut error = None;
        let mut reserved = ready;
        if !ready && let Some(due) = due {
            match self.reserve(due) {
                Ok(due) => {
                    self.reserved(Ok(due));
                    reserved = true;
                }
                Err(failed) => {
                    self.retry = Some(Instant::now() + PAUSE);
                    error = Some(failed);
                }
            }
        }
        // What goes on in memory is told by nothing else.
        let marked = if reserved && self.trouble.is_none() { Ok(()) } else { self.unwritten.mark(serial) };
        // Where not even a name can be made nothing is left to be done.
        if marked.is_err() && error.is_none() && self.lock.is_some() {
            error = Some(io::Error::other("the number could not be marked as used"));
        }
        (serial, error)
    }

    fn reserve(&self, due: Reserved) -> io::Result<Reserved> {
        let (gate, folder) = (self.gate.clone(), self.folder.clone());
        self.scribe.run(move || gate.write(&due, &folder).map(|()| due))
    }

    /// A reservation that is to be written by whoever has the time.
    #[must_use]
    pub(super) fn due(&self, now: Timestamp) -> Option<Reserved> {
        let pausing = self.lock.is_none() || self.retry.is_some_and(|at| at > Instant::now());
        if pausing { None } else { self.numbers.due(now) }
    }

    /// What became of it; whether that is a recovery.
    pub(super) fn reserved(&mut self, written: io::Result<Reserved>) -> bool {
        match written {
            Ok(written) => {
                self.numbers.reserved(&written);
                if self.trouble.is_none() {
                    self.unwritten.clear();
                }
                self.retry.take().is_some()
            }
            Err(_) => {
                self.retry = Some(Instant::now() + PAUSE);
                false
            }
        }
    }

    /// Writes a version down before it is published. Where the disk does not take it, history goes on in memory.
    pub(super) fn append(&mut self, step: Step, body: &Body) -> Option<io::Error> {
        let error = self.log.append(step, body).err()?;
        self.fail(&error);
        _ = self.log.append(step, body);
        Some(error)
    }

    /// A base is about to be written that is older than this version, which only memory knows.
    pub(super) fn mark_anew(&mut self, current: Serial) -> bool {
        self.unwritten.outdate();
        self.unwritten.mark(current).is_ok()
    }

    /// Goes on without a disk.
    pub(super) fn fail(&mut self, error: &io::Error) {
        self.unwritten.outdate();
        if let Some(last) = self.numbers.last()
            && self.unwritten.mark(last).is_err()
        {
            tracing::debug!("nor could the number be marked");
        }
        // The last number may be on disk: what comes needs a mark behind it.
        self.unwritten.outdate();
        self.trouble = Some(no_disk(&self.folder, error));
        self.log = ZoneLog::in_memory(self.limits);
    }

    /// History begins anew, in memory: on the disk stands what a restart begins with.
    pub(super) fn forget(&mut self) {
        if self.has_disk() {
            self.fail(&io::Error::other("the zone could not be written down"));
        } else {
            self.log = ZoneLog::in_memory(self.limits);
        }
    }

    /// What became of a look at the disk: whether there is one again. Then a base is to be written there.
    pub(super) fn probed(&mut self, probed: io::Result<Option<File>>) -> bool {
        match probed {
            Ok(lock) => {
                if lock.is_some() {
                    self.go_behind_disk();
                }
                self.lock = lock.or(self.lock.take());
                !self.scribe.hangs()
            }
            Err(error) => {
                self.trouble = Some(no_disk(&self.folder, &error));
                false
            }
        }
    }

    /// A disk that came late may tell of numbers that were in use before the start.
    fn go_behind_disk(&mut self) {
        let folder = self.folder.clone();
        if let Ok(Some(reserved)) = self.scribe.run(move || Reserved::read(&folder)) {
            self.numbers.go_behind(&reserved);
        }
    }

    /// Whether another process may be writing to the folder.
    #[must_use]
    pub(super) const fn needs_lock(&self) -> bool {
        self.lock.is_none()
    }

    /// Where the next base goes.
    pub(super) fn next_base(&mut self) -> Option<PathBuf> {
        if self.lock.is_none() || self.scribe.hangs() {
            return None;
        }
        self.generation += 1;
        Some(self.zone_folder().join(base_name(self.generation)))
    }

    /// A base is in its file, and the log goes on from `manifest.serial`. What is not named any more is told: it may go when the manifest is durable.
    pub(super) fn settle(&mut self, manifest: Manifest) -> io::Result<Vec<PathBuf>> {
        let (folder, generation, written) = (self.zone_folder(), self.generation, manifest.clone());
        let useless = self.scribe.run(move || {
            written.write(&folder)?;
            let needed = folder.join(&written.base);
            let former = generations(&folder).into_iter().filter(|former| *former <= generation);
            Ok(former.map(|former| folder.join(base_name(former))).filter(|path| *path != needed).collect())
        })?;
        self.manifest = Some(manifest);
        Ok(useless)
    }

    /// A base that nobody needs.
    pub(super) fn drop_base(&self, file: &str) {
        let path = self.zone_folder().join(file);
        if let Err(error) = self.scribe.run(move || pass(&path).and_then(|()| fs::remove_file(path))) {
            tracing::debug!(%error, "a file that is not needed stays until the next start");
        }
    }

    /// Begins history anew from the base with this number, with all that changed since in one step to `now_serial`: there is a disk, and the base is on it.
    pub(super) fn rebase_log(
        &mut self,
        base: Serial,
        current: Serial,
        now: Timestamp,
        palette: &Arc<Palette>,
        layers: &Layers,
    ) -> io::Result<()> {
        let (folder, limits) = (self.zone_folder(), self.limits);
        let mut log = self.scribe.run(move || {
            let (mut log, _) = ZoneLog::open(&folder, base, limits)?;
            log.cut();
            Ok(log)
        })?;
        log = log.through(&self.scribe);
        let mut body = Body::between(Arc::clone(palette), Arc::clone(palette));
        let mut trail = tapir_table::Trail::new();
        let mut changes = tapir_table::Overlay::of_changes(layers.frozen.cursor(), layers.fresh.cursor());
        while changes.advance().map_err(io::Error::other)? {
            let old = layers.base.get(changes.key().as_bytes(), &mut trail).map_err(io::Error::other)?.unwrap_or_default();
            body.push(&crate::state::zone_log::record::Change { key: *changes.key(), old, new: changes.value() });
        }
        if base != current {
            log.append(Step { from: base, to: current, time: milliseconds(now) }, &body)?;
        }
        self.log = log;
        self.trouble = None;
        self.unwritten.clear();
        Ok(())
    }

    /// The configuration, or the size of the zone, changed.
    pub(super) fn limit(&mut self, setup: &Setup, zone_octets: u64) {
        self.limits = limits(setup, zone_octets);
        self.log.limit(self.limits);
    }

    /// An orderly end: what was written, to these files too, is on disk, as is the number that was used, and nothing is used after it.
    pub(super) fn close(&self, mut files: Vec<Arc<File>>) -> io::Result<()> {
        let mut closing = None;
        if self.has_disk() {
            files.extend(self.log.file());
            closing = self.numbers.closing();
        }
        let (gate, folder) = (self.gate.clone(), self.folder.clone());
        self.scribe.run(move || {
            files.iter().try_for_each(|file| file.sync_data())?;
            closing.map_or(Ok(()), |closing| gate.close(&closing, &folder))
        })
    }
}

/// Time of a version.
#[must_use]
pub(super) fn milliseconds(now: Timestamp) -> u64 {
    u64::try_from(now.as_millisecond()).unwrap_or_default()
}

fn limits(setup: &Setup, zone_octets: u64) -> Limits {
    let octets = setup.history.octets.unwrap_or(LEAST_HISTORY.max(zone_octets / 2));
    Limits { octets, versions: setup.history.versions, segment: SEGMENT }
}

fn base_name(generation: u64) -> String {
    format!("base-{generation:010}.tab")
}

fn generations(folder: &Path) -> Vec<u64> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter_map(|name| name.strip_prefix("base-")?.strip_suffix(".tab")?.parse().ok()).collect()
}

/// The text of a zone's own records, for the manifest.
pub(super) use manifest::apex_text;
