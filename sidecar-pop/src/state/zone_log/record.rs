//! One version of the zone as it stands in the log: what is different from the version before.
//!
//! ```text
//! length u32 · crc32 u32 · from u32 · to u32 · time u64 · octets of sets u32 · sets · changes u32 · changes
//! change: octets shared with the key before u8 · further octets u8 · these octets · codes before · codes now
//! ```
//! Codes are those of the record's own sets, which has whatever its codes mean: it can be read whatever became of the zone's palette since.
//! All numbers with the most significant octet first. The length is that of everything behind the checksum, which is over the same. A
//! length of nought ends a segment.

use std::collections::HashMap;
use std::sync::Arc;

use tapir_table::{Code, Codes, KeyBuf, MAX_KEY, Palette, Value as _, Written, common_prefix};

use crate::zone::serial::Serial;

/// Octets before what the checksum covers.
pub const HEAD: usize = 8;
/// Serials, time, number of octets of the sets.
const FIXED: usize = 20;

/// What changes at one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The name.
    pub key: KeyBuf,
    /// What was published; silent for nothing.
    pub old: Codes,
    /// What is published now.
    pub new: Codes,
}

/// Which version follows on which, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The version before.
    pub from: Serial,
    /// The version.
    pub to: Serial,
    /// Milliseconds since 1970.
    pub time: u64,
}

/// Octets that are no record, or not a whole one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a whole record")]
pub struct Torn;

/// Changes as they stand in a record, put together before it is known which version they make.
#[derive(Clone, Debug, Default)]
pub struct Body {
    octets: Vec<u8>,
    count: u32,
    before: Option<KeyBuf>,
    /// What codes before mean, and codes now.
    palettes: [Arc<Palette>; 2],
    /// What the codes of the record mean.
    sets: Palette,
    /// Codes of the record that were given out already.
    known: [HashMap<Code, Code>; 2],
    crowded: bool,
}

impl Body {
    /// Changes from a zone with this palette to one with that, or with the same.
    #[must_use]
    pub fn between(before: Arc<Palette>, now: Arc<Palette>) -> Self {
        let sets = Palette::with_room(before.room().max(now.room()));
        Self { palettes: [before, now], sets, ..Self::default() }
    }

    /// Whether there is more local data in it than a record can have. Then it cannot be written.
    #[must_use]
    pub const fn is_crowded(&self) -> bool {
        self.crowded
    }

    /// The record's own code for one before, or now.
    fn code(&mut self, side: usize, code: Code) -> Code {
        if code.set_index().is_none() {
            return code;
        }
        let [before, now] = &self.palettes;
        let side = if Arc::ptr_eq(before, now) { 0 } else { side };
        let (Some(palette), Some(known)) = (self.palettes.get(side), self.known.get_mut(side)) else { return code };
        if let Some(own) = known.get(&code) {
            return *own;
        }
        let own = palette.get(code).and_then(|set| self.sets.intern(set.clone()).ok());
        self.crowded |= own.is_none();
        let own = own.unwrap_or(Code::NXDOMAIN);
        known.insert(code, own);
        own
    }

    /// The next change, in the order of keys.
    pub fn push(&mut self, change: &Change) {
        let key = change.key.as_bytes();
        let shared = self.before.as_ref().map_or(0, |before| common_prefix(before.as_bytes(), key));
        let added = key.get(shared..).unwrap_or_default();
        // Keys are shorter than 255 octets.
        self.octets.extend([shared, added.len()].map(|count| u8::try_from(count).unwrap_or(u8::MAX)));
        self.octets.extend(added);
        for (side, codes) in [change.old, change.new].into_iter().enumerate() {
            let codes = Codes::new(self.code(side, codes.own), self.code(side, codes.below));
            self.octets.extend(Written::of(&codes).as_bytes());
        }
        self.before = Some(change.key);
        self.count = self.count.saturating_add(1);
    }

    /// How many changes it holds.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl<'a> FromIterator<&'a Change> for Body {
    fn from_iter<T: IntoIterator<Item = &'a Change>>(changes: T) -> Self {
        let mut body = Self::default();
        for change in changes {
            body.push(change);
        }
        body
    }
}

/// Appends a record. One that is crowded would be none.
pub fn write(step: Step, changes: &Body, to: &mut Vec<u8>) -> Result<(), Torn> {
    if changes.crowded {
        return Err(Torn);
    }
    let start = to.len();
    to.extend([0; HEAD]);
    to.extend(step.from.0.to_be_bytes());
    to.extend(step.to.0.to_be_bytes());
    to.extend(step.time.to_be_bytes());
    let at = to.len();
    to.extend([0; 4]);
    changes.sets.write(to);
    let octets = to.len() - at - 4;
    put(to, at, octets)?;
    to.extend(changes.count.to_be_bytes());
    to.extend(&changes.octets);
    let payload = to.len() - start - HEAD;
    put(to, start, payload)?;
    let checksum = crc32fast::hash(to.get(start + HEAD..).unwrap_or_default());
    to.get_mut(start + 4..start + HEAD).ok_or(Torn)?.copy_from_slice(&checksum.to_be_bytes());
    Ok(())
}

fn put(to: &mut [u8], at: usize, count: usize) -> Result<(), Torn> {
    let count = u32::try_from(count).map_err(|_| Torn)?;
    to.get_mut(at..at + 4).ok_or(Torn)?.copy_from_slice(&count.to_be_bytes());
    Ok(())
}

/// A record whose checksum is right.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Which version it makes of which.
    pub step: Step,
    /// How many names it changes.
    pub count: u32,
    sets: &'a [u8],
    changes: &'a [u8],
}

impl<'a> Record<'a> {
    /// Octets of the record that begins with these, `None` at the end of a segment.
    pub fn length(head: [u8; HEAD]) -> Option<usize> {
        let [a, b, c, d, ..] = head;
        let length = u32::from_be_bytes([a, b, c, d]);
        (length > 0).then(|| HEAD + length as usize)
    }

    /// Reads exactly one.
    pub fn read(octets: &'a [u8]) -> Result<Self, Torn> {
        let (head, payload) = octets.split_first_chunk::<HEAD>().ok_or(Torn)?;
        if Self::length(*head) != Some(octets.len()) || head.get(4..) != Some(&crc32fast::hash(payload).to_be_bytes()) {
            return Err(Torn);
        }
        let (fixed, rest) = payload.split_first_chunk::<FIXED>().ok_or(Torn)?;
        let number = |at: usize| fixed.get(at..)?.first_chunk().map(|octets| u32::from_be_bytes(*octets));
        let time = fixed.get(8..).and_then(|octets| octets.first_chunk()).map(|octets| u64::from_be_bytes(*octets));
        let (from, to, time, sets) = (number(0).ok_or(Torn)?, number(4).ok_or(Torn)?, time.ok_or(Torn)?, number(16).ok_or(Torn)?);
        let (sets, rest) = rest.split_at_checked(sets as usize).ok_or(Torn)?;
        let (count, changes) = rest.split_first_chunk().ok_or(Torn)?;
        let step = Step { from: Serial(from), to: Serial(to), time };
        Ok(Self { step, count: u32::from_be_bytes(*count), sets, changes })
    }

    /// Local data that its codes mean.
    pub fn palette(&self) -> Result<Palette, Torn> {
        Palette::read(self.sets).ok_or(Torn)
    }

    /// Whether all of it can be read, and means something. A checksum says little of that.
    pub fn check(&self) -> Result<(), Torn> {
        let palette = self.palette()?;
        let means = |code: Code| code.set_index().is_none() || palette.get(code).is_some();
        self.changes().try_for_each(|change| {
            let change = change?;
            let all = [change.old, change.new].into_iter().flat_map(|codes| [codes.own, codes.below]).all(means);
            if all { Ok(()) } else { Err(Torn) }
        })
    }

    /// What it changes, in the order of keys.
    #[must_use]
    pub const fn changes(&self) -> Changes<'a> {
        Changes { rest: self.changes, left: self.count, key: KeyBuf::ROOT }
    }
}

/// The changes of a record, one by one. Ends after a broken one.
#[derive(Clone, Debug)]
pub struct Changes<'a> {
    rest: &'a [u8],
    left: u32,
    key: KeyBuf,
}

impl Changes<'_> {
    fn read(&mut self) -> Result<Change, Torn> {
        let ([shared, added], rest) = self.rest.split_first_chunk().ok_or(Torn)?;
        let (shared, added) = (usize::from(*shared), usize::from(*added));
        let (octets, rest) = rest.split_at_checked(added).ok_or(Torn)?;
        let mut key = [0; MAX_KEY];
        let kept = self.key.as_bytes().get(..shared).ok_or(Torn)?;
        let length = shared + added;
        let to = key.get_mut(..length).ok_or(Torn)?;
        let (first, second) = to.split_at_mut(shared);
        first.copy_from_slice(kept);
        second.copy_from_slice(octets);
        let key = KeyBuf::from_key(to).map_err(|_| Torn)?;
        if key.as_bytes() <= self.key.as_bytes() {
            return Err(Torn);
        }
        let mut at = 0;
        let old = Codes::read(rest, &mut at).ok_or(Torn)?;
        let new = Codes::read(rest, &mut at).ok_or(Torn)?;
        self.rest = rest.get(at..).ok_or(Torn)?;
        self.key = key;
        Ok(Change { key, old, new })
    }
}

impl Iterator for Changes<'_> {
    type Item = Result<Change, Torn>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            // Nothing may stand behind the last one.
            return (!std::mem::take(&mut self.rest).is_empty()).then_some(Err(Torn));
        }
        self.left -= 1;
        let read = self.read();
        if read.is_err() {
            (self.left, self.rest) = (0, &[]);
        }
        Some(read)
    }
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
