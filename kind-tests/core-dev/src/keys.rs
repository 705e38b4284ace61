//! Public keys and the verification of signatures, on aws-lc-rs alone. Nothing here is shared with the signing side of
//! the product: a signer must not be checked with its own code.

use aws_lc_rs::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use aws_lc_rs::{constant_time, hmac};

use crate::encoding::{der, der_unsigned};

/// A public key, of the kinds that nodeman takes and this program can verify with. Ed448 is missing: aws-lc has none,
/// and no other Core service takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKey {
    /// 32 octets.
    Ed25519(Vec<u8>),
    /// Uncompressed point.
    P256(Vec<u8>),
    /// Uncompressed point.
    P384(Vec<u8>),
    /// Modulus and exponent, big-endian.
    Rsa {
        /// Modulus.
        n: Vec<u8>,
        /// Exponent.
        e: Vec<u8>,
    },
}

/// What a signature claims to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// RFC 8032.
    Ed25519,
    /// `r || s`, SHA-256.
    EcdsaP256,
    /// `r || s`, SHA-384.
    EcdsaP384,
    /// RFC 8017 section 8.2, SHA-256.
    RsaPkcs1Sha256,
    /// RFC 8017 section 8.1, SHA-512.
    RsaPssSha512,
}

impl PublicKey {
    /// Whether `signature` over `message` verifies. A scheme that does not fit the key never does.
    #[must_use]
    pub fn verifies(&self, scheme: Scheme, message: &[u8], signature: &[u8]) -> bool {
        let raw = |algorithm, key: &[u8]| UnparsedPublicKey::new(algorithm, key).verify(message, signature).is_ok();
        match (self, scheme) {
            (Self::Ed25519(key), Scheme::Ed25519) => raw(&signature::ED25519 as &dyn signature::VerificationAlgorithm, key),
            (Self::P256(key), Scheme::EcdsaP256) => raw(&signature::ECDSA_P256_SHA256_FIXED, key),
            (Self::P384(key), Scheme::EcdsaP384) => raw(&signature::ECDSA_P384_SHA384_FIXED, key),
            (Self::Rsa { n, e }, Scheme::RsaPkcs1Sha256) => {
                RsaPublicKeyComponents { n, e }.verify(&signature::RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
            }
            (Self::Rsa { n, e }, Scheme::RsaPssSha512) => {
                RsaPublicKeyComponents { n, e }.verify(&signature::RSA_PSS_2048_8192_SHA512, message, signature).is_ok()
            }
            _ => false,
        }
    }

    /// The SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7).
    #[must_use]
    pub fn spki_der(&self) -> Vec<u8> {
        const ED25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];
        const EC_P256: &[u8] =
            &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
        const EC_P384: &[u8] = &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
        const RSA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
        let (algorithm, key) = match self {
            Self::Ed25519(key) => (ED25519, key.clone()),
            Self::P256(key) => (EC_P256, key.clone()),
            Self::P384(key) => (EC_P384, key.clone()),
            Self::Rsa { n, e } => (RSA, der(0x30, &[der_unsigned(n), der_unsigned(e)].concat())),
        };
        let bits = [&[0][..], &key].concat();
        der(0x30, &[der(0x30, algorithm), der(0x03, &bits)].concat())
    }
}

/// Whether `tag` is the HMAC-SHA256 of `message`.
#[must_use]
pub fn hmac_sha256_matches(secret: &[u8], message: &[u8], tag: &[u8]) -> bool {
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, secret), message, tag).is_ok()
}

/// Compares secrets without telling where they differ.
#[must_use]
pub fn same_secret(left: &[u8], right: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(left, right).is_ok()
}
