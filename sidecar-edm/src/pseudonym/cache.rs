//! Pseudonyms of addresses that were seen lately.

use std::fmt;

use super::{CryptoPan, Pseudonym, SentAddress};

/// The most places that there are: some forty megabytes.
const MOST: usize = 1 << 20;
/// Odd, and without a pattern (Knuth, volume 3, section 6.4: multiplication by a fraction of the golden ratio).
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

type Place = (SentAddress, Option<Pseudonym>);

/// A bounded memory of pseudonyms for one thread. Each address has one place, and the last one that came has it. It never grows: somebody who sends from many addresses makes it useless, and no more.
pub struct Cache {
    pan: CryptoPan,
    places: Vec<Place>,
    lookups: Lookups,
}

/// How it went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lookups {
    /// Found.
    pub hits: u64,
    /// Found, but for another address, which had to go.
    pub evicted: u64,
}

impl Cache {
    /// An empty one for so many addresses, or for the next lower power of two.
    #[must_use]
    pub fn new(pan: CryptoPan, addresses: usize) -> Self {
        Self { pan, places: vec![(SentAddress::None, None); places(addresses)], lookups: Lookups::default() }
    }

    /// What one for so many addresses takes of memory.
    #[must_use]
    pub fn octets(addresses: usize) -> usize {
        places(addresses) * size_of::<Place>()
    }

    /// The pseudonym; none where there is no address.
    pub fn of(&mut self, address: SentAddress) -> Option<Pseudonym> {
        let place = place(address, self.places.len())?;
        let Some(place) = self.places.get_mut(place) else { return self.pan.of(address) };
        if place.0 == address {
            self.lookups.hits += 1;
        } else {
            self.lookups.evicted += u64::from(place.1.is_some());
            *place = (address, self.pan.of(address));
        }
        place.1
    }

    /// What was counted since the last time.
    pub fn take_lookups(&mut self) -> Lookups {
        std::mem::take(&mut self.lookups)
    }
}

fn places(addresses: usize) -> usize {
    addresses.min(MOST).checked_ilog2().map_or(0, |power| 1 << power)
}

/// Of so many, a power of two; any where there are none. None where there is no address.
fn place(address: SentAddress, places: usize) -> Option<usize> {
    let folded = match address {
        SentAddress::None => return None,
        SentAddress::V4(octets) => u64::from(u32::from_be_bytes(octets)),
        SentAddress::V6(octets) => {
            let address = u128::from_be_bytes(octets);
            (address >> 64) as u64 ^ (address as u64).rotate_left(32)
        }
    };
    // The upper bits are the mixed ones.
    Some((folded.wrapping_mul(FACTOR) >> 32) as usize & places.wrapping_sub(1))
}

impl fmt::Debug for Cache {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Cache").field("lookups", &self.lookups).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pseudonym::Key;

    fn pan() -> CryptoPan {
        CryptoPan::new(&Key::of_octets([9; 32]))
    }

    #[test]
    fn an_address_is_found_again_until_another_has_its_place() {
        let mut cache = Cache::new(pan(), 1000);
        let one = SentAddress::V4([192, 0, 2, 1]);
        let rival = (0_u32..)
            .map(|number| SentAddress::V4(number.to_be_bytes()))
            .find(|other| *other != one && place(*other, 512) == place(one, 512))
            .unwrap();
        for address in [one, one, rival, one] {
            assert_eq!(cache.of(address), pan().of(address));
        }
        assert_eq!(cache.take_lookups(), Lookups { hits: 1, evicted: 2 });
        assert_eq!(cache.take_lookups(), Lookups::default());
        assert_eq!(cache.of(SentAddress::None), None);
        assert!(!format!("{cache:?}").contains("192"));
    }

    proptest! {
        #[test]
        fn it_says_what_the_key_says(addresses in prop::collection::vec(prop_oneof![
            (0_u32..40).prop_map(|number| SentAddress::V4(number.to_be_bytes())),
            (0_u128..40).prop_map(|number| SentAddress::V6(number.to_be_bytes())),
            any::<[u8; 16]>().prop_map(SentAddress::V6),
        ], 0..60), places in 0_usize..100) {
            let mut cache = Cache::new(pan(), places);
            for address in addresses {
                prop_assert_eq!(cache.of(address), pan().of(address));
            }
        }
    }
}
