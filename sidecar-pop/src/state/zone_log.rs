//! Versions of the zone on disk, one after the other: what a restart has to catch up with from the base file on, and what IXFR (RFC 1995)
//! answers from.
//!
//! A version is written before it is published, and not flushed: a process that is killed loses nothing, since the kernel has it. What a power
//! loss takes is the end; the serial numbers of that are never used again, which is not decided here.
//!
//! Bounded: the oldest segments go beyond [`Limits`], but never one that is newer than the base.

mod newest;
mod past;
pub mod record;
mod segment;

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use self::past::Index;
pub use self::past::{History, Past, Version};
use self::record::{Body, Step};
use self::segment::Segment;
use super::scribe::Scribe;
use crate::zone::serial::Serial;

/// How much history is kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Octets of all segments, beside what is newer than the base.
    pub octets: u64,
    /// Versions, likewise.
    pub versions: usize,
    /// Octets of one segment, taken from the disk at once, so that writing a version changes no size. A longer version has one to itself.
    pub segment: u64,
}

/// What was found at the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Versions that do not lead to what follows, or from the base: they are no history.
    pub useless: usize,
    /// Versions after the base.
    pub newer: usize,
    /// A segment is not there that was, or not all is there that lead from the base: versions that were published are not known any more.
    pub lost: bool,
    /// The last number that a version has, wherever it leads from.
    pub highest: Option<Serial>,
}

/// The log. One writer; readers find what they need of it through [`Past`].
#[derive(Debug)]
pub struct ZoneLog {
    /// `None`: in memory.
    folder: Option<PathBuf>,
    limits: Limits,
    /// The last one is written to.
    segments: VecDeque<Segment>,
    index: Arc<RwLock<Index>>,
    /// Versions that are not newer than the base.
    settled: usize,
    /// Octets of those that are.
    newer_octets: u64,
    next_number: u64,
    /// By the one who opened it.
    found: Found,
    /// Versions that were written last may be missing.
    torn: bool,
    /// The segment that a restart would miss; 0: none.
    noted: Option<u64>,
    /// First segment of this process. What was there before is never written to again: its end may be torn.
    own_from: u64,
    buffer: Vec<u8>,
    scribe: Scribe,
}

impl ZoneLog {
    /// Reads what is there. `base` is the serial of the base file.
    ///
    /// # Errors
    /// When the folder cannot be read. A file that is broken ends the history there, and is no error.
    pub fn open(folder: &Path, base: Serial, limits: Limits) -> io::Result<(Self, Found)> {
        fs::create_dir_all(folder)?;
        let (mut segments, mut versions) = (VecDeque::<Segment>::new(), VecDeque::<Version>::new());
        let mut found = Found::default();
        for number in segment::numbers(folder)? {
            segments.push_back(Segment::read(folder, number, |step, count, place| {
                if found.highest.is_none_or(|highest| step.to.is_after(highest)) {
                    found.highest = Some(step.to);
                }
                if versions.back().is_some_and(|last| last.step.to != step.from) {
                    found.useless += versions.len();
                    versions.clear();
                }
                versions.push_back(Version { step, count, place });
            })?);
        }
        let newer = match versions.iter().position(|version| version.step.from == base) {
            Some(first) => versions.len() - first,
            None if versions.back().is_some_and(|last| last.step.to == base) => 0,
            None => {
                found.useless += versions.len();
                versions.clear();
                0
            }
        };
        found.newer = newer;
        let noted = newest::read(folder);
        let there = segments.back().map_or(0, |last: &Segment| last.number);
        let head = versions.back().map_or(base, |last| last.step.to);
        found.lost = noted.is_none_or(|newest| newest > there) || found.highest.is_some_and(|highest| highest.is_after(head));
        let next_number = there.max(noted.unwrap_or_default()) + 1;
        let settled = versions.len() - newer;
        let newer_octets = octets_of(versions.iter().skip(settled));
        // It is noted before anything is written to it: one that is not, and empty, was being begun when the process ended.
        let begun = |last: &Segment| last.end > 0 || noted.is_none_or(|newest| newest >= last.number);
        let torn = segments.back().is_some_and(|last| last.torn && begun(last));
        let files = segments.iter().map(|segment| (segment.number, Arc::clone(&segment.file))).collect();
        let index = Arc::new(RwLock::new(Index { versions, files }));
        let (folder, own_from) = (Some(folder.to_owned()), next_number);
        let mut log = Self {
            folder,
            limits,
            segments,
            index,
            settled,
            newer_octets,
            next_number,
            torn,
            own_from,
            buffer: Vec::new(),
            scribe: Scribe::direct(),
            found,
            noted,
        };
        log.drop_useless();
        Ok((log, found))
    }

    /// What was found at the start.
    #[must_use]
    pub const fn found(&self) -> Found {
        self.found
    }

    /// Whether versions that were published may be missing: something was found at the end that is no whole one, or a segment was not found.
    #[must_use]
    pub const fn is_doubtful(&self) -> bool {
        self.torn || self.found.lost
    }

    /// Keeps history without a disk. Nothing of it survives the process.
    #[must_use]
    pub fn in_memory(limits: Limits) -> Self {
        Self {
            folder: None,
            limits,
            segments: VecDeque::new(),
            index: Arc::default(),
            settled: 0,
            newer_octets: 0,
            next_number: 1,
            torn: false,
            own_from: 1,
            buffer: Vec::new(),
            scribe: Scribe::direct(),
            found: Found::default(),
            noted: Some(0),
        }
    }

    /// Lets somebody write who may wait for the disk.
    #[must_use]
    pub fn through(self, scribe: &Scribe) -> Self {
        Self { scribe: scribe.clone(), ..self }
    }

    /// For readers.
    #[must_use]
    pub fn past(&self) -> Past {
        Past(Arc::clone(&self.index))
    }

    fn read(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Limits change with the configuration.
    pub fn limit(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Writes a version down.
    ///
    /// # Errors
    /// When it could not be: then nothing that was is history any more, and a restart needs another base.
    pub fn append(&mut self, step: Step, changes: &Body) -> io::Result<()> {
        let follows = self.read().versions.back().is_none_or(|last| last.step.to == step.from);
        if !follows {
            self.cut();
        }
        let written = self.write(step, changes);
        if written.is_err() {
            self.cut();
        }
        written
    }

    fn write(&mut self, step: Step, changes: &Body) -> io::Result<()> {
        self.buffer.clear();
        self.buffer.shrink_to(USUAL);
        record::write(step, changes, &mut self.buffer).map_err(io::Error::other)?;
        let fits = |last: &Segment| last.number >= self.own_from && last.end + self.buffer.len() as u64 <= self.limits.segment;
        if !self.segments.back().is_some_and(fits) {
            let created = match &self.folder {
                Some(folder) => {
                    let (folder, number, octets) = (folder.clone(), self.next_number, self.limits.segment);
                    let begun = move || {
                        let segment = Segment::create(&folder, number, octets)?;
                        newest::write(&folder, number).map(|()| segment)
                    };
                    let begun = self.scribe.run(begun)?;
                    self.noted = Some(begun.number);
                    begun
                }
                None => Segment::in_memory(self.next_number)?,
            };
            self.next_number += 1;
            self.change().files.push_back((created.number, Arc::clone(&created.file)));
            self.segments.push_back(created);
        }
        let Some(segment) = self.segments.back_mut() else { return Err(io::ErrorKind::NotFound.into()) };
        let place = segment.append(&mut self.buffer, &self.scribe)?;
        self.change().versions.push_back(Version { step, count: changes.len(), place });
        if self.folder.is_none() {
            // There is no base that a restart could begin from.
            self.settled = self.len();
        } else {
            self.newer_octets += place.octets as u64;
        }
        self.trim();
        Ok(())
    }

    /// Everything up to this serial is in the base file now.
    pub fn based_on(&mut self, base: Serial) {
        let last = self.read().versions.iter().rposition(|version| version.step.to == base);
        if let Some(last) = last {
            self.settled = last + 1;
            let newer = octets_of(self.read().versions.iter().skip(last + 1));
            self.newer_octets = newer;
        }
        self.trim();
    }

    /// No version before this moment is history.
    pub fn cut(&mut self) {
        *self.change() = Index::default();
        (self.settled, self.newer_octets) = (0, 0);
        let segments: Vec<Segment> = self.segments.drain(..).collect();
        let Some(folder) = self.folder.clone().filter(|_| self.noted != Some(0)) else { return self.remove(segments) };
        let forgotten = self.scribe.run(move || {
            newest::write(&folder, 0)?;
            segments.iter().for_each(remove);
            Ok(())
        });
        self.noted = forgotten.is_ok().then_some(0);
    }

    /// The versions that lead from `serial` to the last one, oldest first; `None` when it is not known.
    #[must_use]
    pub fn since(&self, serial: Serial) -> Option<History> {
        self.read().history(serial, None)
    }

    /// What is newer than the base.
    #[must_use]
    pub fn newer(&self) -> Option<History> {
        let first = self.read().versions.get(self.settled)?.step.from;
        self.since(first)
    }

    /// The file that is written to, for whoever flushes it.
    #[must_use]
    pub fn file(&self) -> Option<Arc<File>> {
        self.segments.back().map(|segment| Arc::clone(&segment.file))
    }

    /// Whether what is newer than the base takes more than this share of what history may take: a new base lets it go.
    #[must_use]
    pub fn is_long(&self, share: f64) -> bool {
        let newer = self.len() - self.settled;
        self.newer_octets as f64 > self.limits.octets as f64 * share || newer as f64 > self.limits.versions as f64 * share
    }

    /// Octets of all segments.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.segments.iter().map(|segment| segment.end).sum()
    }

    /// Files of it: each process begins one of its own.
    #[must_use]
    pub fn files(&self) -> usize {
        self.segments.len()
    }

    /// Versions that are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.read().versions.len()
    }

    /// Whether there is no history.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn drop_useless(&mut self) {
        let needed = self.read().versions.front().map_or(u64::MAX, |version| version.place.segment);
        // Where something is missing already, that shows until history is begun anew.
        let (none, known) = (needed == u64::MAX, !self.is_doubtful());
        if none && known && self.noted != Some(0) {
            let forgotten = self.folder.as_ref().map_or(Ok(()), |folder| newest::write(folder, 0));
            if forgotten.is_err() {
                return;
            }
            self.noted = Some(0);
        }
        while let Some(segment) = self.segments.pop_front_if(|segment| segment.number < needed) {
            remove(&segment);
        }
        self.change().files.retain(|(number, _)| *number >= needed);
    }

    fn trim(&mut self) {
        while self.segments.len() > 1
            && (self.octets() > self.limits.octets || self.len() > self.limits.versions)
            && let Some(number) = self.segments.front().map(|oldest| oldest.number)
        {
            let of_oldest = self.read().versions.iter().take_while(|version| version.place.segment == number).count();
            if of_oldest > self.settled {
                return;
            }
            let mut index = self.change();
            index.versions.drain(..of_oldest);
            index.files.retain(|(known, _)| *known != number);
            drop(index);
            self.settled -= of_oldest;
            let oldest = self.segments.pop_front();
            self.remove(oldest);
        }
    }

    /// What cannot be removed takes room, until the next base.
    fn remove(&self, segments: impl IntoIterator<Item = Segment> + Send + 'static) {
        _ = self.scribe.run(move || {
            segments.into_iter().for_each(|segment| remove(&segment));
            Ok(())
        });
    }
}

fn remove(segment: &Segment) {
    if let Err(error) = segment.remove()
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, "a segment of the zone's history cannot be removed");
    }
}

fn octets_of<'a>(versions: impl Iterator<Item = &'a Version>) -> u64 {
    versions.map(|version| version.place.octets as u64).sum()
}

/// Octets of memory that are kept from record to record.
const USUAL: usize = 1 << 20;

#[cfg(test)]
#[path = "zone_log/tests.rs"]
mod tests;
