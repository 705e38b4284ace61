//! Names in memory that change, with snapshots that do not.
//!
//! A root of branches of leaves; a leaf is up to 2 KiB of entries as they stand in files, each with its value. A change copies one
//! leaf and, if a snapshot still holds them, its branch and the root. So a clone costs one reference count, and a name its entry
//! and little else.
//!
//! Each leaf and branch keeps when the first of its values ends: what is due is found without a queue beside the tree.
//!
//! Limitations: two levels, so the root has an entry for every 5 000 names; meant for millions, not for hundreds of them.

mod bulk;
mod cursor;
mod due;
mod edit;
mod leaf;
mod look;

use std::fmt::{self, Debug};
use std::marker::PhantomData;
use std::sync::Arc;

pub use bulk::Bulk;
pub use cursor::TreeCursor;

use crate::codes::Codes;
use crate::value::Value;

/// Leaves of a branch at most.
const BRANCH_MAX: usize = 128;

/// Names with values, in order. A clone is a snapshot: it stays as it is whatever happens to the other.
pub struct Tree<V = Codes> {
    root: Arc<Vec<BranchRef>>,
    length: usize,
    /// Octets of all leaves.
    octets: usize,
    leaves: usize,
    /// Where leaves are put together.
    scratch: Vec<u8>,
    values: PhantomData<V>,
}

#[derive(Clone, Debug)]
struct BranchRef {
    branch: Arc<Branch>,
    /// Those of its first leaf.
    prefix: Prefix,
    earliest: u32,
}

#[derive(Clone, Debug)]
struct Branch {
    leaves: Vec<LeafRef>,
}

#[derive(Clone, Debug)]
struct LeafRef {
    octets: Arc<[u8]>,
    /// How its first key begins.
    prefix: Prefix,
    /// When the first of its values ends.
    earliest: u32,
}

/// The first octets of a key, zero behind a shorter one: most searches end without a look into the leaves, which are all over the
/// memory.
type Prefix = (u64, u64);

/// Counters in front of the octets of an `Arc<[u8]>`.
const ARC_COUNTERS: usize = 16;

impl<V: Value> Tree<V> {
    /// Nothing in it.
    #[must_use]
    pub fn new() -> Self {
        Self { root: Arc::default(), length: 0, octets: 0, leaves: 0, scratch: Vec::new(), values: PhantomData }
    }

    /// Names in it.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Octets of memory that it takes, apart from what the allocator adds.
    #[must_use]
    pub fn octets(&self) -> usize {
        let branches = self.root.len() * (size_of::<BranchRef>() + size_of::<Branch>() + ARC_COUNTERS);
        self.octets + self.leaves * (ARC_COUNTERS + size_of::<LeafRef>()) + branches
    }

    /// Walks through it as it is now, from the beginning.
    #[must_use]
    pub fn cursor(&self) -> TreeCursor<V> {
        TreeCursor::new(Arc::clone(&self.root))
    }
}

impl BranchRef {
    fn new(leaves: Vec<LeafRef>) -> Self {
        let mut reference = Self { branch: Arc::new(Branch { leaves }), prefix: (0, 0), earliest: 0 };
        reference.summarize();
        reference
    }

    /// Brings what it says of its leaves up to date.
    fn summarize(&mut self) {
        let leaves = &self.branch.leaves;
        self.earliest = leaves.iter().map(|leaf| leaf.earliest).min().unwrap_or(u32::MAX);
        self.prefix = leaves.first().map_or((0, 0), |leaf| leaf.prefix);
    }

    fn first_key(&self) -> &[u8] {
        self.branch.leaves.first().map_or(&[], |leaf| leaf.first_key())
    }
}

fn prefix(key: &[u8]) -> Prefix {
    let mut first = [0; 16];
    for (to, from) in first.iter_mut().zip(key) {
        *to = *from;
    }
    let both = u128::from_be_bytes(first);
    #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
    {
        ((both >> 64) as u64, both as u64)
    }
}

impl<V: Value> Default for Tree<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V> Clone for Tree<V> {
    fn clone(&self) -> Self {
        Self { root: Arc::clone(&self.root), scratch: Vec::new(), values: PhantomData, ..*self }
    }
}

impl<V> Debug for Tree<V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Tree").field("length", &self.length).field("leaves", &self.leaves).finish_non_exhaustive()
    }
}
