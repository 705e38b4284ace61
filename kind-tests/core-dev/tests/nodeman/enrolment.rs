//! Enrolment: what is refused, and what each refusal leaves as it was.

use crate::common::*;
use jiff::SignedDuration;
use serde_json::{Value, json};
use tapir_core_dev::message::Answer;

/// Compares with the recorded refusal of that name.
fn check_recorded(case: &str, answer: &Answer) {
    let recorded = vector_json("errors/nodeman.json");
    let expected = recorded
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["case"] == case)
        .unwrap_or_else(|| panic!("no such case: {case}"))
        .clone();
    assert_eq!(u64::from(answer.status), expected["status"].as_u64().unwrap(), "{case}: {}", answer.text());
    assert_eq!(answer.header("content-type"), expected["content_type"].as_str(), "{case}");
    assert_eq!(answer.text(), expected["body"], "{case}");
}

#[test]
fn recorded_refusals_are_given_byte_for_byte_and_none_burns_the_enrolment_key() {
    let fixture = fixture();
    let edge = Edge::create(&fixture, NODE);
    let stranger = Signer::generate();
    let payload = edge.payload(now());
    let text = payload.to_string();
    let enrol = |payload: &Value| fixture.nodeman.answer(&edge.enrolment_request(payload));
    let changed = |member: &str, value: Value| {
        let mut payload = payload.clone();
        payload[member] = value;
        payload
    };
    let mut provoked = Vec::new();
    let mut check = |case: &'static str, answer: &Answer| {
        check_recorded(case, answer);
        provoked.push(case);
    };
    check(
        "enrol: no such node",
        &fixture.nodeman.answer(&request("POST", "/api/v1/node/ghost.test.dnstapir.se/enroll", text.as_str())),
    );
    check(
        "enrol: name with illegal characters",
        &fixture.nodeman.answer(&request("POST", "/api/v1/node/bad_name.example/enroll", text.as_str())),
    );
    check("enrol: body is no JWS", &fixture.nodeman.answer(&edge.enrolment_with("hello")));
    check(
        "enrol: wrong enrolment key",
        &fixture
            .nodeman
            .answer(&edge.enrolment_with(general(text.as_bytes(), &[stranger.usual(&payload), edge.data.usual(&payload)]))),
    );
    check(
        "enrol: data key signature missing",
        &fixture.nodeman.answer(&edge.enrolment_with(general(text.as_bytes(), &[edge.enrolment.usual(&payload)]))),
    );
    check(
        "enrol: timestamp 301 s old",
        &enrol(&changed("timestamp", json!((now() - SignedDuration::from_secs(301)).to_string()))),
    );
    check(
        "enrol: public_key.kid is another name",
        &enrol(&changed("public_key", edge.data.public_jwk("other.test.dnstapir.se"))),
    );
    check("enrol: CSR is no PEM", &enrol(&changed("x509_csr", json!("no PEM"))));
    check("enrol: CSR for another name", &enrol(&changed("x509_csr", json!(csr("other.test.dnstapir.se")))));
    check("enrol: lifetime over the CA's maximum", &enrol(&changed("x509_lifetime", json!(7_776_001))));
    check("renew: node not enrolled yet", &fixture.nodeman.answer(&edge.renewal_request(&payload)));

    assert_eq!(enrol(&payload).status, 200, "failed attempts must not have burnt the key");
    check("enrol: second time", &enrol(&payload));
    check(
        "renew: wrong key",
        &fixture.nodeman.answer(&edge.renewal_with(stranger.flattened(&json!({"alg": "EdDSA"}), text.as_bytes()))),
    );
    assert_eq!(fixture.nodeman.answer(&administrator("DELETE", &format!("/api/v1/node/{NODE}"), "")).status, 204);
    check("renew: node deleted", &fixture.nodeman.answer(&edge.renewal_request(&payload)));
    let recorded = vector_json("errors/nodeman.json");
    assert_eq!(provoked.len(), recorded.as_array().unwrap().len(), "every recorded refusal is provoked");
}

#[test]
fn signatures_must_be_by_the_keys_with_the_algorithm_of_the_key_and_without_unknown_extensions() {
    let fixture = fixture();
    let edge = Edge::create(&fixture, NODE);
    let payload = edge.payload(now()).to_string();
    let enrol = |enrolment: Value, data: Value| {
        fixture.nodeman.answer(&edge.enrolment_with(general(payload.as_bytes(), &[enrolment, data])))
    };
    let good = json!({"alg": "EdDSA"});
    for bad in [
        json!({}),
        json!({"alg": "none"}),
        json!({"alg": "HS256"}),
        json!({"alg": "ES256"}),
        json!({"alg": 5}),
        json!({"alg": "EdDSA", "crit": ["exp"], "exp": 1}),
        json!({"alg": "EdDSA", "crit": []}),
    ] {
        let answer = enrol(edge.enrolment.signature(&bad, payload.as_bytes()), edge.data.signature(&good, payload.as_bytes()));
        check_detail(&answer, 401, "Invalid enrollment signature");
        let answer = enrol(edge.enrolment.signature(&good, payload.as_bytes()), edge.data.signature(&bad, payload.as_bytes()));
        check_detail(&answer, 401, "Invalid data signature");
    }
    // The data key alone, flattened.
    check_detail(
        &fixture.nodeman.answer(&edge.enrolment_with(edge.data.flattened(&good, payload.as_bytes()))),
        401,
        "Invalid enrollment signature",
    );
    // A signature over another payload.
    let other = edge.payload(now()).to_string();
    check_detail(
        &enrol(edge.enrolment.signature(&good, other.as_bytes()), edge.data.signature(&good, payload.as_bytes())),
        401,
        "Invalid enrollment signature",
    );
    // Names of keys in headers are ignored, the newer name of the algorithm is taken, the order is free.
    let named = json!({"alg": "Ed25519", "kid": "whatever"});
    assert_eq!(
        enrol(edge.data.signature(&named, payload.as_bytes()), edge.enrolment.signature(&named, payload.as_bytes())).status,
        200
    );
}

#[test]
fn names_are_compared_byte_for_byte() {
    let fixture = fixture();
    let edge = Edge::create(&fixture, NODE);
    let payload = edge.payload(now());
    for name in ["Err-edge.test.dnstapir.se", "err-edge.test.dnstapir.se."] {
        let mut request = edge.enrolment_request(&payload);
        request.target = format!("/api/v1/node/{name}/enroll");
        check_detail(&fixture.nodeman.answer(&request), 404, "Not Found");
    }
    for name in ["a..b", "-a.example", "%C3%A4.example", "a%20b", "a%2"] {
        check_detail(
            &fixture.nodeman.answer(&request("GET", &format!("/api/v1/node/{name}/configuration"), "")),
            400,
            "Invalid node name",
        );
    }
    assert_eq!(fixture.nodeman.answer(&edge.enrolment_request(&payload)).status, 200);
}

#[test]
fn a_node_without_enrolment_key_cannot_enrol() {
    let fixture = fixture();
    let edge = Edge::create(&fixture, NODE);
    fixture.nodeman.nodes().get_mut(NODE).unwrap().enrolment_key = None;
    check_detail(&fixture.nodeman.answer(&edge.enrolment_request(&edge.payload(now()))), 400, "Node enrollment failed");
}

#[test]
fn the_enrolment_key_is_deleted_by_success() {
    let fixture = fixture();
    let edge = Edge::create(&fixture, NODE);
    edge.enrol(&fixture);
    assert!(fixture.nodeman.nodes().get(NODE).unwrap().enrolment_key.is_none());
}

#[test]
fn a_key_without_kid_enrols_and_alg_is_served_only_if_sent() {
    let fixture = fixture();
    let edge = Edge::create(&fixture, NODE);
    let mut payload = edge.payload(now());
    let members = payload["public_key"].as_object_mut().unwrap();
    members.remove("kid");
    members.remove("alg");
    members.insert("use".into(), json!("sig"));
    members.insert("d".into(), json!("leaked"));
    assert_eq!(fixture.nodeman.answer(&edge.enrolment_request(&payload)).status, 200);
    let served =
        fixture.nodeman.answer(&with_header(request("GET", &format!("/api/v1/node/{NODE}/public_key"), ""), "accept", "*/*"));
    let x = &edge.data.public_jwk(NODE)["x"];
    check(&served, 200, &format!(r#"{{"kty": "OKP", "crv": "Ed25519", "x": {x}, "kid": "{NODE}", "tags": []}}"#));
}

#[test]
fn unset_urls_are_left_out() {
    let fixture = fixture_with(|settings| (settings.nodeman_url, settings.aggrec_url) = (None, None));
    let edge = Edge::create(&fixture, NODE);
    let answer = edge.enrol(&fixture);
    assert!(answer.get("nodeman_url").is_none() && answer.get("aggrec_url").is_none());
}
