//! A tree from one end to the other.

use std::sync::Arc;

use super::BranchRef;
use super::look::place;
use crate::codes::Codes;
use crate::coding::{self, Broken};
use crate::cursor::{Cursor, ReadError};
use crate::key::{KeyBuf, common_prefix};
use crate::value::Value;

/// Walks through a tree as it was when the cursor was made.
#[derive(Clone, Debug)]
pub struct TreeCursor<V = Codes> {
    root: Arc<Vec<BranchRef>>,
    /// The leaf that comes after this one.
    next: (usize, usize),
    leaf: Arc<[u8]>,
    at: usize,
    key: KeyBuf,
    shared: usize,
    value: Option<V>,
}

impl<V: Value> TreeCursor<V> {
    pub(super) fn new(root: Arc<Vec<BranchRef>>) -> Self {
        Self { root, next: (0, 0), leaf: Arc::default(), at: 0, key: KeyBuf::ROOT, shared: 0, value: None }
    }

    /// Goes to the beginning of the next leaf; false at the end.
    fn enter_leaf(&mut self) -> bool {
        let (branch, leaf) = self.next;
        let Some(reference) = self.root.get(branch) else {
            (self.leaf, self.at) = (Arc::default(), 0);
            return false;
        };
        let leaves = &reference.branch.leaves;
        // No branch is empty.
        let Some(found) = leaves.get(leaf) else { return false };
        self.leaf = Arc::clone(&found.octets);
        self.at = 0;
        self.next = if leaf + 1 < leaves.len() { (branch, leaf + 1) } else { (branch + 1, 0) };
        true
    }

    #[inline]
    fn next_entry(&mut self) -> Result<(), Broken> {
        let (next, shared, value) = coding::step(&self.leaf, self.at, None, &mut self.key)?;
        (self.at, self.shared, self.value) = (next, shared, Some(value));
        Ok(())
    }
}

impl<V: Value> Cursor for TreeCursor<V> {
    type Value = V;

    #[inline]
    fn advance(&mut self) -> Result<bool, ReadError> {
        if self.at < self.leaf.len() {
            self.next_entry()?;
            return Ok(true);
        }
        if !self.enter_leaf() {
            return Ok(false);
        }
        let before = std::mem::replace(&mut self.key, KeyBuf::ROOT);
        self.next_entry()?;
        self.shared = common_prefix(before.as_bytes(), self.key.as_bytes());
        Ok(true)
    }

    fn seek(&mut self, key: &[u8]) -> Result<bool, ReadError> {
        (self.next, self.leaf, self.at, self.key) = (place(&self.root, key), Arc::default(), 0, KeyBuf::ROOT);
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
        self.value.unwrap_or_default()
    }
}
