//! Signed payloads, which enrolment and renewal have in common.

use crate::common::*;
use serde_json::{Value, json};

#[test]
fn malformed_payloads_are_bad_requests_for_enrolment_and_renewal() {
    let fixture = fixture();
    let edge = Edge::create(&fixture, NODE);
    let whole = edge.payload(now());
    let without = |member: &str| {
        let mut payload = whole.clone();
        payload.as_object_mut().unwrap().remove(member);
        payload
    };
    let with = |member: &str, value: Value| {
        let mut payload = whole.clone();
        payload[member] = value;
        payload
    };
    let both = [
        without("timestamp"),
        without("x509_csr"),
        with("timestamp", json!("2026-11-21T00:24:14")),
        with("timestamp", json!("2026-11-21T00:19:13Z")),
        with("x509_lifetime", json!(0)),
        with("x509_lifetime", json!("long")),
        with("x509_csr", json!(null)),
        json!([]),
    ];
    for payload in &both {
        check_detail(&fixture.nodeman.answer(&edge.enrolment_request(payload)), 400, "Bad Request");
    }
    let of_wrong_type = |member: &str, value: Value| {
        let mut key = whole["public_key"].clone();
        key[member] = value;
        key
    };
    for key in [
        json!(null),
        json!({}),
        json!({"kty": "oct", "k": "AA"}),
        json!({"kty": "OKP", "crv": "X25519", "x": "AA"}),
        json!({"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"}),
        json!({"kty": "OKP", "crv": "Ed25519"}),
        json!("text"),
        json!({"kty": 5}),
        of_wrong_type("alg", json!(5)),
        of_wrong_type("alg", json!(["EdDSA"])),
        of_wrong_type("kid", json!(5)),
        of_wrong_type("kid", json!({"name": NODE})),
        of_wrong_type("x", json!(5)),
        of_wrong_type("crv", json!(true)),
    ] {
        check_detail(&fixture.nodeman.answer(&edge.enrolment_request(&with("public_key", key))), 400, "Bad Request");
    }
    check_detail(&fixture.nodeman.answer(&edge.enrolment_request(&without("public_key"))), 400, "Bad Request");
    edge.enrol(&fixture);
    for payload in &both {
        check_detail(&fixture.nodeman.answer(&edge.renewal_request(payload)), 400, "Bad Request");
    }
    // 300 s old and a day ahead are fine.
    for timestamp in ["2026-11-21T00:19:14Z", "2026-11-22T00:24:14Z"] {
        let payload = json!({"timestamp": timestamp, "x509_csr": csr(NODE)});
        assert_eq!(fixture.nodeman.answer(&edge.renewal_request(&payload)).status, 200, "{timestamp}");
    }
}
