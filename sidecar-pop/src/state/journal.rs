//! Observations on disk: a line for each change, written before the change is published; rewritten whole when most lines are
//! about the past.
//!
//! Lines are handed to the kernel, not forced to the disk: what was published survives the end of the process in any form.
//! A power loss may cost the last seconds of observations, and with them their protection until Core repeats them.
//!
//! A file that cannot be read is not overwritten: it may hold more than anyone else knows. It is set aside under another name, one
//! at most, for somebody to look at.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tapir_wire::name::Name;

use super::file::replace_with;
use crate::sources::observations::Record;

/// Name of the file.
pub const FILE: &str = "observations.jsonl";
/// Beginning of the name of a file that was set aside; the time follows.
pub const BROKEN: &str = "observations.broken-";
/// Attempts to read a file. An error may pass; but the zone waits for this.
const READS: u32 = 3;
const READ_PAUSE: Duration = Duration::from_millis(100);
/// Lines beyond twice the names before the file is rewritten.
const SLACK: usize = 1000;
/// Octets beyond which the file is rewritten; what may be remembered makes less than half of it.
const REWRITE_AT: u64 = 96 * 1024 * 1024;
/// A file beyond this is not ours: it would have been rewritten long before.
const LARGEST_FILE: u64 = 256 * 1024 * 1024;
/// Longer than any line of ours; the rest of such a line is read in pieces that are no lines either.
const LONGEST_LINE: u64 = 8 * 1024;

#[derive(Serialize, Deserialize)]
struct Line {
    name: Name,
    #[serde(flatten)]
    record: Record,
}

/// The file.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    /// Open for appending; absent while the file could not be written.
    file: Option<File>,
    lines: usize,
    octets: u64,
    /// There is a file with content that is nowhere else, and it could not be set aside yet.
    unread: bool,
}

/// What a file held, beside the records.
#[derive(Debug, Default)]
pub struct Kept {
    /// Lines that could not be read: the last one after a crash, usually.
    pub broken: usize,
    /// Why the file could not be read, if it is there.
    pub error: Option<io::Error>,
    /// Where it is now, if it could not all be read.
    pub aside: Option<io::Result<PathBuf>>,
}

impl Kept {
    /// Whether more is missing than the one line that a crash tears.
    #[must_use]
    pub const fn is_damaged(&self) -> bool {
        self.error.is_some() || self.broken > 1
    }
}

impl Journal {
    /// Reads the file and hands out its records, oldest first and one by one: together they may be more than memory should hold.
    /// After an error the file is read again, and records come again. Nothing is written before [`Journal::rewrite`].
    #[must_use]
    pub fn open(directory: &Path, mut take: impl FnMut(Name, Record)) -> (Self, Kept) {
        let mut journal = Self { path: directory.join(FILE), file: None, lines: 0, octets: 0, unread: false };
        let mut broken = 0;
        let result = patiently(|| {
            broken = 0;
            read(&journal.path, &mut broken, &mut take)
        });
        let error = result.err().filter(|error| error.kind() != io::ErrorKind::NotFound);
        let mut kept = Kept { broken, error, aside: None };
        if kept.is_damaged() {
            journal.unread = true;
            kept.aside = journal.set_aside().transpose();
        }
        (journal, kept)
    }

    /// Gives the file a second name, so that there is no moment without one; what cannot have two is renamed.
    fn set_aside(&mut self) -> io::Result<Option<PathBuf>> {
        let directory = self.path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        let aside = directory.join(format!("{BROKEN}{}", Timestamp::now().as_millisecond()));
        let done = fs::hard_link(&self.path, &aside).or_else(|_| fs::rename(&self.path, &aside));
        match done {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(_) => {
                self.unread = false;
                return Ok(None);
            }
            Ok(()) => self.unread = false,
        }
        for entry in fs::read_dir(directory)?.flatten() {
            let older = entry.file_name().to_str().is_some_and(|name| name.starts_with(BROKEN)) && entry.path() != aside;
            if older {
                let _ = fs::remove_file(entry.path()).or_else(|_| fs::remove_dir_all(entry.path()));
            }
        }
        Ok(Some(aside))
    }

    /// Writes down changes. After an error the file is out of step until the next [`Journal::rewrite`].
    pub fn append<'a>(&mut self, changes: impl IntoIterator<Item = (&'a Name, &'a Record)>) -> io::Result<()> {
        let mut text = Vec::new();
        let lines = encode(&mut text, changes)?;
        let file = self.file.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let written = file.write_all(&text);
        if written.is_err() {
            self.file = None;
        }
        self.lines += lines;
        self.octets += text.len() as u64;
        written
    }

    /// Whether a rewrite is due: for size, or because the file is out of step.
    #[must_use]
    pub fn needs_rewrite(&self, names: usize) -> bool {
        self.file.is_none() || self.lines > 2 * names + SLACK || self.octets > REWRITE_AT
    }

    /// Writes everything anew.
    pub fn rewrite<'a>(&mut self, all: impl IntoIterator<Item = (&'a Name, &'a Record)>) -> io::Result<()> {
        self.file = None;
        if self.unread
            && let Some(aside) = self.set_aside()?
        {
            tracing::warn!(aside = %aside.display(), "kept observations that could not be read are set aside");
        }
        let mut lines = 0;
        replace_with(&self.path, |file| encode(file, all).map(|written| lines = written))?;
        let file = OpenOptions::new().append(true).open(&self.path)?;
        self.octets = file.metadata()?.len();
        self.file = Some(file);
        self.lines = lines;
        Ok(())
    }
}

/// An error may pass; a file that is missing or too large stays so.
fn patiently(mut read: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    let mut result = read();
    for _ in 1..READS {
        match &result {
            Err(error) if ![io::ErrorKind::NotFound, io::ErrorKind::FileTooLarge].contains(&error.kind()) => sleep(READ_PAUSE),
            _ => break,
        }
        result = read();
    }
    result
}

fn read(path: &Path, broken: &mut usize, mut take: impl FnMut(Name, Record)) -> io::Result<()> {
    let file = File::open(path)?;
    if file.metadata()?.len() > LARGEST_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is too large to be a journal of observations"));
    }
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    while reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)? > 0 {
        match serde_json::from_slice::<Line>(&line) {
            Ok(Line { name, record }) => take(name, record),
            Err(_) => *broken += usize::from(line != b"\n"),
        }
        line.clear();
    }
    Ok(())
}

fn encode<'a>(to: &mut impl Write, changes: impl IntoIterator<Item = (&'a Name, &'a Record)>) -> io::Result<usize> {
    let mut lines = 0;
    for (name, record) in changes {
        serde_json::to_writer(&mut *to, &Line { name: name.clone(), record: *record }).map_err(io::Error::other)?;
        to.write_all(b"\n")?;
        lines += 1;
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(tags: u32) -> Record {
        let end = Timestamp::constant(2_000_000_000, 5);
        Record { added: Timestamp::constant(1_900_000_000, 1), expires: end, tags, guard: end }
    }

    fn open(directory: &Path) -> (Journal, Vec<(Name, Record)>, Kept) {
        let mut records = Vec::new();
        let (journal, kept) = Journal::open(directory, |name, record| records.push((name, record)));
        (journal, records, kept)
    }

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn what_was_written_is_read_again_and_a_torn_line_is_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, records, kept) = open(directory.path());
        assert!(records.is_empty() && kept.error.is_none());
        journal.rewrite([(&name("a"), &record(1))]).unwrap();
        journal.append([(&name("b"), &record(2)), (&name("a"), &record(3))]).unwrap();
        journal.file.as_mut().unwrap().write_all(br#"{"name":"c.","add"#).unwrap();
        let (_, records, kept) = open(directory.path());
        assert_eq!(records, [(name("a"), record(1)), (name("b"), record(2)), (name("a"), record(3))]);
        assert_eq!(kept.broken, 1);
    }

    #[test]
    fn a_disk_that_comes_back_is_written_whole() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("later");
        fs::write(&missing, "in the way").unwrap();
        let (mut journal, _, kept) = open(&missing);
        assert!(kept.error.is_some());
        assert!(journal.rewrite([]).is_err());
        assert!(journal.append([(&name("a"), &record(1))]).is_err());
        assert!(journal.needs_rewrite(1));
        fs::remove_file(&missing).unwrap();
        journal.rewrite([(&name("a"), &record(1))]).unwrap();
        assert!(!journal.needs_rewrite(1));
        assert_eq!(open(&missing).1.len(), 1);
    }

    fn set_aside(directory: &Path) -> Vec<PathBuf> {
        let is_aside = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(BROKEN);
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).filter(is_aside).collect()
    }

    #[test]
    fn a_file_that_cannot_be_read_is_set_aside_and_not_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let unreadable = directory.path().join(FILE);
        for round in 0..3 {
            let _ = fs::remove_file(&unreadable);
            fs::create_dir(&unreadable).unwrap();
            fs::write(unreadable.join(round.to_string()), "precious").unwrap();
            let (mut journal, _, kept) = open(directory.path());
            assert!(kept.error.is_some());
            let aside = kept.aside.unwrap().unwrap();
            assert_eq!(set_aside(directory.path()), [aside.as_path()], "one is kept, the newest");
            assert_eq!(fs::read_to_string(aside.join(round.to_string())).unwrap(), "precious");
            journal.rewrite([(&name("a"), &record(1))]).unwrap();
            assert_eq!(open(directory.path()).1.len(), 1);
        }
    }

    #[test]
    fn a_file_with_rubbish_in_it_is_kept_beside_what_could_be_read_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, ..) = open(directory.path());
        journal.rewrite([(&name("a"), &record(1))]).unwrap();
        journal.file.as_mut().unwrap().write_all(b"rubbish\nmore rubbish\n").unwrap();
        let (mut journal, records, kept) = open(directory.path());
        assert_eq!((records.len(), kept.broken), (1, 2));
        assert_eq!(open(directory.path()).1.len(), 1, "a crash at this moment loses nothing");
        journal.rewrite([(&name("a"), &record(1))]).unwrap();
        let aside = set_aside(directory.path());
        assert_eq!(aside.len(), 1);
        assert!(fs::read_to_string(&aside[0]).unwrap().contains("more rubbish"));
        assert!(open(directory.path()).2.aside.is_none(), "the new file is good");
    }

    #[test]
    fn a_file_that_can_neither_be_read_nor_set_aside_is_not_overwritten_later() {
        let directory = tempfile::tempdir().unwrap();
        let (state, elsewhere) = (directory.path().join("state"), directory.path().join("elsewhere"));
        fs::write(&state, "in the way of the folder").unwrap();
        let (mut journal, _, kept) = open(&state);
        assert!(kept.error.is_some() && kept.aside.unwrap().is_err());
        // The folder comes back, and the journal with it.
        open(&elsewhere).0.rewrite([(&name("a"), &record(1))]).unwrap();
        fs::remove_file(&state).unwrap();
        fs::rename(&elsewhere, &state).unwrap();
        journal.rewrite([(&name("b"), &record(2))]).unwrap();
        let aside = set_aside(&state);
        assert!(fs::read_to_string(&aside[0]).unwrap().contains("\"a.\""));
    }

    #[test]
    fn a_read_error_may_pass_but_is_not_waited_for_without_end() {
        let mut reads = 0;
        let failing = |until: u32, kind: io::ErrorKind, reads: &mut u32| {
            patiently(|| {
                *reads += 1;
                if *reads < until { Err(kind.into()) } else { Ok(()) }
            })
        };
        assert!(failing(READS, io::ErrorKind::Interrupted, &mut reads).is_ok());
        reads = 0;
        assert!(failing(u32::MAX, io::ErrorKind::Other, &mut reads).is_err());
        assert_eq!(reads, READS);
        reads = 0;
        assert!(failing(u32::MAX, io::ErrorKind::FileTooLarge, &mut reads).is_err());
        assert_eq!(reads, 1);
    }
}
