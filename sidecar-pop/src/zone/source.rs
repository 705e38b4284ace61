//! Sources in the forms in which they are kept.

use std::fmt::{self, Debug};
use std::sync::Arc;

use tapir_table::{Codes, Cursor, Overlay, ReadError, TableFile, Trail, Tree, Value};

use super::judge::{Source, SourceCursor};
use super::known::Known;
use crate::knowledge::Sighting;

/// What an entry means.
pub type Meaning<V> = Arc<dyn Fn(V) -> Known + Send + Sync>;

/// A table with what changed since, or one of the two.
#[derive(Clone)]
pub struct Kept<V> {
    /// As it was loaded.
    pub table: Option<Arc<TableFile<V>>>,
    /// Changes since; what is absent there is gone.
    pub changes: Tree<V>,
    /// What an entry means.
    pub known: Meaning<V>,
}

impl<V: Value> Kept<V> {
    /// Nothing.
    #[must_use]
    pub fn nothing(known: Meaning<V>) -> Self {
        Self { table: None, changes: Tree::new(), known }
    }
}

impl<V> Debug for Kept<V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Kept")
            .field("table", &self.table.is_some())
            .field("changes", &self.changes)
            .finish_non_exhaustive()
    }
}

impl<V: Value + Send + 'static> Source for Kept<V> {
    type Value = Known;

    fn path(&self, key: &[u8], to: &mut Vec<(usize, Known)>) -> Result<(), ReadError> {
        let mut trail = Trail::new();
        if let Some(table) = &self.table {
            table.get(key, &mut trail)?;
        }
        if !self.changes.is_empty() {
            let mut changes = Trail::new();
            self.changes.get_with_trail(key, &mut changes);
            trail.lay_over(&changes);
        }
        to.extend(trail.iter().map(|(length, value)| (length, (self.known)(value))));
        Ok(())
    }

    fn cursor(&self) -> SourceCursor<Known> {
        let (changes, known) = (self.changes.cursor(), Arc::clone(&self.known));
        let known = move |value| known(value);
        match &self.table {
            Some(table) if self.changes.is_empty() => Box::new(table.scan().mapped(known)),
            Some(table) => Box::new(Overlay::new(table.scan(), changes).mapped(known)),
            None => Box::new(changes.mapped(known)),
        }
    }
}

/// A source of either kind.
#[derive(Clone, Debug)]
pub enum AnySource {
    /// Names, or records of somebody's policy zone.
    List(Kept<Codes>),
    /// Observations.
    Core(Kept<Sighting>),
}

impl AnySource {
    /// A source that has told nothing so far.
    #[must_use]
    pub fn nothing() -> Self {
        Self::List(Kept::nothing(Arc::new(Known::Listed)))
    }

    /// Live observations.
    #[must_use]
    pub fn observed(live: &Tree<Sighting>) -> Self {
        let known: Meaning<Sighting> = Arc::new(|sighting| Known::Observed(sighting.tags));
        Self::Core(Kept { table: None, changes: live.clone(), known })
    }

    /// Names in it, unless changes have come since it was read.
    #[must_use]
    pub fn names(&self) -> u64 {
        let count = |changes: usize| u64::try_from(changes).unwrap_or(u64::MAX);
        match self {
            Self::List(kept) => kept.table.as_ref().map_or(0, |table| table.nodes()) + count(kept.changes.len()),
            Self::Core(kept) => count(kept.changes.len()),
        }
    }
}

impl Source for AnySource {
    type Value = Known;

    fn path(&self, key: &[u8], to: &mut Vec<(usize, Known)>) -> Result<(), ReadError> {
        match self {
            Self::List(kept) => kept.path(key, to),
            Self::Core(kept) => kept.path(key, to),
        }
    }

    fn cursor(&self) -> SourceCursor<Known> {
        match self {
            Self::List(kept) => kept.cursor(),
            Self::Core(kept) => kept.cursor(),
        }
    }
}
