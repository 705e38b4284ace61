//! Keys of the kinds that the bridge takes, material that is no key, and bytes that nobody should send.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use aws_lc_rs::signature::RSA_PSS_SHA512;
use common::*;
use proptest::prelude::*;
use serde_json::json;
use tapir_core_dev::encoding::base64url;
use tapir_core_dev::events::UpBridge;
use tapir_core_dev::jwk::PublicJwk;
use tapir_core_dev::keys::{PublicKey, Scheme};
use tapir_core_dev::schema::Schemas;

#[test]
fn the_bridge_takes_events_by_ed25519_and_p256() {
    let event = json!({"type": "new_qname", "version": 0, "qname": "a.example."}).to_string();
    for signer in [Signer::generate(), Signer::p256()] {
        let jwk = signer.public_jwk(NODE);
        let message = signer.flattened(&json!({"alg": signer.alg(), "kid": NODE}), event.as_bytes());
        let mut bridge = UpBridge::new(Schemas::new().unwrap());
        assert!(bridge.check(&message, |_| Some(PublicJwk::parse(&jwk).unwrap().0)).is_ok(), "{}", signer.alg());
    }
}

#[test]
fn paddings_of_rsa_are_told_apart() {
    let signer = Signer::rsa();
    let key = PublicJwk::parse(&signer.public_jwk(NODE)).unwrap().0.key().unwrap();
    let (pkcs1, pss) = (signer.sign(b"m"), signer.sign_padded(&RSA_PSS_SHA512, b"m"));
    assert!(key.verifies(Scheme::RsaPkcs1Sha256, b"m", &pkcs1) && key.verifies(Scheme::RsaPssSha512, b"m", &pss));
    assert!(!key.verifies(Scheme::RsaPkcs1Sha256, b"m", &pss) && !key.verifies(Scheme::RsaPssSha512, b"m", &pkcs1));
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
