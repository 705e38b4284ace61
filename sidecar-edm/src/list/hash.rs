//! Hashes of a name and of what lies above each of its labels, in one pass from the right.

use std::hash::{BuildHasher as _, RandomState};

/// Odd numbers without a pattern: the fractional parts of square roots, as in SHA-512 (FIPS 180-4, 5.3.5).
const WHOLE: u64 = 0x6a09_e667_f3bc_c909;
const REST: u64 = 0xbb67_ae85_84ca_a73b;
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

    /// Of the root.
    pub(super) const fn root(self) -> u64 {
        self.seed
    }

    /// From the hash of what is to the right; `label` begins with its length octet.
    pub(super) fn label(above: u64, label: &[u8]) -> u64 {
        let (mut hash, mut rest) = (above, label);
        while let Some((chunk, after)) = rest.split_first_chunk::<8>() {
            hash = fold(hash ^ u64::from_le_bytes(*chunk), WHOLE);
            rest = after;
        }
        // The length octet in front tells how much there was.
        let tail = match *rest {
            [] => return hash,
            [a] => u64::from(a),
            [a, b] => u64::from(u16::from_le_bytes([a, b])),
            [a, b, c] => u64::from(u32::from_le_bytes([a, b, c, 0])),
            [a, b, c, d, ..] => {
                let last = rest.last_chunk::<4>().copied().unwrap_or_default();
                u64::from(u32::from_le_bytes([a, b, c, d])) | u64::from(u32::from_le_bytes(last)) << 32
            }
        };
        fold(hash ^ tail, REST)
    }

    /// What an entry has of a name's hash.
    pub(super) fn entry(hash: u64, suffix: bool) -> u64 {
        fold(hash ^ if suffix { SUFFIX } else { 0 }, END)
    }
}

/// Both halves of the product.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ (product >> 64) as u64
}
