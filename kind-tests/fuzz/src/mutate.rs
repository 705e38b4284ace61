//! Changes of octets, from a seed.

/// Random numbers that are the same for the same seed (xorshift64*).
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap_or(0) % end.max(1)
    }
}

/// Longest input; what is longer teaches nothing more.
const LONGEST: usize = 1 << 14;
/// Numbers at which lengths and counts go wrong.
const EDGES: [u64; 12] = [0, 1, 0x3f, 0x40, 0x7f, 0x80, 0xc0, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff];

/// One input made of others.
pub(crate) fn mutated(dice: &mut Dice, inputs: &[Vec<u8>]) -> Vec<u8> {
    let pick = |dice: &mut Dice| inputs[dice.below(inputs.len())].clone();
    let mut octets = pick(dice);
    for _ in 0..=dice.below(4) {
        let at = dice.below(octets.len() + 1);
        match dice.below(9) {
            0 => {
                if let Some(octet) = octets.get_mut(at) {
                    *octet ^= 1 << dice.below(8);
                }
            }
            1 => {
                if let Some(octet) = octets.get_mut(at) {
                    *octet = u8::try_from(dice.next() & 0xff).unwrap_or(0);
                }
            }
            2 => edge(dice, &mut octets, at),
            3 => octets.truncate(at),
            4 => {
                let end = (at + 1 + dice.below(16)).min(octets.len());
                octets.drain(at..end);
            }
            5 => {
                let some: Vec<u8> = (0..=dice.below(8)).map(|_| u8::try_from(dice.next() & 0xff).unwrap_or(0)).collect();
                octets.splice(at..at, some);
            }
            // A part of it again, there or elsewhere.
            6 => {
                let from = dice.below(octets.len() + 1);
                let end = (from + 1 + dice.below(64)).min(octets.len());
                let part = octets[from..end].to_vec();
                octets.splice(at..at, part);
            }
            // The beginning of one and the end of another.
            7 => {
                let other = pick(dice);
                octets.truncate(at);
                octets.extend_from_slice(&other[dice.below(other.len() + 1)..]);
            }
            // What is in the middle of another.
            _ => {
                let other = pick(dice);
                let from = dice.below(other.len() + 1);
                let end = (from + dice.below(64)).min(other.len());
                octets.splice(at..at, other[from..end].iter().copied());
            }
        }
    }
    octets.truncate(LONGEST);
    octets
}

/// A number that is the least, the greatest, or close to one.
fn edge(dice: &mut Dice, octets: &mut [u8], at: usize) {
    let number = EDGES[dice.below(EDGES.len())].wrapping_add(dice.next() % 3).wrapping_sub(1);
    let width = [1, 2, 4, 8][dice.below(4)];
    if let Some(place) = octets.get_mut(at..at + width) {
        let whole = if dice.below(4) == 0 { number.to_le_bytes() } else { number.to_be_bytes() };
        let from = if dice.below(4) == 0 { 0 } else { 8 - width };
        place.copy_from_slice(&whole[from..from + width]);
    }
}
