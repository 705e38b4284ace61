//! Changes laid over something.

use crate::cursor::{Cursor, ReadError};
use crate::key::KeyBuf;
use crate::pair::Pair;
use crate::value::Value;

/// A cursor over `base` as `changes` make it: what stands in both is as the changes say, what is absent there is gone.
#[derive(Debug)]
pub struct Overlay<A: Cursor, B> {
    pair: Pair<A, B>,
    shared: usize,
    value: A::Value,
    keeps_absent: bool,
}

impl<A: Cursor, B: Cursor<Value = A::Value>> Overlay<A, B> {
    /// What results from both.
    pub fn new(base: A, changes: B) -> Self {
        Self { pair: Pair::new(base, changes), shared: 0, value: A::Value::default(), keeps_absent: false }
    }

    /// Both as one set of changes to something else: what is absent is said.
    pub fn of_changes(older: A, newer: B) -> Self {
        Self { keeps_absent: true, ..Self::new(older, newer) }
    }

    /// Whether the name that the pair stands on is one.
    #[inline(always)]
    fn take(&mut self) -> bool {
        if self.pair.is_one() {
            self.value = self.pair.value_of_one();
            return self.keeps_absent || !self.value.is_absent();
        }
        self.take_change()
    }

    #[inline(never)]
    fn take_change(&mut self) -> bool {
        let (base, change) = self.pair.values();
        self.value = change.or(base).unwrap_or_default();
        self.keeps_absent || !self.value.is_absent()
    }
}

impl<A: Cursor, B: Cursor<Value = A::Value>> Cursor for Overlay<A, B> {
    type Value = A::Value;

    #[inline(always)]
    fn advance(&mut self) -> Result<bool, ReadError> {
        let mut shared = usize::MAX;
        while self.pair.advance()? {
            shared = shared.min(self.pair.shared());
            if self.take() {
                self.shared = shared;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn seek(&mut self, key: &[u8]) -> Result<bool, ReadError> {
        if !self.pair.seek(key)? {
            return Ok(false);
        }
        let found = self.take() || self.advance()?;
        self.shared = 0;
        Ok(found)
    }

    #[inline]
    fn key(&self) -> &KeyBuf {
        self.pair.key()
    }

    #[inline]
    fn shared(&self) -> usize {
        self.shared
    }

    #[inline]
    fn value(&self) -> A::Value {
        self.value
    }
}
