//! The debug dump (`debug-dnstap-filename`, `spec/edm.md` 12.5): every dnstap frame that can be read, a line of JSON each, for somebody who looks for a
//! fault.
//!
//! The threads of the connections copy a frame and hand it over; a thread of its own makes text of it and writes. What it does not keep up with, and
//! what has no room in the file any more, is dropped and counted.
//!
//! # Departures
//! Addresses are left out unless `debug-dnstap-real-addresses` says otherwise, and with them what EDNS tells of clients; the file is bounded.

mod line;
mod text;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arc_swap::ArcSwapOption;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

use crate::disk::Jobs;
use crate::input::sink::FrameSink;
use writer::Writer;

/// Frames that wait to be written.
const WAITING: usize = 256;
/// Octets that they have at most: one has 96 KiB at most, most have a few hundred.
const WAITING_OCTETS: usize = 1 << 20;

/// What is written, and where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The file; what is in it already stays.
    pub file: PathBuf,
    /// With the addresses of clients.
    pub addresses: bool,
}

/// What is counted of it. Cloning shares the counters.
#[derive(Clone, Debug, Default)]
pub struct Dumped {
    /// Frames in the file.
    pub written: Counter,
    /// Frames that are not.
    pub dropped: Counter,
}

impl Dumped {
    /// Registers everything. The prefix is the registry's.
    pub fn register(&self, registry: &mut Registry) {
        let Self { written, dropped } = self.clone();
        registry.register("dumped_frames", "dnstap frames written to the debug dump", written);
        registry.register("dump_dropped_frames", "dnstap frames that the debug dump had no time or no room for", dropped);
    }
}

/// Where frames are handed over, if somebody wants them. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Dump {
    current: Arc<ArcSwapOption<Running>>,
    counts: Dumped,
}

#[derive(Debug)]
struct Running {
    asked: Asked,
    jobs: Jobs<Frame>,
    /// Octets that wait.
    octets: Arc<AtomicUsize>,
    /// The file is full, or cannot be written: nobody copies anything for it.
    has_ended: Arc<AtomicBool>,
}

/// A frame that waits, counted as long as it does.
#[derive(Debug)]
struct Frame {
    content: Vec<u8>,
    octets: Arc<AtomicUsize>,
}

impl Drop for Frame {
    fn drop(&mut self) {
        self.octets.fetch_sub(self.content.len(), Ordering::Relaxed);
    }
}

impl Running {
    /// `write` tells whether more can be written.
    fn start(asked: Asked, mut write: impl FnMut(&[u8]) -> bool + Send + 'static) -> std::io::Result<Self> {
        let has_ended = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&has_ended);
        let jobs = Jobs::start("dump", WAITING, move |frame: Frame, _| {
            if !write(&frame.content) {
                ended.store(true, Ordering::Relaxed);
            }
        })?;
        Ok(Self { asked, jobs, octets: Arc::default(), has_ended })
    }

    /// Hands it over. False where this one, or another one in place of it, is lost.
    fn put(&self, frame: &[u8]) -> bool {
        if self.has_ended.load(Ordering::Relaxed) {
            return false;
        }
        let before = self.octets.fetch_add(frame.len(), Ordering::Relaxed);
        if before + frame.len() > WAITING_OCTETS {
            self.octets.fetch_sub(frame.len(), Ordering::Relaxed);
            return false;
        }
        self.jobs.put(Frame { content: frame.to_vec(), octets: Arc::clone(&self.octets) }).is_none()
    }
}

impl Dump {
    /// Counts here.
    #[must_use]
    pub fn new(counts: Dumped) -> Self {
        Self { current: Arc::default(), counts }
    }

    /// From now on this is asked for. The file is opened by the thread that writes, since the disk may hang.
    pub fn ask(&self, asked: Option<Asked>) {
        let current = self.current.load();
        if current.as_ref().map(|running| &running.asked) == asked.as_ref() {
            return;
        }
        let running = asked.and_then(|asked| {
            let (file, addresses) = (asked.file.display(), asked.addresses);
            tracing::warn!(%file, addresses, "every dnstap frame is written to a file, as debug-dnstap-filename wants it");
            let (mut writer, theirs, counts) = (None, asked.clone(), self.counts.clone());
            let write = move |frame: &[u8]| {
                let writer = writer.get_or_insert_with(|| Writer::open(&theirs, counts.clone()));
                writer.write(frame);
                !writer.has_ended()
            };
            Running::start(asked, write).map_err(|error| tracing::error!(%error, "no thread for the debug dump")).ok()
        });
        self.current.store(running.map(Arc::new));
    }

    /// A sink that hands every frame over before another one has it.
    pub const fn before<S>(self, sink: S) -> Before<S> {
        Before { dump: self, sink }
    }

    fn take(&self, frames: &[&[u8]]) {
        if let Some(running) = &*self.current.load() {
            let lost = frames.iter().filter(|frame| !running.put(frame)).count();
            self.counts.dropped.inc_by(lost as u64);
        }
    }
}

/// Sees frames before a sink does.
#[derive(Debug)]
pub struct Before<S> {
    dump: Dump,
    sink: S,
}

impl<S: FrameSink> FrameSink for Before<S> {
    fn frames(&mut self, frames: &[&[u8]]) {
        self.dump.take(frames);
        self.sink.frames(frames);
    }
}

#[cfg(test)]
mod tests;
