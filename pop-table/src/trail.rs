//! What is known on the way down to a name.

use crate::codes::Codes;
use crate::value::Value;

/// Every listed ancestor of a name and the name itself, the shortest first: length of its key, and its value. Meant to be kept
/// and used again, since it keeps its memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trail<V = Codes> {
    listed: Vec<(u8, V)>,
}

impl<V: Value> Trail<V> {
    /// Nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { listed: Vec::new() }
    }

    /// Key length and value of each, the shortest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (usize, V)> + '_ {
        self.listed.iter().map(|(length, value)| (usize::from(*length), *value))
    }

    /// Whether neither the name nor anything above it is listed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// Lays what changes say of the same name over this: they count, and what is absent there is gone.
    pub fn lay_over(&mut self, changes: &Self) {
        if changes.is_empty() {
            return;
        }
        self.listed.retain(|(length, _)| changes.listed.binary_search_by_key(length, |(length, _)| *length).is_err());
        self.listed.extend(changes.listed.iter().filter(|(_, value)| !value.is_absent()));
        self.sort();
    }

    pub(crate) fn clear(&mut self) {
        self.listed.clear();
    }

    /// Behind all that are shorter. Keys have at most 254 octets.
    pub(crate) fn push(&mut self, length: usize, value: V) {
        let length = u8::try_from(length).unwrap_or(u8::MAX);
        self.listed.push((length, value));
    }

    /// Puts them in order when they were found from the bottom up.
    pub(crate) fn sort(&mut self) {
        self.listed.sort_unstable_by_key(|(length, _)| *length);
    }
}

impl<V: Value> Default for Trail<V> {
    fn default() -> Self {
        Self::new()
    }
}
