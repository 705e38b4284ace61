//! What changed.

use crate::cursor::{Cursor, ReadError};
use crate::key::KeyBuf;
use crate::pair::Pair;

/// A name that is not as it was. What is not there has the default value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<V> {
    /// Before.
    pub old: V,
    /// Now.
    pub new: V,
}

/// Goes through the names in which two cursors differ.
#[derive(Debug)]
pub struct Diff<A: Cursor, B> {
    pair: Pair<A, B>,
    change: Change<A::Value>,
}

impl<A: Cursor, B: Cursor<Value = A::Value>> Diff<A, B> {
    /// From `old` to `new`.
    pub fn new(old: A, new: B) -> Self {
        Self { pair: Pair::new(old, new), change: Change { old: A::Value::default(), new: A::Value::default() } }
    }

    /// Goes on to the next difference; false at the end.
    pub fn advance(&mut self) -> Result<bool, ReadError> {
        while self.pair.advance()? {
            let (old, new) = self.pair.values();
            self.change = Change { old: old.unwrap_or_default(), new: new.unwrap_or_default() };
            if self.change.old != self.change.new {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Goes on to the next name, whether it differs or not: for a caller that writes the new one down in the same pass.
    pub fn step(&mut self) -> Result<bool, ReadError> {
        let more = self.pair.advance()?;
        let (old, new) = self.pair.values();
        self.change = Change { old: old.unwrap_or_default(), new: new.unwrap_or_default() };
        Ok(more)
    }

    /// The name.
    pub fn key(&self) -> &KeyBuf {
        self.pair.key()
    }

    /// What it was and is.
    pub const fn change(&self) -> Change<A::Value> {
        self.change
    }
}
