//! How neighbours are written: what the next name drops from the end of the one before, and what it adds.
//!
//! ```text
//! entry   kind:2 added:6   [added, if 0 stood there]   [dropped, for kinds 2 and 3]   octets   [value]
//! kind    0 drops as much as it adds (a sibling: siblings stand by length)    1 drops nothing    2 and 3 say how much
//! value   always, where the block has no common one; else with kind 3 alone
//! ```
//! The first entry of a block or leaf drops nothing from an empty key.

use crate::key::{KeyBuf, MAX_KEY};
use crate::trail::Trail;
use crate::value::{Value, Written};

/// Octets that are not what was written. Checksums find damage; this finds what they cannot, and is never a panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the entries of a table are broken")]
pub struct Broken;

const SIBLING: u8 = 0;
const CHILD: u8 = 1;
const OTHER: u8 = 2;
const EXPLICIT: u8 = 3;

/// An entry up to its octets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    /// Octets shared with the key before.
    pub(crate) shared: usize,
    /// Octets added.
    pub(crate) added: usize,
    /// Where they stand.
    pub(crate) octets_at: usize,
    /// Whether a value follows where the block has a common one.
    explicit: bool,
}

impl Head {
    #[inline(always)]
    pub(crate) fn read(data: &[u8], at: usize, previous: usize) -> Result<Self, Broken> {
        let first = *data.get(at).ok_or(Broken)?;
        let mut next = at + 1;
        let mut added = usize::from(first & 63);
        if added == 0 {
            added = usize::from(*data.get(next).filter(|added| **added > 0).ok_or(Broken)?);
            next += 1;
        }
        let kind = first >> 6;
        // The octet is read in any case, since there is always one, and chosen without a jump that nobody can foresee.
        let stated = usize::from(*data.get(next).ok_or(Broken)?);
        next += usize::from(kind >= OTHER);
        let implied = if kind == SIBLING { added } else { 0 };
        let dropped = if kind >= OTHER { stated } else { implied };
        let shared = previous.checked_sub(dropped).ok_or(Broken)?;
        Ok(Self { shared, added, octets_at: next, explicit: kind == EXPLICIT })
    }

    /// Length of the key.
    #[inline]
    pub(crate) const fn length(&self) -> usize {
        self.shared + self.added
    }

    /// The value, and where the next entry stands.
    #[inline(always)]
    pub(crate) fn value<V: Value>(&self, data: &[u8], default: Option<V>) -> Result<(V, usize), Broken> {
        let mut at = self.octets_at + self.added;
        match default {
            Some(value) if !self.explicit => Ok((value, at)),
            _ => {
                let value = V::read(data, &mut at).ok_or(Broken)?;
                Ok((value, at))
            }
        }
    }

    pub(crate) fn octets<'a>(&self, data: &'a [u8]) -> Result<&'a [u8], Broken> {
        data.get(self.octets_at..self.octets_at + self.added).ok_or(Broken)
    }
}

/// Reads the entry at `at` behind `key`, which becomes its key: where the next entry stands, octets shared, value.
#[inline(always)]
pub(crate) fn step<V: Value>(data: &[u8], at: usize, default: Option<V>, key: &mut KeyBuf) -> Result<(usize, usize, V), Broken> {
    let head = Head::read(data, at, key.len())?;
    let (value, next) = head.value(data, default)?;
    let octets = data.get(head.octets_at..).ok_or(Broken)?;
    // Whoever merges relies on ascending keys and on exact `shared`.
    let (before, now) = (key.padded().get(head.shared), octets.first());
    if (head.shared < key.len()) & (before >= now) {
        return Err(Broken);
    }
    key.replace_tail(head.shared, octets, head.added).ok_or(Broken)?;
    Ok((next, head.shared, value))
}

/// Appends an entry that shares `shared` octets with a key of `previous` octets and adds `added`.
pub(crate) fn push<V: Value>(to: &mut Vec<u8>, previous: usize, shared: usize, added: &[u8], value: &V, default: Option<V>) {
    let explicit = default.is_some_and(|default| default != *value);
    push_key(to, previous, shared, [added, &[]], explicit);
    if explicit || default.is_none() {
        to.extend(Written::of(value).as_bytes());
    }
}

/// The same without a value; what is added may stand in two parts.
pub(crate) fn push_key(to: &mut Vec<u8>, previous: usize, shared: usize, added: [&[u8]; 2], explicit: bool) {
    let count = added.iter().map(|part| part.len()).sum::<usize>();
    let dropped = previous - shared;
    let kind = match dropped {
        _ if explicit => EXPLICIT,
        0 => CHILD,
        _ if dropped == count => SIBLING,
        _ => OTHER,
    };
    // Keys have at most MAX_KEY octets, so neither number exceeds an octet.
    let octet = |number: usize| u8::try_from(number).unwrap_or(u8::MAX);
    match count {
        1..=63 => to.push(kind << 6 | octet(count)),
        _ => to.extend([kind << 6, octet(count)]),
    }
    if kind >= OTHER {
        to.push(octet(dropped));
    }
    for part in added {
        to.extend(part);
    }
}

/// Where a key stands, or would stand, among entries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<V> {
    /// Position of the entry with this key, or of the first one behind it.
    pub(crate) at: usize,
    /// Length of the key before.
    pub(crate) previous: usize,
    /// Octets shared with the key before.
    pub(crate) shared: usize,
    /// The entry at `at`; `None` at the end.
    pub(crate) head: Option<Head>,
    /// Octets that the key and that entry share.
    pub(crate) head_shared: usize,
    /// The value, if it is there.
    pub(crate) found: Option<V>,
}

/// Looks for `target` among the entries from `at`, without putting a key together: an entry that shares more with the one before
/// than the target does is before the target as well, one that shares less is behind it. Listed prefixes go to `trail`.
pub(crate) fn find<V: Value>(
    data: &[u8],
    start: usize,
    target: &[u8],
    default: Option<V>,
    mut trail: Option<&mut Trail<V>>,
) -> Result<Place<V>, Broken> {
    let mut place = Place { at: start, previous: 0, shared: 0, head: None, head_shared: 0, found: None };
    while place.at < data.len() {
        let head = Head::read(data, place.at, place.previous)?;
        let (value, next) = head.value(data, default)?;
        if next > data.len() || head.length() > MAX_KEY {
            return Err(Broken);
        }
        place.head = Some(head);
        place.head_shared = head.shared;
        if head.shared < place.shared {
            return Ok(place);
        }
        if head.shared == place.shared {
            let octets = head.octets(data)?;
            let rest = target.get(place.shared..).unwrap_or_default();
            let same = crate::key::common_prefix(octets, rest);
            place.head_shared = place.shared + same;
            match (octets.get(same), rest.get(same)) {
                (None, None) => {
                    place.found = Some(value);
                    if let Some(trail) = trail.as_deref_mut() {
                        trail.push(target.len(), value);
                    }
                    return Ok(place);
                }
                (None, Some(_)) => {
                    if let Some(trail) = trail.as_deref_mut() {
                        trail.push(head.length(), value);
                    }
                }
                (Some(_), None) => return Ok(place),
                (Some(octet), Some(wanted)) if octet > wanted => return Ok(place),
                _ => {}
            }
            place.shared = place.head_shared;
        }
        (place.previous, place.at, place.head) = (head.length(), next, None);
    }
    Ok(place)
}
