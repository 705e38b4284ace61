//! A name as the sort key of everything.

use std::cmp::Ordering;
use std::fmt::{self, Debug, Display, Write as _};

/// Longest label in octets (RFC 1035 section 2.3.4).
pub const MAX_LABEL: usize = 63;
/// Longest key: a name has 255 octets on the wire, of which the root's is not in the key.
pub const MAX_KEY: usize = 254;
/// Room behind the longest key, so that whoever copies labels can always take 64 octets at once.
const PADDED: usize = 320;

/// Labels of a name from the top down, each with its length octet in front, in lower case, without the root. Compared bytewise, a
/// name stands right before what is below it.
#[derive(Clone, Copy)]
pub struct KeyBuf {
    length: u8,
    octets: [u8; PADDED],
}

/// Why something is no key. Variant names serve as metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum KeyError {
    /// It would be everything.
    #[error("the root cannot be listed")]
    Root,
    /// Two dots in a row, or a dot in front.
    #[error("the name has an empty label")]
    EmptyLabel,
    /// More than 63 octets between two dots.
    #[error("the name has a label longer than {MAX_LABEL} octets")]
    LabelTooLong,
    /// More octets than the zone leaves room for.
    #[error("the name is too long together with the name of the zone")]
    TooLong,
    /// Not visible ASCII; international names are written in their ASCII form (`xn--`).
    #[error("the name has a character that is not visible ASCII")]
    BadCharacter,
    /// A backslash that escapes nothing.
    #[error("the name has a broken escape sequence")]
    BadEscape,
    /// Octets that are no sequence of labels.
    #[error("the octets are not whole labels")]
    NotLabels,
}

impl KeyBuf {
    /// No labels: the root, which stands before everything and is never listed.
    pub const ROOT: Self = Self { length: 0, octets: [0; PADDED] };

    /// Reads presentation form (RFC 1035 section 5.1), with or without the final dot, in any case. `room` is the number of octets
    /// that the key may take: [`MAX_KEY`] less what the zone's name adds.
    pub fn from_text(text: &str, room: usize) -> Result<Self, KeyError> {
        if matches!(text, "" | ".") {
            return Err(KeyError::Root);
        }
        // Labels are collected in wire order and turned round at the end.
        let mut wire = [0; MAX_KEY + 1];
        let (mut start, mut end) = (0, 1);
        let mut rest = text.as_bytes();
        let limit = room.min(MAX_KEY);
        while let Some((&first, tail)) = rest.split_first() {
            rest = tail;
            let octet = match first {
                b'.' => {
                    close(&mut wire, start, end)?;
                    (start, end) = (end, end + 1);
                    continue;
                }
                b'\\' => unescape(&mut rest)?,
                0x21..=0x7e => first,
                _ => return Err(KeyError::BadCharacter),
            };
            *wire.get_mut(end).filter(|_| end < limit).ok_or(KeyError::TooLong)? = octet.to_ascii_lowercase();
            end += 1;
        }
        if end - start > 1 {
            close(&mut wire, start, end)?;
            start = end;
        }
        Self::from_wire(wire.get(..start).unwrap_or_default(), room)
    }

    /// Reads wire form: labels from the bottom up, with or without the root's octet, uncompressed.
    pub fn from_wire(wire: &[u8], room: usize) -> Result<Self, KeyError> {
        let wire = wire.strip_suffix(&[0]).filter(|whole| labels_end_at(whole)).unwrap_or(wire);
        if wire.is_empty() {
            return Err(KeyError::Root);
        }
        if wire.len() > room.min(MAX_KEY) {
            return Err(KeyError::TooLong);
        }
        let mut key = Self::ROOT;
        key.length = u8::try_from(wire.len()).map_err(|_| KeyError::TooLong)?;
        let (mut rest, mut end) = (wire, wire.len());
        while let Some(&length) = rest.first() {
            let label = label(rest, length)?;
            let start = end - label.len();
            for (to, from) in key.octets.iter_mut().skip(start).zip(label) {
                *to = from.to_ascii_lowercase();
            }
            end = start;
            rest = rest.get(label.len()..).unwrap_or_default();
        }
        Ok(key)
    }

    /// Takes octets that are a key already.
    pub fn from_key(octets: &[u8]) -> Result<Self, KeyError> {
        let mut rest = octets;
        while let Some(&length) = rest.first() {
            rest = rest.get(label(rest, length)?.len()..).unwrap_or_default();
        }
        Self::unchecked(octets).ok_or(KeyError::TooLong)
    }

    /// The octets, without the root.
    #[inline]
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.octets.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// The octets with something behind them, at least 66 of it. What follows the key has no meaning.
    #[inline]
    #[must_use]
    pub const fn padded(&self) -> &[u8; PADDED] {
        &self.octets
    }

    /// Octets of the key.
    #[inline]
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a listed key is never empty")]
    pub const fn len(&self) -> usize {
        self.length as usize
    }

    /// Keeps the first `length` octets: an ancestor, when they end with a label.
    #[must_use]
    pub fn truncated(mut self, length: usize) -> Self {
        self.length = self.length.min(u8::try_from(length).unwrap_or(u8::MAX));
        self
    }

    /// Lengths of the keys of this name's ancestors and of itself, from the top down, without the root.
    pub fn borders(&self) -> impl Iterator<Item = usize> {
        let mut at = 0;
        let key = self.as_bytes();
        std::iter::from_fn(move || {
            at += 1 + usize::from(*key.get(at)?);
            (at <= key.len()).then_some(at)
        })
    }

    /// Labels from the bottom up, without their length octets.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        let mut borders = [0_u8; MAX_KEY / 2 + 2];
        let mut depth = 0;
        for (slot, border) in borders.iter_mut().skip(1).zip(self.borders()) {
            *slot = u8::try_from(border).unwrap_or(u8::MAX);
            depth += 1;
        }
        (0..depth).rev().filter_map(move |index| {
            let (start, end) = (usize::from(*borders.get(index)?), usize::from(*borders.get(index + 1)?));
            self.as_bytes().get(start + 1..end)
        })
    }

    /// Wire form, the root's octet included.
    #[must_use]
    pub fn to_wire(&self) -> Vec<u8> {
        let mut wire = Vec::with_capacity(self.len() + 1);
        for label in self.labels() {
            wire.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
            wire.extend(label);
        }
        wire.push(0);
        wire
    }

    /// A copy of these octets, whatever they are; `None` when there are too many.
    pub(crate) fn unchecked(octets: &[u8]) -> Option<Self> {
        let mut key = Self::ROOT;
        key.octets.get_mut(..octets.len()).filter(|_| octets.len() <= MAX_KEY)?.copy_from_slice(octets);
        key.length = u8::try_from(octets.len()).ok()?;
        Some(key)
    }

    /// Replaces everything behind the first `shared` octets by `added` octets of `source`, which may be longer.
    #[inline(always)]
    pub(crate) fn replace_tail(&mut self, shared: usize, source: &[u8], added: usize) -> Option<()> {
        let length = shared + added;
        if length > MAX_KEY {
            return None;
        }
        let to = self.octets.get_mut(shared..)?;
        // A copy of constant size is two moves; one of variable size is a call. What is too much is overwritten or ignored.
        match (to.first_chunk_mut::<32>(), source.first_chunk::<32>()) {
            (Some(to), Some(from)) if added <= 32 => *to = *from,
            _ => to.get_mut(..added)?.copy_from_slice(source.get(..added)?),
        }
        #[expect(clippy::cast_possible_truncation, reason = "compared to MAX_KEY above")]
        {
            self.length = length as u8;
        }
        Some(())
    }
}

/// Octets that two keys have in common at their start.
#[must_use]
pub fn common_prefix(one: &[u8], other: &[u8]) -> usize {
    let mut same = 0;
    // Eight at a time while both have as many.
    while let (Some(first), Some(second)) = (chunk(one, same), chunk(other, same)) {
        let difference = first ^ second;
        if difference != 0 {
            return same + difference.trailing_zeros() as usize / 8;
        }
        same += 8;
    }
    let rest = one.iter().zip(other).skip(same);
    same + rest.take_while(|(one, other)| one == other).count()
}

#[inline]
fn chunk(octets: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*octets.get(at..)?.first_chunk()?))
}

impl AsRef<[u8]> for KeyBuf {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PartialEq for KeyBuf {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for KeyBuf {}

impl PartialOrd for KeyBuf {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for KeyBuf {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl std::hash::Hash for KeyBuf {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl Display for KeyBuf {
    /// Presentation form with the final dot.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.length == 0 {
            return formatter.write_char('.');
        }
        for label in self.labels() {
            for &octet in label {
                match octet {
                    b'.' | b'\\' | b'"' | b';' | b'(' | b')' | b'@' | b'$' => write!(formatter, "\\{}", char::from(octet))?,
                    0x21..=0x7e => formatter.write_char(char::from(octet))?,
                    _ => write!(formatter, "\\{octet:03}")?,
                }
            }
            formatter.write_char('.')?;
        }
        Ok(())
    }
}

impl Debug for KeyBuf {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, formatter)
    }
}

/// Writes the length octet of the label that stands from `start` to `end`.
fn close(wire: &mut [u8], start: usize, end: usize) -> Result<(), KeyError> {
    match end - start - 1 {
        0 => Err(KeyError::EmptyLabel),
        length @ 1..=MAX_LABEL => {
            *wire.get_mut(start).ok_or(KeyError::TooLong)? = u8::try_from(length).map_err(|_| KeyError::LabelTooLong)?;
            Ok(())
        }
        _ => Err(KeyError::LabelTooLong),
    }
}

/// The label in front, with its length octet.
fn label(rest: &[u8], length: u8) -> Result<&[u8], KeyError> {
    match usize::from(length) {
        0 => Err(KeyError::EmptyLabel),
        length @ 1..=MAX_LABEL => rest.get(..=length).ok_or(KeyError::NotLabels),
        _ => Err(KeyError::LabelTooLong),
    }
}

fn labels_end_at(wire: &[u8]) -> bool {
    let mut at = 0;
    while let Some(&length) = wire.get(at) {
        at += 1 + usize::from(length);
    }
    at == wire.len()
}

fn unescape(rest: &mut &[u8]) -> Result<u8, KeyError> {
    match **rest {
        [hundreds @ b'0'..=b'9', tens @ b'0'..=b'9', ones @ b'0'..=b'9', ..] => {
            *rest = rest.get(3..).unwrap_or_default();
            let value = [hundreds, tens, ones].into_iter().fold(0_u16, |value, digit| value * 10 + u16::from(digit - b'0'));
            u8::try_from(value).map_err(|_| KeyError::BadEscape)
        }
        [b'0'..=b'9', ..] => Err(KeyError::BadEscape),
        [octet @ 0x21..=0x7e, ..] => {
            *rest = rest.get(1..).unwrap_or_default();
            Ok(octet)
        }
        _ => Err(KeyError::BadEscape),
    }
}
