//! What is served: a version of the zone that does not change any more.

use std::sync::Arc;

use tapir_table::{Codes, KeyBuf, Palette, ReadError, TableFile, TreeCursor, Value as _};

use super::layers::{Layers, ZoneCursor};
use super::serial::Serial;
use super::tally::Tally;
use crate::dns::history::Logged;
use crate::dns::render::Changed;
use crate::dns::zone::{Apex, Since, Zone};
use crate::state::zone_log::Past;

/// How much is in the zone, its own records apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Names. One that is answered for itself and for what is below it counts once.
    pub names: u64,
    /// Owners of records: names and wildcards.
    pub records: u64,
    /// The same by what they do.
    pub kinds: Tally,
}

impl Size {
    /// Of what stands in a file, with so many records of each kind.
    #[must_use]
    pub fn of(base: &TableFile, kinds: Tally) -> Self {
        Self { names: base.nodes(), records: base.records(), kinds }
    }

    /// After a name changed.
    pub fn change(&mut self, old: Codes, new: Codes) {
        let names = |codes: Codes| u64::from(!codes.is_absent());
        self.names = (self.names + names(new)).saturating_sub(names(old));
        self.records = (self.records + new.records()).saturating_sub(old.records());
        self.kinds.change(old, new);
    }
}

/// One published version. Readers hold an `Arc` of it and never see two versions mixed.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Its number.
    pub serial: Serial,
    /// Its own records.
    pub apex: Arc<Apex>,
    /// Local data that its codes refer to.
    pub palette: Arc<Palette>,
    /// How much is in it.
    pub size: Size,
    layers: Layers,
    past: Past,
}

impl Snapshot {
    /// A version; `past` knows what it is made of.
    #[must_use]
    pub fn new(serial: Serial, apex: Arc<Apex>, palette: Arc<Palette>, (layers, size): (Layers, Size), past: Past) -> Self {
        Self { serial, apex, palette, size, layers, past }
    }

    /// What stands in it for a name.
    ///
    /// # Errors
    /// When the disk does not give it.
    pub fn get(&self, key: &KeyBuf) -> Result<Codes, ReadError> {
        self.layers.get(key.as_bytes())
    }
}

impl Zone for Snapshot {
    type Cursor = ZoneCursor;
    type Changes = TreeCursor<Changed>;
    type Steps = Logged;

    fn apex(&self) -> Arc<Apex> {
        Arc::clone(&self.apex)
    }

    fn serial(&self) -> Serial {
        self.serial
    }

    fn len(&self) -> u64 {
        self.size.names
    }

    fn palette(&self) -> Arc<Palette> {
        Arc::clone(&self.palette)
    }

    fn find(&self, key: &KeyBuf) -> Result<Codes, ReadError> {
        self.get(key)
    }

    fn cursor(&self) -> Self::Cursor {
        self.layers.cursor()
    }

    fn since(&self, serial: Serial) -> Since<Logged> {
        if serial == self.serial {
            return Since::Current;
        }
        self.past.between(serial, self.serial).map_or(Since::Unknown, |history| {
            let steps = Logged::new(history, Arc::clone(&self.palette));
            let changes = steps.len();
            Since::Steps { steps, changes }
        })
    }
}
