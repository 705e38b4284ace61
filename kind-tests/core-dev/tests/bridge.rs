//! What the bridge takes from edges and what it drops.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "../../../tapir-wire/tests/common/mod.rs"]
mod recorded;

use common::*;
use serde_json::{Value, json};
use tapir_core_dev::events::{Dropped, UpBridge};
use tapir_core_dev::jwk::PublicJwk;
use tapir_core_dev::schema::Schemas;

fn bridge() -> UpBridge {
    UpBridge::new(Schemas::new().unwrap())
}

fn key(jwk: &Value) -> Option<PublicJwk> {
    Some(PublicJwk::parse(jwk).unwrap().0)
}

fn event() -> Value {
    json!({"flags": 33152, "qclass": 1, "qname": "www.example.org.", "qtype": 1, "timestamp": "2026-11-21T00:24:00Z", "type": "new_qname", "version": 0})
}

fn header() -> Value {
    json!({"alg": "EdDSA", "kid": NODE})
}

/// Checks a message of a node with a proper key.
fn check(message: impl FnOnce(&Signer) -> Vec<u8>, expected: &Result<(), Dropped>) {
    let signer = Signer::generate();
    let jwk = signer.public_jwk(NODE);
    assert_eq!(bridge().check(&message(&signer), |name| (name == NODE).then(|| key(&jwk)).flatten()).map(|_| ()), *expected);
}

#[test]
fn recorded_event_passes_with_the_recorded_thumbprint() {
    let jwk = vector_json("mqtt/new_qname.public-key.jwk.json");
    let event = bridge().check(vector("mqtt/new_qname.jws.json").as_bytes(), |_| key(&jwk)).unwrap();
    let recorded = vector_json("mqtt/new_qname.on-nats.json");
    assert_eq!(event.key_id, recorded["headers"]["DNSTAPIR-Key-Identifier"]);
    assert_eq!(event.thumbprint, recorded["headers"]["DNSTAPIR-Key-Thumbprint"]);
    assert_eq!(String::from_utf8(event.payload).unwrap(), recorded["data"]);
}

#[test]
fn the_edges_recorded_events_pass_and_not_one_octet_may_differ() {
    let vectors: Value = serde_json::from_str(&any_vector("edm/jws.json")).unwrap();
    let jwk = rfc_8037_key().public_jwk("node1.example.com");
    let cases = vectors["vectors"].as_array().unwrap();
    assert!(cases.len() >= 4);
    for case in cases {
        let message = case["jws_json"].as_str().unwrap();
        let mut bridge = bridge();
        let event = bridge.check(message.as_bytes(), |name| (name == "node1.example.com").then(|| key(&jwk)).flatten()).unwrap();
        assert_eq!(event.payload, case["payload_utf8"].as_str().unwrap().as_bytes(), "{}", case["desc"]);
        // RFC 8037 appendix A.3.
        assert_eq!(event.thumbprint, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        let mut changed: Value = serde_json::from_str(message).unwrap();
        let payload = case["payload_utf8"].as_str().unwrap().replace("2026", "2027");
        changed["payload"] = tapir_core_dev::encoding::base64url(payload.as_bytes()).into();
        assert_eq!(bridge.check(changed.to_string().as_bytes(), |_| None), Err(Dropped::Signature), "{}", case["desc"]);
    }
}

#[test]
fn flattened_and_general_form_pass() {
    let text = event().to_string();
    check(|signer| signer.flattened(&header(), text.as_bytes()), &Ok(()));
    check(|signer| general(text.as_bytes(), &[signer.signature(&header(), text.as_bytes())]), &Ok(()));
}

#[test]
fn compact_form_and_other_bytes_are_dropped() {
    let text = event().to_string();
    check(
        |signer| {
            let signature = signer.signature(&header(), text.as_bytes());
            format!(
                "{}.{}.{}",
                signature["protected"].as_str().unwrap(),
                tapir_core_dev::encoding::base64url(text.as_bytes()),
                signature["signature"].as_str().unwrap()
            )
            .into_bytes()
        },
        &Err(Dropped::NoJws),
    );
    for bytes in [&b""[..], b"\x00\xff", b"{}", text.as_bytes()] {
        check(|_| bytes.to_vec(), &Err(Dropped::NoJws));
    }
}

#[test]
fn kid_must_stand_in_the_protected_header_and_be_known() {
    let text = event().to_string();
    check(|signer| signer.flattened(&json!({"alg": "EdDSA"}), text.as_bytes()), &Err(Dropped::NoKeyId));
    check(
        |signer| {
            let mut jws: Value = serde_json::from_slice(&signer.flattened(&json!({"alg": "EdDSA"}), text.as_bytes())).unwrap();
            jws["header"] = json!({"kid": NODE});
            jws.to_string().into_bytes()
        },
        &Err(Dropped::NoKeyId),
    );
    check(
        |signer| signer.flattened(&json!({"alg": "EdDSA", "kid": "ghost.test.dnstapir.se"}), text.as_bytes()),
        &Err(Dropped::UnknownKey),
    );
}

#[test]
fn a_kid_of_a_wrong_type_is_none() {
    let text = event().to_string();
    for kid in [json!(5), json!(null), json!([NODE]), json!({"name": NODE}), json!(true)] {
        check(|signer| signer.flattened(&json!({"alg": "EdDSA", "kid": kid}), text.as_bytes()), &Err(Dropped::NoKeyId));
    }
}

#[test]
fn signatures_must_verify_with_the_algorithm_of_the_key() {
    let text = event().to_string();
    check(|_| Signer::generate().flattened(&header(), text.as_bytes()), &Err(Dropped::Signature));
    for alg in ["none", "Ed25519", "HS256", "ES256"] {
        check(|signer| signer.flattened(&json!({"alg": alg, "kid": NODE}), text.as_bytes()), &Err(Dropped::Signature));
    }
    check(
        |signer| signer.flattened(&json!({"alg": "EdDSA", "kid": NODE, "crit": ["b64"], "b64": true}), text.as_bytes()),
        &Err(Dropped::Signature),
    );
    // Only the first signature counts, even when a later one is good.
    check(
        |signer| {
            general(
                text.as_bytes(),
                &[Signer::generate().signature(&header(), text.as_bytes()), signer.signature(&header(), text.as_bytes())],
            )
        },
        &Err(Dropped::Signature),
    );
    check(
        |signer| {
            let mut jws: Value = serde_json::from_slice(&signer.flattened(&header(), text.as_bytes())).unwrap();
            jws["payload"] = tapir_core_dev::encoding::base64url(text.replace("www", "xxx").as_bytes()).into();
            jws.to_string().into_bytes()
        },
        &Err(Dropped::Signature),
    );
}

#[test]
fn a_key_enrolled_without_alg_never_verifies() {
    let signer = Signer::generate();
    let mut jwk = signer.public_jwk(NODE);
    jwk.as_object_mut().unwrap().remove("alg");
    let message = signer.flattened(&header(), event().to_string().as_bytes());
    assert_eq!(bridge().check(&message, |_| key(&jwk)), Err(Dropped::KeyWithoutAlgorithm));
    // Nor does one with the algorithm's newer name, which the bridge's library does not know.
    jwk["alg"] = json!("Ed25519");
    let message = signer.flattened(&json!({"alg": "Ed25519", "kid": NODE}), event().to_string().as_bytes());
    assert_eq!(bridge().check(&message, |_| key(&jwk)), Err(Dropped::Signature));
}

#[test]
fn schema_violations_are_dropped() {
    let violates = |payload: &[u8]| {
        let signer = Signer::generate();
        let result = bridge().check(&signer.flattened(&header(), payload), |_| key(&signer.public_jwk(NODE)));
        assert!(matches!(result, Err(Dropped::Schema(_))), "{}: {result:?}", String::from_utf8_lossy(payload));
    };
    violates(b"no JSON");
    violates(b"[]");
    for member in ["type", "version", "qname"] {
        let mut payload = event();
        payload.as_object_mut().unwrap().remove(member);
        violates(payload.to_string().as_bytes());
    }
    for (member, value) in [
        ("type", json!("new_name")),
        ("version", json!(-1)),
        ("version", json!("0")),
        ("qname", json!(null)),
        ("timestamp", json!(5)),
        ("flags", json!("x")),
        ("flags", json!(1.5)),
        ("qtype", json!(-1)),
        ("qclass", json!("IN")),
        ("rdlength", json!(-1)),
        ("message_id", json!(5)),
        ("initiator", json!("stub")),
    ] {
        let mut payload = event();
        payload[member] = value;
        violates(payload.to_string().as_bytes());
    }
    // Formats are not enforced, and further members pass here; the analysts discard them later.
    for (member, value) in
        [("timestamp", json!("never")), ("message_id", json!("no uuid")), ("further", json!(1)), ("initiator", json!("client"))]
    {
        let mut payload = event();
        payload[member] = value;
        let text = payload.to_string();
        check(|signer| signer.flattened(&header(), text.as_bytes()), &Ok(()));
    }
}

/// The schema here is written anew; what it takes and refuses must be what upstream's does.
#[test]
fn events_are_judged_as_by_upstreams_own_schema() {
    let Some(schema) = recorded::upstream("edm/new_qname.schema.json") else { return };
    let schema: Value = serde_json::from_slice(&schema).unwrap();
    let upstreams = jsonschema::draft202012::options().should_validate_formats(false).build(&schema).unwrap();
    let ours = Schemas::new().unwrap();
    let values = [
        json!(null),
        json!(true),
        json!(-1),
        json!(0),
        json!(70_000),
        json!(1.5),
        json!("new_qname"),
        json!("client"),
        json!([]),
        json!({}),
    ];
    let members: Vec<String> = event().as_object().unwrap().keys().cloned().collect();
    let optional = ["rdlength", "message_id", "initiator", "further"].map(str::to_owned);
    let mut cases = vec![event(), json!({}), json!([]), json!("text")];
    for member in &members {
        let mut lacking = event();
        lacking.as_object_mut().unwrap().remove(member);
        cases.push(lacking);
    }
    for member in members.iter().chain(&optional) {
        for value in &values {
            let mut changed = event();
            changed[member] = value.clone();
            cases.push(changed);
        }
    }
    for case in cases {
        assert_eq!(ours.check_event(&case).is_ok(), upstreams.is_valid(&case), "{case}");
    }
}

#[test]
fn keys_are_cached_without_end_but_misses_are_not() {
    let signer = Signer::generate();
    let message = signer.flattened(&header(), event().to_string().as_bytes());
    let mut bridge = bridge();
    assert_eq!(bridge.check(&message, |_| None), Err(Dropped::UnknownKey));
    assert!(bridge.check(&message, |_| key(&signer.public_jwk(NODE))).is_ok());
    // The node is deleted: its events are still taken.
    assert!(bridge.check(&message, |_| panic!("the key is in the cache")).is_ok());
    // A thousand others push it out.
    for number in 0..1000 {
        let name = format!("n{number}");
        let _ = bridge.check(&signer.flattened(&json!({"alg": "EdDSA", "kid": name}), b"{}"), |_| key(&signer.public_jwk("x")));
    }
    assert_eq!(bridge.check(&message, |_| None), Err(Dropped::UnknownKey));
}
