//! One leaf: entries as [`coding`] writes them, the first with its whole key, each with its value.

use std::sync::Arc;

use super::LeafRef;
use crate::coding::{self, Broken, Head, Place};
use crate::key::KeyBuf;
use crate::trail::Trail;
use crate::value::{Value, Written};

/// Octets of a leaf at most; one entry more, and it is split.
pub(super) const LEAF_MAX: usize = 2048;
/// Below, it is joined with a neighbour.
pub(super) const LEAF_LEAST: usize = LEAF_MAX / 4;

impl LeafRef {
    pub(super) fn new(octets: &[u8], earliest: u32) -> Self {
        let mut leaf = Self { octets: Arc::from(octets), prefix: (0, 0), earliest };
        leaf.prefix = super::prefix(leaf.first_key());
        leaf
    }

    /// Key of the first entry, which stands there whole.
    pub(super) fn first_key(&self) -> &[u8] {
        Head::read(&self.octets, 0, 0).and_then(|head| head.octets(&self.octets)).unwrap_or_default()
    }

    pub(super) fn find<V: Value>(&self, key: &[u8], trail: Option<&mut Trail<V>>) -> Result<Place<V>, Broken> {
        coding::find(&self.octets, 0, key, None, trail)
    }

    /// Every entry: position, key, value.
    pub(super) fn each<V: Value>(&self, mut each: impl FnMut(usize, &KeyBuf, V)) -> Result<(), Broken> {
        let (mut at, mut key) = (0, KeyBuf::ROOT);
        while at < self.octets.len() {
            let (next, _, value) = coding::step::<V>(&self.octets, at, None, &mut key)?;
            each(at, &key, value);
            at = next;
        }
        Ok(())
    }
}

/// When the first of these entries ends.
pub(super) fn earliest<V: Value>(octets: &[u8]) -> Result<u32, Broken> {
    let (mut at, mut length, mut earliest) = (0, 0, u32::MAX);
    while at < octets.len() {
        let head = Head::read(octets, at, length)?;
        let (value, next) = head.value::<V>(octets, None)?;
        (at, length, earliest) = (next, head.length(), earliest.min(value.due()));
    }
    Ok(earliest)
}

/// Writes `leaf` with `key` having this value to `to`. `place` is where it stands, or would.
pub(super) fn insert<V: Value>(leaf: &[u8], place: &Place<V>, key: &[u8], value: &V, to: &mut Vec<u8>) -> Result<(), Broken> {
    to.extend(leaf.get(..place.at).ok_or(Broken)?);
    let value = Written::of(value);
    let added = key.get(place.shared..).ok_or(Broken)?;
    match &place.head {
        Some(head) if place.found.is_some() => {
            let (_, next) = head.value::<V>(leaf, None)?;
            to.extend(leaf.get(place.at..head.octets_at + head.added).ok_or(Broken)?);
            to.extend(value.as_bytes());
            to.extend(leaf.get(next..).ok_or(Broken)?);
        }
        Some(head) => {
            coding::push_key(to, place.previous, place.shared, [added, &[]], false);
            to.extend(value.as_bytes());
            // The one behind shares more with this key than with the one before, never less.
            let rest = head.octets(leaf)?.get(place.head_shared - head.shared..).ok_or(Broken)?;
            coding::push_key(to, key.len(), place.head_shared, [rest, &[]], false);
            to.extend(leaf.get(head.octets_at + head.added..).ok_or(Broken)?);
        }
        None => {
            coding::push_key(to, place.previous, place.shared, [added, &[]], false);
            to.extend(value.as_bytes());
        }
    }
    Ok(())
}

/// Writes `leaf` without `key`, which stands at `place`, to `to`.
pub(super) fn remove<V: Value>(leaf: &[u8], place: &Place<V>, key: &[u8], to: &mut Vec<u8>) -> Result<(), Broken> {
    let head = place.head.ok_or(Broken)?;
    to.extend(leaf.get(..place.at).ok_or(Broken)?);
    let (_, next) = head.value::<V>(leaf, None)?;
    if next < leaf.len() {
        let behind = Head::read(leaf, next, head.length())?;
        // It shares with the one before what both share with the one that goes; the rest of that comes from there.
        let shared = head.shared.min(behind.shared);
        let inherited = key.get(shared..behind.shared).ok_or(Broken)?;
        coding::push_key(to, place.previous, shared, [inherited, behind.octets(leaf)?], false);
        to.extend(leaf.get(behind.octets_at + behind.added..).ok_or(Broken)?);
    }
    Ok(())
}

/// Two leaves out of `octets`, which are one entry too long. What is written in ascending order leaves full leaves behind.
pub(super) fn split<V: Value>(octets: &[u8], inserted: usize) -> Result<[LeafRef; 2], Broken> {
    let (mut at, mut key, mut border) = (0, KeyBuf::ROOT, 0);
    let mut right = Vec::with_capacity(LEAF_MAX);
    while at < octets.len() {
        let (next, _, value) = coding::step::<V>(octets, at, None, &mut key)?;
        let last = next == octets.len();
        if at > 0 && (last || (at >= octets.len() / 2 && !at_end(octets, inserted))) {
            border = at;
            coding::push(&mut right, 0, 0, key.as_bytes(), &value, None);
            right.extend(octets.get(next..).ok_or(Broken)?);
            break;
        }
        at = next;
    }
    let left = octets.get(..border).filter(|left| !left.is_empty()).ok_or(Broken)?;
    Ok([LeafRef::new(left, earliest::<V>(left)?), LeafRef::new(&right, earliest::<V>(&right)?)])
}

/// Whether what was inserted at this position is the last entry, or nearly.
fn at_end(octets: &[u8], inserted: usize) -> bool {
    octets.len() - inserted < 64
}

/// Puts a leaf together from entries in order.
#[derive(Debug)]
pub(super) struct Builder {
    pub(super) octets: Vec<u8>,
    key: KeyBuf,
    earliest: u32,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self { octets: Vec::with_capacity(LEAF_MAX), key: KeyBuf::ROOT, earliest: u32::MAX }
    }

    pub(super) fn push<V: Value>(&mut self, key: &KeyBuf, value: &V) {
        let previous = if self.octets.is_empty() { &[] } else { self.key.as_bytes() };
        let shared = crate::key::common_prefix(previous, key.as_bytes());
        let added = key.as_bytes().get(shared..).unwrap_or_default();
        coding::push(&mut self.octets, previous.len(), shared, added, value, None);
        self.key = *key;
        self.earliest = self.earliest.min(value.due());
    }

    /// The leaf; none when nothing was pushed. Begins anew.
    pub(super) fn take(&mut self) -> Option<LeafRef> {
        let leaf = (!self.octets.is_empty()).then(|| LeafRef::new(&self.octets, self.earliest));
        self.octets.clear();
        self.earliest = u32::MAX;
        leaf
    }
}
