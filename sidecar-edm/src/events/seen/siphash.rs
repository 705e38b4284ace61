//! SipHash with 128 bits of output (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012, and their reference for the long
//! output): with a secret key nobody can find inputs that collide, and it is fast for names.

/// Rounds for each eight octets, and at the end: SipHash-1-3, as the standard library's maps use it.
const ROUNDS: (usize, usize) = (1, 3);

struct State([u64; 4]);

impl State {
    const fn new(key: [u64; 2]) -> Self {
        Self([
            key[0] ^ 0x736f_6d65_7073_6575,
            // The last octet differs from that of the short output.
            key[1] ^ 0x646f_7261_6e64_6f6d ^ 0xee,
            key[0] ^ 0x6c79_6765_6e65_7261,
            key[1] ^ 0x7465_6462_7974_6573,
        ])
    }

    #[inline]
    const fn rounds(&mut self, count: usize) {
        let [mut a, mut b, mut c, mut d] = self.0;
        let mut round = 0;
        while round < count {
            a = a.wrapping_add(b);
            b = b.rotate_left(13) ^ a;
            a = a.rotate_left(32);
            c = c.wrapping_add(d);
            d = d.rotate_left(16) ^ c;
            a = a.wrapping_add(d);
            d = d.rotate_left(21) ^ a;
            c = c.wrapping_add(b);
            b = b.rotate_left(17) ^ c;
            c = c.rotate_left(32);
            round += 1;
        }
        self.0 = [a, b, c, d];
    }

    #[inline]
    const fn word(&mut self, word: u64, rounds: usize) {
        self.0[3] ^= word;
        self.rounds(rounds);
        self.0[0] ^= word;
    }

    #[inline]
    const fn half(&mut self, mark: (usize, u64), rounds: usize) -> u64 {
        self.0[mark.0] ^= mark.1;
        self.rounds(rounds);
        let [a, b, c, d] = self.0;
        a ^ b ^ c ^ d
    }
}

/// 128 bits of these octets.
#[inline]
pub(super) fn hash(key: [u64; 2], octets: &[u8]) -> [u64; 2] {
    with_rounds(key, octets, ROUNDS)
}

#[inline]
fn with_rounds(key: [u64; 2], octets: &[u8], (each, last): (usize, usize)) -> [u64; 2] {
    let mut state = State::new(key);
    let mut rest = octets;
    while let Some((word, after)) = rest.split_first_chunk() {
        state.word(u64::from_le_bytes(*word), each);
        rest = after;
    }
    // The length modulo 256 stands behind what is left.
    let mut tail = [0; 8];
    tail[7] = octets.len() as u8;
    for (place, octet) in tail.iter_mut().zip(rest) {
        *place = *octet;
    }
    state.word(u64::from_le_bytes(tail), each);
    [state.half((2, 0xee), last), state.half((1, 0xdd), last)]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first vectors of the authors' reference for SipHash-2-4 with 128 bits: key 00..0f, input 00, 01, ....
    #[test]
    fn the_authors_vectors() {
        let key = [u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7]), u64::from_le_bytes([8, 9, 10, 11, 12, 13, 14, 15])];
        let expected = ["a3817f04ba25a8e66df67214c7550293", "da87c1d86b99af44347659119b22fc45"];
        let input: Vec<u8> = (0..63).collect();
        for (length, expected) in expected.iter().enumerate() {
            let [first, second] = with_rounds(key, &input[..length], (2, 4));
            let octets = [first.to_le_bytes(), second.to_le_bytes()].concat();
            assert_eq!(hex::encode(octets), *expected, "{length}");
        }
    }

    /// The short output of the standard library differs in two constants only, so the rounds can be compared at all lengths.
    #[test]
    fn the_rounds_are_those_of_the_standard_library() {
        use std::hash::Hasher as _;

        let input: Vec<u8> = (0..=255).collect();
        for length in 0..=255 {
            let octets = &input[..length];
            let mut theirs = std::hash::DefaultHasher::new();
            theirs.write(octets);
            let mut state = State::new([0, 0]);
            state.0[1] ^= 0xee;
            let mut rest = octets;
            while let Some((word, after)) = rest.split_first_chunk() {
                state.word(u64::from_le_bytes(*word), 1);
                rest = after;
            }
            let mut tail = [0; 8];
            tail[7] = length as u8;
            tail[..rest.len()].copy_from_slice(rest);
            state.word(u64::from_le_bytes(tail), 1);
            assert_eq!(state.half((2, 0xff), 3), theirs.finish(), "{length}");
        }
    }
}
