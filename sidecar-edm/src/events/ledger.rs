//! Names that were seen, as the thread that writes has them: the table in memory, its log, and marks that wait for the log.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;

use super::handover::Handover;
use super::seen::{self, Fingerprint, Kind, Log, Secret, Steady, Table};
use super::settings::Settings;
use crate::memory::{Budget, Charge};

/// Marks, taken back or not, that wait for a disk that takes none; the oldest go beyond that.
const MARKS: usize = 1 << 17;

/// Who keeps them.
pub(super) struct Ledger {
    folder: PathBuf,
    handover: Arc<Handover>,
    table: Arc<ArcSwap<Table>>,
    budget: Arc<Budget>,
    charge: Charge,
    names: usize,
    forget_after: Duration,
    /// None until the folder can be used.
    log: Option<Log>,
    /// Names that tables before this one forgot.
    forgotten_before: u64,
    /// What is not in the log yet.
    marks: Vec<(Kind, Fingerprint)>,
    clock: Steady,
    /// Files that were damaged, of which nobody was told yet.
    pub(super) damaged: u64,
}

impl Ledger {
    /// Nothing is read or kept before [`Self::open`].
    pub(super) fn new(
        folder: &Path,
        settings: &Settings,
        budget: &Arc<Budget>,
        handover: Arc<Handover>,
        table: Arc<ArcSwap<Table>>,
    ) -> Self {
        let mut ledger = Self {
            folder: folder.to_owned(),
            handover,
            table,
            budget: Arc::clone(budget),
            charge: Charge::new(budget),
            names: settings.seen_names,
            forget_after: settings.forget_after,
            log: None,
            forgotten_before: 0,
            marks: Vec::new(),
            clock: Steady::default(),
            damaged: 0,
        };
        ledger.swap(Table::new(settings.seen_names));
        ledger
    }

    /// Reads what is in the folder, if that was not done yet. Tells for how long names have been kept; none where there were none.
    ///
    /// # Errors
    /// When the folder cannot be used: then names are known in memory alone, and this is to be called again.
    pub(super) fn open(&mut self, now: u64) -> io::Result<Option<Duration>> {
        if self.log.is_some() {
            return Ok(None);
        }
        let ours = self.table.load().secret();
        let secret = Secret::load(&self.folder, ours)?;
        let table = Table::of(secret, self.names);
        let (log, opened) = Log::open(&self.folder, &secret, self.names, self.forget_after, now, &table)?;
        tracing::info!(names = table.len(), cut = opened.cut, damaged = opened.damaged, "names that were seen before");
        self.damaged += opened.damaged as u64;
        // Without a name the store is as good as new.
        let age = opened.age.filter(|_| !table.is_empty());
        if secret != ours {
            // By this secret they are other names.
            self.marks.clear();
        }
        table.replay(&self.marks);
        self.log = Some(log);
        self.swap(table);
        Ok(age)
    }

    pub(super) const fn is_open(&self) -> bool {
        self.log.is_some()
    }

    /// These are to be written down.
    pub(super) fn add(&mut self, marks: Vec<(Kind, Fingerprint)>) {
        self.marks.extend(marks);
        self.bound();
    }

    /// Writes down what waits for it. Not before the events of these names are safe: a mark without its event would be a name that nobody
    /// hears of.
    pub(super) fn write(&mut self) -> io::Result<()> {
        let Some(log) = self.log.as_mut().filter(|_| !self.marks.is_empty()) else { return Ok(()) };
        // Of some the events were lost meanwhile.
        let table = self.table.load();
        self.marks.retain(|(kind, print)| *kind == Kind::Unmark || table.contains(*print));
        log.append(&self.marks)?;
        self.marks.clear();
        Ok(())
    }

    /// The events of these names are lost.
    pub(super) fn unmark(&mut self, prints: &[Fingerprint]) {
        let table = self.table.load();
        for print in prints {
            table.unmark(*print);
        }
        drop(table);
        // By the time they are written one of these names may have another event, which is not safe yet.
        if !self.marks.is_empty() {
            let lost: HashSet<_> = prints.iter().collect();
            self.marks.retain(|(kind, print)| *kind == Kind::Unmark || !lost.contains(print));
        }
        // Also what the table had no mark of: the log may have one. At once: there may be many.
        let records: Vec<_> = prints.iter().map(|print| (Kind::Unmark, *print)).collect();
        let written = self.log.as_mut().is_some_and(|log| log.append(&records).is_ok());
        if !written {
            self.add(records);
        }
    }

    /// The next generation is due.
    pub(super) fn is_turn_due(&mut self, now: u64) -> bool {
        let clock_is_right = self.clock.confirms(now, Instant::now());
        self.log.as_ref().is_some_and(|log| log.is_turn_due(now, clock_is_right))
    }

    /// Begins the next generation if it is due. All that is in the log is on the disk then.
    pub(super) fn turn(&mut self, now: u64) -> io::Result<()> {
        let clock_is_right = self.clock.confirms(now, Instant::now());
        let table = self.table.load();
        self.log.as_mut().map_or(Ok(()), |log| log.turn_if_due(now, clock_is_right, &table))
    }

    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.log.as_mut().map_or(Ok(()), Log::sync)
    }

    pub(super) fn configure(&mut self, settings: &Settings) {
        self.forget_after = settings.forget_after;
        if let Some(log) = &mut self.log {
            log.set_bounds(settings.seen_names, settings.forget_after);
        }
        if settings.seen_names != self.names {
            self.names = settings.seen_names;
            self.resize();
        }
    }

    /// Another table, filled from the files and from what is not in them yet.
    fn resize(&mut self) {
        let table = Table::of(self.table.load().secret(), self.names);
        match self.log.as_ref().map(|log| log.replay(&table)) {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::error!(%error, "names seen cannot be read again: they count as new"),
            None => tracing::warn!("there is no log of names seen: with another bound they count as new"),
        }
        table.replay(&self.marks);
        self.swap(table);
    }

    /// Names that had to go, by age or for want of room.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten_before + self.table.load().forgotten()
    }

    fn swap(&mut self, table: Table) {
        self.charge = Charge::new(&self.budget);
        self.charge.add(table.octets());
        let before = self.table.load_full();
        self.handover.swap(&self.table, table);
        self.forgotten_before += before.forgotten();
    }

    /// Without its mark a name is reported once more. Without what takes a mark back it never is, so that goes last.
    fn bound(&mut self) {
        let mut surplus = self.marks.len().saturating_sub(MARKS);
        if surplus == 0 {
            return;
        }
        self.marks.retain(|(kind, _)| {
            let goes = *kind == Kind::Mark && surplus > 0;
            surplus -= usize::from(goes);
            !goes
        });
        self.marks.drain(..surplus);
    }
}

/// The clock, in seconds.
pub(super) fn now() -> u64 {
    seen::seconds(SystemTime::now())
}

#[cfg(test)]
mod tests {
    use super::super::gate::tests::open_settings;
    use super::*;

    #[test]
    fn marks_make_room_for_what_takes_marks_back() {
        let budget = Budget::new(64 << 20);
        let table = Arc::new(ArcSwap::from_pointee(Table::new(0)));
        let mut ledger = Ledger::new(Path::new("/nowhere"), &open_settings(), &budget, Arc::default(), table);
        let print = |number: u32| ledger.table.load().secret().fingerprint(&number.to_be_bytes());
        let lost = print(0);
        let marks = (1..=MARKS as u32).map(|number| (Kind::Mark, print(number))).collect();
        ledger.unmark(&[lost]);
        ledger.add(marks);
        assert_eq!(ledger.marks.len(), MARKS);
        assert_eq!(ledger.marks.first(), Some(&(Kind::Unmark, lost)));
        // However many they are.
        ledger.unmark(&vec![lost; 2 * MARKS]);
        assert_eq!(ledger.marks.len(), MARKS);
    }
}
