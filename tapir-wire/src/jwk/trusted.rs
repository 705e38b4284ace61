//! Core's public keys that may sign observations.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey};
use serde_json::Value;

use super::{JwkError, octets, optional_text, text};

/// Keys of a JWK Set that can verify observations. Two sets are equal when they hold the same keys in any order.
#[derive(Clone, Debug, Default)]
pub struct TrustedKeys {
    keys: Vec<TrustedKey>,
    skipped: Vec<SkippedKey>,
}

/// A member of the set that cannot be used, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedKey {
    /// Its place in the set, from 0.
    pub index: usize,
    /// Its key id, empty without one.
    pub kid: String,
    /// What is wrong with it.
    pub reason: String,
}

#[derive(Clone, Debug)]
pub(crate) struct TrustedKey {
    kid: String,
    algorithm: &'static str,
    octets: Vec<u8>,
    key: ParsedPublicKey,
}

impl TrustedKeys {
    /// Reads a JWK Set. Keys that cannot serve are left out and named by [`Self::skipped`], so that one odd key does not
    /// silence the feed.
    pub fn from_jwks(text: &str) -> Result<Self, JwkError> {
        Self::from_value(&serde_json::from_str(text).map_err(|_| JwkError::NotASet)?)
    }

    /// The same from parsed JSON.
    pub fn from_value(set: &Value) -> Result<Self, JwkError> {
        let members = set.get("keys").and_then(Value::as_array).ok_or(JwkError::NotASet)?;
        let mut this = Self::default();
        for (index, jwk) in members.iter().enumerate() {
            match TrustedKey::parse(jwk) {
                Ok(key) => this.keys.push(key),
                Err(reason) => {
                    this.skipped.push(SkippedKey { index, kid: optional_text(jwk, "kid").to_owned(), reason });
                }
            }
        }
        // Core hands the set out in changing order.
        this.keys.sort_by(|a, b| a.identity().cmp(&b.identity()));
        Ok(this)
    }

    /// How many keys can verify.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key can verify.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Ids of the keys that can verify, in order.
    pub fn kids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.kid.as_str())
    }

    /// Members of the set that were left out.
    #[must_use]
    pub fn skipped(&self) -> &[SkippedKey] {
        &self.skipped
    }

    pub(crate) fn with_kid(&self, kid: &str) -> impl Iterator<Item = &TrustedKey> {
        self.keys.iter().filter(move |key| key.kid == kid)
    }
}

impl PartialEq for TrustedKeys {
    fn eq(&self, other: &Self) -> bool {
        self.keys.iter().map(TrustedKey::identity).eq(other.keys.iter().map(TrustedKey::identity))
    }
}

impl Eq for TrustedKeys {}

impl TrustedKey {
    fn parse(jwk: &Value) -> Result<Self, String> {
        let purpose = optional_text(jwk, "use");
        if !purpose.is_empty() && purpose != "sig" {
            return Err(format!("key is for use {purpose:?}, not \"sig\""));
        }
        Self::verifying(jwk).map_err(|error| error.to_string())
    }

    fn verifying(jwk: &Value) -> Result<Self, JwkError> {
        let kid = text(jwk, "kid")?.to_owned();
        let (kty, crv) = (text(jwk, "kty")?, optional_text(jwk, "crv"));
        // The type decides; `alg` may be missing (Core's own example has none) but must not contradict.
        let (algorithm, verifier, octets): (_, &'static dyn aws_lc_rs::signature::VerificationAlgorithm, _) = match (kty, crv) {
            ("OKP", "Ed25519") => ("EdDSA", &ED25519 as _, octets(jwk, "x")?.to_vec()),
            ("EC", "P-256") => {
                let point = [&[4], octets(jwk, "x")?.as_slice(), octets(jwk, "y")?.as_slice()].concat();
                ("ES256", &ECDSA_P256_SHA256_FIXED as _, point)
            }
            _ => {
                let expected = "OKP with Ed25519 or EC with P-256";
                return Err(JwkError::UnsupportedType { kty: kty.to_owned(), crv: crv.to_owned(), expected });
            }
        };
        let found = optional_text(jwk, "alg");
        if !found.is_empty() && found != algorithm {
            return Err(JwkError::WrongAlgorithm { found: found.to_owned(), expected: algorithm });
        }
        let key = ParsedPublicKey::new(verifier, &octets).map_err(|_| JwkError::Malformed)?;
        Ok(Self { kid, algorithm, octets, key })
    }

    fn identity(&self) -> (&str, &str, &[u8]) {
        (&self.kid, self.algorithm, &self.octets)
    }

    pub(crate) fn algorithm(&self) -> &'static str {
        self.algorithm
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.verify_sig(message, signature).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_that_cannot_serve_are_left_out_and_named() {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let keys = TrustedKeys::from_value(&json!({"keys": [
            {"kty": "OKP", "crv": "Ed25519", "kid": "good", "x": x},
            {"kty": "OKP", "crv": "Ed25519", "x": x},
            {"kty": "OKP", "crv": "Ed25519", "kid": "wrong", "alg": "ES256", "x": x},
            {"kty": "oct", "kid": "symmetric", "alg": "HS256", "k": "AAAA"},
            {"kty": "OKP", "crv": "Ed25519", "kid": "short", "x": "AAAA"},
            {"kty": "OKP", "crv": "Ed25519", "kid": "encrypts", "use": "enc", "x": x},
            7,
        ]}))
        .unwrap();
        assert_eq!(keys.kids().collect::<Vec<_>>(), ["good"]);
        let skipped: Vec<_> = keys.skipped().iter().map(|key| (key.index, key.kid.as_str())).collect();
        assert_eq!(skipped, [(1, ""), (2, "wrong"), (3, "symmetric"), (4, "short"), (5, "encrypts"), (6, "")]);
        assert!(keys.skipped()[0].reason.contains("\"kid\""));
    }

    #[test]
    fn what_is_no_set_is_an_error_and_an_empty_set_is_empty() {
        for text in ["", "[]", "{}", r#"{"keys":{}}"#] {
            assert_eq!(TrustedKeys::from_jwks(text).unwrap_err(), JwkError::NotASet);
        }
        assert!(TrustedKeys::from_jwks(r#"{"keys":[]}"#).unwrap().is_empty());
    }
}
