//! Changes, one name at a time.

use std::sync::Arc;

use super::leaf::{self, Builder, LEAF_LEAST, LEAF_MAX};
use super::{BRANCH_MAX, BranchRef, LeafRef, Tree};
use crate::coding::Broken;
use crate::key::KeyBuf;
use crate::value::Value;

impl<V: Value> Tree<V> {
    /// Sets the value of a name: the one that it had.
    pub fn insert(&mut self, key: &KeyBuf, value: V) -> Option<V> {
        // What stands in a leaf was written by this module: broken entries cannot be, and the tree stays as it is.
        self.try_insert(key, value).unwrap_or_default()
    }

    /// Takes a name out: the value that it had.
    pub fn remove(&mut self, key: &[u8]) -> Option<V> {
        self.try_remove(key).unwrap_or_default()
    }

    fn try_insert(&mut self, key: &KeyBuf, value: V) -> Result<Option<V>, Broken> {
        let octets = key.as_bytes();
        if octets.is_empty() {
            return Ok(None);
        }
        let (at_branch, at_leaf) = self.place(octets);
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let Some(leaf) = self.leaf(at_branch, at_leaf) else {
            let mut builder = Builder::new();
            builder.push(key, &value);
            self.replace(0, 0..0, builder.take());
            self.length += 1;
            return Ok(None);
        };
        let place = leaf.find(octets, None)?;
        leaf::insert(&leaf.octets, &place, octets, &value, &mut scratch)?;
        // The first end is as it was unless this name had it.
        let replaced_first = place.found.is_some_and(|old| old.due() == leaf.earliest);
        let earliest = if replaced_first { leaf::earliest::<V>(&scratch)? } else { leaf.earliest.min(value.due()) };
        if scratch.len() <= LEAF_MAX {
            self.replace(at_branch, at_leaf..at_leaf + 1, [LeafRef::new(&scratch, earliest)]);
        } else {
            let halves = leaf::split::<V>(&scratch, place.at)?;
            self.replace(at_branch, at_leaf..at_leaf + 1, halves);
        }
        self.scratch = scratch;
        self.length += usize::from(place.found.is_none());
        Ok(place.found)
    }

    fn try_remove(&mut self, key: &[u8]) -> Result<Option<V>, Broken> {
        let (at_branch, at_leaf) = self.place(key);
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let Some(leaf) = self.leaf(at_branch, at_leaf) else { return Ok(None) };
        let place = leaf.find::<V>(key, None)?;
        let Some(found) = place.found else { return Ok(None) };
        leaf::remove(&leaf.octets, &place, key, &mut scratch)?;
        let earliest = if found.due() == leaf.earliest { leaf::earliest::<V>(&scratch)? } else { leaf.earliest };
        let rest = (!scratch.is_empty()).then(|| LeafRef::new(&scratch, earliest));
        self.replace(at_branch, at_leaf..at_leaf + 1, rest);
        self.scratch = scratch;
        self.length -= 1;
        if self.scratch.len() < LEAF_LEAST {
            self.join(at_branch, at_leaf)?;
        }
        Ok(Some(found))
    }

    /// Puts leaves in the place of others of the same branch, and keeps everything that depends on them.
    pub(super) fn replace(&mut self, at: usize, old: std::ops::Range<usize>, new: impl IntoIterator<Item = LeafRef>) {
        let root = Arc::make_mut(&mut self.root);
        if root.is_empty() {
            root.push(BranchRef::new(Vec::new()));
        }
        let Some(reference) = root.get_mut(at) else { return };
        let branch = Arc::make_mut(&mut reference.branch);
        let before = (branch.leaves.len(), old.len());
        for leaf in branch.leaves.get(old.clone()).unwrap_or_default() {
            self.octets -= leaf.octets.len();
        }
        let start = old.start;
        let mut added = 0;
        branch.leaves.splice(old, new);
        let count = branch.leaves.len() + before.1 - before.0;
        for leaf in branch.leaves.get(start..start + count).unwrap_or_default() {
            added += leaf.octets.len();
        }
        self.octets += added;
        self.leaves = self.leaves + branch.leaves.len() - before.0;
        if branch.leaves.len() > BRANCH_MAX {
            // What is written in ascending order leaves full branches behind.
            let keep = if start + count == branch.leaves.len() { BRANCH_MAX } else { BRANCH_MAX / 2 };
            let rest = BranchRef::new(branch.leaves.split_off(keep));
            reference.summarize();
            root.insert(at + 1, rest);
        } else if branch.leaves.is_empty() {
            root.remove(at);
        } else {
            reference.summarize();
        }
    }

    /// Joins a small leaf with a neighbour in its branch, and a small branch with its neighbour.
    pub(super) fn join(&mut self, at_branch: usize, at_leaf: usize) -> Result<(), Broken> {
        let Some(leaves) = self.root.get(at_branch).map(|branch| &branch.branch.leaves) else { return Ok(()) };
        let first = if at_leaf + 1 < leaves.len() { at_leaf } else { at_leaf.saturating_sub(1) };
        if let Some([one, other]) = leaves.get(first..first + 2)
            && one.octets.len() + other.octets.len() <= LEAF_MAX * 3 / 4
        {
            let mut builder = Builder::new();
            for leaf in [one, other] {
                leaf.each::<V>(|_, key, value| builder.push(key, &value))?;
            }
            self.replace(at_branch, first..first + 2, builder.take());
        }
        let sizes = |at: usize| self.root.get(at).map_or(BRANCH_MAX, |branch| branch.branch.leaves.len());
        let left = if at_branch + 1 < self.root.len() { at_branch } else { at_branch.saturating_sub(1) };
        if left + 1 < self.root.len() && sizes(left) + sizes(left + 1) <= BRANCH_MAX / 2 {
            let root = Arc::make_mut(&mut self.root);
            let other = root.remove(left + 1);
            if let Some(one) = root.get_mut(left) {
                Arc::make_mut(&mut one.branch).leaves.extend(other.branch.leaves.iter().cloned());
                one.summarize();
            }
        }
        Ok(())
    }
}
