//! Walking through names in order.

use std::io;

use crate::coding::Broken;
use crate::key::KeyBuf;
use crate::value::Value;

/// Why reading stopped.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The disk says no.
    #[error("reading a table")]
    Io(#[from] io::Error),
    /// A block's checksum is not that of its octets.
    #[error("the block at octet {0} of a table is damaged")]
    Damaged(u64),
    /// The checksum is right and the content cannot be.
    #[error(transparent)]
    Broken(#[from] Broken),
}

/// Stands on one name at a time, in ascending order. After an error, and before the first [`Cursor::advance`] or
/// [`Cursor::seek`], what it stands on has no meaning.
pub trait Cursor {
    /// What stands behind a key.
    type Value: Value;

    /// Goes on to the next name; false at the end, and from then on.
    fn advance(&mut self) -> Result<bool, ReadError>;

    /// Goes to the first name that is not before `key`; false when there is none. Backward too.
    fn seek(&mut self, key: &[u8]) -> Result<bool, ReadError>;

    /// The name.
    fn key(&self) -> &KeyBuf;

    /// How many octets it has in common with the name before (exactly); nothing after [`Cursor::seek`].
    fn shared(&self) -> usize;

    /// What stands behind it.
    fn value(&self) -> Self::Value;

    /// The same names with another value.
    fn mapped<W: Value, F: Fn(Self::Value) -> W>(self, map: F) -> Mapped<Self, F>
    where
        Self: Sized,
    {
        Mapped { cursor: self, map }
    }
}

impl<C: Cursor + ?Sized> Cursor for Box<C> {
    type Value = C::Value;

    fn advance(&mut self) -> Result<bool, ReadError> {
        (**self).advance()
    }

    fn seek(&mut self, key: &[u8]) -> Result<bool, ReadError> {
        (**self).seek(key)
    }

    fn key(&self) -> &KeyBuf {
        (**self).key()
    }

    fn shared(&self) -> usize {
        (**self).shared()
    }

    fn value(&self) -> Self::Value {
        (**self).value()
    }
}

/// Lent to a combination of cursors that does not last.
impl<C: Cursor + ?Sized> Cursor for &mut C {
    type Value = C::Value;

    fn advance(&mut self) -> Result<bool, ReadError> {
        (**self).advance()
    }

    fn seek(&mut self, key: &[u8]) -> Result<bool, ReadError> {
        (**self).seek(key)
    }

    fn key(&self) -> &KeyBuf {
        (**self).key()
    }

    fn shared(&self) -> usize {
        (**self).shared()
    }

    fn value(&self) -> C::Value {
        (**self).value()
    }
}

/// See [`Cursor::mapped`].
#[derive(Debug)]
pub struct Mapped<C, F> {
    cursor: C,
    map: F,
}

impl<C: Cursor, W: Value, F: Fn(C::Value) -> W> Cursor for Mapped<C, F> {
    type Value = W;

    #[inline]
    fn advance(&mut self) -> Result<bool, ReadError> {
        self.cursor.advance()
    }

    fn seek(&mut self, key: &[u8]) -> Result<bool, ReadError> {
        self.cursor.seek(key)
    }

    #[inline]
    fn key(&self) -> &KeyBuf {
        self.cursor.key()
    }

    #[inline]
    fn shared(&self) -> usize {
        self.cursor.shared()
    }

    #[inline]
    fn value(&self) -> W {
        (self.map)(self.cursor.value())
    }
}

/// Names that stand in memory anyway, in ascending order: small lists, and tests.
#[derive(Clone, Debug)]
pub struct Listed<V> {
    names: Vec<(KeyBuf, V)>,
    /// Index of what comes next.
    next: usize,
    shared: usize,
    key: KeyBuf,
}

impl<V: Value> Listed<V> {
    /// These names; `None` unless they are in ascending order.
    #[must_use]
    pub fn new(names: Vec<(KeyBuf, V)>) -> Option<Self> {
        names.is_sorted_by(|(one, _), (other, _)| one < other).then_some(Self { names, next: 0, shared: 0, key: KeyBuf::ROOT })
    }

    fn stand(&mut self, index: usize) -> bool {
        self.next = index.saturating_add(1).min(self.names.len() + 1);
        let Some((key, _)) = self.names.get(index) else { return false };
        self.shared = crate::key::common_prefix(self.key.as_bytes(), key.as_bytes());
        self.key = *key;
        true
    }
}

impl<V: Value> Cursor for Listed<V> {
    type Value = V;

    fn advance(&mut self) -> Result<bool, ReadError> {
        Ok(self.stand(self.next))
    }

    fn seek(&mut self, key: &[u8]) -> Result<bool, ReadError> {
        self.key = KeyBuf::ROOT;
        Ok(self.stand(self.names.partition_point(|(name, _)| name.as_bytes() < key)))
    }

    fn key(&self) -> &KeyBuf {
        &self.key
    }

    fn shared(&self) -> usize {
        self.shared
    }

    fn value(&self) -> V {
        self.names.get(self.next.wrapping_sub(1)).map(|(_, value)| *value).unwrap_or_default()
    }
}
