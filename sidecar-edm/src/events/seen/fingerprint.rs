//! What is kept of a name: 96 bits of a keyed hash.

use std::io::{self, Read as _, Write as _};
use std::path::Path;

use super::siphash;
use crate::disk::Unfinished;
use crate::events::writes;

/// Octets of a fingerprint.
pub(super) const OCTETS: usize = 12;
const TAG_BITS: u32 = 56;
const PLACE_BITS: u32 = 40;

const FILE: &str = "secret";
const KEY_OCTETS: usize = 16;

/// Where a name belongs, and by what it is known there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint {
    place: u64,
    tag: u64,
}

impl Fingerprint {
    fn new([first, second]: [u64; 2]) -> Self {
        // Zero is no tag: an empty slot has it.
        Self { place: first >> (u64::BITS - PLACE_BITS), tag: (second >> (u64::BITS - TAG_BITS)).max(1) }
    }

    /// One of so many places.
    #[inline]
    pub(super) fn place(self, places: usize) -> usize {
        ((u128::from(self.place) * places as u128) >> PLACE_BITS) as usize
    }

    /// At most 56 bits, and never zero.
    #[inline]
    pub(super) const fn tag(self) -> u64 {
        self.tag
    }

    /// For a file.
    #[must_use]
    pub fn octets(self) -> [u8; OCTETS] {
        let whole = u128::from(self.place) << TAG_BITS | u128::from(self.tag);
        let mut octets = [0; OCTETS];
        octets.copy_from_slice(&whole.to_le_bytes()[..OCTETS]);
        octets
    }

    /// From a file.
    #[must_use]
    pub fn from_octets(octets: [u8; OCTETS]) -> Self {
        let mut whole = [0; 16];
        whole[..OCTETS].copy_from_slice(&octets);
        let whole = u128::from_le_bytes(whole);
        Self { place: (whole >> TAG_BITS) as u64, tag: ((whole as u64) & ((1 << TAG_BITS) - 1)).max(1) }
    }
}

/// The key of the hash. It stays with the state folder: fingerprints mean nothing without it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret([u64; 2]);

impl Secret {
    /// The one in `folder`; where none is, `otherwise` is kept there.
    ///
    /// # Errors
    /// When it can neither be read nor kept: then one that was drawn serves until it can.
    pub fn load(folder: &Path, otherwise: Self) -> io::Result<Self> {
        if let Some(known) = read(folder)? {
            return Ok(known);
        }
        let mut file = Unfinished::create(folder, FILE)?;
        file.write_all(otherwise.0.map(u64::to_le_bytes).as_flattened())?;
        file.finish()?;
        Ok(otherwise)
    }

    /// A new one.
    #[must_use]
    pub fn draw() -> Self {
        Self(rand::random())
    }

    fn from_octets(octets: [u8; KEY_OCTETS]) -> Self {
        let [a, b, c, d, e, f, g, h, rest @ ..] = octets;
        Self([u64::from_le_bytes([a, b, c, d, e, f, g, h]), u64::from_le_bytes(rest)])
    }

    /// Of a name's key, [`crate::names::Key::octets`].
    #[inline]
    #[must_use]
    pub fn fingerprint(&self, key: &[u8]) -> Fingerprint {
        Fingerprint::new(siphash::hash(self.0, key))
    }

    /// 64 bits of anything.
    #[must_use]
    pub fn hash(&self, octets: &[u8]) -> u64 {
        siphash::hash(self.0, octets)[0]
    }

    /// Tells fingerprints of this secret from those of another, and tells nothing else of it.
    #[must_use]
    pub fn check(&self) -> u64 {
        // No name's key: that begins with a length of at most 63.
        self.hash(b"\xffwhose fingerprints are these?")
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Secret").finish_non_exhaustive()
    }
}

fn read(folder: &Path) -> io::Result<Option<Secret>> {
    let mut octets = Vec::new();
    match writes::to_read(&folder.join(FILE)) {
        Ok(file) => file.take(KEY_OCTETS as u64 + 1).read_to_end(&mut octets)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let secret = octets.try_into().ok().map(Secret::from_octets);
    if secret.is_none() {
        tracing::warn!(folder = %folder.display(), "the secret of seen names is damaged; another one is drawn, and names count as new");
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_folder_keeps_its_secret() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let load = |folder: &Path| Secret::load(folder, Secret::draw()).unwrap();
        let secret = load(first.path());
        assert_eq!(load(first.path()), secret);
        assert_ne!(load(second.path()), secret);
        std::fs::write(first.path().join(FILE), "short").unwrap();
        let other = load(first.path());
        assert_eq!(load(first.path()), other);
        assert_ne!(other, secret);
        assert_ne!(other.check(), secret.check());
        assert_eq!(format!("{other:?}"), "Secret { .. }");
        std::fs::write(first.path().join("file"), "").unwrap();
        Secret::load(&first.path().join("file/below"), secret).unwrap_err();
    }

    proptest! {
        #[test]
        fn a_fingerprint_comes_back_from_its_octets(hash: [u64; 2], places in 1usize..1 << 30) {
            let print = Fingerprint::new(hash);
            prop_assert_eq!(Fingerprint::from_octets(print.octets()), print);
            prop_assert!(print.tag() > 0 && print.tag() >> TAG_BITS == 0 && print.place(places) < places);
        }

        #[test]
        fn any_octets_are_one(octets: [u8; OCTETS], places in 1usize..1 << 30) {
            let print = Fingerprint::from_octets(octets);
            prop_assert!(print.tag() > 0 && print.place(places) < places);
        }
    }
}
