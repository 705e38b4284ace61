//! A resolver that tells of so many answers a second, whatever becomes of the other end.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use super::super::frame::{Told, Writer};
use super::super::resolver::Resolver;
use super::super::traffic::{now, wire};
use super::KNOWN;

/// Frames of so long go into one write; after a pause no more than those of [`CATCH_UP`].
const TICK: Duration = Duration::from_millis(10);
const CATCH_UP: Duration = Duration::from_millis(200);

/// Answers a second.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rates {
    /// For names that nobody asked for before, each in a domain of its own.
    pub(super) new: u64,
    /// For names of the list.
    pub(super) known: u64,
}

/// What was written so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Written {
    /// Every new name below this number.
    pub(super) new: u64,
    pub(super) known: u64,
    /// How long the longest write took: so long a resolver would have waited.
    pub(super) longest: Duration,
    /// Up to which new name it had come when. The last minutes.
    pub(super) when: Vec<(Instant, u64)>,
}

#[derive(Debug)]
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    written: Arc<Mutex<Written>>,
    thread: JoinHandle<Result<()>>,
}

impl Load {
    /// New names are numbered from `first` on.
    pub(super) fn start(socket: PathBuf, rates: Rates, first: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let written = Arc::new(Mutex::new(Written { new: first, ..Written::default() }));
        let (stops, tells) = (Arc::clone(&stop), Arc::clone(&written));
        Self { stop, written, thread: thread::spawn(move || run(&socket, rates, &stops, &tells)) }
    }

    pub(super) fn written(&self) -> Written {
        lock(&self.written).clone()
    }

    /// Ends in order: when this returns everything that was written has been read, unless there is no other end just now.
    pub(super) fn stop(self) -> Result<Written> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the load panicked"))??;
        let written = lock(&self.written).clone();
        Ok(written)
    }
}

/// Sends frames for these new names, and no others.
pub(super) fn send_again(socket: &Path, numbers: impl Iterator<Item = u64>) -> Result<()> {
    let (mut resolver, mut writer, mut octets) = (Resolver::connect(socket)?, Writer::default(), Vec::new());
    for number in numbers {
        write(&mut writer, &new(number), number, &mut octets);
    }
    resolver.send(&octets)?;
    resolver.finish()
}

/// A name of the list.
pub(super) fn known(number: u64) -> String {
    format!("k{}.known.example.", number % KNOWN)
}

pub(super) fn new(number: u64) -> String {
    format!("www.n{number}.com.")
}

/// The number of a new name.
pub(super) fn number(name: &str) -> Option<u64> {
    name.strip_prefix("www.n")?.strip_suffix(".com.")?.parse().ok()
}

/// One frame.
pub(super) fn write(writer: &mut Writer, name: &str, number: u64, octets: &mut Vec<u8>) {
    let client = [198, 18, (number >> 8) as u8, number as u8];
    let told =
        Told { name: &wire(name), client: &client, port: 1024 + (number % 60_000) as u16, qtype: 1, rcode: 0, time: now() };
    writer.write(&told, octets);
}

fn lock(written: &Mutex<Written>) -> MutexGuard<'_, Written> {
    written.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run(socket: &Path, rates: Rates, stop: &AtomicBool, shared: &Mutex<Written>) -> Result<()> {
    let (mut resolver, mut writer, mut octets) = (None::<Resolver>, Writer::default(), Vec::new());
    let (mut last, mut due_new, mut due_known) = (Instant::now(), 0.0, 0.0);
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(TICK.saturating_sub(last.elapsed()));
        let passed = last.elapsed().min(CATCH_UP).as_secs_f64();
        last = Instant::now();
        if resolver.is_none() {
            resolver = Resolver::connect(socket).ok();
        }
        let Some(open) = &mut resolver else { continue };
        due_new += rates.new as f64 * passed;
        due_known += rates.known as f64 * passed;
        let (mut first_new, mut first_known) = {
            let written = lock(shared);
            (written.new, written.known)
        };
        octets.clear();
        while due_new >= 1.0 {
            write(&mut writer, &new(first_new), first_new, &mut octets);
            (due_new, first_new) = (due_new - 1.0, first_new + 1);
        }
        while due_known >= 1.0 {
            write(&mut writer, &known(first_known), first_known, &mut octets);
            (due_known, first_known) = (due_known - 1.0, first_known + 1);
        }
        let begun = Instant::now();
        let sent = open.send(&octets);
        let mut written = lock(shared);
        written.longest = written.longest.max(begun.elapsed());
        // Also where it broke: some of them may have been read.
        (written.new, written.known) = (first_new, first_known);
        if written.when.len() > 12_000 {
            written.when.drain(..6_000);
        }
        written.when.push((Instant::now(), first_new));
        drop(written);
        if sent.is_err() {
            resolver = None;
        }
    }
    resolver.map_or(Ok(()), Resolver::finish)
}

#[cfg(test)]
mod tests {
    use super::super::super::bare::Bare;
    use super::*;

    #[test]
    fn so_many_a_second_are_written_and_read() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let bare = Bare::listen(&socket).unwrap();
        let load = Load::start(socket, Rates { new: 2000, known: 1000 }, 7);
        while load.written().known < 300 {
            thread::sleep(TICK);
        }
        let written = load.stop().unwrap();
        assert_eq!(bare.seen().unwrap().frames, written.new - 7 + written.known);
        assert!(written.new.abs_diff(7 + 2 * written.known) < 100, "{written:?}");
        assert_eq!(number(&new(12)), Some(12));
        assert_eq!(number(&known(12)), None);
    }
}
