//! Names that made an event already.
//!
//! Bounded: two generations of fingerprints. When the younger one is full the older one is forgotten, so that at least half
//! of the capacity, the newest half, is always remembered. Nothing is kept over a restart yet.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

/// The store.
#[derive(Debug)]
pub struct SeenNames {
    /// Keyed with a random secret, so that nobody outside can construct two names with one fingerprint.
    hasher: RandomState,
    young: HashSet<u64>,
    old: HashSet<u64>,
    generation_capacity: usize,
}

impl SeenNames {
    /// A store of at most `capacity` names.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            hasher: RandomState::new(),
            young: HashSet::new(),
            old: HashSet::new(),
            generation_capacity: generation_capacity(capacity),
        }
    }

    /// Changes the bound. What does not fit any more is forgotten as a whole.
    pub fn set_capacity(&mut self, capacity: usize) {
        self.generation_capacity = generation_capacity(capacity);
        if self.young.len() >= self.generation_capacity {
            self.old = std::mem::take(&mut self.young);
            self.old.shrink_to_fit();
        }
        if self.old.len() > self.generation_capacity {
            self.old = HashSet::new();
        }
    }

    /// The name (lower case) was marked and is remembered.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        let fingerprint = self.hasher.hash_one(name);
        self.young.contains(&fingerprint) || self.old.contains(&fingerprint)
    }

    /// Marks a name (lower case). Tells how many others were forgotten for it.
    pub fn mark(&mut self, name: &str) -> usize {
        let mut forgotten = 0;
        if self.young.len() >= self.generation_capacity {
            forgotten = self.old.len();
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(self.hasher.hash_one(name));
        forgotten
    }

    /// Takes a mark back, because the event was lost.
    pub fn unmark(&mut self, name: &str) {
        let fingerprint = self.hasher.hash_one(name);
        self.young.remove(&fingerprint);
        self.old.remove(&fingerprint);
    }

    /// Names remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn generation_capacity(capacity: usize) -> usize {
    (capacity / 2).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_the_newest_half_at_least_and_never_more_than_its_capacity() {
        let mut seen = SeenNames::new(100);
        let mut forgotten = 0;
        for index in 0..1000 {
            let name = format!("n{index}.example.");
            assert!(!seen.contains(&name));
            forgotten += seen.mark(&name);
            assert!(seen.len() <= 100);
            for recent in index.max(49) - 49..=index {
                assert!(seen.contains(&format!("n{recent}.example.")));
            }
        }
        assert_eq!(forgotten + seen.len(), 1000);
    }

    #[test]
    fn a_mark_can_be_taken_back() {
        let mut seen = SeenNames::new(10);
        seen.mark("a.");
        seen.unmark("a.");
        assert!(!seen.contains("a.") && seen.is_empty());
    }

    #[test]
    fn shrinks() {
        let mut seen = SeenNames::new(1000);
        for index in 0..400 {
            seen.mark(&index.to_string());
        }
        seen.set_capacity(10);
        seen.mark("last");
        assert!(seen.len() <= 10 && seen.contains("last"));
    }
}
