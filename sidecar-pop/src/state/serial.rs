//! The last serial, and of which content it was.
//!
//! Written before anyone can see the serial: whatever happens next, it is not used for another content. When that fails, POP
//! goes on all the same, for protection is worth more; a mark beside the file (see [`super::unwritten`]) tells a restart that
//! later serials are in use.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tapir_runtime::back_off::{BackOff, Pauses};

use super::file::replace;
use super::unwritten::Unwritten;
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
    unwritten: Unwritten,
    last: Option<Last>,
    /// When to write again what is not on disk; `None` while everything is.
    retry: Option<(Instant, Pauses)>,
}

#[derive(Debug)]
struct Last {
    serial: Serial,
    /// Not known of a serial that only may have been used.
    content: Option<Fingerprint>,
}

impl Serials {
    /// Goes on where the file ends. Without a readable one the clock alone decides, which exceeds every earlier serial unless
    /// the clock was set back at the same time; the error is for the log.
    #[must_use]
    pub fn open(directory: &Path) -> (Self, Option<io::Error>) {
        let path = directory.join(FILE);
        let (document, error) = split(read(&path));
        let written = document.as_ref().map(|document| document.serial);
        let (unwritten, mark_error) = split(Unwritten::open(directory, written).map(Some));
        let unwritten = unwritten.unwrap_or_else(|| Unwritten::none(directory));
        let used = unwritten.last().map(|serial| Last { serial, content: None });
        let last = used.or(document.map(|Document { serial, content, .. }| Last { serial, content: Some(Fingerprint(content)) }));
        (Self { path, unwritten, last, retry: None }, error.or(mark_error))
    }

    /// The serial for a content: the last one for the last content, else a new one, which is on disk when this returns
    /// (or the error says that it is not; it is good for use all the same, since POP goes on without a disk).
    pub fn of(&mut self, content: Fingerprint, now: Timestamp) -> (Serial, Option<io::Error>) {
        if let Some(last) = &self.last
            && last.content.as_ref() == Some(&content)
        {
            return (last.serial, None);
        }
        let serial = Serial::next(self.last.as_ref().map(|last| last.serial), now);
        self.last = Some(Last { serial, content: Some(content) });
        // A disk that failed is left alone until it is time to try again.
        let written = if self.retry.is_none() || self.needs_write() { self.write() } else { Ok(()) };
        if self.retry.is_none() {
            return (serial, written.err());
        }
        // Where not even a name can be made nothing is left to be done, and the error of the file says as much.
        let _ = self.unwritten.mark(serial);
        (serial, written.err())
    }

    /// Whether the last serial has still to be written down, and it is time to try that again.
    #[must_use]
    pub fn needs_write(&self) -> bool {
        self.retry.as_ref().is_some_and(|(at, _)| *at <= Instant::now())
    }

    /// Writes the last serial down.
    pub fn write(&mut self) -> io::Result<()> {
        let Some(Last { serial, content: Some(content) }) = &self.last else { return Ok(()) };
        let document = Document { format: 1, serial: *serial, content: content.0.clone() };
        let text = serde_json::to_vec(&document).map_err(io::Error::other)?;
        let written = replace(&self.path, &text);
        if written.is_ok() {
            self.retry = None;
            self.unwritten.clear();
        } else {
            let pauses = self.retry.take().map(|(_, pauses)| pauses);
            let mut pauses = pauses.unwrap_or_else(|| BackOff::default().start());
            self.retry = Some((Instant::now() + pauses.next_pause(), pauses));
        }
        written
    }
}

fn read(path: &Path) -> io::Result<Option<Document>> {
    match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn split<T>(result: io::Result<Option<T>>) -> (Option<T>, Option<io::Error>) {
    match result {
        Ok(found) => (found, None),
        Err(error) => (None, Some(error)),
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

    /// A folder stands where the file is written before it gets its name.
    fn broken_disk(directory: &Path) -> PathBuf {
        let in_the_way = directory.join("serial.new");
        fs::create_dir(&in_the_way).unwrap();
        in_the_way
    }

    #[test]
    fn no_serial_is_used_twice_when_it_could_not_be_written_down_before_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let mut serials = Serials::open(directory.path()).0;
        assert_eq!(serials.of(content("a"), at(100)).0, Serial(1000));
        broken_disk(directory.path());
        let mut used = vec![Serial(1000)];
        let mut publish = |serials: &mut Serials, text: &str, second| {
            let serial = serials.of(content(text), at(second)).0;
            assert!(used.iter().all(|used| serial.is_after(*used)), "{text}: {serial} after {used:?}");
            assert_eq!(serials.of(content(text), at(second)).0, serial);
            used.push(serial);
        };
        for (text, second) in [("b", 101), ("c", 101), ("d", 160), ("e", 300)] {
            publish(&mut serials, text, second);
        }
        // Killed, and the clock is set back, several times over.
        for (text, second) in [("a", 100), ("b", 101), ("c", 50), ("e", 150)] {
            let (mut restarted, error) = Serials::open(directory.path());
            assert!(error.is_none());
            publish(&mut restarted, text, second);
        }
        let files = fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(files, 3, "the file, what is in its way, and one mark");
    }

    #[test]
    fn what_could_not_be_written_is_written_when_the_disk_is_back() {
        let directory = tempfile::tempdir().unwrap();
        let mut serials = Serials::open(directory.path()).0;
        serials.of(content("a"), at(100));
        let in_the_way = broken_disk(directory.path());
        let (second, error) = serials.of(content("b"), at(200));
        assert!(error.is_some());
        assert!(serials.retry.is_some() && !serials.needs_write(), "later, not at once");
        assert!(serials.write().is_err());
        fs::remove_dir(&in_the_way).unwrap();
        serials.write().unwrap();
        assert!(serials.retry.is_none());
        assert_eq!(Serials::open(directory.path()).0.of(content("b"), at(300)).0, second, "the same content keeps its serial");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no mark is left");
    }

    #[test]
    fn without_a_disk_serials_go_on() {
        let (mut serials, _) = Serials::open(Path::new("/proc/nowhere"));
        let (first, error) = serials.of(content("a"), at(100));
        assert!(error.is_some());
        assert!(serials.of(content("b"), at(100)).0.is_after(first));
    }
}
