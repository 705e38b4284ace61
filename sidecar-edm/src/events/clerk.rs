//! The thread that writes: events into the queue, then their marks into the log, and once a second both through to the disk.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;

use super::counters::Counters;
use super::handover::{Batch, Handover};
use super::ledger::{Ledger, now};
use super::queue::{Lost, Queue, Writer, record};
use super::seen::Table;
use super::settings::Settings;
use super::{BROKEN, MOST_BROKEN};
use crate::disk::{self, Bound};
use crate::memory::Budget;

/// Between two writes: what comes meanwhile is written together.
const PAUSE: Duration = Duration::from_millis(10);
/// Between two times that the disk has to have everything.
const SYNC: Duration = Duration::from_secs(1);
/// Between tries of a folder that cannot be used.
const RETRY: Duration = Duration::from_secs(5);
/// For a process before this one that is just ending.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Who writes.
pub(super) struct Clerk {
    folder: PathBuf,
    handover: Arc<Handover>,
    ledger: Ledger,
    writer: Writer,
    counters: Counters,
    table: Arc<ArcSwap<Table>>,
    /// What could not be written yet. No more is taken while there is something.
    events: Vec<u8>,
    /// What waits is to be forgotten, and some of it is still there.
    clearing: bool,
    /// That something could not be written was told; and that it could not be synced.
    unwritten: bool,
    unsynced: bool,
    /// Held for as long as the folder is in use.
    lock: Option<File>,
    tried: Instant,
}

/// What is there at the start.
pub(super) struct Start {
    pub(super) clerk: Clerk,
    pub(super) queue: Arc<Queue>,
    /// For how long names have been kept; none where there were none.
    pub(super) age: Option<Duration>,
    /// Why the folder cannot be used, if it cannot.
    pub(super) unusable: Option<String>,
}

impl Clerk {
    /// Reads what is in the folder. Whatever is wrong there is told, things go on in memory, and it is tried again.
    pub(super) fn open(
        folder: &Path,
        settings: &Settings,
        budget: &Arc<Budget>,
        handover: Arc<Handover>,
        table: Arc<ArcSwap<Table>>,
        counters: Counters,
    ) -> Start {
        let lock = lock(folder, LOCK_TRIES).map_err(|error| {
            tracing::error!(folder = %folder.display(), %error, "the folder of events cannot be used; until it can, what waits and what was seen is in memory alone");
            match error.kind() {
                ErrorKind::WouldBlock => "another process uses it".to_owned(),
                _ => error.to_string(),
            }
        });
        let unusable = lock.as_ref().err().cloned();
        let lock = lock.ok();
        if lock.is_some() {
            drop_broken(folder, settings);
        }
        let waiting = folder.join("waiting");
        let (writer, queue) = if lock.is_some() { Writer::open(&waiting, settings.waiting_octets) } else { Writer::in_memory() };
        let ledger = Ledger::new(&folder.join("seen"), settings, budget, Arc::clone(&handover), Arc::clone(&table));
        let mut clerk = Self {
            folder: folder.to_owned(),
            handover,
            ledger,
            writer,
            counters,
            table,
            events: Vec::new(),
            clearing: false,
            unwritten: false,
            unsynced: false,
            lock,
            tried: Instant::now(),
        };
        let age = if clerk.lock.is_some() { clerk.open_ledger() } else { None };
        Start { clerk, queue, age, unusable }
    }

    /// Works until no more comes.
    pub(super) fn run(mut self) {
        // Also when this panics: whoever waits for the end must not wait for ever.
        let _end = AtTheEnd(Arc::clone(&self.handover));
        self.measure();
        let mut synced = Instant::now();
        while let Some(batch) = self.handover.take(synced + SYNC, self.events.is_empty()) {
            self.take(batch);
            self.write();
            if synced.elapsed() >= SYNC {
                self.sync();
                self.try_folder();
                synced = Instant::now();
            }
            self.handover.pause(PAUSE);
        }
        self.write();
        self.sync();
        if !self.events.is_empty() {
            tracing::error!(octets = self.events.len(), "the disk did not take all events before the end");
        }
    }

    fn take(&mut self, batch: Batch) {
        let Batch { events, marks, settings, clear } = batch;
        self.events.extend(events);
        self.ledger.add(marks);
        if clear {
            self.clear();
        }
        if let Some(settings) = settings {
            self.writer.set_bound(settings.waiting_octets);
            self.ledger.configure(&settings);
        }
    }

    /// Sending is forbidden: nobody was told of what waits.
    fn clear(&mut self) {
        let prints: Vec<_> = record::pieces(&self.events).filter_map(record::print).collect();
        self.events.clear();
        self.counters.disabled.inc_by(prints.len() as u64);
        self.ledger.unmark(&prints);
        self.clearing = true;
    }

    /// Goes on until nothing is left: a disk that fails now may not later.
    fn go_on_clearing(&mut self) -> io::Result<()> {
        if !self.clearing {
            return Ok(());
        }
        let Self { writer, ledger, counters, .. } = self;
        writer.clear(&mut |lost: Lost| {
            counters.disabled.inc_by(lost.events);
            ledger.unmark(&lost.prints);
        })?;
        self.clearing = false;
        Ok(())
    }

    /// A folder that could not be used may be one by now.
    fn try_folder(&mut self) {
        if (self.lock.is_some() && self.ledger.is_open()) || self.tried.elapsed() < RETRY {
            return;
        }
        self.tried = Instant::now();
        if self.lock.is_none() {
            self.lock = lock(&self.folder, 0).ok();
            if self.lock.is_none() {
                return;
            }
            self.writer.use_folder(&self.folder.join("waiting"));
        }
        self.open_ledger();
    }

    fn open_ledger(&mut self) -> Option<Duration> {
        let opened = self.ledger.open(now());
        self.counters.damaged.inc_by(std::mem::take(&mut self.ledger.damaged));
        opened.unwrap_or_else(|error| {
            tracing::error!(folder = %self.folder.display(), %error, "names that were seen before cannot be read and count as new; it is tried again");
            None
        })
    }

    fn write(&mut self) {
        let now = now();
        let mut trouble = self.go_on_clearing().err();
        if !self.clearing {
            trouble = trouble.or(self.append(now).err());
        }
        // Not before the events.
        if self.events.is_empty() && self.writer.is_kept() {
            trouble = trouble.or(self.ledger.write().err());
        }
        trouble = trouble.or(self.turn(now).err()).or(self.writer.keep(now).err());
        self.unwritten = self.tell(trouble, self.unwritten);
        self.observe();
    }

    fn append(&mut self, now: u64) -> io::Result<()> {
        let Self { writer, ledger, counters, .. } = self;
        let (taken, result) = writer.append(&self.events, now, &mut |lost: Lost| {
            if counters.displaced.inc_by(lost.events) == 0 && lost.events > 0 {
                tracing::error!("the queue of events is full, the oldest were dropped; further ones are only counted");
            }
            ledger.unmark(&lost.prints);
        });
        self.events.drain(..taken);
        result
    }

    fn turn(&mut self, now: u64) -> io::Result<()> {
        if !self.ledger.is_turn_due(now) {
            return Ok(());
        }
        // The log is synced then.
        self.writer.sync()?;
        self.ledger.turn(now)
    }

    fn sync(&mut self) {
        // Here as well no mark before its event.
        let synced = self.writer.sync().and_then(|()| self.ledger.sync());
        self.unsynced = self.tell(synced.err(), self.unsynced);
        self.measure();
    }

    /// Once for each time of trouble. Whether there is any.
    fn tell(&self, trouble: Option<io::Error>, was_told: bool) -> bool {
        let Some(error) = trouble else { return false };
        self.counters.write_failures.inc();
        if !was_told {
            tracing::error!(folder = %self.folder.display(), %error, "what concerns events cannot be written; it is tried again");
        }
        true
    }

    /// What the folders take, with what is set aside there.
    fn measure(&self) {
        let Counters { seen_octets, waiting_octets, .. } = &self.counters;
        for (folder, octets) in [("seen", seen_octets), ("waiting", waiting_octets)] {
            if let Ok(files) = disk::list(&self.folder.join(folder), |_| true) {
                octets.set(i64::try_from(files.iter().map(|file| file.octets).sum::<u64>()).unwrap_or(i64::MAX));
            }
        }
    }

    fn observe(&self) {
        let gauge = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let (table, queue) = (self.table.load(), self.writer.queue());
        let Counters { queued, queued_octets, seen_names, unreadable, seen_forgotten, .. } = &self.counters;
        queued.set(gauge(queue.len()));
        queued_octets.set(gauge(queue.octets()));
        seen_names.set(gauge(table.len()));
        unreadable.inc_by(queue.unreadable().saturating_sub(unreadable.get()));
        seen_forgotten.inc_by(self.ledger.forgotten().saturating_sub(seen_forgotten.get()));
    }
}

/// What was set aside because it was damaged is there to be looked at, for a while and within what the folder may hold.
fn drop_broken(folder: &Path, settings: &Settings) {
    let bound = Bound { octets: settings.waiting_octets, files: MOST_BROKEN, age: settings.forget_after };
    for part in ["waiting", "seen"].map(|part| folder.join(part)) {
        let dropped = disk::list(&part, |name| name.starts_with(BROKEN))
            .and_then(|mut files| disk::keep_within(&part, &mut files, &bound, SystemTime::now(), 0));
        if let Err(error) = dropped {
            tracing::warn!(folder = %part.display(), %error, "what was set aside cannot be removed");
        }
    }
}

/// One process alone uses the folder.
fn lock(folder: &Path, most_tries: u32) -> io::Result<File> {
    crate::disk::make_folder(folder)?;
    let file = File::options().write(true).create(true).truncate(false).open(folder.join("lock"))?;
    let mut tries = 0;
    loop {
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(error) if tries >= most_tries => return Err(error.into()),
            Err(_) => std::thread::sleep(LOCK_PAUSE),
        }
        tries += 1;
    }
}

struct AtTheEnd(Arc<Handover>);

impl Drop for AtTheEnd {
    fn drop(&mut self) {
        self.0.close();
        self.0.end();
    }
}

#[cfg(test)]
#[path = "clerk_tests.rs"]
mod tests;
