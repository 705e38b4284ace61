//! Blocks of 2^k words out of a few large pieces of memory.
//!
//! Halves that are free become whole again (a buddy system: Knuth, The Art of Computer Programming, 2.5), so that what small sketches left
//! serves larger ones: below the bound no memory is stuck in a size that nobody wants any more.

use crate::memory::Charge;

/// Largest power: three quarters of such a block hold the hashes of the largest threshold.
const LARGEST: u32 = 18;
/// Words of a piece, as a power of two. Larger blocks are pieces of their own.
const PIECE: u32 = 13;
/// Blocks begin at every second word.
const UNITS: u32 = PIECE - 1;
/// No block: ends a list.
const NONE: u32 = u32::MAX;
/// Bits of an address, so that a handle has room beside it: 1 GiB.
pub(super) const ADDRESS_BITS: u32 = 26;

/// Octets of a line of the cache: blocks of so many lie on one, not on two.
const LINE: usize = 64;
const LINE_WORDS: usize = LINE / size_of::<u64>();

struct Piece {
    /// With room to begin at a line.
    words: Box<[u64]>,
    first: usize,
    /// The power of the free block that begins at a unit; zero where none does.
    free: Box<[u8]>,
}

/// The pieces, and which blocks are free.
pub(super) struct Blocks {
    pieces: Vec<Piece>,
    /// The first free block of each power; each tells in its first word which ones come before and after it.
    first: [u32; PIECE as usize + 1],
    large: Vec<(u32, u32)>,
    charge: Charge,
}

impl Blocks {
    pub(super) const fn new(charge: Charge) -> Self {
        Self { pieces: Vec::new(), first: [NONE; PIECE as usize + 1], large: Vec::new(), charge }
    }

    pub(super) const fn octets(&self) -> usize {
        self.charge.octets()
    }

    /// The words of a block; none for an address or a power that no block has.
    pub(super) fn get(&self, address: u32, power: u32) -> &[u64] {
        let (piece, from) = place(address);
        let (words, first) = self.pieces.get(piece).map(|piece| (&*piece.words, piece.first)).unwrap_or_default();
        words.get(first + from..first + from + words_of(power)).unwrap_or_default()
    }

    pub(super) fn get_mut(&mut self, address: u32, power: u32) -> &mut [u64] {
        let (piece, from) = place(address);
        let (words, first) = self.pieces.get_mut(piece).map(|piece| (&mut *piece.words, piece.first)).unwrap_or_default();
        words.get_mut(first + from..first + from + words_of(power)).unwrap_or_default()
    }

    /// A block of zeros; none where there is no room.
    pub(super) fn allocate(&mut self, power: u32) -> Option<u32> {
        if power > PIECE {
            return self.allocate_large(power);
        }
        let mut found = (power..=PIECE).find(|power| self.first_of(*power) != NONE);
        if found.is_none() {
            let address = self.add_piece(PIECE)?;
            self.push(address, PIECE);
            found = Some(PIECE);
        }
        let mut whole = found?;
        let address = self.first_of(whole);
        self.unlink(address, whole);
        while whole > power {
            whole -= 1;
            self.push(address + (1 << (whole - 1)), whole);
        }
        self.get_mut(address, power).fill(0);
        Some(address)
    }

    pub(super) fn release(&mut self, mut address: u32, mut power: u32) {
        if power > PIECE {
            self.large.push((address, power));
            return;
        }
        while power < PIECE {
            let other = address ^ (1 << (power - 1));
            if self.mark(other).is_none_or(|free| u32::from(*free) != power) {
                break;
            }
            self.unlink(other, power);
            (address, power) = (address.min(other), power + 1);
        }
        self.push(address, power);
    }

    fn allocate_large(&mut self, power: u32) -> Option<u32> {
        if power > LARGEST {
            return None;
        }
        let Some(place) = self.large.iter().position(|(_, free)| *free == power) else { return self.add_piece(power) };
        let (address, _) = self.large.swap_remove(place);
        self.get_mut(address, power).fill(0);
        Some(address)
    }

    /// A piece for a block of this power, zeros.
    fn add_piece(&mut self, power: u32) -> Option<u32> {
        let pieces = 1_usize << (power - PIECE);
        let address = u32::try_from(self.pieces.len()).ok()?.checked_mul(1 << UNITS)?;
        let marks = if power == PIECE { 1 << UNITS } else { 0 };
        let fits = self.pieces.len() + pieces <= 1 << (ADDRESS_BITS - UNITS);
        if !fits || !self.charge.try_add(words_of(power) * size_of::<u64>() + marks) {
            return None;
        }
        let words: Box<[u64]> = vec![0; words_of(power) + LINE_WORDS - 1].into();
        // Where no line begins within the room, which cannot be, nothing is lost but time.
        let first = Some(words.as_ptr().align_offset(LINE)).filter(|first| *first < LINE_WORDS).unwrap_or_default();
        self.pieces.push(Piece { words, first, free: vec![0; marks].into() });
        // A larger one takes the addresses of several.
        self.pieces.extend((1..pieces).map(|_| Piece { words: Box::default(), first: 0, free: Box::default() }));
        Some(address)
    }

    fn first_of(&self, power: u32) -> u32 {
        self.first.get(power as usize).copied().unwrap_or(NONE)
    }

    fn mark(&mut self, address: u32) -> Option<&mut u8> {
        let unit = address & ((1 << UNITS) - 1);
        self.pieces.get_mut(place(address).0)?.free.get_mut(unit as usize)
    }

    fn set_links(&mut self, address: u32, change: impl FnOnce((u32, u32)) -> (u32, u32)) {
        if let Some(word) = self.get_mut(address, 1).first_mut() {
            let (before, after) = change(((*word >> 32) as u32, *word as u32));
            *word = (u64::from(before) << 32) | u64::from(after);
        }
    }

    fn push(&mut self, address: u32, power: u32) {
        let after = self.first_of(power);
        self.set_links(address, |_| (NONE, after));
        self.set_links(after, |(_, after)| (address, after));
        if let Some(mark) = self.mark(address) {
            *mark = power as u8;
        }
        if let Some(first) = self.first.get_mut(power as usize) {
            *first = address;
        }
    }

    fn unlink(&mut self, address: u32, power: u32) {
        let word = self.get(address, 1).first().copied().unwrap_or(u64::MAX);
        let (before, after) = ((word >> 32) as u32, word as u32);
        self.set_links(before, |(earlier, _)| (earlier, after));
        self.set_links(after, |(_, later)| (before, later));
        if let Some(mark) = self.mark(address) {
            *mark = 0;
        }
        if let Some(first) = self.first.get_mut(power as usize).filter(|_| before == NONE) {
            *first = after;
        }
    }
}

/// Piece, and the word in it.
const fn place(address: u32) -> (usize, usize) {
    ((address >> UNITS) as usize, (address & ((1 << UNITS) - 1)) as usize * 2)
}

/// Powers beyond the largest are those of no block.
const fn words_of(power: u32) -> usize {
    1 << if power > LARGEST { LARGEST + 1 } else { power }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::memory::Budget;

    const PIECE_OCTETS: usize = (8 << PIECE) + (1 << UNITS);

    #[test]
    fn what_small_blocks_left_serves_large_ones() {
        let mut blocks = Blocks::new(Charge::new(&Budget::new(PIECE_OCTETS)));
        let small: Vec<u32> = std::iter::from_fn(|| blocks.allocate(1)).collect();
        assert_eq!(small.len(), 1 << UNITS);
        for block in small {
            blocks.release(block, 1);
        }
        let whole = blocks.allocate(PIECE).unwrap();
        assert_eq!((blocks.allocate(1), blocks.get(whole, PIECE).len()), (None, 1 << PIECE));
    }

    #[test]
    fn blocks_larger_than_a_piece_are_used_again_too() {
        let budget = Budget::new(8 << LARGEST);
        let mut blocks = Blocks::new(Charge::new(&budget));
        let large = blocks.allocate(LARGEST).unwrap();
        assert_eq!((blocks.allocate(LARGEST), blocks.allocate(LARGEST + 1)), (None, None));
        blocks.get_mut(large, LARGEST).fill(7);
        blocks.release(large, LARGEST);
        assert_eq!(blocks.allocate(LARGEST), Some(large));
        assert!(blocks.get(large, LARGEST).iter().all(|word| *word == 0));
        assert_eq!(budget.used(), 8 << LARGEST);
    }

    proptest! {
        /// Each block keeps what is written into it until it is released, and begins with zeros.
        #[test]
        fn no_two_blocks_share_a_word(steps in prop::collection::vec((1_u32..15, any::<prop::sample::Index>(), any::<bool>()), 1..400)) {
            let mut blocks = Blocks::new(Charge::new(&Budget::new(4 * PIECE_OCTETS + (8 << 14))));
            let mut held: Vec<(u32, u32, u64)> = Vec::new();
            for (number, (power, which, release)) in (1_u64..).zip(steps) {
                if release && !held.is_empty() {
                    let (address, power, content) = held.swap_remove(which.index(held.len()));
                    prop_assert!(blocks.get(address, power).iter().all(|word| *word == content));
                    blocks.release(address, power);
                } else if let Some(address) = blocks.allocate(power) {
                    prop_assert_eq!(blocks.get(address, power).len(), 1 << power);
                    prop_assert!(blocks.get(address, power).iter().all(|word| *word == 0));
                    blocks.get_mut(address, power).fill(number);
                    held.push((address, power, number));
                }
            }
            for (address, power, content) in held.drain(..) {
                prop_assert!(blocks.get(address, power).iter().all(|word| *word == content));
                blocks.release(address, power);
            }
            // Nothing is left in parts.
            let whole = (0..blocks.pieces.iter().filter(|piece| !piece.free.is_empty()).count()).all(|_| {
                let first = blocks.first_of(PIECE);
                blocks.unlink(first, PIECE);
                first != NONE
            });
            prop_assert!(whole && blocks.first.iter().all(|first| *first == NONE));
        }
    }
}
