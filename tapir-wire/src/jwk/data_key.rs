//! The node's data key: its identity for good, since Core offers no way to replace it.

use std::fmt;

use aws_lc_rs::rand;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{JwkError, PrivateJwk, encode, named, octets, optional_text, text, thumbprint};
use crate::node_name::NodeName;

const SEED_LENGTH: usize = 32;

/// Private Ed25519 key whose key id is the node name.
pub struct DataKey {
    name: NodeName,
    seed: Zeroizing<[u8; SEED_LENGTH]>,
    pair: Ed25519KeyPair,
}

impl DataKey {
    /// A new key for a node that is about to enrol.
    pub fn generate(name: &NodeName) -> Result<Self, JwkError> {
        let mut seed = Zeroizing::new([0; SEED_LENGTH]);
        rand::fill(seed.as_mut_slice()).map_err(|_| JwkError::NoRandomness)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_slice()).map_err(|_| JwkError::Malformed)?;
        Ok(Self { name: name.clone(), seed, pair })
    }

    /// Reads a private JWK. Other members, `alg` among them, are ignored: upstream's clients differ in what they write there.
    pub fn from_jwk(jwk: &str) -> Result<Self, JwkError> {
        let jwk = PrivateJwk::parse(jwk)?;
        let (kty, crv) = (text(&jwk.0, "kty")?, optional_text(&jwk.0, "crv"));
        if (kty, crv) != ("OKP", "Ed25519") {
            let expected = "OKP with Ed25519";
            return Err(JwkError::UnsupportedType { kty: named(kty), crv: named(crv), expected });
        }
        let kid = text(&jwk.0, "kid")?;
        if kid.is_empty() {
            return Err(JwkError::MissingMember("kid"));
        }
        let name = NodeName::parse(kid).map_err(|_| JwkError::BadKeyId)?;
        let secret = octets(&jwk.0, "d")?;
        let public = octets(&jwk.0, "x")?;
        let mut seed = Zeroizing::new([0; SEED_LENGTH]);
        if secret.len() != SEED_LENGTH {
            return Err(JwkError::Malformed);
        }
        seed.copy_from_slice(&secret);
        let pair = Ed25519KeyPair::from_seed_and_public_key(seed.as_slice(), &public).map_err(|_| JwkError::Malformed)?;
        Ok(Self { name, seed, pair })
    }

    /// The private key as JSON, with `alg` and `kid`, as upstream's EDM takes it too.
    #[must_use]
    pub fn to_jwk(&self) -> Zeroizing<String> {
        let secret = Zeroizing::new(encode(self.seed.as_slice()));
        Zeroizing::new(format!(
            r#"{{"alg":"EdDSA","crv":"Ed25519","d":"{}","kid":"{}","kty":"OKP","x":"{}"}}"#,
            secret.as_str(),
            self.name,
            self.public_text(),
        ))
    }

    /// Key id: the node name.
    #[must_use]
    pub fn kid(&self) -> &str {
        self.name.as_str()
    }

    /// The node whose key this is.
    #[must_use]
    pub fn node_name(&self) -> &NodeName {
        &self.name
    }

    /// The public key as it is enrolled. It carries `alg`, without which Core's bridge drops every event of the node.
    #[must_use]
    pub fn public_jwk(&self) -> Value {
        json!({"alg": "EdDSA", "crv": "Ed25519", "kid": self.kid(), "kty": "OKP", "x": self.public_text()})
    }

    /// RFC 7638 thumbprint.
    #[must_use]
    pub fn thumbprint(&self) -> String {
        thumbprint(&self.public_jwk()).unwrap_or_default()
    }

    /// Ed25519 signature (RFC 8032).
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut bytes = [0; 64];
        // Length 64 by definition of Ed25519.
        for (to, from) in bytes.iter_mut().zip(self.pair.sign(message).as_ref()) {
            *to = *from;
        }
        bytes
    }

    fn public_text(&self) -> String {
        encode(self.pair.public_key().as_ref())
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataKey").field("kid", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generated() -> DataKey {
        DataKey::generate(&NodeName::parse("Edge-1.example").unwrap()).unwrap()
    }

    #[test]
    fn survives_a_round_trip() {
        let key = generated();
        let again = DataKey::from_jwk(&key.to_jwk()).unwrap();
        assert_eq!(again.public_jwk(), key.public_jwk());
        assert_eq!(again.sign(b"x"), key.sign(b"x"));
        assert_eq!(again.kid(), "Edge-1.example");
        assert_eq!(key.public_jwk()["alg"], "EdDSA");
    }

    #[test]
    fn two_keys_differ() {
        assert_ne!(generated().thumbprint(), generated().thumbprint());
    }

    #[test]
    fn debug_shows_no_secret() {
        let key = generated();
        let jwk: Value = serde_json::from_str(&key.to_jwk()).unwrap();
        let shown = format!("{key:?}");
        assert!(shown.contains("Edge-1.example"));
        assert!(!shown.contains(jwk["d"].as_str().unwrap()));
    }

    #[test]
    fn private_and_public_half_must_match() {
        let mut jwk: Value = serde_json::from_str(&generated().to_jwk()).unwrap();
        jwk["x"] = generated().public_jwk()["x"].clone();
        assert_eq!(DataKey::from_jwk(&jwk.to_string()).unwrap_err(), JwkError::Malformed);
    }

    #[test]
    fn a_key_id_that_would_break_out_of_a_topic_is_refused() {
        let mut jwk: Value = serde_json::from_str(&generated().to_jwk()).unwrap();
        jwk["kid"] = "a/b".into();
        assert_eq!(DataKey::from_jwk(&jwk.to_string()).unwrap_err(), JwkError::BadKeyId);
    }
}
