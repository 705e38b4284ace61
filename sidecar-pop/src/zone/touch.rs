//! What little has to change in the zone when sources say something else of a few names.
//!
//! A name is decided anew with one lookup in each source. What it says below itself may have changed too: then everything below it
//! is emitted again and compared. Under a wildcard, whether a name stands in the zone depends on what stands below it: so the names
//! above are looked at, from the nearest up to the first that stays as it is. Whether something stands below is asked of the zone
//! itself, which between two touches is as if it had just been emitted.

use std::cell::Cell;
use std::fmt::{self, Debug};

use tapir_table::{Change, Codes, Cursor, Diff, KeyBuf, Merge, Overlay, ReadError, Scan, Trail, Tree, TreeCursor, Value};

use super::emit::Emit;
use super::judge::{Judge, Source, SourceCursor, is_within, published};
use super::layers::{Layers, Within};
use super::path::{Path, Step};

/// A name of which a source says something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touched {
    /// The name.
    pub key: KeyBuf,
    /// Whether what the source said or says of it holds below it too, as [`Judge::reaches`] tells.
    pub reaches: bool,
}

/// Why the zone was not changed.
#[derive(Debug, thiserror::Error)]
pub enum TouchError {
    /// To emit everything anew costs less.
    #[error("more names have to be decided again than a change in place is worth; the zone is to be rebuilt")]
    TooMany,
    /// A source or the zone cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Changes a zone in place. What it was given stays as it is until [`Touch::finish`] gives the new one.
#[derive(Debug)]
pub struct Touch<'a, J: Judge, S> {
    judge: &'a J,
    /// As they are now.
    sources: &'a [S],
    room: usize,
    layers: Layers,
    /// What was published of every name that was changed.
    before: Tree<Codes>,
    /// Names that may still be read.
    budget: Cell<usize>,
    /// Made when first needed.
    walks: Option<Walks<J::Value>>,
}

/// Cursors that are kept for all names.
struct Walks<V: Value> {
    names: Merge<SourceCursor<V>>,
    base: Scan,
    frozen: TreeCursor,
}

impl<V: Value> Debug for Walks<V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Walks").finish_non_exhaustive()
    }
}

/// A zone that was changed.
#[derive(Debug)]
pub struct Changed {
    /// As it is now.
    pub layers: Layers,
    /// What was published before, of every name that was changed, some of which may be as they were. Each is a few octets.
    pub before: Tree<Codes>,
}

impl<'a, J: Judge, S: Source<Value = J::Value>> Touch<'a, J, S> {
    /// `budget` is the number of names that may be read before it is too many.
    #[must_use]
    pub fn new(judge: &'a J, sources: &'a [S], room: usize, layers: &Layers, budget: usize) -> Self {
        let layers = layers.clone();
        Self { judge, sources, room, layers, before: Tree::new(), budget: Cell::new(budget), walks: None }
    }

    /// Decides names anew, in ascending order.
    pub fn touch(&mut self, touched: impl IntoIterator<Item = Touched>) -> Result<(), TouchError> {
        let mut done: Option<KeyBuf> = None;
        for Touched { key, reaches } in touched {
            if done.is_some_and(|done| is_within(&key, &done)) {
                continue;
            }
            self.spend()?;
            let path = Path::of(self.judge, self.sources, &key)?;
            let changed = if reaches {
                done = Some(key);
                self.region(&key, path.frames)?
            } else {
                self.name(&key, path.steps.last())?
            };
            if changed {
                self.above(&key, &path.steps)?;
            }
        }
        Ok(())
    }

    /// The new zone, and what changed.
    #[must_use]
    pub fn finish(self) -> Changed {
        Changed { layers: self.layers, before: self.before }
    }

    /// Decides the name alone; whether it changed.
    fn name(&mut self, key: &KeyBuf, step: Option<&Step>) -> Result<bool, TouchError> {
        let Some(step) = step else { return Ok(false) };
        let under = self.under(key)?;
        let old = self.layers.fresh.get(key.as_bytes()).unwrap_or(under);
        let mut new = published(key, self.room, step.around, step.wanted, false);
        // What is not in the zone under a wildcard has nothing below it there either.
        if new == Codes::SILENT && !step.around.is_silent() && old != Codes::SILENT && self.holds(key)? {
            new = published(key, self.room, step.around, step.wanted, true);
        }
        Ok(self.set(key, old, new, under))
    }

    /// Emits the name and everything below it anew; whether anything changed.
    fn region(&mut self, key: &KeyBuf, frames: Vec<super::emit::Frame<J::Inherited>>) -> Result<bool, TouchError> {
        let mut changes = Tree::<Codes>::new();
        let walks = walks(&mut self.walks, self.sources, &self.layers);
        let zone = Overlay::new(Overlay::new(&mut walks.base, &mut walks.frozen), self.layers.fresh.cursor());
        let emitted = Emit::new(self.judge, &mut walks.names, self.room).within(key, frames, &self.budget)?;
        let mut diff = Diff::new(Within::new(zone, key), emitted);
        while diff.step()? {
            let Some(left) = self.budget.get().checked_sub(1) else { return Err(TouchError::TooMany) };
            self.budget.set(left);
            let Change { old, new } = diff.change();
            if old != new {
                changes.insert(diff.key(), new);
            }
        }
        drop(diff);
        // The emitter ends when there is nothing left of it, with less than the truth.
        if self.budget.get() == 0 {
            return Err(TouchError::TooMany);
        }
        let mut cursor = changes.cursor();
        while cursor.advance()? {
            let key = cursor.key();
            let under = self.under(key)?;
            let old = self.layers.fresh.get(key.as_bytes()).unwrap_or(under);
            self.set(key, old, cursor.value(), under);
        }
        Ok(!changes.is_empty())
    }

    /// Brings the names between `key`, which changed, and the wildcard over it up to date.
    fn above(&mut self, key: &KeyBuf, steps: &[Step]) -> Result<(), TouchError> {
        let mut below = *key;
        for step in steps.iter().rev().skip(1).take_while(|step| !step.around.is_silent()) {
            self.spend()?;
            let key = key.truncated(step.length);
            let holds = self.layers.get(below.as_bytes())? != Codes::SILENT || self.holds(&key)?;
            let new = published(&key, self.room, step.around, step.wanted, holds);
            let under = self.under(&key)?;
            let old = self.layers.fresh.get(key.as_bytes()).unwrap_or(under);
            if !self.set(&key, old, new, under) {
                break;
            }
            below = key;
        }
        Ok(())
    }

    /// Whether something below a name stands in the zone.
    fn holds(&mut self, key: &KeyBuf) -> Result<bool, ReadError> {
        let walks = walks(&mut self.walks, self.sources, &self.layers);
        let mut zone = Overlay::new(Overlay::new(&mut walks.base, &mut walks.frozen), self.layers.fresh.cursor());
        let mut found = zone.seek(key.as_bytes())?;
        if found && zone.key() == key {
            found = zone.advance()?;
        }
        Ok(found && is_within(zone.key(), key))
    }

    fn under(&self, key: &KeyBuf) -> Result<Codes, ReadError> {
        self.layers.under(key.as_bytes(), &mut Trail::new())
    }

    fn set(&mut self, key: &KeyBuf, old: Codes, new: Codes, under: Codes) -> bool {
        if old == new {
            return false;
        }
        if self.before.get(key.as_bytes()).is_none() {
            self.before.insert(key, old);
        }
        self.layers.set(key, new, under);
        true
    }

    fn spend(&self) -> Result<(), TouchError> {
        let left = self.budget.get().checked_sub(1).ok_or(TouchError::TooMany)?;
        self.budget.set(left);
        Ok(())
    }
}

fn walks<'w, S: Source>(walks: &'w mut Option<Walks<S::Value>>, sources: &[S], layers: &Layers) -> &'w mut Walks<S::Value> {
    walks.get_or_insert_with(|| Walks {
        names: Merge::new(sources.iter().map(Source::cursor).collect()),
        base: layers.base.scan(),
        frozen: layers.frozen.cursor(),
    })
}

impl Changed {
    /// Calls `each` with every name that is not as it was, in ascending order.
    pub fn each(&self, mut each: impl FnMut(&KeyBuf, Change<Codes>)) -> Result<(), ReadError> {
        let mut before = self.before.cursor();
        while before.advance()? {
            let change = Change { old: before.value(), new: self.layers.get(before.key().as_bytes())? };
            if change.old != change.new {
                each(before.key(), change);
            }
        }
        Ok(())
    }
}
