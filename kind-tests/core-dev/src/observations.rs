//! Core's observation message and the key that signs it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::encoding::{base64url, from_base64url};

/// One name in an observation, as the encoder sends it: lower case, no final dot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// The name.
    pub name: String,
    /// Seconds that the observation stands from now on.
    pub ttl: u64,
    /// The observations' bits.
    pub tag_mask: u32,
}

/// The JSON of an observation message with one name, members in the encoder's order.
#[must_use]
pub fn message(observed: &Observed, now: Timestamp) -> String {
    json!({
        "src_name": "dns-tapir", "creator": "observation-encoder", "msg_type": "observation", "list_type": "doubtlist",
        "added": [{"name": observed.name, "time_added": now.to_string(), "ttl": observed.ttl, "tag_mask": observed.tag_mask, "extended_tags": []}],
        "removed": [], "msg": "", "timestamp": now.to_string(), "time_str": "",
    })
    .to_string()
}

/// Why a key cannot sign observations.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeyError {
    /// Not a private JWK of a kind that Core signs with.
    #[error("the observation key is no private JWK of kind Ed25519 or P-256")]
    Kind,
    /// The library refused key or signature.
    #[error("the observation key cannot be used")]
    Unusable,
}

/// A private key of Core.
#[derive(Debug)]
pub struct SigningKey {
    kid: String,
    pair: Pair,
}

#[derive(Debug)]
enum Pair {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

impl SigningKey {
    /// A new private JWK; with `es256` on P-256, else Ed25519.
    ///
    /// # Errors
    /// When the random generator fails.
    pub fn generate_jwk(kid: &str, kind: KeyKind) -> Result<Value, SigningKeyError> {
        match kind {
            KeyKind::Ed25519 => {
                let pair = Ed25519KeyPair::generate().map_err(|_| SigningKeyError::Unusable)?;
                let seed = pair
                    .seed()
                    .and_then(|seed| {
                        aws_lc_rs::encoding::AsBigEndian::<aws_lc_rs::encoding::Curve25519SeedBin<'_>>::as_be_bytes(&seed)
                    })
                    .map_err(|_| SigningKeyError::Unusable)?;
                Ok(
                    json!({"kty": "OKP", "kid": kid, "alg": "EdDSA", "crv": "Ed25519", "x": base64url(pair.public_key().as_ref()), "d": base64url(seed.as_ref())}),
                )
            }
            KeyKind::P256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| SigningKeyError::Unusable)?;
                let private = aws_lc_rs::encoding::AsBigEndian::<aws_lc_rs::encoding::EcPrivateKeyBin<'_>>::as_be_bytes(
                    &pair.private_key(),
                )
                .map_err(|_| SigningKeyError::Unusable)?;
                let point = pair.public_key().as_ref().to_vec();
                let (x, y) = point
                    .get(1..)
                    .filter(|rest| rest.len() == 64)
                    .map(|rest| rest.split_at(32))
                    .ok_or(SigningKeyError::Unusable)?;
                Ok(
                    json!({"kty": "EC", "kid": kid, "alg": "ES256", "crv": "P-256", "x": base64url(x), "y": base64url(y), "d": base64url(private.as_ref())}),
                )
            }
        }
    }

    /// Reads a private JWK.
    ///
    /// # Errors
    /// When it is none of the supported kinds.
    pub fn from_jwk(jwk: &Value) -> Result<Self, SigningKeyError> {
        let bytes = |name: &str| jwk.get(name).and_then(Value::as_str).and_then(from_base64url).ok_or(SigningKeyError::Kind);
        let pair = match jwk.get("crv").and_then(Value::as_str) {
            Some("Ed25519") => Pair::Ed25519(
                Ed25519KeyPair::from_seed_and_public_key(&bytes("d")?, &bytes("x")?).map_err(|_| SigningKeyError::Unusable)?,
            ),
            Some("P-256") => {
                let public = [vec![4], bytes("x")?, bytes("y")?].concat();
                Pair::P256(
                    EcdsaKeyPair::from_private_key_and_public_key(&ECDSA_P256_SHA256_FIXED_SIGNING, &bytes("d")?, &public)
                        .map_err(|_| SigningKeyError::Unusable)?,
                )
            }
            _ => return Err(SigningKeyError::Kind),
        };
        Ok(Self { kid: jwk.get("kid").and_then(Value::as_str).ok_or(SigningKeyError::Kind)?.to_owned(), pair })
    }

    /// Its name.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The flattened JSON JWS of `payload`, which goes in byte for byte.
    ///
    /// # Errors
    /// When the library cannot sign.
    pub fn sign(&self, payload: &str) -> Result<String, SigningKeyError> {
        let alg = match self.pair {
            Pair::Ed25519(_) => "EdDSA",
            Pair::P256(_) => "ES256",
        };
        let protected = base64url(json!({"alg": alg, "kid": self.kid}).to_string().as_bytes());
        let payload = base64url(payload.as_bytes());
        let input = format!("{protected}.{payload}");
        let signature = match &self.pair {
            Pair::Ed25519(pair) => pair.sign(input.as_bytes()).as_ref().to_vec(),
            Pair::P256(pair) => {
                pair.sign(&SystemRandom::new(), input.as_bytes()).map_err(|_| SigningKeyError::Unusable)?.as_ref().to_vec()
            }
        };
        Ok(json!({"payload": payload, "protected": protected, "signature": base64url(&signature)}).to_string())
    }
}

/// The key that signs at present. Clones share it.
#[derive(Clone, Debug)]
pub struct CurrentKey(Arc<Mutex<SigningKey>>);

impl CurrentKey {
    /// Until another replaces it.
    #[must_use]
    pub fn new(key: SigningKey) -> Self {
        Self(Arc::new(Mutex::new(key)))
    }

    /// Signs with another from now on.
    pub fn replace(&self, key: SigningKey) {
        *self.key() = key;
    }

    /// Name of the key.
    #[must_use]
    pub fn kid(&self) -> String {
        self.key().kid().to_owned()
    }

    /// As [`SigningKey::sign`].
    ///
    /// # Errors
    /// When the library cannot sign.
    pub fn sign(&self, payload: &str) -> Result<String, SigningKeyError> {
        self.key().sign(payload)
    }

    fn key(&self) -> MutexGuard<'_, SigningKey> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Kinds of keys that Core signs observations with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum KeyKind {
    /// EdDSA.
    Ed25519,
    /// ES256.
    P256,
}

/// The public half of a private JWK, members in the order that nodeman serves trusted keys in.
#[must_use]
pub fn public_half(jwk: &Value) -> Value {
    let members =
        ["kty", "kid", "alg", "crv", "x", "y"].into_iter().filter_map(|name| Some((name.to_owned(), jwk.get(name)?.clone())));
    Value::Object(members.collect())
}
