//! The last octets of a file: where everything is.

use super::HEAD;

/// Last octets of a file.
const END: &[u8; 8] = b"TAPEND1\0";
/// Octets before the checksum.
const CHECKED: usize = 56;
/// Octets of a foot.
pub(super) const FOOT: usize = 72;

/// ```text
/// kind u8 · 0 u8 · 0 u16 · serial u32 · nodes u64 · records u64 · blocks u32 · 0 u32 · palette at u64 · index at u64 · size u64
/// crc32 of head, palette, index and these · 0 u32 · "TAPEND1\0"
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Foot {
    pub(super) kind: u8,
    pub(super) serial: u32,
    pub(super) nodes: u64,
    pub(super) records: u64,
    pub(super) blocks: u32,
    pub(super) palette_at: u64,
    pub(super) index_at: u64,
    pub(super) size: u64,
}

impl Foot {
    /// The octets; `body` is palette and index.
    pub(super) fn write(&self, body: &[u8]) -> [u8; FOOT] {
        let mut octets = Vec::with_capacity(FOOT);
        octets.extend([self.kind, 0, 0, 0]);
        octets.extend(self.serial.to_be_bytes());
        octets.extend(self.nodes.to_be_bytes());
        octets.extend(self.records.to_be_bytes());
        octets.extend(self.blocks.to_be_bytes());
        octets.extend([0; 4]);
        for place in [self.palette_at, self.index_at, self.size] {
            octets.extend(place.to_be_bytes());
        }
        let checksum = checksum(body, &octets);
        octets.extend(checksum.to_be_bytes());
        octets.extend([0; 4]);
        octets.extend(END);
        octets.try_into().unwrap_or([0; FOOT])
    }

    /// Reads what is written there, unchecked so far but for what does not depend on the rest.
    pub(super) fn read(octets: &[u8; FOOT]) -> Option<Self> {
        let long = |at: usize| Some(u64::from_be_bytes(*octets.get(at..)?.first_chunk()?));
        let short = |at: usize| Some(u32::from_be_bytes(*octets.get(at..)?.first_chunk()?));
        let foot = Self {
            kind: *octets.first()?,
            serial: short(4)?,
            nodes: long(8)?,
            records: long(16)?,
            blocks: short(24)?,
            palette_at: long(32)?,
            index_at: long(40)?,
            size: long(48)?,
        };
        (octets.ends_with(END) && short(60)? == 0).then_some(foot)
    }

    /// Whether `octets`, which this was read from, are those that were written with this `body`.
    pub(super) fn is_checked(octets: &[u8; FOOT], body: &[u8]) -> bool {
        let (front, rest) = octets.split_at(CHECKED);
        rest.first_chunk().is_some_and(|stated| checksum(body, front) == u32::from_be_bytes(*stated))
    }
}

fn checksum(body: &[u8], front: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for part in [HEAD.as_slice(), body, front] {
        hasher.update(part);
    }
    hasher.finalize()
}
