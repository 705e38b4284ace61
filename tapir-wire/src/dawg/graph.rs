//! A file in memory, read where it stands: nodes and edges at any bit, and never anything but an error whatever is there.

use super::DawgError;
use super::read::Header;

#[derive(Debug)]
pub(super) struct Graph<'a> {
    pub(super) file: &'a [u8],
    pub(super) header: Header,
}

/// What stands in front of a node's edges.
pub(super) struct Node {
    pub(super) terminal: bool,
    /// The one edge leads to what follows it.
    pub(super) falls_through: bool,
    pub(super) edges: u64,
    pub(super) skip_bits: u32,
    /// Where the first edge stands.
    pub(super) at: u64,
}

pub(super) struct Edge {
    pub(super) character: char,
    pub(super) skip: u64,
    pub(super) target: u64,
    pub(super) end: u64,
}

impl Graph<'_> {
    /// The bits from a place on, [`LOOK`] or more, at the top; zeros behind the end.
    #[inline]
    fn peek(&self, at: u64) -> u64 {
        let start = usize::try_from(at / 8).unwrap_or(usize::MAX);
        let rest = self.file.get(start..).unwrap_or_default();
        let octets = rest.first_chunk::<8>().copied().unwrap_or_else(|| {
            let mut padded = [0; 8];
            padded.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            padded
        });
        u64::from_be_bytes(octets) << (at % 8)
    }

    /// At most as many as one look shows.
    pub(super) fn bits(&self, at: u64, count: u32) -> u64 {
        Top(self.peek(at)).take(count)
    }

    pub(super) fn node(&self, at: u64) -> Result<Node, DawgError> {
        let mut bits = Top(self.peek(at));
        let terminal = bits.take(1) == 1;
        if bits.take(1) == 1 {
            return Ok(Node { terminal, falls_through: true, edges: 1, skip_bits: 0, at: at + 2 });
        }
        if bits.take(1) == 1 {
            return Ok(Node { terminal, falls_through: false, edges: 1, skip_bits: 0, at: at + 3 });
        }
        let (edges, length) = bits.variable().ok_or(DawgError::Truncated)?;
        let skip_bits = bits.take(self.header.skip_length_bits) as u32;
        if skip_bits > 32 {
            return Err(DawgError::BadCounts);
        }
        let at = at + 3 + u64::from(length) + u64::from(self.header.skip_length_bits);
        Ok(Node { terminal, falls_through: false, edges, skip_bits, at })
    }

    /// The first edge of a node has no skip bits: its skip is whether a word ends at the node.
    pub(super) fn edge(&self, at: u64, skip_bits: u32, falls_through: bool) -> Result<Edge, DawgError> {
        let Header { character_bits, address_bits, .. } = self.header;
        let mut bits = Top(self.peek(at));
        let character = character_of(bits.take(character_bits))?;
        let skip = bits.take(skip_bits);
        let at = at + u64::from(character_bits + skip_bits);
        if falls_through {
            return Ok(Edge { character, skip, target: at, end: at });
        }
        // In the same look where that goes so far.
        let fits = character_bits + skip_bits + address_bits <= LOOK;
        let target = if fits { bits } else { Top(self.peek(at)) }.take(address_bits);
        Ok(Edge { character, skip, target, end: at + u64::from(address_bits) })
    }

    #[inline]
    pub(super) fn look(&self, at: u64) -> Look {
        Look { bits: self.peek(at), left: LOOK, at, header: self.header }
    }
}

/// Bits that one look shows at least.
const LOOK: u32 = 57;

/// Nodes at which no word ends and that have one edge, as most are: as many as are seen in one look.
pub(super) struct Look {
    bits: u64,
    left: u32,
    /// Where the next node begins.
    pub(super) at: u64,
    header: Header,
}

/// Such a node.
pub(super) struct Single {
    pub(super) character: char,
    /// Where its edge leads; none where that is what follows it.
    pub(super) target: Option<u64>,
}

impl Look {
    /// The next one; none where something else follows, or the rest is out of sight.
    #[inline]
    pub(super) fn single(&mut self) -> Result<Option<Single>, DawgError> {
        let Header { character_bits, address_bits, .. } = self.header;
        let falls_through = self.bits >> 62 == 0b01;
        let head = if falls_through { 2 } else { 3 };
        let length = head + character_bits + if falls_through { 0 } else { address_bits };
        if self.left < length || !(falls_through || self.bits >> 61 == 0b001) {
            return Ok(None);
        }
        let mut bits = Top(self.bits << head);
        let character = character_of(bits.take(character_bits))?;
        let target = (!falls_through).then(|| bits.take(address_bits));
        (self.bits, self.left, self.at) = (self.bits << length, self.left - length, self.at + u64::from(length));
        Ok(Some(Single { character, target }))
    }
}

#[inline]
fn character_of(number: u64) -> Result<char, DawgError> {
    u32::try_from(number).ok().and_then(char::from_u32).ok_or(DawgError::BadEdge)
}

/// Bits that are taken from the top.
struct Top(u64);

impl Top {
    #[inline]
    fn take(&mut self, count: u32) -> u64 {
        // In two steps, so that none may be taken.
        let taken = self.0 >> 1 >> (63 - count);
        self.0 <<= count;
        taken
    }

    /// A number in groups of seven bits, and how many bits it took.
    fn variable(&mut self) -> Option<(u64, u32)> {
        let mut value = 0;
        for groups in 1..=5 {
            let octet = self.take(8);
            value = value << 7 | (octet & 0x7f);
            if octet & 0x80 == 0 {
                return Some((value, 8 * groups));
            }
        }
        None
    }
}
