//! The form under which a name is looked up: lower case, with the places of its labels.

use super::{MAX_LABELS, MAX_OCTETS, WireName};

/// Room for the key of one name, used again for the next.
///
/// The places of the labels are kept beside it, so that every suffix can be had from the right without another walk.
#[derive(Clone)]
pub struct Key {
    octets: [u8; MAX_OCTETS],
    length: u8,
    starts: [u8; MAX_LABELS],
    labels: u8,
}

impl Default for Key {
    /// That of the root.
    fn default() -> Self {
        Self { octets: [0; MAX_OCTETS], length: 1, starts: [0; MAX_LABELS], labels: 0 }
    }
}

impl Key {
    /// Takes the key of this name.
    #[inline]
    pub fn read(&mut self, name: WireName<'_>) {
        let octets = name.octets();
        let Some(place) = self.octets.get_mut(..octets.len()) else { return };
        place.copy_from_slice(octets);
        // Lengths are at most 63, below all letters, so they need not be told apart.
        place.make_ascii_lowercase();
        let mut start = 0;
        for (place, label) in self.starts.iter_mut().zip(name.labels()) {
            *place = start;
            start = start.wrapping_add(1).wrapping_add(label.len() as u8);
        }
        // At most 255 and 127, as the name says of itself.
        self.length = octets.len() as u8;
        self.labels = name.label_count() as u8;
    }

    /// All octets, the final zero included.
    #[inline]
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.octets[..usize::from(self.length)]
    }

    /// As a name.
    #[must_use]
    pub fn name(&self) -> WireName<'_> {
        WireName::known(self.octets(), self.labels)
    }

    /// Where the labels begin, with the octet of their length, from left to right. None for the root.
    #[inline]
    #[must_use]
    pub fn starts(&self) -> &[u8] {
        &self.starts[..usize::from(self.labels)]
    }

    /// The name itself, then what is left without its first label, and so on down to the last label; each with the final zero.
    /// From the other end for those who hash from the right.
    pub fn suffixes(&self) -> impl DoubleEndedIterator<Item = &[u8]> + ExactSizeIterator {
        let octets = self.octets();
        self.starts().iter().map(move |start| &octets[usize::from(*start)..])
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Key").field("octets", &self.length).field("labels", &self.labels).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::names::Presentation;
    use crate::names::wire::tests::names;
    use crate::vectors;

    /// Keys of upstream are text, and those of suffixes have the dot before them.
    #[test]
    fn recorded_lookups() {
        let vector = vectors::load("dns_names.json");
        let (mut key, mut text) = (Key::default(), Presentation::default());
        for entry in vector["vectors"].as_array().unwrap() {
            let wire = vectors::octets(&entry["wire_name_hex"]);
            key.read(WireName::from_octets(&wire).unwrap());
            assert_eq!(text.read(key.name()), entry["seen_store_key"].as_str().unwrap());
            let mut lookups = vec![text.read(key.name()).to_owned()];
            lookups
                .extend(key.suffixes().skip(1).map(|suffix| format!(".{}", text.read(WireName::from_octets(suffix).unwrap()))));
            let expected: Vec<_> =
                entry["lookup_keys_in_order"].as_array().unwrap().iter().map(|key| key.as_str().unwrap()).collect();
            assert_eq!(lookups, expected, "{}", entry["desc"]);
        }
    }

    #[test]
    fn the_last_name_leaves_nothing_behind() {
        let mut key = Key::default();
        key.read(WireName::from_octets(b"\x03WWW\x07Example\x03ORG\0").unwrap());
        assert_eq!((key.octets(), key.starts()), (b"\x03www\x07example\x03org\0".as_slice(), [0, 4, 12].as_slice()));
        key.read(WireName::from_octets(b"\x02SE\0").unwrap());
        assert_eq!((key.octets(), key.starts()), (b"\x02se\0".as_slice(), [0].as_slice()));
        key.read(WireName::ROOT);
        assert_eq!((key.octets(), key.starts().len(), key.suffixes().len()), (b"\0".as_slice(), 0, 0));
        assert_eq!(key.octets(), Key::default().octets());
    }

    proptest! {
        #[test]
        fn all_spellings_have_one_key_and_other_names_another(octets in names(), other in names()) {
            let (mut key, mut upper) = (Key::default(), Key::default());
            key.read(WireName::from_octets(&octets).unwrap());
            upper.read(WireName::from_octets(&octets.to_ascii_uppercase()).unwrap());
            prop_assert_eq!(key.octets(), upper.octets());
            upper.read(WireName::from_octets(&other).unwrap());
            prop_assert_eq!(key.octets() == upper.octets(), octets.eq_ignore_ascii_case(&other));
            prop_assert!(key.suffixes().rev().all(|suffix| WireName::from_octets(suffix).is_some()));
        }
    }
}
