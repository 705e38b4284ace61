//! Requests that the edges' own signers made, and what the real service had to say to them.

use crate::bench::*;
use crate::common::*;
use jiff::Timestamp;
use serde_json::Value;
use tapir_core_dev::encoding::{from_base64, pem};
use tapir_core_dev::httpsig::signature_base;
use tapir_core_dev::jwk::PublicJwk;
use tapir_core_dev::message::Request;

fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap_or_else(|| panic!("no text {member} in {value}"))
}

/// The request of a vector; only the captured one has all its headers on record.
fn recorded(vectors: &Value, vector: &Value) -> Request {
    let mut request = request("POST", "/api/v1/aggregate/histogram", hex::decode(text(vector, "body_hex")).unwrap());
    if vector["captured"] == true {
        let captured = &vectors["captured_request"];
        let (method, rest) = text(captured, "request_line").split_once(' ').unwrap();
        (request.method, request.target) = (method.into(), rest.strip_suffix(" HTTP/1.1").unwrap().into());
        for (name, value) in captured["headers"].as_object().unwrap() {
            set(&mut request, &name.to_ascii_lowercase(), value.as_str().unwrap());
        }
        return request;
    }
    set(&mut request, "content-length", &vector["content_length"].to_string());
    set(&mut request, "aggregate-interval", "");
    for name in ["content-type", "content-digest", "signature-input", "signature"] {
        set(&mut request, name, text(vector, &name.replace('-', "_")));
    }
    request
}

#[test]
fn what_the_edges_signer_made_is_taken_and_nothing_else() {
    let vectors: Value = serde_json::from_str(&any_vector("edm/http_signature.json")).unwrap();
    let list = vectors["vectors"].as_array().unwrap();
    assert_eq!((list.len(), list.iter().filter(|vector| vector["captured"] == true).count()), (3, 1));
    for vector in list {
        let bench = bench();
        let name = text(vector, "keyid");
        let mut nodes = bench.fixture.nodeman.nodes();
        nodes.create(name, &[], Value::Null).unwrap();
        nodes.get_mut(name).unwrap().public_key = Some(PublicJwk::parse(&rfc_8037_key().public_jwk(name)).unwrap().0);
        drop(nodes);
        let created = Timestamp::from_second(vector["created"].as_i64().unwrap()).unwrap();
        bench.fixture.clock.set(created);
        let request = recorded(&vectors, vector);
        assert_eq!(signature_base(&request).unwrap(), text(vector, "signature_base"));

        let changed = |name: &str, from: &str, to: &str| {
            let mut request = request.clone();
            let value = request.header(name).unwrap();
            assert!(value.contains(from), "{name}: {value}");
            set(&mut request, name, &value.replace(from, to));
            bench.aggrec.answer(&request)
        };
        check_detail(&changed("content-type", "vnd.apache.parquet", "binary"), 401, "Invalid HTTP signature");
        check_detail(&changed("signature-input", name, NODE), 401, "Invalid HTTP signature");
        check_detail(&changed("signature-input", "created=1", "created=2"), 401, "Invalid HTTP signature");
        check_detail(&changed("signature", "sig1=:", "sig1=:AAAA"), 401, "Invalid HTTP signature");
        let longer = Request { body: [&request.body[..], b"x"].concat(), ..request.clone() };
        check_detail(&bench.aggrec.answer(&longer), 401, "Content-Digest verification failed");

        let taken = bench.aggrec.answer(&request);
        assert_eq!(taken.status, 201, "{vector}: {}", taken.text());
    }
}

#[test]
fn the_signature_base_is_the_recorded_one() {
    let request = recorded_request(&vector_json("aggrec/post-histogram.json"));
    assert_eq!(signature_base(&request).unwrap(), vector("aggrec/post-histogram.signature-base.txt"));
}

#[test]
fn the_recorded_signers_key_is_that_in_the_recorded_pem() {
    let jwk = vector_json("aggrec/public-key.jwk.json");
    let key = PublicJwk::parse(&jwk).unwrap().0.key().unwrap();
    assert_eq!(pem("PUBLIC KEY", &key.spki_der()), vector("aggrec/public-key.pem"));
    let request = recorded_request(&vector_json("aggrec/post-histogram.json"));
    let signature = request.header("signature").unwrap();
    let signature = from_base64(signature.strip_prefix("sig1=:").unwrap().strip_suffix(':').unwrap()).unwrap();
    let base = vector("aggrec/post-histogram.signature-base.txt");
    assert!(key.verifies(tapir_core_dev::keys::Scheme::Ed25519, base.as_bytes(), &signature));
}
