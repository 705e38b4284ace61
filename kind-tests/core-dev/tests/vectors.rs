//! Replays every exchange that was recorded with the real services: what they accepted is accepted here at its time, and the
//! answers have the same form.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::Arc;

use common::*;
use serde_json::Value;
use tapir_core_dev::aggrec::Aggrec;
use tapir_core_dev::message::Answer;
use tapir_core_dev::observations::{Observed, SigningKey, message};
use tapir_core_dev::record::Record;
use tapir_core_dev::schema::Schemas;

/// Replaces what is random in an answer by its kind: certificates, serial numbers, request ids.
fn shape(body: &str) -> Value {
    let mut value: Value = serde_json::from_str(body).unwrap_or_else(|_| body.into());
    let Some(members) = value.as_object_mut() else { return value };
    for (name, member) in members {
        match name.as_str() {
            "x509_certificate" | "x509_ca_certificate" => {
                *member = member.as_str().unwrap().matches("BEGIN CERTIFICATE").count().into()
            }
            "x509_certificate_serial_number" => {
                *member = member.as_str().unwrap().bytes().all(|byte| byte.is_ascii_digit()).into()
            }
            "trusted_jwks" => {
                let mut keys = member["keys"].as_array().unwrap().clone();
                keys.sort_by_key(Value::to_string);
                *member = keys.into();
            }
            _ => {}
        }
    }
    value
}

fn check_same(exchange: &Value, answer: &Answer) {
    let expected = &exchange["response"];
    assert_eq!(u64::from(answer.status), expected["status"].as_u64().unwrap(), "{}", answer.text());
    // As text, so that the order of members counts.
    assert_eq!(shape(&answer.text()).to_string(), shape(expected["body"].as_str().unwrap()).to_string());
    for (name, value) in expected["headers"].as_object().unwrap() {
        if name != "content-length" {
            assert_eq!(answer.header(name), value.as_str(), "{name}");
        }
    }
}

/// A nodeman that trusts the recorded Core keys and holds the recorded node.
fn recorded_nodeman(folder: &str, tags: &[&str]) -> Fixture {
    let answer: Value =
        serde_json::from_str(vector_json(&format!("{folder}/enroll.json"))["response"]["body"].as_str().unwrap()).unwrap();
    let fixture = fixture_with(|settings| settings.trusted_keys = answer["trusted_jwks"]["keys"].as_array().unwrap().clone());
    let credentials = vector_json(&format!("{folder}/enrollment-credentials.json"));
    let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
    fixture.nodeman.nodes().create(credentials["name"].as_str().unwrap(), &tags, credentials["key"].clone()).unwrap();
    fixture
}

fn replay(fixture: &Fixture, path: &str, at: &str) {
    fixture.clock.set(at.parse().unwrap());
    let exchange = vector_json(path);
    check_same(&exchange, &fixture.nodeman.answer(&recorded_request(&exchange)));
}

#[test]
fn python_clients_life() {
    let fixture = recorded_nodeman("python-client", &["test", "se"]);
    replay(&fixture, "python-client/enroll.json", "2026-11-21T00:24:12.155Z");
    replay(&fixture, "admin/get-node.json", "2026-11-21T00:24:12.2Z");
    replay(&fixture, "python-client/renew.json", "2026-11-21T00:24:13.4Z");
    for read in ["configuration", "certificate", "public_key_jwk", "public_key_pem"] {
        replay(&fixture, &format!("read/{read}.json"), "2026-11-21T00:24:14Z");
    }
    // Byte for byte, spaces included.
    let exchange = vector_json("read/public_key_jwk.json");
    assert_eq!(fixture.nodeman.answer(&recorded_request(&exchange)).text(), exchange["response"]["body"].as_str().unwrap());
}

#[test]
fn go_clients_life() {
    let fixture = recorded_nodeman("go-client", &[]);
    replay(&fixture, "go-client/enroll.json", "2026-11-21T00:24:14.04Z");
    replay(&fixture, "go-client/renew.json", "2026-11-21T00:24:14.07Z");
    let exchange = vector_json("read/public_key_jwk_with_alg.json");
    assert_eq!(fixture.nodeman.answer(&recorded_request(&exchange)).text(), exchange["response"]["body"].as_str().unwrap());
}

#[test]
fn symmetric_enrolment_key() {
    let fixture = recorded_nodeman("hs256-enrolment", &[]);
    replay(&fixture, "hs256-enrolment/enroll.json", "2026-11-21T00:24:25.02Z");
}

#[test]
fn recorded_enrolment_is_too_old_five_minutes_later() {
    let fixture = recorded_nodeman("go-client", &[]);
    fixture.clock.set("2026-11-21T00:29:14.02Z".parse().unwrap());
    check_detail(&fixture.nodeman.answer(&recorded_request(&vector_json("go-client/enroll.json"))), 400, "Bad Request");
}

#[test]
fn creation_of_a_node() {
    let fixture = fixture();
    let exchange = vector_json("admin/create-node.json");
    let answer = fixture.nodeman.answer(&recorded_request(&exchange));
    assert_eq!((answer.status, answer.header("location")), (201, exchange["response"]["headers"]["location"].as_str()));
    let members = |text: &str| {
        let value: Value = serde_json::from_str(text).unwrap();
        let key: Vec<(String, usize)> = value["key"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, member)| (name.clone(), member.as_str().unwrap().len()))
            .collect();
        (value.as_object().unwrap().keys().cloned().collect::<Vec<_>>(), key, value["name"].clone(), value["nodeman_url"].clone())
    };
    assert_eq!(members(&answer.text()), members(exchange["response"]["body"].as_str().unwrap()));
}

#[test]
fn aggregates_of_both_clients_and_their_metadata() {
    let fixture = recorded_nodeman("go-client", &[]);
    replay(&fixture, "go-client/enroll.json", "2026-11-21T00:24:14.04Z");
    let record = Arc::new(Record::new(1024 * 1024));
    let aggrec = Aggrec::new(fixture.nodeman.clone(), "https://aggrec.test.dnstapir.se/", fixture.clock.clone())
        .announcing(Arc::clone(&record));
    fixture.clock.set("2026-11-21T00:24:16.5Z".parse().unwrap());
    let exchange = vector_json("aggrec/post-histogram.json");
    let answer = aggrec.answer(&recorded_request(&exchange));
    assert_eq!((answer.status, answer.text().as_str()), (201, ""), "{}", answer.text());
    let location = answer.header("location").unwrap().to_owned();
    let id = location.strip_prefix("/api/v1/aggregates/").unwrap();
    assert!(id.len() == 24 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));

    let recorded = vector_json("aggrec/get-metadata.json");
    let metadata = aggrec.answer(&request("GET", &location, ""));
    let expected = recorded["response"]["body"].as_str().unwrap().replace("6b00e4b06b10c5c654464191", id);
    let (actual, expected): (Value, Value) =
        (serde_json::from_slice(&metadata.body).unwrap(), serde_json::from_str(&expected).unwrap());
    assert_eq!(actual, expected);
    assert_eq!(actual.as_object().unwrap().keys().collect::<Vec<_>>(), expected.as_object().unwrap().keys().collect::<Vec<_>>());

    let dump = record.dump();
    let announcement: Value = serde_json::from_str(dump.lines().last().unwrap()).unwrap();
    let recorded = vector_json("aggrec/new_aggregate.on-nats.json");
    let message_id = announcement["data"]["message_id"].as_str().unwrap();
    assert_eq!(message_id.parse::<uuid::Uuid>().unwrap().get_version_num(), 4);
    // As text, so that the order of members counts.
    let expected = recorded["data"]
        .to_string()
        .replace("6b00e4b06b10c5c654464191", id)
        .replace(recorded["data"]["message_id"].as_str().unwrap(), message_id);
    assert_eq!((&announcement["subject"], announcement["data"].to_string()), (&recorded["subject"], expected));

    fixture.clock.set("2026-11-21T00:24:17.5Z".parse().unwrap());
    let answer = aggrec.answer(&recorded_request(&vector_json("aggrec/post-vector-python-client.json")));
    assert_eq!(answer.status, 201, "{}", answer.text());
}

#[test]
fn observations_are_formed_and_signed_byte_for_byte_as_recorded() {
    let key = SigningKey::from_jwk(&vector_json("pki/core-signing-key.private.jwk.json")).unwrap();
    let schemas = Schemas::new().unwrap();
    for name in ["looptest", "globally_new", "ticker"] {
        let payload = vector(&format!("mqtt/observation-{name}.payload.json"));
        let payload = payload.trim_end();
        let value: Value = serde_json::from_str(payload).unwrap();
        assert_eq!(schemas.check_observation(&value), Ok(()));
        // Ed25519 is deterministic: the same bytes give the same signature.
        assert_eq!(key.sign(payload).unwrap(), vector(&format!("mqtt/observation-{name}.jws.json")).trim_end());

        let element = &value["added"][0];
        let observed: Observed = serde_json::from_value(element.clone()).unwrap();
        let made = message(&observed, element["time_added"].as_str().unwrap().parse().unwrap());
        let expected = payload.replace(value["timestamp"].as_str().unwrap(), element["time_added"].as_str().unwrap());
        assert_eq!(made, expected);
    }
}
