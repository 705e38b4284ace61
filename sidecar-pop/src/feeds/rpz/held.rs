//! The copy of a feed: a table, and the changes since. Changes must fit exactly; what does not leaves the copy as it was.

use std::io;
use std::sync::Arc;

use jiff::Timestamp;
use tapir_table::{Code, Codes, Cursor as _, KeyBuf, Overlay, Palette, ReadError, Tree, WriteError};

use super::log::{self, Step};
use crate::dns::records::Soa;
use crate::feeds::collect::{CollectError, Collected, write_table};
use crate::feeds::locals::{Locals, Misfit};
use crate::feeds::record::Read;
use crate::feeds::store::{Copy, Marks, Store};
use crate::feeds::{Meta, SourceNews};

/// Changes in memory and in the log before they become a table, whatever the size of that.
const CHANGES: usize = 64 << 10;
/// And as part of the table.
const PART: u64 = 4;
/// Octets of the log before that, whatever the size of the table.
const LOG: u64 = 4 << 20;
/// Names that one transfer may change: with more, the whole takes less memory.
const MOST_TOUCHED: usize = 256 << 10;

/// Why changes were not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeldError {
    #[error(transparent)]
    Misfit(#[from] Misfit),
    #[error("more than {MOST_TOUCHED} names change at once")]
    TooMany,
    #[error("reading the copy: {0}")]
    Read(#[from] ReadError),
    #[error(transparent)]
    Collect(#[from] CollectError),
    #[error("keeping the copy: {0}")]
    Keep(#[from] io::Error),
}

impl HeldError {
    /// Whether our disk is to blame, and not what the primary sent.
    pub(super) const fn is_of_disk(&self) -> bool {
        match self {
            Self::Keep(_) => true,
            Self::Collect(error) => error.is_of_disk(),
            Self::Misfit(_) | Self::TooMany | Self::Read(_) => false,
        }
    }
}

/// What is held.
#[derive(Clone, Debug)]
pub(super) struct Held {
    copy: Copy,
    changes: Tree<Codes>,
    locals: Locals,
    pub(super) serial: u32,
    /// As the zone says them.
    pub(super) timers: [u32; 3],
    /// When a primary had just this.
    pub(super) checked_at: Timestamp,
}

/// Changes that are not in force yet.
#[derive(Debug)]
pub(super) struct Pending {
    changes: Tree<Codes>,
    locals: Locals,
    /// What each name that was touched was before.
    before: Tree<Was>,
}

impl Held {
    /// Of a whole transfer, kept from now on where the disk takes it.
    pub(super) fn of_whole(
        collected: &Collected,
        soa: Soa,
        now: Timestamp,
        (store, on_disk): (&mut Store, bool),
    ) -> Result<Self, HeldError> {
        let marks = Marks { timers: Some(timers(&soa)), checked_at: Some(now), ..Marks::default() };
        let mut meta = collected.meta(now, None);
        meta.serial = Some(soa.serial);
        let copy = Copy::new(collected, meta, marks);
        if on_disk {
            store.keep(&copy)?;
        } else {
            store.hold_in_memory();
        }
        Ok(Self::of_copy(copy, soa.serial, timers(&soa), now))
    }

    fn of_copy(copy: Copy, serial: u32, timers: [u32; 3], checked_at: Timestamp) -> Self {
        let locals = Locals::of(&copy.palette);
        Self { copy, changes: Tree::new(), locals, serial, timers, checked_at }
    }

    /// What was held before a restart, as one table.
    pub(super) fn load(store: &mut Store) -> Option<Self> {
        let mut copy = store.load()?;
        // Written down with changes that may be lost by now.
        copy.meta.entries = copy.table.nodes();
        let (serial, timers, checked_at) = (copy.meta.serial?, copy.marks.timers?, copy.marks.checked_at?);
        let mut held = Self::of_copy(copy, serial, timers, checked_at);
        if let Some(path) = store.log() {
            // A torn end is where the process was killed: the primary has what follows.
            for step in log::read(&path) {
                if step.from != held.serial {
                    break;
                }
                held.locals = Locals::of(&step.palette);
                for (key, codes) in &step.list {
                    held.changes.insert(key, *codes);
                }
                (held.serial, held.timers) = (step.to, step.timers);
                // A primary may have said since then that this is what it has.
                held.checked_at = held.checked_at.max(step.at);
            }
        }
        if !held.changes.is_empty() {
            // A copy that cannot be put together is none.
            held.condense(store).ok()?;
        }
        Some(held)
    }

    /// Whether changes to it can be checked.
    pub(super) const fn takes_changes(&self) -> bool {
        !self.copy.marks.lossy && !self.locals.is_lossy()
    }

    /// All of it.
    pub(super) fn news(&self, expires_at: Option<Timestamp>) -> SourceNews {
        let meta = self.meta(expires_at);
        SourceNews::Whole { table: Arc::clone(&self.copy.table), palette: Arc::new(self.locals.palette().clone()), meta }
    }

    /// The same, whatever changed since it was put together last.
    pub(super) fn whole(&mut self, expires_at: Option<Timestamp>, store: &mut Store) -> Result<SourceNews, HeldError> {
        if !self.changes.is_empty() {
            self.condense(store)?;
        }
        Ok(self.news(expires_at))
    }

    pub(super) fn meta(&self, expires_at: Option<Timestamp>) -> Meta {
        Meta { serial: Some(self.serial), expires_at, ..self.copy.meta.clone() }
    }

    /// A primary has just what is held. Written down for the next start, which may be later than its expiry.
    pub(super) fn confirm(&mut self, now: Timestamp, write: bool, store: &mut Store) {
        self.checked_at = now;
        if !write || store.is_in_memory() {
            _ = write && self.write_down(store);
            return;
        }
        self.copy.marks.checked_at = Some(now);
        if let Err(error) = store.update(&mut self.copy) {
            tracing::warn!(%error, "a feed's copy cannot be kept");
        }
    }

    /// What is in memory goes to the disk, should there be room by now: whether it is there.
    pub(super) fn write_down(&mut self, store: &mut Store) -> bool {
        store.has_folder() && self.condense(store).is_ok() && !store.is_in_memory()
    }

    /// Begins a row of changes.
    pub(super) fn begin(&self) -> Pending {
        Pending { changes: self.changes.clone(), locals: self.locals.clone(), before: Tree::new() }
    }

    fn get(&self, changes: &Tree<Codes>, key: &KeyBuf) -> Result<Codes, ReadError> {
        if let Some(codes) = changes.get(key.as_bytes()) {
            return Ok(codes);
        }
        let mut trail = tapir_table::Trail::new();
        Ok(self.copy.table.get(key.as_bytes(), &mut trail)?.unwrap_or_default())
    }

    /// One record goes or comes.
    pub(super) fn change(&self, pending: &mut Pending, (key, below, meaning): &Read, is_added: bool) -> Result<(), HeldError> {
        let codes = self.get(&pending.changes, key)?;
        let slot = if *below { codes.below } else { codes.own };
        let slot = if is_added { pending.locals.with(slot, meaning) } else { pending.locals.without(slot, meaning) }?;
        if pending.before.get(key.as_bytes()).is_none() {
            if pending.before.len() >= MOST_TOUCHED {
                return Err(HeldError::TooMany);
            }
            pending.before.insert(key, Was(codes));
        }
        let codes = if *below { Codes::new(codes.own, slot) } else { Codes::new(slot, codes.below) };
        pending.changes.insert(key, codes);
        Ok(())
    }

    /// The changes are complete, and count from now on: what the engine is told.
    pub(super) fn commit(
        &mut self,
        pending: Pending,
        soa: Soa,
        now: Timestamp,
        expires_at: Option<Timestamp>,
        store: &mut Store,
    ) -> Result<SourceNews, HeldError> {
        let Pending { changes, locals, before } = pending;
        let (mut list, mut entries) = (Vec::new(), self.copy.meta.entries);
        let is_large = before.len() > CHANGES;
        let mut cursor = before.cursor();
        while cursor.advance()? {
            let (was, is) = (cursor.value().0, changes.get(cursor.key().as_bytes()).unwrap_or_default());
            if was != is {
                entries = entries + u64::from(was == Codes::SILENT) - u64::from(is == Codes::SILENT);
                if !is_large {
                    list.push((*cursor.key(), is));
                }
            }
        }
        let mut next =
            Self { changes, locals, serial: soa.serial, timers: timers(&soa), checked_at: now, copy: self.copy.clone() };
        (next.copy.meta.entries, next.copy.meta.fetched_at) = (entries, now);
        let most = CHANGES.max(usize::try_from(self.copy.table.nodes() / PART).unwrap_or(usize::MAX));
        if is_large {
            next.condense(store)?;
            *self = next;
            return Ok(self.news(expires_at));
        }
        let crowded = next.locals.is_crowded(self.copy.palette.sets().len());
        if next.changes.len() > most || crowded || log_octets(store) > LOG.max(self.copy.table.octets() / PART) {
            match next.condense(store) {
                Ok(()) => {
                    *self = next;
                    return Ok(self.news(expires_at));
                }
                // They stay what they are, in memory.
                Err(error) => tracing::warn!(%error, "a feed's changes cannot become a table"),
            }
        }
        let palette = Arc::new(next.locals.palette().clone());
        let step = Step { from: self.serial, to: next.serial, timers: next.timers, at: now, palette: Arc::clone(&palette), list };
        *self = next;
        // What the log lacks is not lost: the primary has it.
        if let Err(error) = store.append(&step.write()) {
            tracing::warn!(%error, "changes of a feed cannot be kept for a restart");
        }
        Ok(SourceNews::Changes { list: step.list, palette, meta: self.meta(expires_at) })
    }

    /// Table and changes become one table, with the local data that is in use by now. Where it cannot be kept all stays as it was.
    fn condense(&mut self, store: &mut Store) -> Result<(), HeldError> {
        let place = store.next_place();
        let mut locals = Locals::default();
        let (table, palette, begun) = write_table(&place, self.serial, |table| {
            let mut all = Overlay::new(self.copy.table.scan(), self.changes.cursor());
            while all.advance().map_err(WriteError::from)? {
                table.push(all.key(), locals.of_other(all.value(), self.locals.palette()))?;
            }
            Ok(locals.palette().clone())
        })?;
        let mut copy = self.copy.clone();
        copy.meta.entries = table.nodes();
        copy.meta.serial = Some(self.serial);
        let lossy = self.copy.marks.lossy || self.locals.is_lossy();
        copy.marks = Marks { timers: Some(self.timers), checked_at: Some(self.checked_at), lossy, ..Marks::default() };
        (copy.table, copy.palette, copy.begun) = (Arc::new(table), Arc::new(palette), begun);
        store.keep(&copy)?;
        (self.copy, self.locals, self.changes) = (copy, locals, Tree::new());
        Ok(())
    }
}

fn timers(soa: &Soa) -> [u32; 3] {
    [soa.refresh, soa.retry, soa.expire]
}

/// Codes of a name before, of which silence is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Was(Codes);

impl tapir_table::Value for Was {
    const KIND: u8 = 3;
    const ALWAYS_INLINE: bool = true;

    fn write(&self, to: &mut tapir_table::Written) {
        self.0.write(to);
    }

    fn read(from: &[u8], at: &mut usize) -> Option<Self> {
        Codes::read(from, at).map(Self)
    }
}

/// A palette as it stands in a log.
pub(super) fn palette_octets(palette: &Palette) -> Vec<u8> {
    let mut octets = Vec::new();
    palette.write(&mut octets);
    octets
}

/// The code with this number.
pub(super) fn code(octets: [u8; 2]) -> Option<Code> {
    Code::from_number(u16::from_be_bytes(octets))
}

fn log_octets(store: &Store) -> u64 {
    store.log().and_then(|path| std::fs::metadata(path).ok()).map_or(0, |metadata| metadata.len())
}

#[cfg(test)]
mod tests {
    use tapir_wire::name::Name;

    use super::*;
    use crate::feeds::collect::collect_names;
    use crate::feeds::lists::Fit;
    use crate::feeds::locals::Meaning;

    /// The time of the last success decides when the copy ends, also after a restart, and also where nothing has changed for long.
    #[test]
    fn a_confirmation_outlives_a_restart_whether_there_were_changes_or_not() {
        for changes in [false, true] {
            let data = tempfile::tempdir().unwrap();
            let mut store = Store::open(data.path(), "f", String::new());
            let fit = Fit::new(&Name::parse("dnstapir").unwrap());
            let collected = collect_names(&["a.example".to_owned()], fit, &store.next_place()).unwrap();
            let at = |second: i64| Timestamp::from_second(1_795_219_200 + second).unwrap();
            let mut soa = Soa { serial: 1, refresh: 60, retry: 10, expire: 3600, minimum: 60 };
            let mut held = Held::of_whole(&collected, soa, at(0), (&mut store, true)).unwrap();
            if changes {
                let mut pending = held.begin();
                let read = (KeyBuf::from_text("b.example", 254).unwrap(), false, Meaning::Action(Code::LISTED));
                held.change(&mut pending, &read, true).unwrap();
                soa.serial = 2;
                held.commit(pending, soa, at(10), None, &mut store).unwrap();
            }
            held.confirm(at(3000), true, &mut store);
            held.confirm(at(3060), false, &mut store);
            assert_eq!(held.checked_at, at(3060));
            let mut store = Store::open(data.path(), "f", String::new());
            let held = Held::load(&mut store).unwrap();
            assert_eq!((held.serial, held.checked_at), (soa.serial, at(3000)));
            assert_eq!((held.copy.meta.entries, held.copy.table.nodes()), (u64::from(soa.serial), u64::from(soa.serial)));
        }
    }
}
