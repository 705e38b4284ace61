//! The slots of a table.

/// An empty slot: no record has place 0.
pub(super) const EMPTY: u64 = 0;
/// Of the slots of a list that is not tiny, three in five are taken.
const SLOTS_FOR_THREE: u64 = 5;

/// Hash bits above, place below. There is always an empty one.
pub(super) struct Slots(Vec<u64>);

impl Slots {
    /// For at most so many entries.
    pub(super) fn new(entries: u64) -> Self {
        let slots = usize::try_from(entries.saturating_mul(SLOTS_FOR_THREE) / 3 + 8).unwrap_or(usize::MAX);
        Self(vec![EMPTY; slots])
    }

    /// How many entries there is room for.
    pub(super) const fn room(&self) -> usize {
        self.0.len() - 1
    }

    /// Any hash has a slot, and all slots about as many hashes.
    #[inline]
    pub(super) fn position(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.0.len() as u128) >> 64) as usize
    }

    #[inline]
    pub(super) fn at(&self, position: usize) -> Option<u64> {
        self.0.get(position).copied()
    }

    /// The next one, from the last on to the first.
    #[inline]
    pub(super) const fn after(&self, position: usize) -> usize {
        if position + 1 == self.0.len() { 0 } else { position + 1 }
    }

    pub(super) const fn octets(&self) -> usize {
        self.0.capacity() * size_of::<u64>()
    }

    /// There must be room for it and an empty slot behind.
    #[inline]
    pub(super) fn place(&mut self, hash: u64, place: u32) {
        let mut at = self.position(hash);
        while self.0.get(at).is_some_and(|slot| *slot != EMPTY) {
            at = self.after(at);
        }
        if let Some(slot) = self.0.get_mut(at) {
            *slot = u64::from(hash as u32) << 32 | u64::from(place);
        }
    }

    #[cfg(test)]
    pub(super) fn has(&self, slot: u64) -> bool {
        self.0.contains(&slot)
    }
}
