//! The last serial, and of which content it was.
//!
//! Written before anyone can see the serial: whatever happens next, it is not used for another content.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::file::replace;
use crate::zone::{Fingerprint, Serial};

/// Name of the file.
pub const FILE: &str = "serial.json";

#[derive(Debug, Serialize, Deserialize)]
struct Document {
    format: u32,
    serial: Serial,
    content: String,
}

/// Gives out serials.
#[derive(Debug)]
pub struct Serials {
    path: PathBuf,
    last: Option<(Serial, Fingerprint)>,
}

impl Serials {
    /// Goes on where the file ends. Without a readable one the clock alone decides, which exceeds every earlier serial unless
    /// the clock was set back at the same time; the error is for the log.
    #[must_use]
    pub fn open(directory: &Path) -> (Self, Option<io::Error>) {
        let path = directory.join(FILE);
        let read = match fs::read(&path) {
            Ok(text) => serde_json::from_slice::<Document>(&text).map(Some).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        let (document, error) = match read {
            Ok(document) => (document, None),
            Err(error) => (None, Some(error)),
        };
        let last = document.map(|document| (document.serial, Fingerprint(document.content)));
        (Self { path, last }, error)
    }

    /// The serial for a content: the last one for the last content, else a new one, which is on disk when this returns
    /// (or the error says that it is not; it is good for use all the same, since POP goes on without a disk).
    pub fn of(&mut self, content: Fingerprint, now: Timestamp) -> (Serial, Option<io::Error>) {
        if let Some((serial, last)) = &self.last
            && *last == content
        {
            return (*serial, None);
        }
        let serial = Serial::next(self.last.as_ref().map(|(serial, _)| *serial), now);
        let document = Document { format: 1, serial, content: content.0.clone() };
        self.last = Some((serial, content));
        let written = serde_json::to_vec(&document).map_err(io::Error::other).and_then(|text| replace(&self.path, &text));
        (serial, written.err())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(text: &str) -> Fingerprint {
        Fingerprint(text.to_owned())
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn restarts_and_clock_steps_reuse_no_serial() {
        let directory = tempfile::tempdir().unwrap();
        let (mut serials, error) = Serials::open(directory.path());
        assert!(error.is_none());
        assert_eq!(serials.of(content("a"), at(100)).0, Serial(1000));
        assert_eq!(serials.of(content("a"), at(200)).0, Serial(1000), "nothing new");

        let (mut serials, _) = Serials::open(directory.path());
        assert_eq!(serials.of(content("a"), at(300)).0, Serial(1000), "nothing new after a restart either");
        assert_eq!(serials.of(content("b"), at(50)).0, Serial(1001), "the clock stepped back");

        let (mut serials, _) = Serials::open(directory.path());
        assert_eq!(serials.of(content("a"), at(40)).0, Serial(1002), "older content come back is new content");
    }

    #[test]
    fn a_broken_file_is_said_and_got_over() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(FILE), "{").unwrap();
        let (mut serials, error) = Serials::open(directory.path());
        assert!(error.is_some());
        assert_eq!(serials.of(content("a"), at(100)).0, Serial(1000));
        assert!(Serials::open(directory.path()).1.is_none());
    }

    #[test]
    fn without_a_disk_serials_go_on() {
        let (mut serials, _) = Serials::open(Path::new("/proc/nowhere"));
        let (first, error) = serials.of(content("a"), at(100));
        assert!(error.is_some());
        assert!(serials.of(content("b"), at(100)).0.is_after(first));
    }
}
