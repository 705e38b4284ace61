//! The key, from the operator's secret.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

pub(super) const OCTETS: usize = 32;
const MEMORY_KIB: u32 = 64 * 1024;
/// What deriving a key takes of memory, for a moment.
pub const MEMORY: usize = MEMORY_KIB as usize * 1024;
const PASSES: u32 = 1;
const LANES: u32 = 4;

/// Why there is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Argon2 asks for eight octets.
    #[error("the salt of the key for pseudonyms is shorter than 8 octets")]
    ShortSalt,
    /// Too little memory, most likely.
    #[error("deriving the key for pseudonyms: {0}")]
    Derive(argon2::Error),
}

/// 256 bits, of which the first half is the key of the cipher and the second makes the pad.
#[derive(Clone)]
pub struct Key(pub(super) Zeroizing<[u8; OCTETS]>);

impl Key {
    /// Argon2id with upstream's parameters. Takes 64 MiB and some hundredths of a second; both are given back.
    ///
    /// # Errors
    /// When the salt is too short, or there is not so much memory.
    pub fn derive(secret: &str, salt: &str) -> Result<Self, KeyError> {
        let derive = || -> Result<Self, argon2::Error> {
            let parameters = Params::new(MEMORY_KIB, PASSES, LANES, Some(OCTETS))?;
            let mut octets = Zeroizing::new([0; OCTETS]);
            let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters);
            argon.hash_password_into(secret.as_bytes(), salt.as_bytes(), octets.as_mut_slice())?;
            Ok(Self(octets))
        };
        derive().map_err(|error| match error {
            argon2::Error::SaltTooShort => KeyError::ShortSalt,
            error => KeyError::Derive(error),
        })
    }

    /// One that was derived before.
    #[must_use]
    pub fn of_octets(octets: [u8; OCTETS]) -> Self {
        Self(Zeroizing::new(octets))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Key").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors;

    #[test]
    fn keys_are_derived_as_recorded() {
        let recorded = vectors::load("cryptopan.json");
        let vectors = recorded["vectors"].as_array().unwrap();
        assert_eq!(vectors.len(), 3);
        for vector in vectors {
            let key = Key::derive(vector["secret"].as_str().unwrap(), vector["salt"].as_str().unwrap()).unwrap();
            assert_eq!(key.0.as_slice(), vectors::octets(&vector["derived_key_hex"]));
        }
    }

    #[test]
    fn a_salt_that_is_too_short_is_told() {
        assert_eq!(Key::derive("secret", "1234567").unwrap_err(), KeyError::ShortSalt);
    }

    #[test]
    fn nothing_of_it_is_printed() {
        assert_eq!(format!("{:?}", Key::of_octets([7; OCTETS])), "Key { .. }");
    }
}
