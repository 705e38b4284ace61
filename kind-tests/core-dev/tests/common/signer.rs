//! A key that signs whatever it is told to.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RsaEncoding, RsaKeyPair};
use serde_json::{Value, json};
use tapir_core_dev::encoding::{base64url, from_base64url};

pub enum Signer {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Rsa(RsaKeyPair),
    Hs256(Vec<u8>),
}

fn ec(algorithm: &'static EcdsaSigningAlgorithm) -> EcdsaKeyPair {
    EcdsaKeyPair::generate(algorithm).unwrap()
}

impl Signer {
    /// Of the kind that edges use.
    pub fn generate() -> Self {
        Self::Ed25519(Ed25519KeyPair::generate().unwrap())
    }

    pub fn p256() -> Self {
        Self::P256(ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING))
    }

    pub fn p384() -> Self {
        Self::P384(ec(&signature::ECDSA_P384_SHA384_FIXED_SIGNING))
    }

    pub fn rsa() -> Self {
        Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    pub fn from_jwk(jwk: &Value) -> Self {
        if jwk["kty"] == "oct" {
            return Self::Hs256(from_base64url(jwk["k"].as_str().unwrap()).unwrap());
        }
        Self::Ed25519(Ed25519KeyPair::from_seed_unchecked(&from_base64url(jwk["d"].as_str().unwrap()).unwrap()).unwrap())
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Self::P256(pair) | Self::P384(pair) => pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Self::Rsa(_) => self.sign_padded(&signature::RSA_PKCS1_SHA256, message),
            Self::Hs256(secret) => hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec(),
        }
    }

    /// With an RSA key and any padding.
    pub fn sign_padded(&self, padding: &'static dyn RsaEncoding, message: &[u8]) -> Vec<u8> {
        let Self::Rsa(pair) = self else { panic!("no RSA key") };
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(padding, &SystemRandom::new(), message, &mut signature).unwrap();
        signature
    }

    pub fn alg(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => "EdDSA",
            Self::P256(_) => "ES256",
            Self::P384(_) => "ES384",
            Self::Rsa(_) => "RS256",
            Self::Hs256(_) => "HS256",
        }
    }

    pub fn public_jwk(&self, kid: &str) -> Value {
        let mut jwk = match self {
            Self::Ed25519(pair) => json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(pair.public_key().as_ref())}),
            Self::P256(pair) => ec_jwk("P-256", pair),
            Self::P384(pair) => ec_jwk("P-384", pair),
            Self::Rsa(pair) => {
                let components = PublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                json!({"kty": "RSA", "n": base64url(&components.n), "e": base64url(&components.e)})
            }
            Self::Hs256(_) => panic!("a data key is not symmetric"),
        };
        jwk["alg"] = self.alg().into();
        jwk["kid"] = kid.into();
        jwk
    }

    /// The public key as its own library encodes it; none where that has no such form.
    pub fn spki(&self) -> Option<Vec<u8>> {
        match self {
            Self::P256(pair) | Self::P384(pair) => Some(
                aws_lc_rs::encoding::AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(pair.public_key())
                    .unwrap()
                    .as_ref()
                    .to_vec(),
            ),
            Self::Rsa(pair) => Some(
                aws_lc_rs::encoding::AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(pair.public_key())
                    .unwrap()
                    .as_ref()
                    .to_vec(),
            ),
            _ => None,
        }
    }

    /// `{"protected", "signature"}` with that protected header.
    pub fn signature(&self, protected: &Value, payload: &[u8]) -> Value {
        let protected = base64url(protected.to_string().as_bytes());
        let signature = self.sign(format!("{protected}.{}", base64url(payload)).as_bytes());
        json!({"protected": protected, "signature": base64url(&signature)})
    }

    pub fn flattened(&self, protected: &Value, payload: &[u8]) -> Vec<u8> {
        let mut jws = self.signature(protected, payload);
        jws["payload"] = base64url(payload).into();
        jws.to_string().into_bytes()
    }

    /// With the header that belongs to the key.
    pub fn usual(&self, payload: &Value) -> Value {
        self.signature(&json!({"alg": self.alg()}), payload.to_string().as_bytes())
    }
}

fn ec_jwk(curve: &str, pair: &EcdsaKeyPair) -> Value {
    let point = &pair.public_key().as_ref()[1..];
    let (x, y) = point.split_at(point.len() / 2);
    json!({"kty": "EC", "crv": curve, "x": base64url(x), "y": base64url(y)})
}
