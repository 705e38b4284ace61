//! The bridge from edges to Core, as a function: a message in, a verified event or the reason for dropping it out. The sender
//! is never told, so the reason goes into the record.

use std::collections::HashMap;

use serde_json::Value;

use crate::jose::Jws;
use crate::jwk::{PublicJwk, VerifyingKey};
use crate::schema::Schemas;

/// Keys remembered without expiry; the least recently used goes when there are more.
const KEY_CACHE: usize = 1000;

/// An event that the bridge hands to the analysts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Node name, from the protected header.
    pub key_id: String,
    /// RFC 7638.
    pub thumbprint: String,
    /// The payload, unchanged.
    pub payload: Vec<u8>,
}

/// Why the bridge drops a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Dropped {
    /// Compact serialisation counts as such.
    #[error("no JWS in JSON serialisation")]
    NoJws,
    /// Also when it only stands in the unprotected header.
    #[error("no kid in the protected header")]
    NoKeyId,
    /// No such node, or one that has not enrolled.
    #[error("nodeman has no key of that name")]
    UnknownKey,
    /// The node enrolled a key without `alg`; nothing it sends is ever taken.
    #[error("the node's key has no alg")]
    KeyWithoutAlgorithm,
    /// Wrong key, wrong algorithm or changed content.
    #[error("the signature does not verify")]
    Signature,
    /// The payload is no JSON or breaks the schema.
    #[error("the payload {0}")]
    Schema(String),
}

impl Dropped {
    /// A word for the record.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoJws => "no_jws",
            Self::NoKeyId => "no_key_id",
            Self::UnknownKey => "unknown_key",
            Self::KeyWithoutAlgorithm => "key_without_algorithm",
            Self::Signature => "signature",
            Self::Schema(_) => "schema",
        }
    }
}

/// The bridge's checks and its cache of keys.
#[derive(Debug)]
pub struct UpBridge {
    schemas: Schemas,
    keys: HashMap<String, (PublicJwk, u64)>,
    uses: u64,
}

impl UpBridge {
    /// A bridge with an empty cache.
    #[must_use]
    pub fn new(schemas: Schemas) -> Self {
        Self { schemas, keys: HashMap::new(), uses: 0 }
    }

    /// Checks a message; `find_key` asks nodeman and is only called for names that are not in the cache.
    ///
    /// # Errors
    /// With the reason for dropping the message.
    pub fn check(&mut self, message: &[u8], find_key: impl FnOnce(&str) -> Option<PublicJwk>) -> Result<Event, Dropped> {
        let jws = Jws::parse_json(message).map_err(|_| Dropped::NoJws)?;
        // Only the first signature counts, whatever follows it.
        let signature = jws.signatures.first().ok_or(Dropped::NoJws)?;
        let key_id = signature.protected.get("kid").and_then(Value::as_str).ok_or(Dropped::NoKeyId)?;
        let key = self.key(key_id, find_key).ok_or(Dropped::UnknownKey)?;
        let alg = key.alg.as_deref().ok_or(Dropped::KeyWithoutAlgorithm)?;
        // The library in the bridge goes by the key's own alg and knows EdDSA by that name only.
        let named_alike = matches!(alg, "EdDSA" | "ES256" | "ES384" | "RS256")
            && signature.protected.get("alg").and_then(Value::as_str) == Some(alg);
        let verified = named_alike && key.key().is_some_and(|key| jws.is_signed_by(signature, &VerifyingKey::Public(key)));
        if !verified {
            return Err(Dropped::Signature);
        }
        let payload: Value = serde_json::from_slice(&jws.payload).map_err(|_| Dropped::Schema("is no JSON".into()))?;
        self.schemas.check_event(&payload).map_err(Dropped::Schema)?;
        Ok(Event { key_id: key_id.to_owned(), thumbprint: key.thumbprint(), payload: jws.payload.clone() })
    }

    fn key(&mut self, name: &str, find_key: impl FnOnce(&str) -> Option<PublicJwk>) -> Option<PublicJwk> {
        self.uses += 1;
        if let Some((key, used)) = self.keys.get_mut(name) {
            *used = self.uses;
            return Some(key.clone());
        }
        let key = find_key(name)?;
        if self.keys.len() >= KEY_CACHE {
            let oldest = self.keys.iter().min_by_key(|(_, (_, used))| *used).map(|(name, _)| name.clone());
            oldest.and_then(|name| self.keys.remove(&name));
        }
        self.keys.insert(name.to_owned(), (key.clone(), self.uses));
        Some(key)
    }
}
