//! The thread that writes.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::SystemTime;

use super::block::{Block, Stored};
use super::lanes::Job;
use super::message::{Kept, without_client};
use super::schema::SCHEMA;
use super::{Counters, Reason, row};
use crate::disk::{self, Bound, Entry, Unfinished};
use crate::histogram_file::{Interval, created_by, labels};
use crate::names::Presentation;
use crate::parquet::{Bounds, WriteError, Writer};
use crate::pseudonym::Cache;

/// The name of the file that has none yet: when its interval ends is not known.
const IN_THE_MAKING: &str = "dns_session_block";
/// Octets of a file that may be in the page cache.
const UNSETTLED: usize = 4 << 20;

/// What may change while files are written.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) bound: Bound,
    pub(super) kept: Kept,
    /// Without them no row is written.
    pub(super) pseudonyms: Option<Cache>,
}

/// Brings rows into files.
pub(super) struct Keeper {
    folder: PathBuf,
    spare: u64,
    terms: Terms,
    counters: Counters,
    file: Option<Open>,
    /// No more rows until the next rotation, and why.
    closed: Option<Reason>,
    /// Finished files, the oldest first.
    finished: Vec<Entry>,
    room: Room,
}

/// The file of this interval.
struct Open {
    writer: Writer<Settling>,
    rows: u64,
}

/// Used again for each row.
#[derive(Default)]
struct Room {
    name: Presentation,
    labels: String,
    message: Vec<u8>,
}

/// A file that does not leave much in the page cache.
#[derive(Debug)]
struct Settling {
    file: Unfinished,
    unsettled: usize,
}

impl Keeper {
    pub(super) fn new(folder: PathBuf, spare: u64, terms: Terms, counters: Counters) -> Self {
        Self { folder, spare, terms, counters, file: None, closed: None, finished: Vec::new(), room: Room::default() }
    }

    pub(super) fn begin(&mut self) {
        match disk::sweep(&self.folder) {
            Ok(0) => {}
            Ok(files) => tracing::info!(files, "unfinished session files removed"),
            Err(error) => tracing::warn!(%error, "unfinished session files cannot be removed"),
        }
        self.look();
        self.keep_within(0);
    }

    /// What came with the job and is not needed any more comes back.
    pub(super) fn work(&mut self, job: Job) -> Option<Block> {
        match job {
            Job::Rows(block) => {
                self.take(&block);
                let lookups = self.terms.pseudonyms.as_mut().map(Cache::take_lookups).unwrap_or_default();
                self.counters.cache_hits.inc_by(lookups.hits);
                self.counters.cache_evicted.inc_by(lookups.evicted);
                Some(block)
            }
            Job::Rotate(interval) => {
                self.rotate(interval);
                None
            }
            Job::Change(interval, terms) => {
                // A file has pseudonyms of one key.
                self.rotate(interval);
                self.terms = *terms;
                self.keep_within(0);
                None
            }
        }
    }

    /// Nothing more comes: what is in no finished file is lost.
    pub(super) fn give_up(&mut self) {
        if let Some(file) = self.file.take() {
            self.counters.dropped(Reason::Ended, file.rows);
        }
    }

    fn take(&mut self, block: &Block) {
        let rows = block.len() as u64;
        if self.terms.pseudonyms.is_none() {
            return self.counters.dropped(Reason::NoKey, rows);
        }
        if let Some(reason) = self.closed {
            return self.counters.dropped(reason, rows);
        }
        let bounds = Bounds::default();
        let written = self.file.as_ref().map_or(0, |file| file.writer.written());
        // A row group may be ahead, and a whole block.
        let ahead = (bounds.octets + 2 * super::block::OCTETS) as u64;
        if written + ahead > self.terms.bound.octets / 2 {
            return self.close(Reason::FileFull, rows);
        }
        // A disk that does not say is told by writing.
        if disk::spare(&self.folder).is_ok_and(|spare| spare < self.spare + ahead) {
            return self.close(Reason::DiskLow, rows);
        }
        if !self.keep_within(written + ahead) {
            return self.close(Reason::FileFull, rows);
        }
        self.add(block, bounds);
    }

    fn add(&mut self, block: &Block, bounds: Bounds) {
        let mut rest = block.len() as u64;
        if let Err(error) = self.write(block, bounds, &mut rest) {
            let before = self.file.as_ref().map_or(0, |file| file.rows);
            self.lose(&error, before + rest);
            self.closed = Some(Reason::WriteFailed);
        }
    }

    /// `rest`: of this block, the rows that are neither in the file nor counted yet.
    fn write(&mut self, block: &Block, bounds: Bounds, rest: &mut u64) -> Result<(), WriteError> {
        let Self { folder, terms, counters, file, room, .. } = self;
        let Terms { kept, pseudonyms: Some(pseudonyms), .. } = terms else { return Ok(()) };
        let open = match file {
            Some(open) => open,
            None => {
                let sink = Settling { file: Unfinished::private(folder, IN_THE_MAKING)?, unsettled: 0 };
                file.insert(Open { writer: Writer::new(sink, &SCHEMA, bounds)?, rows: 0 })
            }
        };
        for row in block.rows() {
            match open.row(&row, *kept, counters, pseudonyms, room) {
                Ok(()) => open.rows += 1,
                Err(WriteError::Row | WriteError::RowTooLarge | WriteError::TooManyGroups) => {
                    counters.dropped(Reason::TooLarge, 1)
                }
                Err(error) => return Err(error),
            }
            *rest -= 1;
        }
        Ok(())
    }

    /// The file stays as it is until its interval ends.
    fn close(&mut self, reason: Reason, rows: u64) {
        tracing::warn!(reason = <&str>::from(reason), "no more session rows are written in this interval");
        self.closed = Some(reason);
        self.counters.dropped(reason, rows);
    }

    /// The file is given up, with these rows.
    fn lose(&mut self, error: &WriteError, rows: u64) {
        self.file = None;
        tracing::warn!(%error, reason = std::error::Error::source(error).map(ToString::to_string), "a session file cannot be written");
        self.counters.write_failures.inc();
        self.counters.dropped(Reason::WriteFailed, rows);
    }

    fn rotate(&mut self, interval: Interval) {
        self.closed = None;
        if let Some(Open { writer, rows }) = self.file.take() {
            match self.end(writer, interval) {
                Ok(name) => {
                    self.counters.files.inc();
                    self.counters.rows.inc_by(rows);
                    tracing::debug!(file = name, rows, "session file written");
                }
                Err(error) => self.lose(&error, rows),
            }
        }
        self.look();
        self.keep_within(0);
    }

    fn end(&self, writer: Writer<Settling>, interval: Interval) -> Result<String, WriteError> {
        let file = writer.finish(&created_by(), &[])?.file;
        let name = self.free_name(interval);
        file.called(&name).finish_new()?;
        Ok(name)
    }

    /// Two intervals may have the same seconds in their names: a rotation by hand, a clock that was set back.
    fn free_name(&self, interval: Interval) -> String {
        const MOST: u32 = 1000;
        let mut names = (0..MOST).map(|number| interval.session_file_name(number));
        names.find(|name| !self.folder.join(name).exists()).unwrap_or_else(|| interval.session_file_name(MOST))
    }

    fn look(&mut self) {
        match disk::list(&self.folder, Interval::is_session_file_name) {
            Ok(finished) => self.finished = finished,
            Err(error) => tracing::warn!(%error, "session files cannot be listed"),
        }
    }

    /// Makes room for so many octets; false where files stay that should have gone, and there is none.
    fn keep_within(&mut self, octets: u64) -> bool {
        let (dropped, outcome) =
            disk::bring_within(&self.folder, &mut self.finished, &self.terms.bound, SystemTime::now(), octets);
        self.counters.files_dropped(dropped);
        if let Err(error) = outcome {
            tracing::warn!(%error, "session files cannot be kept within their bounds");
        }
        let held: u64 = self.finished.iter().map(|file| file.octets).sum();
        self.counters.octets.set(i64::try_from(held).unwrap_or(i64::MAX));
        held.saturating_add(octets) <= self.terms.bound.octets
    }
}

impl Open {
    fn row(
        &mut self,
        row: &Stored<'_>,
        kept: Kept,
        counters: &Counters,
        pseudonyms: &mut Cache,
        room: &mut Room,
    ) -> Result<(), WriteError> {
        let response = without_client(row.response, kept, &mut room.message);
        if response.is_none() {
            counters.messages_left_out.inc();
        }
        let labels = labels(room.name.read(row.name), &mut room.labels);
        self.writer.row(&row::values(row, labels, response, pseudonyms))
    }
}

impl Write for Settling {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let written = self.file.write(octets)?;
        self.unsettled += written;
        if self.unsettled >= UNSETTLED {
            self.file.settle()?;
            self.unsettled = 0;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
