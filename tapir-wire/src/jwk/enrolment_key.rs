//! The key of the enrolment credentials: used once, then worthless.

use std::fmt;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{self, KeyPairComponents, PublicKeyComponents};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair,
    RSA_PKCS1_SHA256,
};
use serde_json::Value;

use super::{JwkError, PrivateJwk, named, octets, optional_text, text};

/// Private or symmetric key that signs the enrolment request beside the data key.
pub struct EnrolmentKey {
    kid: Option<String>,
    algorithm: &'static str,
    signer: Signer,
}

enum Signer {
    Ed25519(Ed25519KeyPair),
    Hmac(Box<hmac::Key>),
    Ecdsa(EcdsaKeyPair),
    Rsa(rsa::KeyPair),
}

impl EnrolmentKey {
    /// Reads a private JWK: Ed25519, P-256, P-384, RSA, or symmetric for HS256.
    pub fn from_jwk(jwk: &str) -> Result<Self, JwkError> {
        let jwk = PrivateJwk::parse(jwk)?;
        let (kty, crv) = (text(&jwk.0, "kty")?, optional_text(&jwk.0, "crv"));
        let (algorithm, signer) = match (kty, crv) {
            ("OKP", "Ed25519") => ("EdDSA", ed25519(&jwk.0)?),
            ("EC", "P-256") => ("ES256", ecdsa(&jwk.0, &ECDSA_P256_SHA256_FIXED_SIGNING)?),
            ("EC", "P-384") => ("ES384", ecdsa(&jwk.0, &ECDSA_P384_SHA384_FIXED_SIGNING)?),
            ("RSA", _) => ("RS256", rsa(&jwk.0)?),
            ("oct", _) => ("HS256", Signer::Hmac(Box::new(hmac::Key::new(hmac::HMAC_SHA256, &octets(&jwk.0, "k")?)))),
            _ => {
                let expected = "OKP with Ed25519, EC with P-256 or P-384, RSA, or oct";
                return Err(JwkError::UnsupportedType { kty: named(kty), crv: named(crv), expected });
            }
        };
        let found = optional_text(&jwk.0, "alg");
        // "Ed25519" is the newer name of the same thing (RFC 9864).
        if !found.is_empty() && found != algorithm && (algorithm, found) != ("EdDSA", "Ed25519") {
            return Err(JwkError::WrongAlgorithm { found: named(found), expected: algorithm });
        }
        let kid = jwk.0.get("kid").and_then(Value::as_str).map(str::to_owned);
        Ok(Self { kid, algorithm, signer })
    }

    /// Key id, if Core gave one.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// `alg` of its signatures.
    #[must_use]
    pub fn algorithm(&self) -> &'static str {
        self.algorithm
    }

    /// JWS signature (RFC 7518 section 3).
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, JwkError> {
        match &self.signer {
            Signer::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Signer::Hmac(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
            Signer::Ecdsa(pair) => {
                pair.sign(&SystemRandom::new(), message).map(|s| s.as_ref().to_vec()).map_err(|_| JwkError::NoRandomness)
            }
            Signer::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
                    .map_err(|_| JwkError::NoRandomness)?;
                Ok(signature)
            }
        }
    }
}

impl fmt::Debug for EnrolmentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnrolmentKey").field("kid", &self.kid).field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

fn ed25519(jwk: &Value) -> Result<Signer, JwkError> {
    Ed25519KeyPair::from_seed_and_public_key(&octets(jwk, "d")?, &octets(jwk, "x")?)
        .map(Signer::Ed25519)
        .map_err(|_| JwkError::Malformed)
}

fn ecdsa(jwk: &Value, algorithm: &'static EcdsaSigningAlgorithm) -> Result<Signer, JwkError> {
    let (x, y) = (octets(jwk, "x")?, octets(jwk, "y")?);
    // Uncompressed point (SEC 1 section 2.3.3).
    let point = [&[4], x.as_slice(), y.as_slice()].concat();
    EcdsaKeyPair::from_private_key_and_public_key(algorithm, &octets(jwk, "d")?, &point)
        .map(Signer::Ecdsa)
        .map_err(|_| JwkError::Malformed)
}

fn rsa(jwk: &Value) -> Result<Signer, JwkError> {
    let part = |member| octets(jwk, member);
    let (n, e, d) = (part("n")?, part("e")?, part("d")?);
    let (p, q, dp, dq, qi) = (part("p")?, part("q")?, part("dp")?, part("dq")?, part("qi")?);
    rsa::KeyPair::from_components(&KeyPairComponents {
        public_key: PublicKeyComponents { n: n.as_slice(), e: e.as_slice() },
        d: d.as_slice(),
        p: p.as_slice(),
        q: q.as_slice(),
        dP: dp.as_slice(),
        dQ: dq.as_slice(),
        qInv: qi.as_slice(),
    })
    .map(Signer::Rsa)
    .map_err(|_| JwkError::Malformed)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::AsBigEndian as _;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, KeyPair as _, UnparsedPublicKey, VerificationAlgorithm,
    };
    use serde_json::json;

    use super::super::encode;
    use super::*;

    fn check_curve(
        curve: &str,
        algorithm: &str,
        signing: &'static EcdsaSigningAlgorithm,
        verifying: &'static dyn VerificationAlgorithm,
    ) {
        let pair = EcdsaKeyPair::generate(signing).unwrap();
        let public = pair.public_key().as_ref();
        let (x, y) = public[1..].split_at(public.len() / 2);
        let secret = pair.private_key().as_be_bytes().unwrap();
        let jwk = json!({"kty": "EC", "crv": curve, "x": encode(x), "y": encode(y), "d": encode(secret.as_ref())});
        let key = EnrolmentKey::from_jwk(&jwk.to_string()).unwrap();
        assert_eq!(key.algorithm(), algorithm);
        let signature = key.sign(b"message").unwrap();
        UnparsedPublicKey::new(verifying, public).verify(b"message", &signature).unwrap();
    }

    #[test]
    fn elliptic_curves_sign() {
        check_curve("P-256", "ES256", &ECDSA_P256_SHA256_FIXED_SIGNING, &ECDSA_P256_SHA256_FIXED);
        check_curve("P-384", "ES384", &ECDSA_P384_SHA384_FIXED_SIGNING, &ECDSA_P384_SHA384_FIXED);
    }

    #[test]
    fn symmetric_keys_sign_as_in_rfc_7515() {
        // RFC 7515 appendix A.1.
        let key = EnrolmentKey::from_jwk(
            r#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#,
        )
        .unwrap();
        let message = concat!(
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
            ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
        );
        assert_eq!(encode(&key.sign(message.as_bytes()).unwrap()), "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    }

    #[test]
    fn a_wrong_algorithm_or_kind_is_named() {
        let wrong = EnrolmentKey::from_jwk(r#"{"kty":"oct","k":"AAAA","alg":"EdDSA"}"#).unwrap_err();
        assert_eq!(wrong.to_string(), "key member \"alg\" is \"EdDSA\", this kind of key needs \"HS256\"");
        let strange = EnrolmentKey::from_jwk(r#"{"kty":"OKP","crv":"X25519","x":"AAAA","d":"AAAA"}"#).unwrap_err();
        assert!(matches!(strange, JwkError::UnsupportedType { .. }));
        let public = EnrolmentKey::from_jwk(r#"{"kty":"OKP","crv":"Ed25519","x":"AAAA"}"#).unwrap_err();
        assert_eq!(public, JwkError::MissingMember("d"));
    }

    #[test]
    fn debug_shows_no_secret() {
        let key = EnrolmentKey::from_jwk(r#"{"kty":"oct","kid":"e","k":"c2VjcmV0"}"#).unwrap();
        assert_eq!(format!("{key:?}"), r#"EnrolmentKey { kid: Some("e"), algorithm: "HS256", .. }"#);
    }
}
