//! Observations on disk: a line for each change, written before the change is published; rewritten whole when most lines are
//! about the past.
//!
//! Lines are handed to the kernel, not forced to the disk: what was published survives the end of the process in any form.
//! A power loss may cost the last seconds of observations, and with them their protection until Core repeats them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tapir_wire::name::Name;

use super::file::replace;
use crate::sources::observations::Record;

/// Name of the file.
pub const FILE: &str = "observations.jsonl";
/// Lines beyond twice the names before the file is rewritten.
const SLACK: usize = 1000;
/// A file beyond this is not ours: [`crate::sources::observations::MOST_NAMES`] twice, with the longest names, is less.
const LARGEST_FILE: u64 = 256 * 1024 * 1024;

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
}

/// What a file held.
#[derive(Debug, Default)]
pub struct Kept {
    /// Changes, oldest first.
    pub records: Vec<(Name, Record)>,
    /// Lines that could not be read: the last one after a crash, usually.
    pub broken: usize,
    /// Why the file could not be read, if it is there.
    pub error: Option<io::Error>,
}

impl Journal {
    /// Reads the file. Nothing is written before [`Journal::rewrite`].
    #[must_use]
    pub fn open(directory: &Path) -> (Self, Kept) {
        let path = directory.join(FILE);
        let mut kept = Kept::default();
        match read(&path) {
            Ok(text) => {
                for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                    match serde_json::from_slice::<Line>(line) {
                        Ok(Line { name, record }) => kept.records.push((name, record)),
                        Err(_) => kept.broken += 1,
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => kept.error = Some(error),
        }
        (Self { path, file: None, lines: 0 }, kept)
    }

    /// Writes down changes. After an error the file is out of step until the next [`Journal::rewrite`].
    pub fn append<'a>(&mut self, changes: impl IntoIterator<Item = (&'a Name, &'a Record)>) -> io::Result<()> {
        let (text, lines) = encode(changes)?;
        let file = self.file.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let written = file.write_all(&text);
        if written.is_err() {
            self.file = None;
        }
        self.lines += lines;
        written
    }

    /// Whether a rewrite is due: for size, or because the file is out of step.
    #[must_use]
    pub fn needs_rewrite(&self, names: usize) -> bool {
        self.file.is_none() || self.lines > 2 * names + SLACK
    }

    /// Writes everything anew.
    pub fn rewrite<'a>(&mut self, all: impl IntoIterator<Item = (&'a Name, &'a Record)>) -> io::Result<()> {
        self.file = None;
        let (text, lines) = encode(all)?;
        replace(&self.path, &text)?;
        self.file = Some(OpenOptions::new().append(true).open(&self.path)?);
        self.lines = lines;
        Ok(())
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    if fs::metadata(path)?.len() > LARGEST_FILE {
        return Err(io::Error::other("file is too large to be a journal of observations"));
    }
    fs::read(path)
}

fn encode<'a>(changes: impl IntoIterator<Item = (&'a Name, &'a Record)>) -> io::Result<(Vec<u8>, usize)> {
    let (mut text, mut lines) = (Vec::new(), 0);
    for (name, record) in changes {
        serde_json::to_writer(&mut text, &Line { name: name.clone(), record: *record }).map_err(io::Error::other)?;
        text.push(b'\n');
        lines += 1;
    }
    Ok((text, lines))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    fn record(tags: u32) -> Record {
        let end = Timestamp::constant(2_000_000_000, 5);
        Record { added: Timestamp::constant(1_900_000_000, 1), expires: end, tags, guard: end }
    }

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn what_was_written_is_read_again_and_a_torn_line_is_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, kept) = Journal::open(directory.path());
        assert!(kept.records.is_empty() && kept.error.is_none());
        journal.rewrite([(&name("a"), &record(1))]).unwrap();
        journal.append([(&name("b"), &record(2)), (&name("a"), &record(3))]).unwrap();
        journal.file.as_mut().unwrap().write_all(br#"{"name":"c.","add"#).unwrap();
        let (_, kept) = Journal::open(directory.path());
        assert_eq!(kept.records, [(name("a"), record(1)), (name("b"), record(2)), (name("a"), record(3))]);
        assert_eq!(kept.broken, 1);
    }

    #[test]
    fn a_disk_that_comes_back_is_written_whole() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("later");
        fs::write(&missing, "in the way").unwrap();
        let (mut journal, kept) = Journal::open(&missing);
        assert!(kept.error.is_some());
        assert!(journal.rewrite([]).is_err());
        assert!(journal.append([(&name("a"), &record(1))]).is_err());
        assert!(journal.needs_rewrite(1));
        fs::remove_file(&missing).unwrap();
        journal.rewrite([(&name("a"), &record(1))]).unwrap();
        assert!(!journal.needs_rewrite(1));
        assert_eq!(Journal::open(&missing).1.records.len(), 1);
    }
}
