//! The log for readers.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, PoisonError, RwLock};

use super::record::Step;
use super::segment::Place;
use crate::zone::serial::Serial;

/// A version that is kept.
#[derive(Clone, Copy, Debug)]
pub struct Version {
    /// What it makes of what.
    pub step: Step,
    /// How many names it changes.
    pub count: u32,
    pub(super) place: Place,
}

#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) versions: VecDeque<Version>,
    pub(super) files: VecDeque<(u64, Arc<File>)>,
}

/// What the log knows, for readers. Costs one reference count; whoever holds it sees what is appended and removed later.
#[derive(Clone, Debug, Default)]
pub struct Past(pub(super) Arc<RwLock<Index>>);

/// Some versions in a row, for as long as somebody needs them: files that are removed meanwhile stay readable.
#[derive(Debug)]
pub struct History {
    versions: Vec<Version>,
    files: Vec<(u64, Arc<File>)>,
}

impl Index {
    /// From `serial` to `until`, or to the last one.
    pub(super) fn history(&self, serial: Serial, until: Option<Serial>) -> Option<History> {
        let first = self.versions.iter().position(|version| version.step.from == serial)?;
        let rest = self.versions.iter().skip(first);
        let count = match until {
            Some(until) => rest.clone().position(|version| version.step.to == until)? + 1,
            None => self.versions.len() - first,
        };
        let versions: Vec<Version> = rest.take(count).copied().collect();
        let needed = versions.first().map_or(0, |version| version.place.segment);
        let files = self.files.iter().filter(|(number, _)| *number >= needed).cloned().collect();
        Some(History { versions, files })
    }
}

impl Past {
    /// The versions that lead from `serial` to `until`, oldest first; `None` when they are not known (any more).
    #[must_use]
    pub fn between(&self, serial: Serial, until: Serial) -> Option<History> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).history(serial, Some(until))
    }
}

impl History {
    /// The versions.
    #[must_use]
    pub fn versions(&self) -> &[Version] {
        &self.versions
    }

    /// The octets of one of them, to be read with [`super::record::Record::read`].
    ///
    /// # Errors
    /// When the disk does not give them.
    pub fn content(&self, version: &Version) -> io::Result<Vec<u8>> {
        let file = self.files.iter().find(|(number, _)| *number == version.place.segment).map(|(_, file)| file);
        let mut content = vec![0; version.place.octets];
        file.ok_or(io::ErrorKind::NotFound)?.read_exact_at(&mut content, version.place.offset)?;
        Ok(content)
    }
}
