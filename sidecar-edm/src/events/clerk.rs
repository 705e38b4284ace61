//! The thread that writes: events into the queue, then their marks into the log, and once a second both through to the disk.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;

use super::counters::Counters;
use super::handover::{Batch, Handover};
use super::queue::{Lost, Queue, Writer, record};
use super::seen::{self, Fingerprint, Kind, Log, Secret, Table};
use super::settings::Settings;
use crate::memory::{Budget, Charge};

/// Between two writes: what comes meanwhile is written together.
const PAUSE: Duration = Duration::from_millis(10);
/// Between two times that the disk has to have everything.
const SYNC: Duration = Duration::from_secs(1);
/// Marks that wait for a disk that takes none; the oldest go beyond that.
const MARKS: usize = 1 << 17;
/// For a process before this one that is just ending.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Who writes.
pub(super) struct Clerk {
    folder: PathBuf,
    handover: Arc<Handover>,
    table: Arc<ArcSwap<Table>>,
    budget: Arc<Budget>,
    charge: Charge,
    settings: Settings,
    log: Option<Log>,
    writer: Writer,
    counters: Counters,
    /// What could not be written yet. No more is taken while there is something.
    events: Vec<u8>,
    marks: Vec<(Kind, Fingerprint)>,
    troubled: bool,
    /// Held for as long as the folder is in use.
    _lock: Option<File>,
}

/// What is there at the start.
pub(super) struct Start {
    pub(super) clerk: Clerk,
    pub(super) queue: Arc<Queue>,
    pub(super) secret: Secret,
    /// For how long names have been kept; none where there were none.
    pub(super) age: Option<Duration>,
}

impl Clerk {
    /// Reads what is in the folder. Whatever is wrong there is told, and things go on in memory.
    pub(super) fn open(
        folder: &Path,
        settings: &Settings,
        budget: &Arc<Budget>,
        handover: Arc<Handover>,
        table: Arc<ArcSwap<Table>>,
        counters: Counters,
    ) -> Start {
        let lock = lock(folder)
            .inspect_err(|error| {
                tracing::error!(folder = %folder.display(), %error, "the folder of events cannot be used; what waits and what was seen is lost at the end");
            })
            .ok();
        let (writer, queue) =
            if lock.is_some() { Writer::open(&folder.join("waiting"), settings.waiting_octets) } else { Writer::in_memory() };
        let fresh = Arc::new(Table::new(settings.seen_names));
        let seen = lock.as_ref().map(|_| open_log(&folder.join("seen"), settings, &fresh));
        let (log, secret, age) = seen.unwrap_or_else(|| (None, Secret::draw(), None));
        let mut charge = Charge::new(budget);
        charge.add(fresh.octets());
        table.store(fresh);
        let clerk = Self {
            folder: folder.to_owned(),
            handover,
            table,
            budget: Arc::clone(budget),
            charge,
            settings: settings.clone(),
            log,
            writer,
            counters,
            events: Vec::new(),
            marks: Vec::new(),
            troubled: false,
            _lock: lock,
        };
        Start { clerk, queue, secret, age }
    }

    /// Works until no more comes.
    pub(super) fn run(mut self) {
        // Also when this panics: whoever waits for the end must not wait for ever.
        let _end = AtTheEnd(Arc::clone(&self.handover));
        let mut synced = Instant::now();
        while let Some(batch) = self.handover.take(synced + SYNC, self.events.is_empty()) {
            self.take(batch);
            self.write();
            if synced.elapsed() >= SYNC {
                self.sync();
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
        self.marks.extend(marks);
        if clear {
            self.clear();
        }
        if let Some(settings) = settings {
            self.configure(settings);
        }
    }

    /// Sending is forbidden: nobody was told of what waits.
    fn clear(&mut self) {
        let mut lost = self.writer.clear();
        let mut rest = self.events.as_slice();
        while let Some((size, print)) = record::size(rest).zip(record::print(rest)) {
            lost.events += 1;
            lost.prints.push(print);
            rest = &rest[size..];
        }
        self.events.clear();
        self.counters.disabled.inc_by(lost.events);
        self.unmark(&lost.prints);
    }

    fn configure(&mut self, settings: Settings) {
        self.writer.set_bound(settings.waiting_octets);
        if let Some(log) = &mut self.log {
            log.set_bounds(settings.seen_names, settings.forget_after);
        }
        if settings.seen_names != self.settings.seen_names {
            self.resize(settings.seen_names);
        }
        self.settings = settings;
    }

    /// Another table, filled from the files and from what is not in them yet.
    fn resize(&mut self, names: usize) {
        let table = Table::new(names);
        match self.log.as_ref().map(|log| log.replay(&table)) {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::error!(%error, "names seen cannot be read again: they count as new"),
            None => tracing::warn!("there is no log of names seen: with another bound they count as new"),
        }
        self.charge = Charge::new(&self.budget);
        self.charge.add(table.octets());
        table.replay(&self.marks);
        self.handover.swap(&self.table, table);
    }

    fn write(&mut self) {
        let now = seen::seconds(SystemTime::now());
        let mut lost = Lost::default();
        let (taken, result) = self.writer.append(&self.events, now, &mut lost);
        let mut trouble = result.err();
        self.events.drain(..taken);
        if lost.events > 0 {
            if self.counters.displaced.inc_by(lost.events) == 0 {
                tracing::error!("the queue of events is full, the oldest were dropped; further ones are only counted");
            }
            self.unmark(&lost.prints);
        }
        // Not before the events: a mark without its event would be a name that nobody hears of.
        if self.events.is_empty() && !self.marks.is_empty() {
            trouble = trouble.or(self.write_marks().err());
        }
        trouble = trouble.or(self.turn(now).err()).or(self.writer.keep().err());
        self.tell(trouble);
        let surplus = self.marks.len().saturating_sub(MARKS);
        self.marks.drain(..surplus);
        self.observe();
    }

    fn write_marks(&mut self) -> std::io::Result<()> {
        if let Some(log) = &mut self.log {
            log.append(&self.marks)?;
        }
        self.marks.clear();
        Ok(())
    }

    fn turn(&mut self, now: u64) -> std::io::Result<()> {
        let Some(log) = self.log.as_mut().filter(|log| log.is_turn_due(now)) else { return Ok(()) };
        // The log is synced then.
        self.writer.sync()?;
        log.turn_if_due(now, &self.table.load())
    }

    fn sync(&mut self) {
        // Here as well no mark before its event.
        let synced = self.writer.sync().and_then(|()| self.log.as_mut().map_or(Ok(()), Log::sync));
        self.tell(synced.err());
    }

    fn unmark(&mut self, prints: &[Fingerprint]) {
        let table = self.table.load();
        for print in prints {
            table.unmark(*print);
            self.marks.push((Kind::Unmark, *print));
        }
    }

    /// Once for each time of trouble.
    fn tell(&mut self, trouble: Option<std::io::Error>) {
        match trouble {
            Some(error) if !self.troubled => {
                tracing::error!(folder = %self.folder.display(), %error, "what concerns events cannot be written; it is tried again");
                self.troubled = true;
            }
            Some(_) => {}
            None => self.troubled = false,
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
        seen_forgotten.inc_by(table.forgotten().saturating_sub(seen_forgotten.get()));
    }
}

fn open_log(folder: &Path, settings: &Settings, table: &Table) -> (Option<Log>, Secret, Option<Duration>) {
    let opened = Secret::load(folder).and_then(|secret| {
        let now = seen::seconds(SystemTime::now());
        let (log, opened) = Log::open(folder, &secret, settings.seen_names, settings.forget_after, now, table)?;
        Ok((log, secret, opened))
    });
    match opened {
        Ok((log, secret, opened)) => {
            tracing::info!(names = table.len(), cut = opened.cut, damaged = opened.damaged, "names that were seen before");
            // Without a name the store is as good as new.
            (Some(log), secret, opened.age.filter(|_| !table.is_empty()))
        }
        Err(error) => {
            tracing::error!(folder = %folder.display(), %error, "names that were seen before cannot be read: all count as new");
            (None, Secret::draw(), None)
        }
    }
}

/// One process alone uses the folder.
fn lock(folder: &Path) -> std::io::Result<File> {
    crate::disk::make_folder(folder)?;
    let file = File::options().write(true).create(true).truncate(false).open(folder.join("lock"))?;
    let mut tries = 0;
    loop {
        match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(error) if tries == LOCK_TRIES => return Err(error.into()),
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
