//! What the tests share: a nodeman with a clock of its own, and a signer of requests that makes every mistake on demand.
#![allow(dead_code, unreachable_pub, unused_imports, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod signer;

use std::path::PathBuf;

use jiff::Timestamp;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::{Value, json};
use tapir_core_dev::authority::{Authority, Lifetimes};
use tapir_core_dev::clock::Clock;
use tapir_core_dev::encoding::{base64, base64url};
use tapir_core_dev::message::{Answer, Request};
use tapir_core_dev::nodeman::{Nodeman, Settings};
use tapir_core_dev::nodes::EnrolmentKeyKind;
use tapir_core_dev::observations::public_half;
use tapir_core_dev::pki::Pki;

pub use signer::Signer;

pub const NOW: &str = "2026-11-21T00:24:14Z";
pub const NODE: &str = "err-edge.test.dnstapir.se";

pub fn now() -> Timestamp {
    NOW.parse().unwrap()
}

/// Text of a file recorded from Core.
pub fn vector(path: &str) -> String {
    any_vector(&format!("core/{path}"))
}

/// Text of any recorded file.
pub fn any_vector(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tapir-wire/vectors").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn vector_json(path: &str) -> Value {
    serde_json::from_str(&vector(path)).unwrap()
}

/// The private key of RFC 8037 appendix A.1, which the recorded messages of edges are signed with.
pub fn rfc_8037_key() -> Signer {
    let vectors: Value = serde_json::from_str(&any_vector("edm/http_signature.json")).unwrap();
    Signer::from_jwk(&vectors["jwk_private"])
}

/// A recorded request, with its headers.
pub fn recorded_request(exchange: &Value) -> Request {
    let request = &exchange["request"];
    let headers = request["headers"].as_object().unwrap();
    Request {
        method: request["method"].as_str().unwrap().into(),
        target: request["path"].as_str().unwrap().into(),
        headers: headers.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect(),
        body: request["body"].as_str().unwrap().into(),
        peer: None,
    }
}

/// A nodeman as the recorded one was set up.
pub struct Fixture {
    pub nodeman: Nodeman,
    pub clock: Clock,
    pub pki: Pki,
}

pub fn fixture() -> Fixture {
    fixture_with(|_| {})
}

pub fn fixture_with(change: impl FnOnce(&mut Settings)) -> Fixture {
    let clock = Clock::manual(now());
    let pki = Pki::generate(now()).unwrap();
    let lifetimes = Lifetimes::new(7_776_000, Some(60), Some(7_776_000));
    let authority =
        Authority::new(&pki.node_issuer_certificate, &pki.node_issuer_key, &pki.node_root_certificate, lifetimes, 0).unwrap();
    let mut settings = Settings {
        service_domain: "test.dnstapir.se".into(),
        mqtt_broker: "mqtts://mqtt.test.dnstapir.se:8883".into(),
        mqtt_topics: json!({"config": "config/down/tapir-pop", "status": "status/up/{EdgeId}/tapir-pop", "observations": "observations/down/tapir-pop"}),
        trusted_keys: pki.observation_keys.iter().map(public_half).collect(),
        trusted_keys_without: vec![],
        nodeman_url: Some("https://nodeman.test.dnstapir.se/".into()),
        aggrec_url: Some("https://aggrec.test.dnstapir.se/".into()),
        configuration_max_age: 300,
        administrator: ("admin".into(), "secret".into()),
        enrolment_keys: EnrolmentKeyKind::Ed25519,
        allowed_networks: vec!["127.0.0.0/8".parse().unwrap()],
    };
    change(&mut settings);
    Fixture { nodeman: Nodeman::new(settings, authority, clock.clone()), clock, pki }
}

pub fn general(payload: &[u8], signatures: &[Value]) -> Vec<u8> {
    json!({"payload": base64url(payload), "signatures": signatures}).to_string().into_bytes()
}

pub fn csr(name: &str) -> String {
    csr_of(&KeyPair::generate().unwrap(), name)
}

pub fn csr_of(key: &KeyPair, name: &str) -> String {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serialize_request(key).unwrap().pem().unwrap()
}

pub fn request(method: &str, target: &str, body: impl Into<Vec<u8>>) -> Request {
    Request { method: method.into(), target: target.into(), headers: vec![], body: body.into(), peer: None }
}

pub fn with_header(mut request: Request, name: &str, value: &str) -> Request {
    request.headers.push((name.into(), value.into()));
    request
}

pub fn administrator(method: &str, target: &str, body: &str) -> Request {
    with_header(request(method, target, body), "authorization", &format!("Basic {}", base64(b"admin:secret")))
}

/// A node with its keys, not yet enrolled.
pub struct Edge {
    pub name: String,
    pub enrolment: Signer,
    pub data: Signer,
}

impl Edge {
    pub fn create(fixture: &Fixture, name: &str) -> Self {
        let answer = fixture.nodeman.answer(&administrator("POST", "/api/v1/node", &json!({"name": name}).to_string()));
        assert_eq!(answer.status, 201, "{}", answer.text());
        let credentials: Value = serde_json::from_slice(&answer.body).unwrap();
        Self { name: name.into(), enrolment: Signer::from_jwk(&credentials["key"]), data: Signer::generate() }
    }

    pub fn payload(&self, now: Timestamp) -> Value {
        json!({"timestamp": now.to_string(), "x509_csr": csr(&self.name), "public_key": self.data.public_jwk(&self.name)})
    }

    pub fn enrolment_request(&self, payload: &Value) -> Request {
        self.enrolment_with(general(payload.to_string().as_bytes(), &[self.enrolment.usual(payload), self.data.usual(payload)]))
    }

    pub fn enrolment_with(&self, body: impl Into<Vec<u8>>) -> Request {
        request("POST", &format!("/api/v1/node/{}/enroll", self.name), body)
    }

    pub fn renewal_request(&self, payload: &Value) -> Request {
        self.renewal_with(self.data.flattened(&json!({"alg": "EdDSA"}), payload.to_string().as_bytes()))
    }

    pub fn renewal_with(&self, body: impl Into<Vec<u8>>) -> Request {
        request("POST", &format!("/api/v1/node/{}/renew", self.name), body)
    }

    pub fn enrol(&self, fixture: &Fixture) -> Value {
        let answer = fixture.nodeman.answer(&self.enrolment_request(&self.payload(fixture.clock.now())));
        assert_eq!(answer.status, 200, "{}", answer.text());
        serde_json::from_slice(&answer.body).unwrap()
    }

    pub fn get(&self, fixture: &Fixture, what: &str) -> Answer {
        fixture.nodeman.answer(&request("GET", &format!("/api/v1/node/{}/{what}", self.name), ""))
    }
}

/// Status and body of an answer.
pub fn check(answer: &Answer, status: u16, body: &str) {
    assert_eq!((answer.status, answer.text().as_str()), (status, body));
}

pub fn check_detail(answer: &Answer, status: u16, detail: &str) {
    check(answer, status, &json!({"detail": detail}).to_string());
}
