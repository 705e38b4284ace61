//! A mark beside the file of the last serial: from this number on some may be in use that the file does not tell of.
//!
//! It is a name without content, so that it can be made on a disk that has no room. It stands for a row of [`AHEAD`] numbers, so
//! that it is made before the first of them and then not for a while.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::failpoint::pass;
use super::file::sync_directory;
use super::scribe::Scribe;
use crate::zone::Serial;

/// Numbers that a mark stands for: those of a minute. A restart goes on behind them, and so runs ahead of the clock at most so far;
/// much more would be in the way of a POP that lost its state altogether and goes by the clock.
pub const AHEAD: u32 = 600;
/// Beginning of the name; the number follows.
const PREFIX: &str = "serial-unwritten-";

/// The mark on disk, if there is one.
#[derive(Debug)]
pub struct Unwritten {
    directory: PathBuf,
    from: Option<Serial>,
    scribe: Scribe,
}

impl Unwritten {
    /// Looks for a mark that is later than `written`, the serial of the file. Earlier ones were left over by a crash.
    pub fn open(directory: &Path, written: Option<Serial>) -> io::Result<Self> {
        let mut from: Option<Serial> = None;
        for (serial, _) in marks(directory)? {
            let later = |than: Option<Serial>| than.is_none_or(|than| serial.is_after(than));
            if later(written) && later(from) {
                from = Some(serial);
            }
        }
        remove_others(directory, from);
        Ok(Self { directory: directory.to_owned(), from, scribe: Scribe::direct() })
    }

    /// No mark is known.
    #[must_use]
    pub fn none(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), from: None, scribe: Scribe::direct() }
    }

    /// Lets somebody write who may wait for the disk.
    #[must_use]
    pub fn through(self, scribe: &Scribe) -> Self {
        Self { scribe: scribe.clone(), ..self }
    }

    /// The last number that may be in use.
    #[must_use]
    pub fn last(&self) -> Option<Serial> {
        self.from.map(|from| Serial(from.0.wrapping_add(AHEAD)))
    }

    /// Makes sure that `serial`, which is about to be used, is not used again after a restart.
    pub fn mark(&mut self, serial: Serial) -> io::Result<()> {
        if self.from.is_some_and(|from| serial.0.wrapping_sub(from.0) <= AHEAD) {
            return Ok(());
        }
        let directory = self.directory.clone();
        self.scribe.run(move || {
            fs::create_dir_all(&directory)?;
            pass(&directory)?;
            File::create(directory.join(format!("{PREFIX}{serial}")))?.sync_all()?;
            sync_directory(&directory)?;
            remove_others(&directory, Some(serial));
            Ok(())
        })?;
        self.from = Some(serial);
        Ok(())
    }

    /// As [`Unwritten::mark`], also where the present mark stands for this number: the disk may tell of its beginning, and a restart would take it
    /// for one that was left over.
    pub fn mark_anew(&mut self, serial: Serial) -> io::Result<()> {
        let former = self.from.take();
        let marked = self.mark(serial);
        if marked.is_err() {
            self.from = former;
        }
        marked
    }

    /// Everything is written down.
    pub fn clear(&mut self) {
        if self.from.take().is_some() {
            let directory = self.directory.clone();
            _ = self.scribe.run(move || {
                remove_others(&directory, None);
                Ok(())
            });
        }
    }
}

/// What cannot be removed is earlier than the file or another mark, and so harmless.
fn remove_others(directory: &Path, kept: Option<Serial>) {
    for (serial, path) in marks(directory).unwrap_or_default() {
        if kept != Some(serial) && pass(&path).is_ok() {
            let _ = fs::remove_file(path);
        }
    }
}

fn marks(directory: &Path) -> io::Result<Vec<(Serial, PathBuf)>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut marks = Vec::new();
    for entry in entries {
        let entry = entry?;
        let serial = entry.file_name().to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse().ok());
        marks.extend(serial.map(|serial| (Serial(serial), entry.path())));
    }
    Ok(marks)
}
