//! Against what reaches the upstream policy processor.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{json, list, string, upstream};
use tapir_wire::jwk::TrustedKeys;
use tapir_wire::jws;
use tapir_wire::observation::{Message, RejectReason};
use tapir_wire::tags::{self, Tag};

#[test]
fn signatures_are_judged_as_recommended() {
    let vectors = json("pop/mqtt/jws.json");
    let keys = TrustedKeys::from_value(&vectors["jwks"]).unwrap();
    assert_eq!(keys.kids().collect::<Vec<_>>(), ["core-es256", "core-noalg", "core-test"]);
    assert_eq!(keys.skipped()[0].kid, "core-enc");
    for case in list(&vectors["cases"]) {
        let verdict = jws::verify(string(case, "message").as_bytes(), &keys);
        assert_eq!(verdict.is_ok(), string(case, "recommended") == "accept", "{}: {verdict:?}", case["id"]);
        if let Ok(payload) = verdict {
            assert_eq!(serde_json::from_slice::<serde_json::Value>(&payload).unwrap(), vectors["payload"]);
        }
    }
}

#[test]
fn payloads_are_judged_as_recommended() {
    for case in list(&json("pop/mqtt/payloads.json")["cases"]) {
        let id = string(case, "id");
        let message = Message::parse(case["payload"].to_string().as_bytes());
        match id {
            // These two are good messages for somebody else: who knows the sources refuses them.
            "unknown-source" => assert_eq!(message.unwrap().src_name, "nobody"),
            "allowlist-by-mqtt" => assert_eq!(message.unwrap().list_type.to_string(), "allowlist"),
            "missing-time-added" => assert_eq!(message.unwrap().rejected[&RejectReason::NoTime], 1),
            "empty-name" => {
                let message = message.unwrap();
                assert!(message.added.is_empty());
                assert_eq!(message.rejected[&RejectReason::NoName], 1);
            }
            _ => {
                assert_eq!(message.is_ok(), string(case, "verdict") == "accept", "{id}: {message:?}");
                if let (Ok(message), Some(names)) = (message, case["canonical_names"].as_array()) {
                    let ours: Vec<_> = message.added.iter().map(|entry| entry.name.as_str()).collect();
                    assert_eq!(&ours, names, "{id}");
                }
            }
        }
    }
}

/// At their own time, wherever upstream's intervals end, and whatever offset the time is told with.
#[test]
fn observations_end_when_they_say() {
    let rows = json("pop/expiry/reaper-buckets.json");
    for row in list(&rows["rows"]) {
        let entry =
            serde_json::json!({"name": "evil.example", "time_added": row["time_added"], "ttl": row["ttl"], "tag_mask": 1});
        let message = serde_json::json!({
            "src_name": "s", "creator": "", "msg_type": "observation", "list_type": "doubtlist", "added": [entry], "removed": [],
            "msg": "", "timestamp": "2025-10-29T12:00:00Z", "time_str": "",
        });
        let message = Message::parse(message.to_string().as_bytes()).unwrap();
        let time = |member: &str| string(row, member).parse::<jiff::Timestamp>().unwrap();
        assert_eq!(message.added[0].expires(), time("expires_at"), "{row}");
        assert!(message.added[0].expires() < time("upstream_bucket"), "{row}");
    }
}

#[test]
fn tags_have_cores_names() {
    let vectors = json("pop/policy/tags.json");
    for case in list(&vectors["tags"]) {
        let bit = case["bit"].as_u64().unwrap();
        let ours = Tag::parse(&format!("bit{bit}")).unwrap();
        assert_eq!(u64::from(ours.mask()), case["value"].as_u64().unwrap());
        match case["core_name"].as_str() {
            Some(name) => {
                assert_eq!(Tag::parse(name), Ok(ours));
                assert_eq!(ours.to_string(), name);
            }
            None => assert_eq!(ours.to_string(), format!("bit{bit}")),
        }
        // POP's own names describe other things than what Core sends.
        assert!(Tag::parse(string(case, "pop_name")).is_err());
    }
    for case in list(&vectors["popcount"]) {
        let mask = u32::try_from(case["mask"].as_u64().unwrap()).unwrap();
        assert_eq!(tags::tags(mask).count() as u64, case["n"].as_u64().unwrap());
    }
}

#[test]
fn samples_of_cores_library_verify() {
    let Some(samples) = upstream("pop/mqtt/upstream-signed-samples.json") else { return };
    let vectors: serde_json::Value = serde_json::from_slice(&samples).unwrap();
    let keys = TrustedKeys::from_value(&vectors["jwks"]).unwrap();
    for case in list(&vectors["samples"]) {
        let payload = jws::verify(string(case, "message").as_bytes(), &keys).unwrap();
        assert_eq!(payload, string(case, "payload").as_bytes());
    }
}

#[test]
fn settings_of_core_are_read_as_recorded() {
    use tapir_wire::core_settings::{CoreSettings, CoreSettingsError};

    let vectors = json("pop/mqtt/global-config.json");
    let read = |payload: &serde_json::Value| CoreSettings::parse(payload.to_string().as_bytes());
    let settings = read(&vectors["payload"]).unwrap();
    assert_eq!((settings.version.as_str(), settings.topics), ("17", vec!["observations/down/tapir-pop".to_owned()]));
    assert_eq!(settings.bootstrap.unwrap().servers, ["192.0.2.1:5455"]);
    for case in list(&vectors["reject"]) {
        assert_eq!(read(&case["payload"]), Err(CoreSettingsError::NoTopic), "{case}");
    }
}
