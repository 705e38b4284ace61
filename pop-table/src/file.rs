//! A sorted table in a file.
//!
//! ```text
//! head     "TAPTAB1\0"
//! blocks   length u16 · form u8 · ancestors u8 · [common value] · ancestors × (key length u8, value) · entries · crc32
//! palette  sets of records that codes refer to
//! index    for each block: length u8 of a separator, its octets, length u16 of the block
//! foot     see [`foot`]
//! ```
//! Numbers are big-endian. A separator is the shortest beginning of a block's first key that the block before does not reach. The
//! ancestors are those of the first key that are listed: so one block tells about a name and about everything above it.
//!
//! Everything but the blocks is checked when a file is opened, each block when it is read: to open a large file takes no longer
//! than to read its index, and damage is found before it does harm.

mod foot;
mod index;
mod lookup;
mod open;
mod scan;
mod write;

pub use open::{OpenError, TableFile};
pub use scan::Scan;
pub use write::{Summary, TableWriter, WriteError};

/// First octets of a file.
const HEAD: &[u8; 8] = b"TAPTAB1\0";
/// Blocks end when they have as many octets: a lookup reads and decodes one, the index in memory holds one entry for each. 4 KiB
/// would halve neither.
const BLOCK_TARGET: usize = 1000;
/// Longest block: as many octets as there can be in front, 127 ancestors with values of 32 octets, and the longest entry.
const BLOCK_MAX: usize = 8192;
/// Octets around what differs from block to block: length, form, number of ancestors, checksum.
const BLOCK_LEAST: usize = 8;
/// Form of a block: each entry has its value.
const FORM_INLINE: u8 = 1;
/// Form of a block: entries without a value have the common one.
const FORM_COMMON: u8 = 0;

/// What stands in a block in front of its entries.
#[derive(Clone, Copy, Debug)]
struct BlockHead<V> {
    /// The common value.
    default: Option<V>,
    /// Number of ancestors, and where they stand.
    ancestors: u8,
    ancestors_at: usize,
}

impl<V: crate::Value> BlockHead<V> {
    fn read(block: &[u8]) -> Result<Self, crate::Broken> {
        let [_, _, form, ancestors, ..] = *block else { return Err(crate::Broken) };
        let mut at = 4;
        let default = match form {
            FORM_INLINE => None,
            FORM_COMMON => Some(V::read(block, &mut at).ok_or(crate::Broken)?),
            _ => return Err(crate::Broken),
        };
        Ok(Self { default, ancestors, ancestors_at: at })
    }

    /// Reads the ancestors of at most `length` octets, the shortest first, and tells where the entries begin.
    fn each_ancestor(&self, block: &[u8], mut each: impl FnMut(usize, V)) -> Result<usize, crate::Broken> {
        let mut at = self.ancestors_at;
        for _ in 0..self.ancestors {
            let length = *block.get(at).ok_or(crate::Broken)?;
            at += 1;
            each(usize::from(length), V::read(block, &mut at).ok_or(crate::Broken)?);
        }
        Ok(at)
    }
}

/// Takes the checksum off a whole block, if it is right.
#[inline]
fn checked(block: &[u8]) -> Option<&[u8]> {
    let (content, checksum) = block.split_last_chunk::<4>()?;
    (crc32fast::hash(content) == u32::from_be_bytes(*checksum)).then_some(content)
}
