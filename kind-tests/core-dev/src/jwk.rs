//! JSON Web Keys as nodeman keeps them: `alg` exactly as sent or not at all, foreign members dropped.

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::encoding::{base64url, from_base64url};
use crate::keys::{PublicKey, Scheme, hmac_sha256_matches};

/// A public JWK of a kind that nodeman's model accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicJwk {
    /// `alg` as sent; nothing is made up when it is missing.
    pub alg: Option<String>,
    material: Material,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Material {
    Okp { crv: String, x: String },
    Ec { crv: String, x: String, y: String },
    Rsa { n: String, e: String },
}

/// Why a value is no public key for nodeman.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwkError {
    /// `kty` is missing or none of RSA, EC, OKP.
    #[error("the key's kty is not accepted")]
    KeyType,
    /// `crv` is missing or not one for this `kty`.
    #[error("the key's crv is not accepted")]
    Curve,
    /// A member is missing or has the wrong type.
    #[error("the key's member {0} is missing or no string")]
    Member(&'static str),
}

impl PublicJwk {
    /// Reads `kty`, `alg` and the key material; `kid` is returned beside, it is not part of the stored key.
    ///
    /// # Errors
    /// When the model of nodeman would not accept the value.
    pub fn parse(value: &Value) -> Result<(Self, Option<String>), JwkError> {
        let required =
            |name: &'static str| value.get(name).and_then(Value::as_str).map(str::to_owned).ok_or(JwkError::Member(name));
        let curve =
            |allowed: [&str; 2]| required("crv").ok().filter(|crv| allowed.contains(&crv.as_str())).ok_or(JwkError::Curve);
        let material = match value.get("kty").and_then(Value::as_str) {
            Some("OKP") => Material::Okp { crv: curve(["Ed25519", "Ed448"])?, x: required("x")? },
            Some("EC") => Material::Ec { crv: curve(["P-256", "P-384"])?, x: required("x")?, y: required("y")? },
            Some("RSA") => Material::Rsa { n: required("n")?, e: required("e")? },
            _ => return Err(JwkError::KeyType),
        };
        Ok((Self { alg: optional(value, "alg")?, material }, optional(value, "kid")?))
    }

    /// The key to verify with; none for Ed448 and for material that is no key.
    #[must_use]
    pub fn key(&self) -> Option<PublicKey> {
        let sized = |text: &str, size: usize| from_base64url(text).filter(|bytes| bytes.len() == size);
        match &self.material {
            Material::Okp { crv, x } if crv == "Ed25519" => Some(PublicKey::Ed25519(sized(x, 32)?)),
            Material::Okp { .. } => None,
            Material::Ec { crv, x, y } => {
                let size = if crv == "P-256" { 32 } else { 48 };
                let point = [vec![4], sized(x, size)?, sized(y, size)?].concat();
                Some(if size == 32 { PublicKey::P256(point) } else { PublicKey::P384(point) })
            }
            Material::Rsa { n, e } => Some(PublicKey::Rsa { n: from_base64url(n)?, e: from_base64url(e)? }),
        }
    }

    /// The members of the key material in nodeman's order: `crv`, `x`, `y` or `n`, `e`.
    fn material_members(&self) -> Vec<(&'static str, &str)> {
        match &self.material {
            Material::Okp { crv, x } => vec![("crv", crv), ("x", x)],
            Material::Ec { crv, x, y } => vec![("crv", crv), ("x", x), ("y", y)],
            Material::Rsa { n, e } => vec![("n", n), ("e", e)],
        }
    }

    fn kty(&self) -> &'static str {
        match self.material {
            Material::Okp { .. } => "OKP",
            Material::Ec { .. } => "EC",
            Material::Rsa { .. } => "RSA",
        }
    }

    /// `kty`, `alg` if known, material: the beginning of what `public_key` serves.
    #[must_use]
    pub fn served_members(&self) -> Map<String, Value> {
        let mut members = Map::new();
        members.insert("kty".into(), self.kty().into());
        if let Some(alg) = &self.alg {
            members.insert("alg".into(), alg.as_str().into());
        }
        self.append_material(&mut members);
        members
    }

    /// As the administrator sees it: `kid` always null, `alg` null when there is none.
    #[must_use]
    pub fn administrator_members(&self) -> Map<String, Value> {
        let mut members = Map::new();
        members.insert("kty".into(), self.kty().into());
        members.insert("kid".into(), Value::Null);
        members.insert("alg".into(), self.alg.clone().map_or(Value::Null, Value::from));
        self.append_material(&mut members);
        members
    }

    fn append_material(&self, members: &mut Map<String, Value>) {
        for (name, value) in self.material_members() {
            members.insert(name.into(), value.into());
        }
    }

    /// RFC 7638 with SHA-256, base64url without padding.
    #[must_use]
    pub fn thumbprint(&self) -> String {
        let mut members: Vec<(&str, &str)> = self.material_members();
        members.push(("kty", self.kty()));
        members.sort_unstable();
        let object: Map<String, Value> = members.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        base64url(&Sha256::digest(Value::Object(object).to_string()))
    }
}

fn optional(value: &Value, name: &'static str) -> Result<Option<String>, JwkError> {
    match value.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(JwkError::Member(name)),
    }
}

/// A key that a JWS of nodeman may be signed with: a data key, or an enrolment key that may be symmetric.
#[derive(Clone, Debug)]
pub enum VerifyingKey {
    /// Any public key.
    Public(PublicKey),
    /// `oct`.
    Secret(Vec<u8>),
}

impl VerifyingKey {
    /// From an enrolment key as nodeman holds it (private JWK).
    #[must_use]
    pub fn from_enrolment_jwk(value: &Value) -> Option<Self> {
        if value.get("kty").and_then(Value::as_str) == Some("oct") {
            return from_base64url(value.get("k")?.as_str()?).map(Self::Secret);
        }
        PublicJwk::parse(value).ok()?.0.key().map(Self::Public)
    }

    /// Whether a JWS signature with header `alg` verifies. The algorithm goes with the key (RFC 7518 section 3.1); EdDSA may
    /// also be called by its newer name Ed25519 (RFC 9864), which nodeman takes.
    #[must_use]
    pub fn verifies(&self, alg: &str, message: &[u8], signature: &[u8]) -> bool {
        match (self, alg) {
            (Self::Secret(secret), "HS256") => hmac_sha256_matches(secret, message, signature),
            (Self::Public(key @ PublicKey::Ed25519(_)), "EdDSA" | "Ed25519") => key.verifies(Scheme::Ed25519, message, signature),
            (Self::Public(key @ PublicKey::P256(_)), "ES256") => key.verifies(Scheme::EcdsaP256, message, signature),
            (Self::Public(key @ PublicKey::P384(_)), "ES384") => key.verifies(Scheme::EcdsaP384, message, signature),
            (Self::Public(key @ PublicKey::Rsa { .. }), "RS256") => key.verifies(Scheme::RsaPkcs1Sha256, message, signature),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(value: &Value, expected: &Result<(), JwkError>) {
        assert_eq!(&PublicJwk::parse(value).map(|_| ()), expected, "{value}");
    }

    #[test]
    fn only_the_models_kinds_of_keys_are_taken() {
        check(&json!({"kty": "OKP", "crv": "Ed25519", "x": "AA"}), &Ok(()));
        check(&json!({"kty": "OKP", "crv": "Ed448", "x": "AA", "kid": null, "alg": null}), &Ok(()));
        check(&json!({"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"}), &Ok(()));
        check(&json!({"kty": "RSA", "n": "AA", "e": "AQAB"}), &Ok(()));
        check(&json!({"kty": "oct", "k": "AA"}), &Err(JwkError::KeyType));
        check(&json!({"crv": "Ed25519", "x": "AA"}), &Err(JwkError::KeyType));
        check(&json!({"kty": "OKP", "crv": "X25519", "x": "AA"}), &Err(JwkError::Curve));
        check(&json!({"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"}), &Err(JwkError::Curve));
        check(&json!({"kty": "EC", "crv": "P-256", "x": "AA"}), &Err(JwkError::Member("y")));
        check(&json!({"kty": "OKP", "crv": "Ed25519", "x": 1}), &Err(JwkError::Member("x")));
        check(&json!({"kty": "OKP", "crv": "Ed25519", "x": "AA", "alg": 5}), &Err(JwkError::Member("alg")));
        check(&json!("text"), &Err(JwkError::KeyType));
    }

    #[test]
    fn foreign_members_are_dropped_and_alg_kept_as_sent() {
        let sent = json!({"kty": "OKP", "crv": "Ed25519", "x": "AA", "d": "secret", "iss": "https://x/", "use": "sig", "alg": "Odd", "kid": "a"});
        let (key, kid) = PublicJwk::parse(&sent).unwrap();
        assert_eq!(kid.as_deref(), Some("a"));
        assert_eq!(Value::Object(key.served_members()).to_string(), r#"{"kty":"OKP","alg":"Odd","crv":"Ed25519","x":"AA"}"#);
    }

    #[test]
    fn thumbprint_is_that_of_rfc_8037() {
        let (key, _) =
            PublicJwk::parse(&json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}))
                .unwrap();
        assert_eq!(key.thumbprint(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }
}
