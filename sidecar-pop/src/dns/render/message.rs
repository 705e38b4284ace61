//! One message of a transfer, and the window in which several stand one behind the other.

use tapir_table::{Broken, Code, Codes, KeyBuf, Palette};

use super::names::Names;
use super::tails::{Tails, record};

/// Octets of a message at most: every place in it can be pointed at (RFC 1035 section 4.1.4).
pub const LIMIT: usize = 16_383;
/// Room for a message, and for what copies of constant size write behind its end.
const ROOM: usize = LIMIT + 513;
/// Octets of a window: as many as a socket takes at once.
const WINDOW: usize = 128 << 10;
/// Longest name with its zone (RFC 1035 section 2.3.4).
const NAME_MAX: usize = 255;
/// QR and AA.
const FLAGS: u16 = 0x8400;
const HEADER: usize = 12;
/// Octets around a name in front of its data: pointer, type, class, TTL, length.
const AROUND: usize = 12;
/// The label of a wildcard.
const WILDCARD: [u8; 2] = [1, b'*'];

/// Whole messages, each behind its length (RFC 1035 section 4.2.2).
#[derive(Debug)]
pub struct Window {
    octets: Box<[u8]>,
    filled: usize,
}

impl Window {
    /// An empty one of 128 KiB.
    #[must_use]
    pub fn new() -> Self {
        Self { octets: vec![0; WINDOW + ROOM - LIMIT].into(), filled: 0 }
    }

    /// What is to be sent.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.octets.get(..self.filled).unwrap_or_default()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.filled == 0
    }

    pub(super) const fn clear(&mut self) {
        self.filled = 0;
    }

    /// Begins a message; `None` when the window has no room for a whole one.
    pub(super) fn begin(&mut self, id: u16, question: &[u8], limit: usize) -> Option<Message<'_>> {
        let out = self.octets.get_mut(self.filled + 2..)?.first_chunk_mut::<ROOM>()?;
        let mut at = 0;
        for field in [id, FLAGS, 1, 0, 0, 0] {
            out.get_mut(at..at + 2)?.copy_from_slice(&field.to_be_bytes());
            at += 2;
        }
        out.get_mut(at..at + question.len())?.copy_from_slice(question);
        // The question ends with type and class.
        let zone = question.len().saturating_sub(4);
        Some(Message { out, at: HEADER + question.len(), answers: 0, limit, zone })
    }

    /// Ends it: `sign` gets its octets, what follows them, and its length, and says how long it is now.
    pub(super) fn end(&mut self, length: usize, sign: impl FnOnce(&mut [u8], usize) -> usize) {
        let Some((prefix, octets)) = self.octets.get_mut(self.filled..).and_then(|rest| rest.split_first_chunk_mut::<2>()) else {
            return;
        };
        let length = sign(octets, length);
        *prefix = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
        self.filled += 2 + length;
    }
}

impl Default for Window {
    fn default() -> Self {
        Self::new()
    }
}

/// One message under construction.
#[derive(Debug)]
pub struct Message<'w> {
    out: &'w mut [u8; ROOM],
    at: usize,
    answers: u16,
    limit: usize,
    /// Octets of the zone's name.
    zone: usize,
}

impl Message<'_> {
    /// A whole record; false when it does not fit.
    pub fn put(&mut self, record: &[u8]) -> bool {
        let fits = self.at + record.len() <= self.limit;
        if let Some(to) = self.out.get_mut(self.at..self.at + record.len()).filter(|_| fits) {
            to.copy_from_slice(record);
            self.at += record.len();
            self.answers += 1;
        }
        fits
    }

    /// All records of a name that shares `shared` octets with the one before; false when they do not fit.
    #[inline(always)]
    pub(super) fn node(
        &mut self,
        key: &KeyBuf,
        shared: usize,
        codes: Codes,
        names: &mut Names,
        tails: &Tails,
        palette: &Palette,
    ) -> Result<bool, Broken> {
        let labels = names.enter(key, shared)?;
        let Some((tail, length)) = tails.get(codes.own) else {
            return self.seldom(key, labels, codes, names, tails, palette);
        };
        if codes.below.is_silent() {
            if self.at + labels + length > self.limit {
                return Ok(false);
            }
            let (at, pointer) = names.write(key, self.out, self.at)?;
            self.tail(at, pointer, tail)?;
            self.at = at + length;
            self.answers += 1;
            return Ok(true);
        }
        let Some((below, length_below)) = tails.get(codes.below).filter(|_| self.has_wildcard(key)) else {
            return self.seldom(key, labels, codes, names, tails, palette);
        };
        if self.at + labels + length + WILDCARD.len() + length_below > self.limit {
            return Ok(false);
        }
        let (at, pointer) = names.write(key, self.out, self.at)?;
        self.tail(at, pointer, tail)?;
        let at = at + length;
        *self.out.get_mut(at..).and_then(|to| to.first_chunk_mut()).ok_or(Broken)? = WILDCARD;
        self.tail(at + WILDCARD.len(), names.place(), below)?;
        self.at = at + WILDCARD.len() + length_below;
        self.answers += 2;
        Ok(true)
    }

    /// Where the wildcard of a name is too long, no name below it fits into the zone either, and it is left out.
    #[inline(always)]
    fn has_wildcard(&self, key: &KeyBuf) -> bool {
        key.len() + WILDCARD.len() + self.zone <= NAME_MAX
    }

    /// Local data, and a wildcard without its name.
    #[inline(never)]
    fn seldom(
        &mut self,
        key: &KeyBuf,
        labels: usize,
        codes: Codes,
        names: &mut Names,
        tails: &Tails,
        palette: &Palette,
    ) -> Result<bool, Broken> {
        let below = if self.has_wildcard(key) { codes.below } else { Code::SILENT };
        let size = |code: Code| match tails.get(code) {
            _ if code.is_silent() => 0,
            Some((_, length)) => *length,
            None => palette.get(code).map_or(0, |set| set.records().map(|(_, data)| AROUND + WILDCARD.len() + data.len()).sum()),
        };
        // A zone refers to what is in its palette; without it, it would not be what was decided.
        let known = |code: Code| code.set_index().is_none() || palette.get(code).is_some();
        if !known(codes.own) || !known(below) {
            return Err(Broken);
        }
        if self.at + labels + WILDCARD.len() + size(codes.own) + size(below) > self.limit {
            return Ok(false);
        }
        let mut owner = None;
        for (code, wildcard) in [(codes.own, false), (below, true)] {
            match tails.get(code) {
                _ if code.is_silent() => {}
                Some((tail, length)) => {
                    let (at, pointer) = self.owner(key, names, &mut owner, wildcard)?;
                    self.tail(at, pointer, tail)?;
                    self.at = at + length;
                    self.answers += 1;
                }
                None => {
                    for (kind, data) in palette.get(code).into_iter().flat_map(|set| set.records()) {
                        let (at, pointer) = self.owner(key, names, &mut owner, wildcard)?;
                        let record = record((0xC000 | pointer).to_be_bytes(), kind, tails.ttl(), data);
                        self.out.get_mut(at..at + record.len()).ok_or(Broken)?.copy_from_slice(&record);
                        self.at = at + record.len();
                        self.answers += 1;
                    }
                }
            }
        }
        Ok(true)
    }

    /// Owner of the next record but for its pointer: labels the first time, after that nothing.
    fn owner(
        &mut self,
        key: &KeyBuf,
        names: &mut Names,
        owner: &mut Option<u16>,
        wildcard: bool,
    ) -> Result<(usize, u16), Broken> {
        let mut at = self.at;
        if wildcard {
            self.out.get_mut(at..at + WILDCARD.len()).ok_or(Broken)?.copy_from_slice(&WILDCARD);
            at += WILDCARD.len();
        }
        if let Some(place) = *owner {
            return Ok((at, place));
        }
        let (at, pointer) = names.write(key, self.out, at)?;
        *owner = Some(names.place());
        Ok((at, pointer))
    }

    #[inline(always)]
    fn tail(&mut self, at: usize, pointer: u16, tail: &[u8; 32]) -> Result<(), Broken> {
        let to = self.out.get_mut(at..).and_then(|to| to.first_chunk_mut::<32>()).ok_or(Broken)?;
        *to = *tail;
        *to.first_chunk_mut::<2>().ok_or(Broken)? = (0xC000 | pointer).to_be_bytes();
        Ok(())
    }

    /// Writes the count: octets of the message.
    pub(super) fn finish(self) -> usize {
        if let Some(count) = self.out.get_mut(6..8) {
            count.copy_from_slice(&self.answers.to_be_bytes());
        }
        self.at
    }
}
