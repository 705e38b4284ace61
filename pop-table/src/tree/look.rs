//! One name in a tree, and everything above it.

use std::cmp::Ordering;

use super::{BranchRef, LeafRef, Tree, prefix};
use crate::key::common_prefix;
use crate::trail::Trail;
use crate::value::Value;

impl<V: Value> Tree<V> {
    /// The value of a name.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<V> {
        let (branch, leaf) = self.place(key);
        // What stands in a leaf was written by this module: broken entries cannot be, and are nothing.
        self.leaf(branch, leaf)?.find(key, None).ok()?.found
    }

    /// The same, and in `trail` (which loses what it held) the values of the listed ancestors and of the name.
    pub fn get_with_trail(&self, key: &[u8], trail: &mut Trail<V>) -> Option<V> {
        trail.clear();
        let mut found = None;
        let mut target = key;
        // A leaf tells about all ancestors that are not before its first name. Those are ancestors of that first name too.
        loop {
            let (branch, index) = self.place(target);
            let Some(leaf) = self.leaf(branch, index) else { break };
            let value = leaf.find(target, Some(trail)).ok().and_then(|place| place.found);
            if target.len() == key.len() {
                found = value;
            }
            let first = leaf.first_key();
            let common = common_prefix(first, target);
            let above = borders(target).take_while(|border| *border <= common && *border < first.len()).last();
            match above.and_then(|border| target.get(..border)) {
                Some(above) if (branch, index) != (0, 0) && above.len() < target.len() => target = above,
                _ => break,
            }
        }
        trail.sort();
        found
    }

    /// Branch and leaf in which `key` stands, if it is there at all.
    pub(super) fn place(&self, key: &[u8]) -> (usize, usize) {
        place(&self.root, key)
    }

    pub(super) fn leaf(&self, branch: usize, leaf: usize) -> Option<&LeafRef> {
        self.root.get(branch)?.branch.leaves.get(leaf)
    }
}

/// Branch and leaf of `root` in which `key` stands, if it is there at all.
pub(super) fn place(root: &[BranchRef], key: &[u8]) -> (usize, usize) {
    let prefix = prefix(key);
    let at_or_before = |other: super::Prefix, first_key: &dyn Fn() -> bool| match other.cmp(&prefix) {
        Ordering::Less => true,
        Ordering::Greater => false,
        Ordering::Equal => first_key(),
    };
    let branch = root.partition_point(|branch| at_or_before(branch.prefix, &|| branch.first_key() <= key)).saturating_sub(1);
    let leaves = root.get(branch).map_or(&[][..], |branch| &branch.branch.leaves);
    let leaf = leaves.partition_point(|leaf| at_or_before(leaf.prefix, &|| leaf.first_key() <= key)).saturating_sub(1);
    (branch, leaf)
}

/// Lengths of a key's ancestors and of itself.
fn borders(key: &[u8]) -> impl Iterator<Item = usize> {
    let mut at = 0;
    std::iter::from_fn(move || {
        at += 1 + usize::from(*key.get(at)?);
        (at <= key.len()).then_some(at)
    })
}
