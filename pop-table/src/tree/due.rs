//! What ends by itself.

use super::Tree;
use super::leaf::{Builder, LEAF_LEAST};
use crate::coding::Broken;
use crate::key::KeyBuf;
use crate::value::Value;

impl<V: Value> Tree<V> {
    /// When the first value ends; `None` when none does.
    #[must_use]
    pub fn earliest(&self) -> Option<u32> {
        self.root.iter().map(|branch| branch.earliest).min().filter(|earliest| *earliest < u32::MAX)
    }

    /// Takes out what ends at `now` or before, at most `most` names in one call: how many those were. Looks at nothing but the
    /// leaves in which there is something.
    pub fn take_due(&mut self, now: u32, most: usize, mut each: impl FnMut(&KeyBuf, V)) -> usize {
        let mut taken = 0;
        // What never ends has the largest number of all.
        let now = now.min(u32::MAX - 1);
        while taken < most
            && let Some((branch, leaf)) = self.first_due(now)
        {
            match self.take_from(branch, leaf, now, most - taken, &mut each) {
                Ok(count) if count > 0 => taken += count,
                // Cannot be: the leaf said that there is something.
                _ => break,
            }
        }
        taken
    }

    fn first_due(&self, now: u32) -> Option<(usize, usize)> {
        let branch = self.root.iter().position(|branch| branch.earliest <= now)?;
        let leaf = self.root.get(branch)?.branch.leaves.iter().position(|leaf| leaf.earliest <= now)?;
        Some((branch, leaf))
    }

    fn take_from(
        &mut self,
        at_branch: usize,
        at_leaf: usize,
        now: u32,
        most: usize,
        each: &mut impl FnMut(&KeyBuf, V),
    ) -> Result<usize, Broken> {
        let leaf = self.leaf(at_branch, at_leaf).ok_or(Broken)?;
        let mut rest = Builder::new();
        let mut taken = 0;
        leaf.each::<V>(|_, key, value| {
            if value.due() <= now && taken < most {
                taken += 1;
                each(key, value);
            } else {
                rest.push(key, &value);
            }
        })?;
        let small = rest.octets.len() < LEAF_LEAST;
        self.replace(at_branch, at_leaf..at_leaf + 1, rest.take());
        self.length -= taken;
        if small {
            self.join(at_branch, at_leaf)?;
        }
        Ok(taken)
    }
}
