//! Data keys of every kind that nodeman takes, and bytes that nobody should send.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{self, EcdsaKeyPair, KeyPair as _, RsaKeyPair};
use common::*;
use proptest::prelude::*;
use serde_json::{Value, json};
use tapir_core_dev::encoding::{base64, base64url};
use tapir_core_dev::events::UpBridge;
use tapir_core_dev::jwk::PublicJwk;
use tapir_core_dev::keys::{PublicKey, Scheme};
use tapir_core_dev::schema::Schemas;
use x509_parser::prelude::FromDer as _;

/// Signs a JWS with any function.
fn signed(alg: &str, payload: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> Value {
    let protected = base64url(json!({"alg": alg, "kid": NODE}).to_string().as_bytes());
    let signature = sign(format!("{protected}.{}", base64url(payload.to_string().as_bytes())).as_bytes());
    json!({"protected": protected, "signature": base64url(&signature)})
}

/// Enrols with that data key and compares the served PEM with the key's own encoding.
fn check(alg: &str, jwk: &Value, spki: Option<&[u8]>, sign: impl Fn(&[u8]) -> Vec<u8>) {
    let fixture = fixture();
    let edge = Edge::create(&fixture, NODE);
    let mut payload = edge.payload(now());
    payload["public_key"] = jwk.clone();
    let refused = edge.enrolment_with(general(
        payload.to_string().as_bytes(),
        &[edge.enrolment.usual(&payload), signed("EdDSA", &payload, &sign)],
    ));
    check_detail(&fixture.nodeman.answer(&refused), 401, "Invalid data signature");
    let request_ = edge
        .enrolment_with(general(payload.to_string().as_bytes(), &[edge.enrolment.usual(&payload), signed(alg, &payload, &sign)]));
    let answer = fixture.nodeman.answer(&request_);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let served = fixture.nodeman.answer(&with_header(
        request("GET", &format!("/api/v1/node/{NODE}/public_key"), ""),
        "accept",
        "application/x-pem-file",
    ));
    let (_, block) = x509_parser::pem::parse_x509_pem(&served.body).unwrap();
    assert!(x509_parser::x509::SubjectPublicKeyInfo::from_der(&block.contents).unwrap().1.parsed().is_ok());
    if let Some(spki) = spki {
        assert_eq!(base64(&block.contents), base64(spki));
    }
}

fn ec(curve: &str, pair: &EcdsaKeyPair) -> Value {
    let point = &pair.public_key().as_ref()[1..];
    let (x, y) = point.split_at(point.len() / 2);
    json!({"kty": "EC", "crv": curve, "x": base64url(x), "y": base64url(y), "kid": NODE})
}

#[test]
fn elliptic_curve_data_keys() {
    for (alg, curve, algorithm) in [
        ("ES256", "P-256", &signature::ECDSA_P256_SHA256_FIXED_SIGNING),
        ("ES384", "P-384", &signature::ECDSA_P384_SHA384_FIXED_SIGNING),
    ] {
        let pair = EcdsaKeyPair::generate(algorithm).unwrap();
        let spki = aws_lc_rs::encoding::AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap();
        check(alg, &ec(curve, &pair), Some(spki.as_ref()), |message| {
            pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
        });
    }
}

#[test]
fn rsa_data_keys() {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let components = PublicKeyComponents::<Vec<u8>>::from(pair.public_key());
    let jwk = json!({"kty": "RSA", "n": base64url(&components.n), "e": base64url(&components.e)});
    let sign = |padding: &'static dyn signature::RsaEncoding, message: &[u8]| {
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(padding, &SystemRandom::new(), message, &mut signature).unwrap();
        signature
    };
    check("RS256", &jwk, None, |message| sign(&signature::RSA_PKCS1_SHA256, message));
    let key = PublicJwk::parse(&jwk).unwrap().0.key().unwrap();
    assert!(key.verifies(Scheme::RsaPssSha512, b"m", &sign(&signature::RSA_PSS_SHA512, b"m")));
    assert!(!key.verifies(Scheme::RsaPkcs1Sha256, b"m", &sign(&signature::RSA_PSS_SHA512, b"m")));
}

#[test]
fn the_bridge_takes_es256_events() {
    let pair = EcdsaKeyPair::generate(&signature::ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let mut jwk = ec("P-256", &pair);
    jwk["alg"] = json!("ES256");
    let event = json!({"type": "new_qname", "version": 0, "qname": "a.example."});
    let mut jws = signed("ES256", &event, |message| pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec());
    jws["payload"] = base64url(event.to_string().as_bytes()).into();
    let mut bridge = UpBridge::new(Schemas::new().unwrap());
    assert!(bridge.check(jws.to_string().as_bytes(), |_| Some(PublicJwk::parse(&jwk).unwrap().0)).is_ok());
}

#[test]
fn keys_of_a_wrong_size_are_no_keys() {
    for jwk in [
        json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(&[1; 31])}),
        json!({"kty": "OKP", "crv": "Ed448", "x": base64url(&[1; 57])}),
        json!({"kty": "EC", "crv": "P-256", "x": base64url(&[1; 48]), "y": base64url(&[1; 48])}),
    ] {
        assert_eq!(PublicJwk::parse(&jwk).unwrap().0.key(), None, "{jwk}");
    }
    assert!(!PublicKey::P256(vec![4; 65]).verifies(Scheme::EcdsaP256, b"m", &[0; 64]), "a point that is not on the curve");
}

proptest! {
    #[test]
    fn no_bytes_bring_a_reader_down(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "[ -~\u{e4}]{0,60}") {
        let _ = tapir_core_dev::jose::Jws::parse_any(&bytes);
        let _ = tapir_core_dev::jose::Jws::parse_any(text.as_bytes());
        let _ = tapir_core_dev::payload::Payload::parse(&bytes, now());
        let _ = tapir_core_dev::structured::dictionary(&text);
        let _ = tapir_core_dev::structured::dictionary(&format!("a={text}"));
        let _ = tapir_core_dev::structured::dictionary(&format!("a=({text}"));
        let _ = tapir_core_dev::interval::parse(&text);
        let _ = tapir_core_dev::interval::parse(&format!("2026-11-21T00:00:00Z/P{text}"));
        let _ = tapir_core_dev::clock::parse_rfc3339(&text);
        let _ = tapir_core_dev::encoding::percent_decode(&text);
        let _ = tapir_core_dev::csr::check(&tapir_core_dev::encoding::pem("CERTIFICATE REQUEST", &bytes), NODE);
        let _ = PublicJwk::parse(&json!({"kty": "OKP", "crv": "Ed25519", "x": text})).map(|(key, _)| key.key());
    }

    #[test]
    fn structured_lists_survive_being_written_and_read(names in proptest::collection::vec("[ -~]{0,10}", 0..5), number in -999_999_999_999_999_i64..999_999_999_999_999) {
        use tapir_core_dev::structured::{Item, Member, dictionary, write_list};
        let items: Vec<_> = names.into_iter().map(|name| (Item::Text(name), vec![])).collect();
        let parameters = vec![("created".to_owned(), Item::Integer(number))];
        let text = write_list(&items, &parameters);
        prop_assert_eq!(dictionary(&format!("sig={text}")).unwrap(), vec![("sig".to_owned(), Member::List(items, parameters))]);
    }
}
