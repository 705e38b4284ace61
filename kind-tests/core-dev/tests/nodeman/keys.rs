//! Enrolment keys and data keys of every kind that nodeman takes, and the one that only the real service does.

use crate::common::*;
use serde_json::{Value, json};
use tapir_core_dev::encoding::base64;
use x509_parser::prelude::FromDer as _;

/// An edge whose node holds that enrolment key.
fn with_enrolment_key(fixture: &Fixture, enrolment: Signer) -> Edge {
    let mut jwk = enrolment.public_jwk("6b00e2ef2567f308aabad7fc");
    // Nodeman holds the private half, of which verification needs nothing.
    jwk["d"] = json!("not looked at");
    fixture.nodeman.nodes().create(NODE, &[], jwk).unwrap();
    Edge { name: NODE.into(), enrolment, data: Signer::generate() }
}

#[test]
fn enrolment_keys_on_curves_and_of_rsa() {
    for (key, same_kind) in [
        (Signer::p256(), Signer::p256()),
        (Signer::p384(), Signer::p384()),
        (Signer::rsa(), Signer::rsa()),
        (Signer::generate(), Signer::generate()),
    ] {
        let fixture = fixture();
        let alg = key.alg();
        let edge = with_enrolment_key(&fixture, key);
        let payload = edge.payload(now());
        let text = payload.to_string();
        let enrol = |signature: Value| {
            fixture.nodeman.answer(&edge.enrolment_with(general(text.as_bytes(), &[signature, edge.data.usual(&payload)])))
        };
        let refused = |signature: Value| check_detail(&enrol(signature), 401, "Invalid enrollment signature");
        refused(same_kind.usual(&payload));
        for other in ["EdDSA", "ES256", "ES384", "RS256", "HS256", "none"].into_iter().filter(|other| *other != alg) {
            refused(edge.enrolment.signature(&json!({"alg": other}), text.as_bytes()));
        }
        let answer = enrol(edge.enrolment.usual(&payload));
        assert_eq!(answer.status, 200, "{alg}: {}", answer.text());
    }
}

#[test]
fn data_keys_on_curves_and_of_rsa_enrol_renew_and_are_served() {
    for data in [Signer::p256(), Signer::p384(), Signer::rsa()] {
        let fixture = fixture();
        let edge = Edge { data, ..Edge::create(&fixture, NODE) };
        let alg = edge.data.alg();
        let payload = edge.payload(now());
        let text = payload.to_string();
        let wrong = edge.data.signature(&json!({"alg": "EdDSA"}), text.as_bytes());
        let refused = edge.enrolment_with(general(text.as_bytes(), &[edge.enrolment.usual(&payload), wrong]));
        check_detail(&fixture.nodeman.answer(&refused), 401, "Invalid data signature");
        edge.enrol(&fixture);
        let renewal = edge.renewal_with(edge.data.flattened(&json!({"alg": alg}), text.as_bytes()));
        assert_eq!(fixture.nodeman.answer(&renewal).status, 200, "{alg}");
        let target = format!("/api/v1/node/{NODE}/public_key");
        let served = fixture.nodeman.answer(&with_header(request("GET", &target, ""), "accept", "application/x-pem-file"));
        let (_, block) = x509_parser::pem::parse_x509_pem(&served.body).unwrap();
        assert!(x509_parser::x509::SubjectPublicKeyInfo::from_der(&block.contents).unwrap().1.parsed().is_ok());
        if let Some(own) = edge.data.spki() {
            assert_eq!(base64(&block.contents), base64(&own), "{alg}");
        }
    }
}

/// The real service takes Ed448 for data keys and certificate requests; nothing else in Core does, and neither does the product.
/// Refusing it here is on purpose (see the README), so that nobody comes to rely on it.
#[test]
fn ed448_is_refused_on_purpose() {
    let genuine: Value = serde_json::from_str(include_str!("ed448.json")).unwrap();
    let fixture = fixture();
    let edge = Edge::create(&fixture, NODE);
    let payload = genuine["payload"].as_str().unwrap().as_bytes();
    let enrolment = edge.enrolment.signature(&json!({"alg": "EdDSA"}), payload);
    let request = edge.enrolment_with(general(payload, &[enrolment, genuine["signature"].clone()]));
    check_detail(&fixture.nodeman.answer(&request), 401, "Invalid data signature");
    let mut with_csr = edge.payload(now());
    with_csr["x509_csr"] = genuine["csr"].clone();
    check_detail(&fixture.nodeman.answer(&edge.enrolment_request(&with_csr)), 500, "Error issuing certificate");
    edge.enrol(&fixture);
}
