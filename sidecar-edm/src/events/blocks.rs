//! Files that only grow: a header, then blocks with a checksum each. What seen names and waiting events are kept in.
//!
//! ```text
//! magic[8] number:u64 created:u64 check:u64 crc:u32   then   length:u32 crc:u32 payload[length] ...   (all big-endian)
//! ```
//! A file is read up to its first block that is not whole. Whether that is the torn end which a crash leaves, or damage, is told apart by what
//! follows: behind a torn end there is nothing, or zeros (a file that was made longer and whose content did not reach the disk). A length that
//! was damaged so that it points behind the end is told by what stands there: the payload is whole, and shorter than the length says. The last
//! payload with damage in it looks like one that was torn, and is taken for that.

use std::io::{self, Read};

/// Octets of a header.
pub(super) const HEADER: usize = 36;
/// Octets in front of a block's payload.
const HEAD: usize = 8;
/// Octets of a payload at most.
pub(super) const LONGEST: usize = 64 << 10;

/// What a file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Its number; files follow each other.
    pub(super) number: u64,
    /// When it was begun, in seconds since the epoch.
    pub(super) created: u64,
    /// Whose it is.
    pub(super) check: u64,
}

impl Header {
    pub(super) fn octets(&self, magic: [u8; 8]) -> [u8; HEADER] {
        let mut octets = [0; HEADER];
        let parts = [magic, self.number.to_be_bytes(), self.created.to_be_bytes(), self.check.to_be_bytes()];
        for (place, octet) in octets.iter_mut().zip(parts.as_flattened()) {
            *place = *octet;
        }
        let checksum = crc32fast::hash(&octets[..HEADER - 4]);
        octets[HEADER - 4..].copy_from_slice(&checksum.to_be_bytes());
        octets
    }

    /// None where it is none of this kind.
    pub(super) fn read(reader: &mut impl Read, magic: [u8; 8]) -> io::Result<Option<Self>> {
        let mut octets = [0; HEADER];
        match reader.read_exact(&mut octets) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            result => result?,
        }
        let word = |index: usize| octets[8 * index..].first_chunk().map_or(0, |chunk| u64::from_be_bytes(*chunk));
        let header = Self { number: word(1), created: word(2), check: word(3) };
        Ok((header.octets(magic) == octets).then_some(header))
    }
}

/// Appends a block to `to`. The payload has at most [`LONGEST`] octets, and one at least.
pub(super) fn push(to: &mut Vec<u8>, payload: &[u8]) {
    debug_assert!(!payload.is_empty() && payload.len() <= LONGEST);
    to.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    to.extend_from_slice(&crc32fast::hash(payload).to_be_bytes());
    to.extend_from_slice(payload);
}

/// Octets of a block with so long a payload.
pub(super) const fn size(payload: usize) -> usize {
    HEAD + payload
}

/// How a file ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With a whole block.
    Whole,
    /// Within one, as after a crash.
    Torn,
    /// With something that no crash leaves.
    Corrupt,
}

/// What could be read of the blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// Octets of the blocks that are whole.
    pub(super) good: u64,
    /// What comes behind them.
    pub(super) end: End,
}

/// Hands out the payloads of all blocks up to the first that is not whole, or that `each` does not understand, with their offsets. `length`:
/// octets that the reader has.
pub(super) fn read(reader: &mut impl Read, length: u64, mut each: impl FnMut(u64, &[u8]) -> bool) -> io::Result<Extent> {
    let (mut good, mut payload) = (0, Vec::new());
    loop {
        let left = length - good;
        let end = match next(reader, left, &mut payload)? {
            Next::Block if each(good, &payload) => {
                good += size(payload.len()) as u64;
                continue;
            }
            Next::Block => End::Corrupt,
            Next::End(end) => end,
        };
        return Ok(Extent { good, end });
    }
}

/// What comes next.
pub(super) enum Next {
    Block,
    End(End),
}

/// Reads one block, of the `left` octets that there still are.
pub(super) fn next(reader: &mut impl Read, left: u64, payload: &mut Vec<u8>) -> io::Result<Next> {
    if left == 0 {
        return Ok(Next::End(End::Whole));
    }
    let mut head = [0; HEAD];
    if left < HEAD as u64 || !filled(reader, &mut head)? {
        return Ok(Next::End(End::Torn));
    }
    let [a, b, c, d, checksum @ ..] = head;
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if length == 0 || length > LONGEST {
        let zeros = head == [0; HEAD] && only_zeros(reader)?;
        return Ok(Next::End(if zeros { End::Torn } else { End::Corrupt }));
    }
    let end = size(length) as u64;
    if end > left {
        return Ok(Next::End(if begins_with(reader, checksum)? { End::Corrupt } else { End::Torn }));
    }
    payload.resize(length, 0);
    if !filled(reader, payload)? {
        return Ok(Next::End(End::Torn));
    }
    if crc32fast::hash(payload).to_be_bytes() == checksum {
        return Ok(Next::Block);
    }
    let torn = end == left || only_zeros(reader)?;
    Ok(Next::End(if torn { End::Torn } else { End::Corrupt }))
}

/// Whether some of the first octets have this checksum.
fn begins_with(reader: &mut impl Read, checksum: [u8; 4]) -> io::Result<bool> {
    let (mut octets, mut hasher) = (Vec::new(), crc32fast::Hasher::new());
    reader.take(LONGEST as u64).read_to_end(&mut octets)?;
    Ok(octets.iter().any(|octet| {
        hasher.update(std::slice::from_ref(octet));
        hasher.clone().finalize().to_be_bytes() == checksum
    }))
}

fn filled(reader: &mut impl Read, place: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(place) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        result => result.map(|()| true),
    }
}

fn only_zeros(reader: &mut impl Read) -> io::Result<bool> {
    let mut octets = [0; 4096];
    loop {
        let read = reader.read(&mut octets)?;
        if read == 0 {
            return Ok(true);
        }
        if octets[..read].iter().any(|octet| *octet != 0) {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAGIC: [u8; 8] = *b"testtest";

    fn file(payloads: &[Vec<u8>]) -> Vec<u8> {
        let mut file = Vec::new();
        payloads.iter().for_each(|payload| push(&mut file, payload));
        file
    }

    fn read_all(file: &[u8]) -> (Vec<Vec<u8>>, Extent) {
        let mut payloads = Vec::new();
        let extent = read(&mut &*file, file.len() as u64, |_, payload| {
            payloads.push(payload.to_vec());
            true
        });
        (payloads, extent.unwrap())
    }

    #[test]
    fn only_the_kind_and_octets_that_were_written_are_a_header() {
        let header = Header { number: 7, created: 1, check: 2 };
        let octets = header.octets(MAGIC);
        assert_eq!(Header::read(&mut &octets[..], MAGIC).unwrap(), Some(header));
        assert_eq!(Header::read(&mut &octets[..], *b"othertst").unwrap(), None);
        assert_eq!(Header::read(&mut &octets[..HEADER - 1], MAGIC).unwrap(), None);
        for place in 0..HEADER {
            let mut damaged = octets;
            damaged[place] ^= 1;
            assert_eq!(Header::read(&mut &damaged[..], MAGIC).unwrap(), None);
        }
    }

    #[test]
    fn damage_is_no_torn_end() {
        let payloads = [vec![1; 10], vec![2; 10], vec![3; 10]];
        let whole = file(&payloads);
        assert_eq!(read_all(&whole), (payloads.to_vec(), Extent { good: 54, end: End::Whole }));
        let mut damaged = whole.clone();
        damaged[30] ^= 1;
        assert_eq!(read_all(&damaged), (payloads[..1].to_vec(), Extent { good: 18, end: End::Corrupt }));
        for (place, good) in [(0, 0), (18, 18), (36, 36)] {
            let mut longer = whole.clone();
            longer[place + 2] ^= 1;
            assert_eq!(read_all(&longer).1, Extent { good, end: End::Corrupt }, "the length of the block at {place}");
        }
        let mut torn = whole.clone();
        torn[53] ^= 1;
        assert_eq!(read_all(&torn).1, Extent { good: 36, end: End::Torn });
        let mut zeros = whole[..40].to_vec();
        zeros.resize(9000, 0);
        assert_eq!(read_all(&zeros).1, Extent { good: 36, end: End::Torn });
        zeros.push(1);
        assert_eq!(read_all(&zeros).1.end, End::Corrupt);
        let mut long = whole;
        long.extend_from_slice(&(LONGEST as u32 + 1).to_be_bytes());
        long.resize(long.len() + LONGEST + 99, 7);
        assert_eq!(read_all(&long).1, Extent { good: 54, end: End::Corrupt });
    }

    proptest! {
        #[test]
        fn cut_anywhere_what_is_whole_is_read(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
            cut in any::<prop::sample::Index>(),
        ) {
            let whole = file(&payloads);
            let cut = cut.index(whole.len() + 1);
            let (read, extent) = read_all(&whole[..cut]);
            prop_assert_eq!(&read[..], &payloads[..read.len()]);
            prop_assert_eq!(extent.good as usize, file(&read).len());
            prop_assert_eq!(extent.end, if extent.good as usize == cut { End::Whole } else { End::Torn });
        }

        #[test]
        fn any_octets_are_read_without_panic(octets in prop::collection::vec(any::<u8>(), 0..200)) {
            let (read, extent) = read_all(&octets);
            prop_assert_eq!(extent.good as usize, file(&read).len());
        }
    }
}
