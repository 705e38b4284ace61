//! An aggrec with one enrolled edge, and a signer of requests that can leave out or change anything.
#![allow(unreachable_pub)]

use std::sync::Arc;

use crate::common::*;
use sha2::{Digest as _, Sha256};
use tapir_core_dev::aggrec::Aggrec;
use tapir_core_dev::encoding::base64;
use tapir_core_dev::message::{Answer, Request};
use tapir_core_dev::record::Record;

pub const BODY: &[u8] = b"PAR1 not quite PAR1";
pub const COVERED: [&str; 3] = ["content-type", "content-length", "content-digest"];

pub struct Bench {
    pub fixture: Fixture,
    pub edge: Edge,
    pub aggrec: Aggrec,
    pub record: Arc<Record>,
}

pub fn bench() -> Bench {
    bench_with(Signer::generate())
}

/// With an edge that has this data key.
pub fn bench_with(data: Signer) -> Bench {
    let fixture = fixture();
    let edge = Edge { data, ..Edge::create(&fixture, NODE) };
    edge.enrol(&fixture);
    let record = Arc::new(Record::new(1024 * 1024));
    let aggrec = Aggrec::new(fixture.nodeman.clone(), "https://aggrec.test.dnstapir.se/", fixture.clock.clone())
        .announcing(Arc::clone(&record));
    Bench { fixture, edge, aggrec, record }
}

pub fn digest(body: &[u8]) -> String {
    format!("sha-256=:{}:", base64(&Sha256::digest(body)))
}

/// A request, not yet signed.
pub fn unsigned(body: &[u8]) -> Request {
    let mut request = request("POST", "/api/v1/aggregate/histogram", body);
    let headers = [
        ("content-type", "application/vnd.apache.parquet".to_owned()),
        ("content-length", body.len().to_string()),
        ("content-digest", digest(body)),
        ("aggregate-interval", "2026-11-20T23:57:00Z/PT1M".to_owned()),
    ];
    request.headers.extend(headers.map(|(name, value)| (name.to_owned(), value)));
    request
}

pub fn usual_parameters() -> String {
    parameters("ed25519")
}

pub fn parameters(alg: &str) -> String {
    format!(r#";created={};alg="{alg}";keyid="{NODE}""#, now().as_second())
}

/// Signs in the order of `covered` with `parameters` as they are.
pub fn sign(request: &mut Request, signer: &Signer, covered: &[&str], parameters: &str) {
    sign_by(request, |base| signer.sign(base), covered, parameters);
}

/// The same with any function.
pub fn sign_by(request: &mut Request, sign: impl Fn(&[u8]) -> Vec<u8>, covered: &[&str], parameters: &str) {
    let list = format!("({}){parameters}", covered.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(" "));
    let mut base: String =
        covered.iter().map(|name| format!("\"{name}\": {}\n", request.header(name).unwrap_or_default())).collect();
    base.push_str(&format!("\"@signature-params\": {list}"));
    let signature = base64(&sign(base.as_bytes()));
    request.headers.push(("signature-input".into(), format!("sig1={list}")));
    request.headers.push(("signature".into(), format!("sig1=:{signature}:")));
}

impl Bench {
    pub fn signed(&self, change: impl FnOnce(&mut Request)) -> Request {
        let mut request = unsigned(BODY);
        change(&mut request);
        sign(&mut request, &self.edge.data, &COVERED, &usual_parameters());
        request
    }

    pub fn with(&self, covered: &[&str], parameters: &str) -> Answer {
        let mut request = unsigned(BODY);
        sign(&mut request, &self.edge.data, covered, parameters);
        self.aggrec.answer(&request)
    }
}

pub fn set(request: &mut Request, name: &str, value: &str) {
    request.headers.retain(|(key, _)| key != name);
    request.headers.push((name.into(), value.into()));
}
