//! Tags of an observation: Core's names for the bits of `tag_mask`.

use std::fmt::{self, Display};

/// Bits that Core has named so far. POP's upstream names differ and describe other things, so they are not accepted.
const NAMED: [(u8, &str); 4] = [(0, "globally_new"), (2, "newly_registered"), (3, "registry_investigation"), (10, "looptest")];

/// One bit of the mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(u8);

/// The text names no tag.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown tag {0:?}: use globally_new, newly_registered, registry_investigation, looptest or bit0 to bit31")]
pub struct TagError(pub String);

impl Tag {
    /// Marks names of loop tests: proof that the way works, and no finding about the name.
    pub const LOOPTEST: Self = Self(10);

    /// Reads `globally_new`, … or `bit0` to `bit31`.
    pub fn parse(text: &str) -> Result<Self, TagError> {
        if let Some((bit, _)) = NAMED.iter().find(|(_, name)| *name == text) {
            return Ok(Self(*bit));
        }
        text.strip_prefix("bit")
            .filter(|digits| !digits.starts_with('+') && (*digits == "0" || !digits.starts_with('0')))
            .and_then(|digits| digits.parse::<u8>().ok())
            .filter(|bit| *bit < 32)
            .map(Self)
            .ok_or_else(|| TagError(text.to_owned()))
    }

    /// The bit's number.
    #[must_use]
    pub const fn bit(self) -> u8 {
        self.0
    }

    /// The bit's value.
    #[must_use]
    pub const fn mask(self) -> u32 {
        1 << self.0
    }
}

impl Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMED.iter().find(|(bit, _)| *bit == self.0) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "bit{}", self.0),
        }
    }
}

/// Mask of all the named tags.
pub fn mask<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<u32, TagError> {
    names.into_iter().try_fold(0, |mask, name| Ok(mask | Tag::parse(name)?.mask()))
}

/// Tags of a mask, lowest bit first.
pub fn tags(mask: u32) -> impl Iterator<Item = Tag> {
    (0u8..32).map(Tag).filter(move |tag| mask & tag.mask() != 0)
}

/// Names of the tags of a mask, lowest bit first.
#[must_use]
pub fn names(mask: u32) -> Vec<String> {
    tags(mask).map(|tag| tag.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_bits() {
        assert_eq!(mask(["globally_new", "looptest"]), Ok(1025));
        assert_eq!(mask(["newly_registered", "registry_investigation", "bit31"]), Ok(0x8000_000c));
        assert_eq!(names(0x0000_040f), ["globally_new", "bit1", "newly_registered", "registry_investigation", "looptest"]);
        assert_eq!(Tag::parse("bit10"), Ok(Tag::LOOPTEST));
    }

    #[test]
    fn every_bit_comes_back_from_its_name() {
        for tag in tags(u32::MAX) {
            assert_eq!(Tag::parse(&tag.to_string()), Ok(tag));
            assert_eq!(Tag::parse(&format!("bit{}", tag.bit())), Ok(tag));
        }
    }

    #[test]
    fn refusals_name_the_text() {
        for bad in ["", "newname", "Looptest", "bit32", "bit01", "bit+1", "bit-1", "bit", "bit999"] {
            assert_eq!(Tag::parse(bad), Err(TagError(bad.to_owned())));
        }
    }
}
