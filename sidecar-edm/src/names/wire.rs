//! A name as it stands on the wire, without compression.

/// Octets of the longest name, the final zero included (RFC 1035 section 3.1).
pub const MAX_OCTETS: usize = 255;
/// Labels of the name with the most of them: one octet each, and its length.
pub const MAX_LABELS: usize = (MAX_OCTETS - 1) / 2;
/// Octets of the longest label.
const MAX_LABEL: usize = 63;

/// A whole name: labels with their lengths, then a zero. Case as received.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct WireName<'a> {
    octets: &'a [u8],
    labels: u8,
}

impl<'a> WireName<'a> {
    /// The root.
    pub const ROOT: Self = Self { octets: &[0], labels: 0 };

    /// These octets, if they are one name and nothing else.
    #[must_use]
    pub fn from_octets(octets: &'a [u8]) -> Option<Self> {
        let mut rest = octets;
        let mut labels = 0;
        loop {
            let (length, after) = rest.split_first()?;
            let length = usize::from(*length);
            if length == 0 {
                return (after.is_empty() && octets.len() <= MAX_OCTETS).then_some(Self { octets, labels });
            }
            if length > MAX_LABEL || usize::from(labels) == MAX_LABELS {
                return None;
            }
            labels += 1;
            rest = after.get(length..)?;
        }
    }

    /// Octets of which the caller has seen already that they are a name of so many labels.
    pub(crate) const fn known(octets: &'a [u8], labels: u8) -> Self {
        Self { octets, labels }
    }

    /// All octets, the final zero included.
    #[must_use]
    pub const fn octets(self) -> &'a [u8] {
        self.octets
    }

    /// How many labels; the root has none.
    #[must_use]
    pub const fn label_count(self) -> usize {
        self.labels as usize
    }

    /// The labels from left to right.
    #[must_use]
    pub const fn labels(self) -> Labels<'a> {
        Labels { rest: self.octets }
    }
}

impl std::fmt::Debug for WireName<'_> {
    /// What somebody asked for is nobody's business in a log.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("WireName").field("octets", &self.octets.len()).field("labels", &self.labels).finish()
    }
}

/// Labels from left to right.
#[derive(Clone)]
pub struct Labels<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Labels<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, after) = self.rest.split_first()?;
        if *length == 0 {
            return None;
        }
        let (label, rest) = after.split_at_checked(usize::from(*length))?;
        self.rest = rest;
        Some(label)
    }
}

impl std::fmt::Debug for Labels<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Labels").field("octets", &self.rest.len()).finish()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Names of any octets, up to the longest.
    pub(crate) fn names() -> impl Strategy<Value = Vec<u8>> {
        let octet = prop_oneof![4 => b'a'..=b'z', 1 => b'A'..=b'Z', 2 => any::<u8>(), 1 => Just(b'.'), 1 => Just(b'\\')];
        let label = prop_oneof![6 => 1usize..12, 1 => 1usize..64]
            .prop_flat_map(move |length| prop::collection::vec(octet.clone(), length));
        prop::collection::vec(label, 0..130).prop_map(|labels| {
            let mut name = Vec::new();
            for label in labels {
                if name.len() + label.len() + 2 > MAX_OCTETS {
                    break;
                }
                name.push(u8::try_from(label.len()).unwrap());
                name.extend_from_slice(&label);
            }
            name.push(0);
            name
        })
    }

    #[test]
    fn only_whole_names_are_names() {
        let labels = |octets: &[u8]| WireName::from_octets(octets).map(WireName::label_count);
        assert_eq!(labels(b"\0"), Some(0));
        assert_eq!(labels(b"\x03www\x07example\0"), Some(2));
        assert_eq!(labels(&[[1, b'a'].repeat(127).as_slice(), &[0]].concat()), Some(127));
        assert_eq!(labels(&[[1, b'a'].repeat(128).as_slice(), &[0]].concat()), None);
        assert_eq!(labels(&[&[63], [b'a'; 63].as_slice()].concat().repeat(4)), None, "no end");
        assert_eq!(labels(b"\x40a\0"), None);
        assert_eq!(labels(b"\x01a\0x"), None);
        assert_eq!(labels(b"\x05abc\0"), None);
        assert_eq!(labels(b""), None);
        assert_eq!(WireName::from_octets(b"\0"), Some(WireName::ROOT));
    }

    #[test]
    fn debug_output_shows_no_name() {
        let name = WireName::from_octets(b"\x06secret\0").unwrap();
        assert!(!format!("{name:?} {:?}", name.labels()).contains("secret"));
    }

    proptest! {
        #[test]
        fn labels_put_together_again_are_the_name(octets in names()) {
            let name = WireName::from_octets(&octets).unwrap();
            let mut again = Vec::new();
            for label in name.labels() {
                again.push(u8::try_from(label.len()).unwrap());
                again.extend_from_slice(label);
            }
            again.push(0);
            prop_assert_eq!(name.labels().count(), name.label_count());
            prop_assert_eq!(again, octets);
        }
    }
}
