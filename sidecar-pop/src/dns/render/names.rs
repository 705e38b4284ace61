//! Which labels stand where in the message under construction.

use tapir_table::{Broken, KeyBuf};

/// Names have at most 127 labels, and the zone is depth 0.
const DEPTHS: usize = 128;
/// Where the zone's name stands in each message.
pub(super) const ZONE_AT: u16 = 12;
/// Pointers to follow for one name at most; where it would be more, the labels are written out. A deep zone of short labels
/// would else take 127 steps a name: unbound fails a packet above 128 000 of them (CVE-2026-96405).
const CHAIN_MAX: u16 = 8;

/// The name that was written last, label by label from the top down.
#[derive(Debug)]
pub(super) struct Names {
    /// Where the label at each depth ends in the key.
    ends: [u16; DEPTHS],
    /// Where the name that ends with it stands in the message, and how many pointers it takes to read it there.
    places: [(u16, u16); DEPTHS],
    depth: usize,
    /// Depths down to which `places` are in this message.
    placed: usize,
}

impl Names {
    pub(super) const fn new() -> Self {
        Self { ends: [0; DEPTHS], places: [(ZONE_AT, 0); DEPTHS], depth: 0, placed: 0 }
    }

    /// A new message, in which nothing stands but the zone.
    pub(super) const fn restart(&mut self) {
        self.placed = 0;
    }

    /// Goes on to a name that shares `shared` octets with the one before; the octets of labels that are to be written for it.
    #[inline(always)]
    pub(super) fn enter(&mut self, key: &KeyBuf, shared: usize) -> Result<usize, Broken> {
        let (octets, length) = (key.padded(), key.len());
        let mut depth = self.depth;
        let mut end = usize::from(self.ends[depth % DEPTHS]);
        while end > shared {
            depth = depth.wrapping_sub(1);
            end = usize::from(self.ends[depth % DEPTHS]);
        }
        self.placed = self.placed.min(depth);
        while end < length {
            let label = octets[end];
            if label.wrapping_sub(1) >= 63 {
                return Err(Broken);
            }
            end += 1 + usize::from(label);
            depth += 1;
            #[expect(clippy::cast_possible_truncation, reason = "254 and 63 octets at most")]
            {
                self.ends[depth % DEPTHS] = end as u16;
            }
        }
        self.depth = depth;
        if end != length || depth == 0 {
            return Err(Broken);
        }
        let (_, chain) = self.places[self.placed % DEPTHS];
        if self.placed > 0 && chain >= CHAIN_MAX {
            self.placed = 0;
        }
        Ok(length - usize::from(self.ends[self.placed % DEPTHS]))
    }

    /// Writes the labels that [`Names::enter`] counted at `at`: where the pointer to the rest comes, and the pointer.
    #[inline(always)]
    pub(super) fn write<const ROOM: usize>(
        &mut self,
        key: &KeyBuf,
        out: &mut [u8; ROOM],
        mut at: usize,
    ) -> Result<(usize, u16), Broken> {
        let (place, chain) = self.places[self.placed % DEPTHS];
        let mut depth = self.depth;
        let mut end = key.len();
        while depth > self.placed {
            let start = usize::from(self.ends[(depth - 1) % DEPTHS]);
            let (from, to) = (key.padded().get(start..).ok_or(Broken)?, out.get_mut(at..).ok_or(Broken)?);
            if end - start <= 32 {
                *to.first_chunk_mut::<32>().ok_or(Broken)? = *from.first_chunk().ok_or(Broken)?;
            } else {
                *to.first_chunk_mut::<64>().ok_or(Broken)? = *from.first_chunk().ok_or(Broken)?;
            }
            #[expect(clippy::cast_possible_truncation, reason = "messages have at most 16383 octets")]
            {
                self.places[depth % DEPTHS] = (at as u16, chain + 1);
            }
            at += end - start;
            end = start;
            depth -= 1;
        }
        self.placed = self.depth;
        Ok((at, place))
    }

    /// Where the name stands that was written last.
    #[inline]
    pub(super) fn place(&self) -> u16 {
        self.places.get(self.depth).map_or(ZONE_AT, |(place, _)| *place)
    }
}
