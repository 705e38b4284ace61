//! Renewal: what is refused, and what is not although one might think so.

use crate::common::*;
use jiff::SignedDuration;
use serde_json::{Value, json};
use tapir_core_dev::encoding::base64url;

#[test]
fn an_hmac_with_a_public_key_as_secret_is_no_signature() {
    let fixture = fixture();
    let edge = Edge::create(&fixture, NODE);
    edge.enrol(&fixture);
    let payload = json!({"timestamp": NOW, "x509_csr": csr(NODE)}).to_string();
    let forger =
        Signer::Hs256(tapir_core_dev::encoding::from_base64url(edge.data.public_jwk(NODE)["x"].as_str().unwrap()).unwrap());
    check_detail(
        &fixture.nodeman.answer(&edge.renewal_with(forger.flattened(&json!({"alg": "HS256"}), payload.as_bytes()))),
        401,
        "Invalid data signature",
    );
}

#[test]
fn renewal_refuses_bodies_csrs_and_lifetimes_as_enrolment_does() {
    let fixture = fixture();
    let edge = Edge::create(&fixture, NODE);
    edge.enrol(&fixture);
    let renew = |payload: Value| fixture.nodeman.answer(&edge.renewal_request(&payload));
    for body in ["", "hello", "{}", "a.b.c"] {
        let answer = fixture.nodeman.answer(&edge.renewal_with(body));
        check(&answer, 500, "Internal Server Error");
        assert!(answer.closes && answer.header("x-request-id").is_none());
    }
    check_detail(&renew(json!({"timestamp": NOW, "x509_csr": ""})), 400, "Invalid CSR");
    check_detail(&renew(json!({"timestamp": NOW, "x509_csr": csr("other.test.dnstapir.se")})), 500, "Error issuing certificate");
    check_detail(
        &renew(json!({"timestamp": NOW, "x509_csr": csr(NODE), "x509_lifetime": 59})),
        400,
        "Certificate request refused",
    );
}

#[test]
fn renewal_works_after_expiry_repeatedly_and_in_every_serialisation() {
    let fixture = fixture();
    let edge = Edge::create(&fixture, NODE);
    let first = edge.enrol(&fixture);
    fixture.clock.set(now() + SignedDuration::from_hours(24 * 400));
    let payload = json!({"timestamp": fixture.clock.now().to_string(), "x509_csr": csr(NODE)});
    let text = payload.to_string();
    let signature = edge.data.usual(&payload);
    let compact = format!(
        "{}.{}.{}",
        signature["protected"].as_str().unwrap(),
        base64url(text.as_bytes()),
        signature["signature"].as_str().unwrap()
    );
    let mut serials = vec![first["x509_certificate_serial_number"].clone()];
    for body in [
        compact.clone().into_bytes(),
        compact.into_bytes(),
        general(text.as_bytes(), &[signature]),
        edge.data.flattened(&json!({"alg": "EdDSA"}), text.as_bytes()),
    ] {
        let answer = fixture.nodeman.answer(&edge.renewal_with(body));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(body.as_object().unwrap().len(), 4, "nothing but the certificate");
        assert!(!serials.contains(&body["x509_certificate_serial_number"]));
        serials.push(body["x509_certificate_serial_number"].clone());
    }
}
