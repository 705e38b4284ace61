//! Certificate requests: every flaw is refused alike at enrolment and at renewal.

use crate::common::*;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    SanType,
};
use serde_json::{Value, json};
use tapir_core_dev::encoding::pem;
use tapir_core_dev::message::Answer;

type Ask<'a> = &'a dyn Fn(&str) -> Answer;

fn request_with(change: impl Fn(&mut CertificateParams)) -> rcgen::CertificateSigningRequest {
    let mut params = CertificateParams::new(vec![NODE.to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, NODE);
    change(&mut params);
    params.serialize_request(&KeyPair::generate().unwrap()).unwrap()
}

/// Requests that can be read and that the CA does not certify.
fn flawed() -> Vec<(&'static str, String)> {
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    let mut flawed: Vec<_> = [
        ("organisation", request_with(|params| params.distinguished_name.push(DnType::OrganizationName, "Example"))),
        ("empty subject", request_with(|params| params.distinguished_name = DistinguishedName::new())),
        ("other subject", request_with(|params| params.distinguished_name.push(DnType::CommonName, "other.test.dnstapir.se"))),
        ("no alternative name", request_with(|params| params.subject_alt_names.clear())),
        ("two alternative names", request_with(|params| params.subject_alt_names.push(dns("other.test.dnstapir.se")))),
        ("other alternative name", request_with(|params| params.subject_alt_names = vec![dns("other.test.dnstapir.se")])),
        ("key usage", request_with(|params| params.key_usages.push(KeyUsagePurpose::DigitalSignature))),
        ("extended key usage", request_with(|params| params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth))),
        ("basic constraints", request_with(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained))),
    ]
    .map(|(flaw, request)| (flaw, request.pem().unwrap()))
    .into();
    let mut der = request_with(|_| {}).der().to_vec();
    let last = der.len() - 1;
    der[last] ^= 1;
    flawed.push(("self-signature", pem("CERTIFICATE REQUEST", &der)));
    flawed
}

#[test]
fn every_flaw_is_answered_as_a_failure_of_the_ca_and_what_cannot_be_read_as_such() {
    let fixture = fixture();
    let edge = Edge::create(&fixture, NODE);
    let enrol = |csr: &str| {
        let mut payload = edge.payload(now());
        payload["x509_csr"] = csr.into();
        fixture.nodeman.answer(&edge.enrolment_request(&payload))
    };
    let renew = |csr: &str| fixture.nodeman.answer(&edge.renewal_request(&json!({"timestamp": NOW, "x509_csr": csr})));
    let ask_of: [(&str, Ask<'_>); 2] = [("enrol", &enrol), ("renew", &renew)];
    for (action, ask) in ask_of {
        for (flaw, csr) in flawed() {
            let answer = ask(&csr);
            let body: Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!((answer.status, &body["detail"]), (500, &json!("Error issuing certificate")), "{action}: {flaw}");
            assert!(!answer.closes, "{action}: {flaw}: this failure is an answer like others");
        }
        for unreadable in ["", "no PEM", &pem("CERTIFICATE REQUEST", b"no DER"), &pem("CERTIFICATE", request_with(|_| {}).der())]
        {
            check_detail(&ask(unreadable), 400, "Invalid CSR");
        }
        // None of it burnt anything: the next proper one is taken.
        let taken = ask(&request_with(|_| {}).pem().unwrap());
        assert_eq!(taken.status, 200, "{action}: {}", taken.text());
    }
}
