//! Minutes into the outbox, on a thread of its own: whoever counts never waits for the disk.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::folders::histograms;
use super::forbidden::Forbidden;
use super::{Counters, Folders, PresentBounds};
use crate::disk::{self, Jobs, Pressure, Unfinished};
use crate::histogram_file::{Interval, Minute, Written, write};
use crate::instance::Instance;
use crate::parquet::WriteError;

/// Minutes that wait for the disk beside the one that is being written.
const CAPACITY: usize = 2;
/// Between tries of a disk that does not take a file.
const AGAIN: Duration = Duration::from_secs(1);

/// What the thread does.
enum Job {
    /// Remove what an earlier run left unfinished. First of all.
    Sweep,
    /// Write this, unless it has been forbidden since, which had been so often when it came.
    Keep(Box<dyn Minute>, u64),
    /// Remove all that Core does not have. That is done before anything else, so it does no harm when this is lost.
    Forget,
}

/// Takes minutes.
#[derive(Debug)]
pub struct Store {
    jobs: Jobs<Job>,
    counters: Counters,
    forbidden: Forbidden,
}

/// Writes them.
struct Keeper {
    folders: Folders,
    bounds: PresentBounds,
    instance: Instance,
    counters: Counters,
    news: Arc<Notify>,
}

impl Store {
    /// Starts the thread, which first removes what an earlier run left unfinished. `news` is notified of each file.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn start(
        folders: Folders,
        bounds: impl Into<PresentBounds>,
        instance: Instance,
        counters: Counters,
        news: Arc<Notify>,
    ) -> io::Result<Self> {
        let forbidden = folders.forbidden.clone();
        let keeper = Keeper { folders, bounds: bounds.into(), instance, counters: counters.clone(), news };
        let jobs = Jobs::start("outbox", CAPACITY, move |job: Job, pressure: &Pressure<'_, Job>| keeper.work(job, pressure))?;
        jobs.put(Job::Sweep);
        Ok(Self { jobs, counters, forbidden })
    }

    /// Hands a minute over; never waits. If the disk is so slow that too many wait, the oldest of them is lost and counted.
    pub fn put(&self, minute: Box<dyn Minute>) {
        self.hand_over(Job::Keep(minute, self.forbidden.said()));
    }

    /// Sending is forbidden: what was handed over and Core does not have is removed, and nothing is sent until that is done. Never waits either.
    pub fn forget(&self) {
        self.forbidden.say();
        self.hand_over(Job::Forget);
    }

    fn hand_over(&self, job: Job) {
        match self.jobs.put(job) {
            Some(Job::Keep(_, said)) if said < self.forbidden.said() => {
                self.counters.forgotten.inc();
            }
            Some(Job::Keep(..)) => {
                self.counters.minutes_lost.inc();
                tracing::error!("the disk is too slow: the histogram of a minute is lost");
            }
            Some(Job::Sweep | Job::Forget) | None => {}
        }
    }

    /// Waits so long for what was handed over to be written; false if it was not.
    #[must_use]
    pub fn finish(self, patience: Duration) -> bool {
        self.jobs.finish(patience)
    }
}

impl Keeper {
    fn work(&self, job: Job, pressure: &Pressure<'_, Job>) {
        let is_forgotten = self.forget(pressure);
        match job {
            Job::Sweep => self.sweep(),
            Job::Keep(_, said) if said < self.folders.forbidden.said() => {
                self.counters.forgotten.inc();
            }
            Job::Keep(minute, said) if is_forgotten => self.keep(&*minute, said, pressure),
            // Nobody could tell it from what must not be sent.
            Job::Keep(..) => self.lose(),
            Job::Forget => {}
        }
    }

    fn sweep(&self) {
        match disk::sweep(&self.folders.outbox) {
            Ok(0) => {}
            Ok(files) => tracing::info!(files, "unfinished histogram files removed"),
            Err(error) => tracing::warn!(%error, "unfinished histogram files cannot be removed"),
        }
        // What an earlier run left waits from now on, whether there is anywhere to send it or not.
        self.tidy();
    }

    fn tidy(&self) {
        if let Err(error) = self.folders.tidy(&self.bounds.get(), &self.counters) {
            tracing::warn!(%error, "the outbox cannot be kept within its bounds");
        }
    }

    /// Removes what is forbidden, if anything is, and tries until that is done. False at the end.
    fn forget(&self, pressure: &Pressure<'_, Job>) -> bool {
        let mut is_told = false;
        while self.folders.forbidden.is_due() {
            let (said, before) = (self.folders.forbidden.said(), self.counters.forgotten.get());
            let outcome = self.folders.forget(&self.counters);
            let files = self.counters.forgotten.get() - before;
            if files > 0 {
                tracing::info!(files, "unsent histogram files removed, as sending is forbidden");
            }
            match outcome {
                Ok(()) => {
                    self.tidy();
                    self.folders.forbidden.done(said);
                    self.news.notify_one();
                }
                Err(error) => {
                    if !is_told {
                        tracing::error!(%error, "unsent histogram files cannot be removed, as they should be; it is tried again, and nothing is sent");
                    }
                    is_told = true;
                    if !pressure.pause_in_any_case(AGAIN) {
                        return false;
                    }
                }
            }
        }
        true
    }

    /// Tries until it is written, or there is no more time for it.
    fn keep(&self, minute: &dyn Minute, said: u64, pressure: &Pressure<'_, Job>) {
        if minute.is_empty() {
            return;
        }
        loop {
            match self.write(minute) {
                Ok((name, Written { rows, skipped })) => {
                    self.counters.written.inc();
                    self.counters.rows_skipped.inc_by(skipped);
                    tracing::debug!(file = name, rows, skipped, "histogram written");
                    self.tidy();
                    return self.news.notify_one();
                }
                Err(error) => {
                    self.counters.write_failures.inc();
                    tracing::warn!(%error, reason = std::error::Error::source(&error).map(ToString::to_string), "a histogram cannot be written");
                    if matches!(&error, WriteError::Io(error) if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
                    {
                        self.make_room();
                    }
                }
            }
            let goes_on = pressure.pause(AGAIN);
            if said < self.folders.forbidden.said() {
                self.counters.forgotten.inc();
                return;
            }
            if !goes_on {
                return self.lose();
            }
        }
    }

    fn lose(&self) {
        self.counters.minutes_lost.inc();
        tracing::error!("the disk does not take it: the histogram of a minute is lost");
    }

    fn write(&self, minute: &dyn Minute) -> Result<(String, Written), WriteError> {
        let name = self.free_name(&minute.interval());
        let (file, written) = write(Unfinished::create(&self.folders.outbox, &name)?, minute, &self.instance)?;
        // What is there although it failed would be written once more, and counted twice by Core; so would what was sent before it went.
        let _moving = self.folders.forbidden.moving();
        file.finish_new()?;
        Ok((name, written))
    }

    /// Two minutes may have the same seconds in their names: a rotation by hand, a clock that was set back.
    fn free_name(&self, interval: &Interval) -> String {
        const MOST: u32 = 1000;
        // Also where it may still go: a file that is moved takes the place of one that has its name.
        let mut folders = vec![self.folders.outbox.clone(), self.folders.sent.clone()];
        folders.extend(self.folders.all_refused());
        let taken = |name: &str| folders.iter().any(|folder| folder.join(name).exists());
        let names = (0..MOST).map(|number| interval.file_name(number));
        let mut names = names.skip_while(|name| taken(name));
        names.next().unwrap_or_else(|| interval.file_name(MOST))
    }

    /// On a full disk what Core has goes first, then what it does not want, then the oldest that it should have had.
    fn make_room(&self) {
        let mut copies = vec![self.folders.sent.clone()];
        copies.extend(self.folders.all_refused());
        if copies.iter().map(|folder| remove_first(folder, usize::MAX)).sum::<usize>() == 0 {
            self.counters.dropped_room.inc_by(remove_first(&self.folders.outbox, 1) as u64);
        }
    }
}

fn remove_first(folder: &Path, count: usize) -> usize {
    let files = histograms(folder).unwrap_or_default();
    files.iter().take(count).filter(|file| disk::remove(&folder.join(&file.name)).is_ok()).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram_file::Row;
    use crate::outbox::Bounds;

    struct One;

    impl Minute for One {
        fn interval(&self) -> Interval {
            Interval { start: jiff::Timestamp::UNIX_EPOCH, stop: jiff::Timestamp::UNIX_EPOCH }
        }

        fn is_empty(&self) -> bool {
            false
        }

        fn rows(&self, take: &mut dyn FnMut(&Row<'_>)) {
            take(&Row::default());
        }
    }

    #[test]
    fn a_file_gets_its_name_while_nobody_lists_what_is_to_be_sent() {
        let folder = tempfile::tempdir().unwrap();
        let folders = Folders::below(folder.path());
        let store = Store::start(folders.clone(), Bounds::default(), Instance::draw(), Counters::default(), Arc::default());
        let store = store.unwrap();
        let moving = folders.forbidden.moving();
        store.put(Box::new(One));
        assert!(!store.finish(Duration::from_millis(300)), "it waits");
        assert!(folders.is_sent());
        drop(moving);
        let end = std::time::Instant::now() + Duration::from_secs(60);
        while folders.is_sent() {
            assert!(std::time::Instant::now() < end);
            std::thread::yield_now();
        }
    }
}
