//! Observations on disk: a line for each change, written before the change is published; rewritten whole when most lines are
//! about the past.
//!
//! Lines are handed to the kernel, not forced to the disk: what was published survives the end of the process in any form.
//! A power loss may cost the last seconds of observations, and with them their protection until Core repeats them.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tapir_wire::name::Name;

use super::file::replace_with;
use crate::sources::observations::Record;

/// Name of the file.
pub const FILE: &str = "observations.jsonl";
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
}

/// What a file held, beside the records.
#[derive(Debug, Default)]
pub struct Kept {
    /// Lines that could not be read: the last one after a crash, usually.
    pub broken: usize,
    /// Why the file could not be read, if it is there.
    pub error: Option<io::Error>,
}

impl Journal {
    /// Reads the file and hands out its records, oldest first and one by one: together they may be more than memory should hold.
    /// Nothing is written before [`Journal::rewrite`].
    #[must_use]
    pub fn open(directory: &Path, take: impl FnMut(Name, Record)) -> (Self, Kept) {
        let path = directory.join(FILE);
        let mut kept = Kept::default();
        match read(&path, &mut kept.broken, take) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => kept.error = Some(error),
            _ => {}
        }
        (Self { path, file: None, lines: 0, octets: 0 }, kept)
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
        let mut lines = 0;
        replace_with(&self.path, |file| encode(file, all).map(|written| lines = written))?;
        let file = OpenOptions::new().append(true).open(&self.path)?;
        self.octets = file.metadata()?.len();
        self.file = Some(file);
        self.lines = lines;
        Ok(())
    }
}

fn read(path: &Path, broken: &mut usize, mut take: impl FnMut(Name, Record)) -> io::Result<()> {
    let file = File::open(path)?;
    if file.metadata()?.len() > LARGEST_FILE {
        return Err(io::Error::other("file is too large to be a journal of observations"));
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
    use std::fs;

    use super::*;
    use jiff::Timestamp;

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
}
