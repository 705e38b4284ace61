//! Keys that two sides share.

use std::fmt::{self, Debug};
use std::sync::Arc;

use aws_lc_rs::hmac;
use tapir_wire::tsig::{self, TsigKey};

use crate::dns::records::WireName;

/// How a MAC is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// hmac-sha256, which everybody has.
    Sha256,
    /// hmac-sha384.
    Sha384,
    /// hmac-sha512.
    Sha512,
}

impl Algorithm {
    /// All.
    pub const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    /// As it is written everywhere.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "hmac-sha256",
            Self::Sha384 => "hmac-sha384",
            Self::Sha512 => "hmac-sha512",
        }
    }

    /// Its name in messages.
    #[must_use]
    pub const fn wire(self) -> &'static [u8] {
        match self {
            Self::Sha256 => b"\x0bhmac-sha256\0",
            Self::Sha384 => b"\x0bhmac-sha384\0",
            Self::Sha512 => b"\x0bhmac-sha512\0",
        }
    }

    /// Octets of a MAC.
    #[must_use]
    pub const fn octets(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    const fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha384 => hmac::HMAC_SHA384,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }
}

/// A shared secret with its name. The secret is kept in the state of the MAC alone, which clears itself.
pub struct Key {
    /// Name, by which the other side means it.
    pub name: WireName,
    /// Algorithm: a key is used with one only (RFC 8945 section 8).
    pub algorithm: Algorithm,
    secret: hmac::Key,
}

impl Key {
    pub(super) fn context(&self) -> hmac::Context {
        hmac::Context::with_key(&self.secret)
    }
}

impl From<&TsigKey> for Key {
    fn from(key: &TsigKey) -> Self {
        let algorithm = match key.algorithm {
            tsig::Algorithm::HmacSha256 => Algorithm::Sha256,
            tsig::Algorithm::HmacSha384 => Algorithm::Sha384,
            tsig::Algorithm::HmacSha512 => Algorithm::Sha512,
        };
        Self { name: WireName::from(&key.name), algorithm, secret: hmac::Key::new(algorithm.hmac(), &key.secret) }
    }
}

impl Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("name", &self.name).field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// All keys of a configuration. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    keys: Arc<[Arc<Key>]>,
}

impl Keys {
    /// These. Where two have one name, the first counts.
    #[must_use]
    pub fn first_of(keys: impl IntoIterator<Item = Key>) -> Self {
        let mut known: Vec<Arc<Key>> = Vec::new();
        for key in keys {
            if known.iter().all(|other| other.name != key.name) {
                known.push(Arc::new(key));
            }
        }
        Self { keys: known.into() }
    }

    /// The key of this name.
    #[must_use]
    pub fn get(&self, name: &WireName) -> Option<&Arc<Key>> {
        self.keys.iter().find(|key| key.name == *name)
    }
}
