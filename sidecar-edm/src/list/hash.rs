//! Hashes of entries, eight octets at a time.

use std::hash::{BuildHasher as _, RandomState};

/// Odd numbers without a pattern: the fractional parts of square roots, as in SHA-512 (FIPS 180-4, 5.3.5).
const WHOLE: u64 = 0x6a09_e667_f3bc_c909;
const END: u64 = 0x3c6e_f372_fe94_f82b;
const SUFFIX: u64 = 0xa54f_f53a_5f1d_36f1;

/// More labels no name has (RFC 1035 section 2.3.4: 255 octets).
pub(super) const MAX_LABELS: usize = 127;

/// Keyed with a secret of this process, so that nobody outside can construct names that all fall on one place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hasher {
    seed: u64,
}

impl Hasher {
    pub(super) fn new() -> Self {
        Self { seed: RandomState::new().hash_one(END) }
    }

    /// Of an entry: the name on the wire without the root's zero, and whether it stands for what is below it.
    #[inline]
    pub(super) fn entry(self, name: &[u8], suffix: bool) -> u64 {
        let (mut hash, mut rest) = (self.seed ^ name.len() as u64 ^ if suffix { SUFFIX } else { 0 }, name);
        while let Some((chunk, after)) = rest.split_first_chunk::<8>().filter(|(_, after)| !after.is_empty()) {
            hash = fold(hash ^ u64::from_le_bytes(*chunk), WHOLE);
            rest = after;
        }
        // The last eight octets once more, as far as they were taken: the length tells how much there was.
        let last = name.last_chunk().map_or_else(|| short(name), |last| u64::from_le_bytes(*last));
        fold(hash ^ last, END)
    }
}

/// All octets of less than eight.
fn short(name: &[u8]) -> u64 {
    if let (Some(first), Some(last)) = (name.first_chunk::<4>(), name.last_chunk::<4>()) {
        return u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << 32;
    }
    name.iter().fold(0, |all, octet| all << 8 | u64::from(*octet))
}

/// Both halves of the product.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ (product >> 64) as u64
}
