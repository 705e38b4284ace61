//! Against what the upstream minimiser sends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use common::{json, list, string};
use proptest::prelude::*;
use tapir_wire::event::{NewQname, topic};
use tapir_wire::http_signature::{BodyDigest, Signature};
use tapir_wire::jwk::DataKey;
use tapir_wire::jws;
use tapir_wire::name::Name;

#[test]
fn events_have_the_exact_octets() {
    let vectors = json("edm/dns_messages.json");
    let timestamp = string(&vectors, "event_timestamp_input").parse().unwrap();
    let mut ran = 0;
    for case in list(&vectors["vectors"]).iter().filter(|case| case["new_qname_json"].is_string()) {
        let number = |member: &str| u16::try_from(case[member].as_u64().unwrap()).unwrap();
        let event = NewQname {
            flags: number("flags_for_event"),
            qclass: number("qclass"),
            qname: string(case, "qname").to_owned(),
            qtype: number("qtype"),
            timestamp,
        };
        assert_eq!(event.to_json(), string(case, "new_qname_json"), "{}", case["desc"]);
        ran += 1;
    }
    assert!(ran >= 15, "{ran}");
}

#[test]
fn names_are_quoted_exactly() {
    for case in list(&json("edm/dns_names.json")["vectors"]) {
        let event = NewQname {
            flags: 0,
            qclass: 1,
            qname: string(case, "presentation").to_owned(),
            qtype: 1,
            timestamp: jiff::Timestamp::UNIX_EPOCH,
        };
        let quoted = string(case, "qname_as_json_string");
        assert!(event.to_json().contains(&format!("\"qname\":{quoted},")), "{}", case["desc"]);
    }
}

#[test]
fn names_have_the_canonical_form_of_lookups() {
    for case in list(&json("edm/dns_names.json")["vectors"]) {
        let name = Name::parse(string(case, "presentation")).unwrap();
        assert_eq!(name.as_str(), string(case, "seen_store_key"), "{}", case["desc"]);
        let wire = hex::decode(string(case, "wire_name_hex")).unwrap().to_ascii_lowercase();
        assert_eq!(name.to_wire(), wire, "{}", case["desc"]);
        let mut labels: Vec<_> = name.labels().map(str::to_owned).collect();
        labels.reverse();
        for (ours, recorded) in labels.iter().zip(list(&case["labels_label0_first_limit10"])).take(9) {
            assert_eq!(ours, &recorded.as_str().unwrap().to_ascii_lowercase(), "{}", case["desc"]);
        }
    }
}

#[test]
fn events_are_signed_exactly() {
    // RFC 8037 appendix A.1.
    let key = DataKey::from_jwk(
        r#"{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
            "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"node1.example.com"}"#,
    )
    .unwrap();
    let vectors = json("edm/jws.json");
    assert!(!list(&vectors["vectors"]).is_empty());
    for case in list(&vectors["vectors"]) {
        let payload = string(case, "payload_utf8");
        assert_eq!(jws::sign_flattened(payload.as_bytes(), &key), string(case, "jws_json"));
    }
    assert_eq!(topic(key.kid()), string(&json("edm/mqtt.json"), "publish_topic"));
}

#[test]
fn key_files_are_accepted_or_refused_as_upstream_does() {
    for case in list(&json("edm/jwk_loading.json")["vectors"]) {
        // Its HTTP side is the stricter one: it wants the private half at start and not at the first signature.
        let accepted = case["http"] == "ok";
        let key = DataKey::from_jwk(&case["jwk"].to_string());
        assert_eq!(key.is_ok(), accepted, "{case}: {key:?}");
    }
}

#[test]
fn uploads_are_signed_to_the_octet() {
    let vectors = json("edm/http_signature.json");
    let cases = list(&vectors["vectors"]);
    for case in cases {
        let mut jwk = vectors["jwk_private"].clone();
        jwk["kid"] = case["keyid"].clone();
        let key = DataKey::from_jwk(&jwk.to_string()).unwrap();
        let mut digest = BodyDigest::default();
        digest.update(&hex::decode(string(case, "body_hex")).unwrap());
        let content = digest.finish(string(case, "content_type"));
        assert_eq!(
            (content.length, content.digest.as_str()),
            (case["content_length"].as_u64().unwrap(), string(case, "content_digest"))
        );
        let created = jiff::Timestamp::from_second(case["created"].as_i64().unwrap()).unwrap();
        let expected =
            Signature { input: string(case, "signature_input").to_owned(), signature: string(case, "signature").to_owned() };
        // Ed25519 signatures are deterministic (RFC 8032): the same octets mean the same base.
        assert_eq!(content.sign(&key, created), expected);
    }
    assert_eq!(cases.len(), 3);
}

/// Judges headers as RFC 9421 section 3.2 has it, knowing nothing of how they were made.
fn is_verified(headers: &[(&str, &str)], key: &serde_json::Value) -> bool {
    let header = |wanted: &str| headers.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value);
    let verify = || {
        let (label, parameters) = header("signature-input")?.split_once('=')?;
        let (components, rest) = parameters.strip_prefix('(')?.split_once(')')?;
        assert!(rest.contains(";created=") && rest.contains(";alg=\"ed25519\"") && rest.contains(";keyid=\""), "{rest}");
        let mut base = String::new();
        for component in components.split(' ') {
            base.push_str(&format!("{component}: {}\n", header(component.trim_matches('"'))?));
        }
        base.push_str(&format!("\"@signature-params\": {parameters}"));
        let signature = header("signature")?.strip_prefix(label)?.strip_prefix("=:")?.strip_suffix(':')?;
        let public = URL_SAFE_NO_PAD.decode(string(key, "x")).ok()?;
        UnparsedPublicKey::new(&ED25519, public).verify(base.as_bytes(), &STANDARD.decode(signature).ok()?).ok()
    };
    verify().is_some()
}

proptest! {
    #[test]
    fn what_was_signed_is_verified_and_nothing_else(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..5),
        kid in "[a-z][a-z0-9]{0,10}(\\.[a-z][a-z0-9]{0,10}){1,4}",
        created in 0_i64..4_000_000_000,
        harm in 0_usize..5,
    ) {
        let key = DataKey::generate(&kid.parse().unwrap()).unwrap();
        let mut digest = BodyDigest::default();
        pieces.iter().for_each(|piece| digest.update(piece));
        let content = digest.finish("application/vnd.apache.parquet");
        let body = pieces.concat();
        let own = STANDARD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &body));
        prop_assert_eq!(&content.digest, &format!("sha-256=:{own}:"));
        prop_assert_eq!(content.length, body.len() as u64);

        let Signature { input, signature } = content.sign(&key, jiff::Timestamp::from_second(created).unwrap());
        let length = content.length.to_string();
        let mut headers = [
            ("content-type", content.media_type.as_str()),
            ("content-length", &length),
            ("content-digest", &content.digest),
            ("signature-input", &input),
            ("signature", &signature),
        ];
        let public = key.public_jwk();
        prop_assert!(is_verified(&headers, &public));
        prop_assert!(!is_verified(&headers, &DataKey::generate(&kid.parse().unwrap()).unwrap().public_jwk()));
        // Any of the five that is another one.
        let harmed = match headers[harm].0 {
            "signature-input" => input.replace(&format!("created={created}"), &format!("created={}", created + 1)),
            "signature" => format!("sig1=:{}:", STANDARD.encode([7; 64])),
            _ => format!("{}0", headers[harm].1),
        };
        headers[harm].1 = &harmed;
        prop_assert!(!is_verified(&headers, &public), "{} {}", headers[harm].0, harmed);
    }
}
