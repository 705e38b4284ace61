//! What is published, in layers: a file, and two sets of changes in memory.
//!
//! While a builder writes file and older changes into a new file, newer changes go into a set of their own. A clone of all this
//! costs three reference counts and stays as it is.

use std::sync::Arc;

use tapir_table::{Codes, Cursor, KeyBuf, Overlay, ReadError, Scan, TableFile, Trail, Tree, TreeCursor};

/// A zone without its serial. What is silent in changes is gone.
#[derive(Clone, Debug)]
pub struct Layers {
    /// What was written last.
    pub base: Arc<TableFile>,
    /// Changes that are being written.
    pub frozen: Tree<Codes>,
    /// Changes since.
    pub fresh: Tree<Codes>,
}

/// Walks through the zone.
pub type ZoneCursor = Overlay<Overlay<Scan, TreeCursor>, TreeCursor>;

impl Layers {
    /// What stands in a file, unchanged.
    #[must_use]
    pub fn new(base: Arc<TableFile>) -> Self {
        Self { base, frozen: Tree::new(), fresh: Tree::new() }
    }

    /// What stands for a name.
    pub fn get(&self, key: &[u8]) -> Result<Codes, ReadError> {
        match self.fresh.get(key) {
            Some(codes) => Ok(codes),
            None => self.under(key, &mut Trail::new()),
        }
    }

    /// The same, newer changes apart.
    pub(super) fn under(&self, key: &[u8], trail: &mut Trail) -> Result<Codes, ReadError> {
        match self.frozen.get(key) {
            Some(codes) => Ok(codes),
            None => Ok(self.base.get(key, trail)?.unwrap_or_default()),
        }
    }

    /// Says something else of a name from now on; `under` is what [`Layers::under`] says.
    pub(super) fn set(&mut self, key: &KeyBuf, codes: Codes, under: Codes) {
        if codes == under {
            self.fresh.remove(key.as_bytes());
        } else {
            self.fresh.insert(key, codes);
        }
    }

    /// All of it, in order.
    #[must_use]
    pub fn cursor(&self) -> ZoneCursor {
        Overlay::new(Overlay::new(self.base.scan(), self.frozen.cursor()), self.fresh.cursor())
    }

    /// Changes in memory.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.frozen.len() + self.fresh.len()
    }

    /// Puts all changes into the older set, to be written with the file; both sets were proportional to what changed, and so is
    /// this. From now on changes are newer ones.
    pub fn freeze(&mut self) -> Result<(), ReadError> {
        let mut changes = Overlay::of_changes(self.frozen.cursor(), self.fresh.cursor());
        self.frozen = Tree::from_cursor(&mut changes)?;
        self.fresh = Tree::new();
        Ok(())
    }

    /// Goes over to a file that holds what base and older changes said.
    pub fn rebase(&mut self, base: Arc<TableFile>) {
        self.base = base;
        self.frozen = Tree::new();
    }
}

/// Only a name and what is below it.
#[derive(Debug)]
pub(super) struct Within<C> {
    cursor: C,
    above: KeyBuf,
    started: bool,
}

impl<C: Cursor> Within<C> {
    pub(super) fn new(cursor: C, above: &KeyBuf) -> Self {
        Self { cursor, above: *above, started: false }
    }

    fn is_within(&self) -> bool {
        super::judge::is_within(self.cursor.key(), &self.above)
    }
}

impl<C: Cursor> Cursor for Within<C> {
    type Value = C::Value;

    fn advance(&mut self) -> Result<bool, ReadError> {
        let found = if self.started { self.cursor.advance()? } else { self.cursor.seek(self.above.as_bytes())? };
        self.started = true;
        Ok(found && self.is_within())
    }

    fn seek(&mut self, key: &[u8]) -> Result<bool, ReadError> {
        self.started = true;
        Ok(self.cursor.seek(self.above.as_bytes().max(key))? && self.is_within())
    }

    fn key(&self) -> &KeyBuf {
        self.cursor.key()
    }

    fn shared(&self) -> usize {
        self.cursor.shared()
    }

    fn value(&self) -> C::Value {
        self.cursor.value()
    }
}
