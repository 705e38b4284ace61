//! A table from one end to the other.

use std::fmt::{self, Debug};
use std::sync::Arc;

use super::open::Inner;
use super::{BLOCK_LEAST, BLOCK_MAX, BlockHead, HEAD, checked};
use crate::codes::Codes;
use crate::coding::{self, Broken};
use crate::cursor::{Cursor, ReadError};
use crate::key::{KeyBuf, common_prefix};
use crate::value::Value;

/// Octets that are read at once: large enough that the call does not count, small enough to stay in the first cache, and what
/// each of many readers holds.
const WINDOW: usize = 32 << 10;
/// The same after a search, which often ends with the block that it finds. Any block fits.
const FIRST_WINDOW: usize = BLOCK_MAX;
/// Pages behind the scan are given back in pieces of this size.
const FORGET_EVERY: u64 = 1 << 20;

/// Walks through a table, block by block. Holds the table open and 32 KiB.
pub struct Scan<V = Codes> {
    table: Arc<Inner>,
    window: Box<[u8]>,
    /// Octets of the window that were read, and where they stand in the file.
    filled: usize,
    window_at: u64,
    /// Octets that are read next time.
    ahead: usize,
    /// In the window: the next entry, the end of the entries of this block, the next block.
    at: usize,
    end: usize,
    next_block: usize,
    default: Option<V>,
    key: KeyBuf,
    shared: usize,
    value: V,
    /// Pages before this place were given back, if they are to be.
    forgotten: Option<u64>,
}

impl<V: Value> Scan<V> {
    pub(super) fn new(table: Arc<Inner>) -> Self {
        Self {
            table,
            window: vec![0; WINDOW].into(),
            filled: 0,
            window_at: HEAD.len() as u64,
            ahead: WINDOW,
            at: 0,
            end: 0,
            next_block: 0,
            default: None,
            key: KeyBuf::ROOT,
            shared: 0,
            value: V::default(),
            forgotten: None,
        }
    }

    /// Lets the kernel drop its copy of what was passed: for large tables that are read once.
    #[must_use]
    pub fn forgetting(mut self) -> Self {
        self.forgotten = Some(0);
        self
    }

    /// Goes to the beginning of the next block; false at the end.
    fn enter_block(&mut self) -> Result<bool, ReadError> {
        let end = self.table.index.end();
        let place = self.window_at + self.next_block as u64;
        if place >= end {
            (self.at, self.end) = (0, 0);
            return Ok(false);
        }
        let length = |scan: &Self| {
            let head = scan.window.get(scan.next_block..scan.filled)?.first_chunk()?;
            Some(usize::from(u16::from_be_bytes(*head)))
        };
        let whole = |length: &usize| self.next_block + length <= self.filled;
        let length = match length(self).filter(whole) {
            Some(length) => length,
            None => {
                self.fill(place, end)?;
                length(self).filter(|length| *length <= self.filled).ok_or(ReadError::Damaged(place))?
            }
        };
        if !(BLOCK_LEAST..=BLOCK_MAX).contains(&length) {
            return Err(ReadError::Damaged(place));
        }
        let block = self.window.get(self.next_block..self.next_block + length).ok_or(Broken)?;
        let content = checked(block).ok_or(ReadError::Damaged(place))?;
        let head = BlockHead::<V>::read(content)?;
        let entries = head.each_ancestor(content, |_, _| {})?;
        self.default = head.default;
        self.at = self.next_block + entries;
        self.end = self.next_block + content.len();
        self.next_block += length;
        Ok(true)
    }

    /// Reads on from this place in the file, which becomes the beginning of the window.
    fn fill(&mut self, place: u64, end: u64) -> Result<(), ReadError> {
        self.window_at = place;
        (self.next_block, self.filled) = (0, 0);
        let length = usize::try_from(end - place).unwrap_or(usize::MAX).min(std::mem::replace(&mut self.ahead, WINDOW));
        let to = self.window.get_mut(..length).ok_or(Broken)?;
        self.table.backing.read_exact_at(to, place)?;
        self.filled = length;
        if let Some(from) = self.forgotten.filter(|from| *from + FORGET_EVERY <= place) {
            self.table.backing.forget(from, place - from);
            self.forgotten = Some(place);
        }
        Ok(())
    }

    /// The first entry of the block, whose key is whole.
    #[cold]
    fn first_of_block(&mut self) -> Result<bool, ReadError> {
        if !self.enter_block()? {
            return Ok(false);
        }
        let before = self.key;
        self.key = KeyBuf::ROOT;
        self.next_entry()?;
        let (before, key) = (before.as_bytes(), self.key.as_bytes());
        self.shared = common_prefix(before, key);
        if before.get(self.shared) >= key.get(self.shared) {
            return Err(Broken.into());
        }
        Ok(true)
    }

    #[inline(always)]
    fn next_entry(&mut self) -> Result<(), ReadError> {
        let (next, shared, value) = coding::step(&self.window, self.at, self.default, &mut self.key)?;
        if next > self.end {
            return Err(Broken.into());
        }
        (self.at, self.shared, self.value) = (next, shared, value);
        Ok(())
    }
}

impl<V: Value> Cursor for Scan<V> {
    type Value = V;

    #[inline(always)]
    fn advance(&mut self) -> Result<bool, ReadError> {
        if self.at < self.end {
            self.next_entry()?;
            return Ok(true);
        }
        self.first_of_block()
    }

    fn seek(&mut self, key: &[u8]) -> Result<bool, ReadError> {
        let block = self.table.index.find(key).unwrap_or(0);
        let place = self.table.index.place(block).map_or(self.table.index.end(), |(start, _)| start);
        self.ahead = FIRST_WINDOW;
        match place.checked_sub(self.window_at).and_then(|ahead| usize::try_from(ahead).ok()) {
            Some(ahead) if ahead < self.filled => self.next_block = ahead,
            _ => (self.window_at, self.filled, self.next_block) = (place, 0, 0),
        }
        (self.at, self.end, self.key) = (0, 0, KeyBuf::ROOT);
        while self.advance()? {
            if self.key.as_bytes() >= key {
                self.shared = 0;
                return Ok(true);
            }
        }
        Ok(false)
    }

    #[inline]
    fn key(&self) -> &KeyBuf {
        &self.key
    }

    #[inline]
    fn shared(&self) -> usize {
        self.shared
    }

    #[inline]
    fn value(&self) -> V {
        self.value
    }
}

impl<V: Debug> Debug for Scan<V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Scan").field("key", &self.key).field("value", &self.value).finish_non_exhaustive()
    }
}
