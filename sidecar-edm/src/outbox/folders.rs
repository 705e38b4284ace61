//! Where files lie, and how many.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use strum::IntoEnumIterator as _;

use super::counters::{octets, signed};
use super::forbidden::Forbidden;
use super::{Counters, Refusal};
use crate::disk::{self, Bound, Entry};
use crate::histogram_file::Interval;

/// The folders of histogram files. Those who work in the same ones have clones of one.
#[derive(Clone, Debug)]
pub struct Folders {
    /// To be sent.
    pub outbox: PathBuf,
    /// Core has them.
    pub sent: PathBuf,
    /// Core refused them, each answer in a folder of its own.
    pub refused: PathBuf,
    pub(super) forbidden: Forbidden,
}

impl Folders {
    /// Below a data folder, as upstream has them.
    #[must_use]
    pub fn below(data: &Path) -> Self {
        let histograms = data.join("parquet/histograms");
        let [outbox, sent, refused] = ["outbox", "sent", "refused"].map(|name| histograms.join(name));
        Self { outbox, sent, refused, forbidden: Forbidden::default() }
    }

    /// Where files go that met this refusal.
    #[must_use]
    pub fn refused(&self, refusal: Refusal) -> PathBuf {
        self.refused.join(<&str>::from(refusal))
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        self.waiting().is_ok_and(|waiting| waiting.is_empty())
    }

    pub(super) fn all_refused(&self) -> impl Iterator<Item = PathBuf> {
        Refusal::iter().map(|refusal| self.refused(refusal))
    }

    /// What waits, the first minute first.
    pub(super) fn waiting(&self) -> io::Result<Vec<Entry>> {
        histograms(&self.outbox)
    }

    /// What waits and stays: nothing that is just getting its name and may lose it again.
    pub(super) fn settled(&self) -> io::Result<Vec<Entry>> {
        let _moving = self.forbidden.moving();
        self.waiting()
    }

    /// Brings every folder within its bounds. What is unsent is counted when it goes.
    pub(super) fn tidy(&self, bounds: &Bounds, counters: &Counters) -> io::Result<()> {
        let now = SystemTime::now();
        let mut waiting = self.waiting()?;
        let (dropped, outbox) = disk::bring_within(&self.outbox, &mut waiting, &bounds.outbox, now, 0);
        counters.dropped(dropped);
        counters.waits(&waiting);
        let mut refused = Vec::new();
        let mut trouble = Ok(());
        for folder in self.all_refused() {
            let mut files = histograms(&folder)?;
            let (dropped, outcome) = disk::bring_within(&folder, &mut files, &bounds.refused, now, 0);
            counters.dropped(dropped);
            trouble = trouble.and(outcome);
            refused.append(&mut files);
        }
        counters.refused_files.set(signed(refused.len() as u64));
        counters.refused_octets.set(signed(octets(&refused)));
        let mut sent = histograms(&self.sent)?;
        let (_, copies) = disk::bring_within(&self.sent, &mut sent, &bounds.sent, now, 0);
        counters.sent_octets.set(signed(octets(&sent)));
        outbox.and(trouble).and(copies)
    }

    /// Removes what Core does not have, and counts it; as much of it as can be. What Core has may stay for who wants to see it.
    pub(super) fn forget(&self, counters: &Counters) -> io::Result<()> {
        let _moving = self.forbidden.moving();
        let mut trouble = Ok(());
        for folder in std::iter::once(self.outbox.clone()).chain(self.all_refused()) {
            match histograms(&folder) {
                Ok(files) => {
                    for file in files {
                        match disk::remove(&folder.join(&file.name)) {
                            Ok(()) => {
                                counters.forgotten.inc();
                            }
                            Err(error) => trouble = Err(error),
                        }
                    }
                }
                Err(error) => trouble = Err(error),
            }
        }
        trouble
    }

    /// Keeps apart what Core refused.
    pub(super) fn refuse(&self, name: &str, refusal: Refusal) -> io::Result<()> {
        let _moving = self.forbidden.moving();
        disk::move_into(&self.outbox, name, &self.refused(refusal))
    }

    /// Moves back what was refused with 401, to be tried once more.
    pub(super) fn try_again(&self) -> io::Result<usize> {
        let _moving = self.forbidden.moving();
        let refused = self.refused(Refusal::Unauthorized);
        let files = histograms(&refused)?;
        for file in &files {
            disk::move_into(&refused, &file.name, &self.outbox)?;
        }
        Ok(files.len())
    }
}

/// What each folder may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Unsent.
    pub outbox: Bound,
    /// Sent.
    pub sent: Bound,
    /// Refused, for each answer.
    pub refused: Bound,
}

/// The bounds that are in force at a moment, which may be other ones later. Cloning shares them.
#[derive(Clone, Debug)]
pub struct PresentBounds(Arc<ArcSwap<Bounds>>);

impl PresentBounds {
    /// Others from now on. What is too much goes when the folders are looked after next.
    pub fn set(&self, bounds: Bounds) {
        self.0.store(Arc::new(bounds));
    }

    pub(super) fn get(&self) -> Bounds {
        **self.0.load()
    }
}

impl From<Bounds> for PresentBounds {
    fn from(bounds: Bounds) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(bounds)))
    }
}

impl Default for Bounds {
    /// Sent files stay a day, as upstream keeps them, for whoever wants to see what left.
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        const MEBIBYTE: u64 = 1024 * 1024;
        Self {
            outbox: Bound { octets: 64 * MEBIBYTE, files: 5_000, age: 3 * DAY },
            sent: Bound { octets: 32 * MEBIBYTE, files: 2_000, age: DAY },
            refused: Bound { octets: 8 * MEBIBYTE, files: 500, age: DAY },
        }
    }
}

pub(super) fn histograms(folder: &Path) -> io::Result<Vec<Entry>> {
    disk::list(folder, |name| Interval::of_file_name(name).is_ok())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn nothing_is_picked_up_that_may_lose_its_name_again() {
        let folder = tempfile::tempdir().unwrap();
        let folders = Folders::below(folder.path());
        std::fs::create_dir_all(&folders.outbox).unwrap();
        let moving = folders.forbidden.moving();
        let (said, hears) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| said.send(folders.settled().unwrap().len()).unwrap());
            let interval = Interval { start: jiff::Timestamp::UNIX_EPOCH, stop: jiff::Timestamp::UNIX_EPOCH };
            let file = folders.outbox.join(interval.file_name(0));
            std::fs::write(&file, "").unwrap();
            assert!(hears.recv_timeout(Duration::from_millis(300)).is_err(), "it waits");
            std::fs::remove_file(&file).unwrap();
            drop(moving);
            assert_eq!(hears.recv().unwrap(), 0);
        });
    }

    #[test]
    fn nothing_is_missed_that_is_moved_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let (folders, counters) = (Folders::below(folder.path()), Counters::default());
        let interval = Interval { start: jiff::Timestamp::UNIX_EPOCH, stop: jiff::Timestamp::UNIX_EPOCH };
        let names: Vec<_> = (0..10).map(|number| interval.file_name(number)).collect();
        std::fs::create_dir_all(&folders.outbox).unwrap();
        for round in 1..=30 {
            names.iter().for_each(|name| std::fs::write(folders.outbox.join(name), "").unwrap());
            let moved = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    // Until there is none.
                    while names.iter().filter(|name| folders.refuse(name, Refusal::Unauthorized).is_ok()).count() > 0 {
                        moved.store(true, Ordering::Release);
                        folders.try_again().unwrap();
                    }
                });
                while !moved.load(Ordering::Acquire) {
                    std::thread::yield_now();
                }
                folders.forget(&counters).unwrap();
            });
            assert!(folders.is_sent() && histograms(&folders.refused(Refusal::Unauthorized)).unwrap().is_empty());
            assert_eq!(counters.forgotten.get(), 10 * round);
        }
    }
}
