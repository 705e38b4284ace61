//! Renewal, and what it has in common with enrolment: payloads and certificate requests.

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
    for key in [
        json!(null),
        json!({}),
        json!({"kty": "oct", "k": "AA"}),
        json!({"kty": "OKP", "crv": "X25519", "x": "AA"}),
        json!({"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"}),
        json!({"kty": "OKP", "crv": "Ed25519"}),
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
fn every_flaw_of_a_csr_is_answered_as_a_failure_of_the_ca() {
    let fixture = fixture();
    let edge = Edge::create(&fixture, NODE);
    edge.enrol(&fixture);
    let request = |change: &dyn Fn(&mut rcgen::CertificateParams)| {
        let mut params = rcgen::CertificateParams::new(vec![NODE.to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, NODE);
        change(&mut params);
        params.serialize_request(&rcgen::KeyPair::generate().unwrap()).unwrap()
    };
    let dns = |name: &str| rcgen::SanType::DnsName(name.try_into().unwrap());
    let flaws: [&dyn Fn(&mut rcgen::CertificateParams); 8] = [
        &|params| params.distinguished_name.push(rcgen::DnType::OrganizationName, "Example"),
        &|params| params.distinguished_name = rcgen::DistinguishedName::new(),
        &|params| params.distinguished_name.push(rcgen::DnType::CommonName, "other.test.dnstapir.se"),
        &|params| params.subject_alt_names.clear(),
        &|params| params.subject_alt_names.push(dns("other.test.dnstapir.se")),
        &|params| params.key_usages.push(rcgen::KeyUsagePurpose::DigitalSignature),
        &|params| params.extended_key_usages.push(rcgen::ExtendedKeyUsagePurpose::ClientAuth),
        &|params| params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained),
    ];
    let renew = |csr: &str| fixture.nodeman.answer(&edge.renewal_request(&json!({"timestamp": NOW, "x509_csr": csr})));
    for flaw in flaws {
        check_detail(&renew(&request(flaw).pem().unwrap()), 500, "Error issuing certificate");
    }
    let mut der = request(&|_| {}).der().to_vec();
    let last = der.len() - 1;
    der[last] ^= 1;
    check_detail(&renew(&tapir_core_dev::encoding::pem("CERTIFICATE REQUEST", &der)), 500, "Error issuing certificate");
    check_detail(&renew(&tapir_core_dev::encoding::pem("CERTIFICATE REQUEST", b"no DER")), 400, "Invalid CSR");
    assert_eq!(renew(&request(&|_| {}).pem().unwrap()).status, 200);
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
