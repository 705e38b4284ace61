//! Whether a list is what it should be.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;

/// What stands in front of the 32 octets of a key in the form that tools write (RFC 8410 section 4).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// Octets of a key and of a signature (RFC 8032 section 5.1).
const KEY: usize = 32;
const SIGNATURE: usize = 64;

/// How a list proves what it is, beside the server's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Not.
    None,
    /// By its SHA-256, in lower case.
    Sha256(String),
    /// By a signature that lies at this URL.
    Signature(PublicKey, Url),
}

/// An Ed25519 key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; KEY]);

/// Not in any form that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no Ed25519 public key: give what `openssl pkey -pubout` writes, or its 32 octets in base64 or hexadecimal digits")]
pub struct PublicKeyError;

impl PublicKey {
    /// Reads PEM, base64 or hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, PublicKeyError> {
        let text = text.trim();
        let pem = text.strip_prefix("-----BEGIN PUBLIC KEY-----").and_then(|rest| rest.strip_suffix("-----END PUBLIC KEY-----"));
        let octets = decoded(pem.unwrap_or(text)).ok_or(PublicKeyError)?;
        let key = octets.strip_prefix(&SPKI).unwrap_or(&octets);
        key.try_into().map(Self).map_err(|_| PublicKeyError)
    }

    /// Whether the signature (64 octets, or those in base64 or hexadecimal digits) is one of this content.
    #[must_use]
    pub fn has_signed(&self, content: &[u8], signature: &[u8]) -> bool {
        let decoded = if signature.len() == SIGNATURE {
            Some(signature.to_vec())
        } else {
            std::str::from_utf8(signature).ok().and_then(|text| decoded(text.trim()))
        };
        decoded.is_some_and(|signature| UnparsedPublicKey::new(&ED25519, self.0).verify(content, &signature).is_ok())
    }
}

impl Proof {
    /// Whether a copy with this hash is all that there can be.
    pub(super) fn is_kept(&self, sha256: Option<&str>) -> bool {
        matches!(self, Self::Sha256(wanted) if sha256 == Some(wanted))
    }
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    let text: String = text.split_ascii_whitespace().collect();
    if text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        return text.as_bytes().chunks(2).map(pair).collect();
    }
    STANDARD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 8032 section 7.1, test 2.
    const PUBLIC: &str = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
    const SIGNED: &str = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";

    #[test]
    fn keys_and_signatures_in_every_form() {
        let octets = hex::decode(PUBLIC).unwrap();
        let pem =
            format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode([&SPKI[..], &octets].concat()));
        let key = PublicKey::parse(PUBLIC).unwrap();
        assert_eq!(PublicKey::parse(&pem).as_ref(), Ok(&key));
        assert_eq!(PublicKey::parse(&STANDARD.encode(&octets)).as_ref(), Ok(&key));
        let signature = hex::decode(SIGNED).unwrap();
        let forms = [signature.clone(), SIGNED.as_bytes().to_vec(), format!("{}\n", STANDARD.encode(&signature)).into_bytes()];
        for form in forms {
            assert!(key.has_signed(&[0x72], &form));
            assert!(!key.has_signed(&[0x73], &form));
            assert!(!key.has_signed(&[0x72], &form[1..]));
        }
        for bad in ["", "00", "-----BEGIN PUBLIC KEY-----", "ä", &PUBLIC[2..]] {
            assert_eq!(PublicKey::parse(bad), Err(PublicKeyError), "{bad}");
        }
    }
}
