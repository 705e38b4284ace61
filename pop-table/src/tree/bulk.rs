//! A whole tree out of names in order.

use std::sync::Arc;

use super::leaf::{Builder, LEAF_MAX};
use super::{BRANCH_MAX, BranchRef, LeafRef, Tree};
use crate::cursor::{Cursor, ReadError};
use crate::key::KeyBuf;
use crate::value::Value;

/// Leaves are filled so far: the first names that come between do not split them.
const LEAF_FILL: usize = LEAF_MAX * 15 / 16;

/// Takes names in ascending order; many times as fast as inserting each.
#[derive(Debug)]
pub struct Bulk<V> {
    tree: Tree<V>,
    branches: Vec<BranchRef>,
    leaves: Vec<LeafRef>,
    leaf: Builder,
    last: KeyBuf,
}

impl<V: Value> Bulk<V> {
    /// Begins.
    #[must_use]
    pub fn new() -> Self {
        Self { tree: Tree::new(), branches: Vec::new(), leaves: Vec::new(), leaf: Builder::new(), last: KeyBuf::ROOT }
    }

    /// The next name; false, and nothing happens, unless it is behind the one before.
    pub fn push(&mut self, key: &KeyBuf, value: V) -> bool {
        if *key <= self.last {
            return false;
        }
        if self.leaf.octets.len() >= LEAF_FILL - 64 {
            self.end_leaf();
        }
        self.leaf.push(key, &value);
        self.last = *key;
        self.tree.length += 1;
        true
    }

    /// The tree.
    #[must_use]
    pub fn finish(mut self) -> Tree<V> {
        self.end_leaf();
        self.end_branch();
        self.branches.shrink_to_fit();
        self.tree.root = Arc::new(self.branches);
        self.tree
    }

    fn end_leaf(&mut self) {
        let Some(leaf) = self.leaf.take() else { return };
        if self.leaves.len() == BRANCH_MAX * 3 / 4 {
            self.end_branch();
        }
        self.tree.octets += leaf.octets.len();
        self.tree.leaves += 1;
        self.leaves.push(leaf);
    }

    fn end_branch(&mut self) {
        if !self.leaves.is_empty() {
            let mut leaves = std::mem::take(&mut self.leaves);
            leaves.shrink_to_fit();
            self.branches.push(BranchRef::new(leaves));
        }
    }
}

impl<V: Value> Default for Bulk<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V: Value> Tree<V> {
    /// Everything that the cursor has from its next name on.
    pub fn from_cursor<C: Cursor<Value = V>>(cursor: &mut C) -> Result<Self, ReadError> {
        let mut bulk = Bulk::new();
        while cursor.advance()? {
            bulk.push(cursor.key(), cursor.value());
        }
        Ok(bulk.finish())
    }
}
