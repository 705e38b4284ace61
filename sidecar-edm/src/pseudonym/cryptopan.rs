//! The transformation: each bit is turned over or not, as the cipher says of the bits before it.

use std::array;
use std::fmt;

use aes::cipher::{BlockCipherEncrypt as _, KeyInit as _};
use aes::{Aes128, Block};

use super::{Key, Pseudonym, SentAddress};

/// What stands before an IPv4 address in an IPv6 one (RFC 4291 section 2.5.5.2).
const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/// A key, ready for use.
#[derive(Clone)]
pub struct CryptoPan {
    cipher: Aes128,
    pad: u128,
}

impl CryptoPan {
    /// With this key.
    #[must_use]
    pub fn new(key: &Key) -> Self {
        let half = |from: usize| -> [u8; 16] { array::from_fn(|place| key.0[from + place]) };
        let cipher = Aes128::new(&half(0).into());
        let mut pad = Block::from(half(16));
        cipher.encrypt_block(&mut pad);
        Self { cipher, pad: u128::from_be_bytes(pad.into()) }
    }

    /// The pseudonym; none where there is no address.
    #[must_use]
    pub fn of(&self, address: SentAddress) -> Option<Pseudonym> {
        match address {
            SentAddress::None => None,
            SentAddress::V4(octets) => Some(Pseudonym::V4(self.v4(octets))),
            SentAddress::V6(octets) => Some(match octets.split_first_chunk::<12>() {
                Some((&MAPPED, &[a, b, c, d])) => Pseudonym::V4(self.v4([a, b, c, d])),
                _ => Pseudonym::V6(self.v6(octets)),
            }),
        }
    }

    fn v4(&self, octets: [u8; 4]) -> [u8; 4] {
        let address = u32::from_be_bytes(octets);
        // The bits of the address are the first of the block.
        let turned = self.turned::<32>(u128::from(address) << 96);
        (address ^ (turned >> 96) as u32).to_be_bytes()
    }

    fn v6(&self, octets: [u8; 16]) -> [u8; 16] {
        let address = u128::from_be_bytes(octets);
        (address ^ self.turned::<128>(address)).to_be_bytes()
    }

    /// Which of the first bits are turned over. The blocks do not depend on each other, so the cipher gets all of them at once.
    fn turned<const BITS: usize>(&self, address: u128) -> u128 {
        let mut blocks = [Block::default(); BITS];
        for (known, block) in (0..).zip(&mut blocks) {
            // The first `known` bits of the address, the others of the pad.
            let of_pad = u128::MAX.checked_shr(known).unwrap_or_default();
            *block = (address & !of_pad | self.pad & of_pad).to_be_bytes().into();
        }
        self.cipher.encrypt_blocks(&mut blocks);
        let bits = blocks.iter().fold(0, |bits: u128, block| bits << 1 | u128::from(block[0] >> 7));
        bits << (128 - BITS)
    }
}

impl fmt::Debug for CryptoPan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CryptoPan").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::vectors;

    fn sent(text: &str) -> SentAddress {
        match text.parse().unwrap() {
            IpAddr::V4(address) => SentAddress::V4(address.octets()),
            IpAddr::V6(address) => SentAddress::V6(address.octets()),
        }
    }

    fn check(pan: &CryptoPan, vector: &Value) -> usize {
        let pairs = vector["pairs"].as_array().unwrap();
        for pair in pairs {
            let found = match pan.of(sent(pair["in"].as_str().unwrap())).unwrap() {
                Pseudonym::V4(octets) => IpAddr::from(octets),
                Pseudonym::V6(octets) => IpAddr::from(octets),
            };
            assert_eq!(found.to_string(), pair["out"].as_str().unwrap());
        }
        pairs.len()
    }

    fn key(octets: &Value) -> Key {
        Key::of_octets(vectors::octets(octets).try_into().unwrap())
    }

    #[test]
    fn pseudonyms_are_the_recorded_ones() {
        let recorded = vectors::load("cryptopan.json");
        let mut pairs = 0;
        for vector in recorded["vectors"].as_array().unwrap() {
            let pan = CryptoPan::new(&key(&vector["derived_key_hex"]));
            assert_eq!(pan.pad.to_be_bytes().as_slice(), vectors::octets(&vector["pad_hex"]));
            pairs += check(&pan, vector);
        }
        assert_eq!(pairs, 23);
    }

    /// Pairs that were published with the method.
    #[test]
    fn pseudonyms_are_the_published_ones() {
        let Some(octets) = vectors::upstream("edm/cryptopan.json") else { return };
        let recorded: Value = serde_json::from_slice(&octets).unwrap();
        let vector = recorded["vectors"].as_array().unwrap().iter().find(|vector| vector["raw_key_hex"].is_string()).unwrap();
        assert!(check(&CryptoPan::new(&key(&vector["raw_key_hex"])), vector) > 70);
    }

    /// Bit by bit, as the text of the method has it.
    fn slowly(pan: &CryptoPan, address: &[u8]) -> Vec<u8> {
        let pad = pan.pad.to_be_bytes();
        let bit = |octets: &[u8], place: usize| octets[place / 8] >> (7 - place % 8) & 1;
        let mut result = vec![0; address.len()];
        for place in 0..address.len() * 8 {
            let mut block = [0; 16];
            for other in 0..128 {
                let value = if other < place { bit(address, other) } else { bit(&pad, other) };
                block[other / 8] |= value << (7 - other % 8);
            }
            let mut block = Block::from(block);
            pan.cipher.encrypt_block(&mut block);
            result[place / 8] |= (bit(address, place) ^ block[0] >> 7) << (7 - place % 8);
        }
        result
    }

    #[test]
    fn nothing_of_it_is_printed() {
        let pan = CryptoPan::new(&Key::of_octets([7; 32]));
        let address = sent("198.51.100.77");
        let printed = format!("{pan:?} {address:?} {:?}", pan.of(address));
        assert_eq!(printed, "CryptoPan { .. } an IPv4 address Some(a pseudonym of an IPv4 address)");
    }

    proptest! {
        #[test]
        fn all_at_once_is_bit_by_bit(key in any::<[u8; 32]>(), v4 in any::<[u8; 4]>(), v6 in any::<[u8; 16]>()) {
            let pan = CryptoPan::new(&Key::of_octets(key));
            prop_assert_eq!(pan.v4(v4).to_vec(), slowly(&pan, &v4));
            prop_assert_eq!(pan.v6(v6).to_vec(), slowly(&pan, &v6));
        }

        #[test]
        fn what_is_common_stays_common_and_no_more(one in any::<u32>(), common in 0_u32..32) {
            let pan = CryptoPan::new(&Key::of_octets([3; 32]));
            let other = one ^ 1 << (31 - common);
            let [one, other] = [one, other].map(|address| u32::from_be_bytes(pan.v4(address.to_be_bytes())));
            prop_assert_eq!((one ^ other).leading_zeros(), common);
        }
    }
}
