//! Keys in JWK form (RFC 7517, RFC 8037): the node's own, the one for enrolment, and those of Core.

mod data_key;
mod enrolment_key;
mod trusted;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

pub use data_key::DataKey;
pub use enrolment_key::EnrolmentKey;
pub use trusted::{SkippedKey, TrustedKeys};

/// Why a text is not the key that is wanted. Never carries key material.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum JwkError {
    /// Not a JSON object.
    #[error("key is not a JSON object")]
    NotAnObject,
    /// A member that is needed is not there, or is no string.
    #[error("key has no text member {0:?}")]
    MissingMember(&'static str),
    /// A member that is needed is not base64url without padding.
    #[error("key member {0:?} is not base64url without padding")]
    NotBase64(&'static str),
    /// Key type or curve that does not fit the purpose.
    #[error("key type {kty:?} with curve {crv:?} is not supported here, expected {expected}")]
    UnsupportedType {
        /// `kty` of the key.
        kty: String,
        /// `crv` of the key, empty without one.
        crv: String,
        /// What would be accepted.
        expected: &'static str,
    },
    /// `alg` that does not belong to the key's type.
    #[error("key member \"alg\" is {found:?}, this kind of key needs {expected:?}")]
    WrongAlgorithm {
        /// `alg` of the key.
        found: String,
        /// The one algorithm for its type.
        expected: &'static str,
    },
    /// Key id that is no node name.
    #[error("key member \"kid\" is no node name")]
    BadKeyId,
    /// The numbers do not make a key, or private and public half do not belong together.
    #[error("key material is malformed, or its private and public parts do not match")]
    Malformed,
    /// No key set.
    #[error("not a JWK Set: no array \"keys\"")]
    NotASet,
    /// The system's random generator failed.
    #[error("no random numbers for a new key")]
    NoRandomness,
}

/// RFC 7638 SHA-256 thumbprint of the public part, base64url without padding; none when members are missing.
#[must_use]
pub fn thumbprint(jwk: &Value) -> Option<String> {
    let members: &[&str] = match jwk.get("kty")?.as_str()? {
        "OKP" => &["crv", "kty", "x"],
        "EC" => &["crv", "kty", "x", "y"],
        "RSA" => &["e", "kty", "n"],
        "oct" => &["k", "kty"],
        _ => return None,
    };
    let mut canonical = Map::new();
    for member in members {
        canonical.insert((*member).to_owned(), Value::String(jwk.get(member)?.as_str()?.to_owned()));
    }
    let text = Zeroizing::new(Value::Object(canonical).to_string());
    Some(encode(digest(&SHA256, text.as_bytes()).as_ref()))
}

/// Base64url without padding.
pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Base64url without padding.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

fn text<'a>(jwk: &'a Value, member: &'static str) -> Result<&'a str, JwkError> {
    jwk.get(member).and_then(Value::as_str).ok_or(JwkError::MissingMember(member))
}

fn optional_text<'a>(jwk: &'a Value, member: &str) -> &'a str {
    jwk.get(member).and_then(Value::as_str).unwrap_or_default()
}

/// What is said of a member that names a type or an algorithm. Real names are short; something longer is in the wrong place, and may be a key.
fn named(text: &str) -> String {
    const LONGEST: usize = 16;
    let length = text.chars().count();
    if length <= LONGEST { text.to_owned() } else { format!("({length} characters)") }
}

fn octets(jwk: &Value, member: &'static str) -> Result<Zeroizing<Vec<u8>>, JwkError> {
    decode(text(jwk, member)?).map(Zeroizing::new).ok_or(JwkError::NotBase64(member))
}

/// A private key as parsed JSON, wiped when it goes.
struct PrivateJwk(Value);

impl PrivateJwk {
    fn parse(text: &str) -> Result<Self, JwkError> {
        match serde_json::from_str(text) {
            Ok(value @ Value::Object(_)) => Ok(Self(value)),
            _ => Err(JwkError::NotAnObject),
        }
    }
}

impl Drop for PrivateJwk {
    fn drop(&mut self) {
        use zeroize::Zeroize as _;

        for member in self.0.as_object_mut().into_iter().flat_map(Map::values_mut) {
            if let Value::String(text) = member {
                text.zeroize();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_the_wrong_place_is_not_repeated() {
        assert_eq!(named("Ed448"), "Ed448");
        assert_eq!(named(&"k".repeat(43)), "(43 characters)");
    }

    #[test]
    fn thumbprint_of_rfc_8037() {
        let jwk =
            serde_json::json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": "any"});
        assert_eq!(thumbprint(&jwk).unwrap(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        assert_eq!(thumbprint(&serde_json::json!({"kty": "OKP", "crv": "Ed25519"})), None);
        assert_eq!(thumbprint(&serde_json::json!([])), None);
    }
}
