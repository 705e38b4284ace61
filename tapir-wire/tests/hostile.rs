//! Whatever the bytes: parsers answer, writers are read back, damage is noticed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::BTreeSet;

use common::{bytes, text};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use tapir_wire::certificate::{CertificateInfo, TlsKey, check_issued};
use tapir_wire::config::edm::EdmConfig;
use tapir_wire::config::pop::PopConfig;
use tapir_wire::dawg::{Dawg, DomainSet, compile};
use tapir_wire::enrolment::{Credentials, EnrolmentAnswer, endpoint};
use tapir_wire::event::NewQname;
use tapir_wire::jwk::{DataKey, EnrolmentKey, TrustedKeys, thumbprint};
use tapir_wire::jws;
use tapir_wire::name::Name;
use tapir_wire::node_name::NodeName;
use tapir_wire::observation::Message;
use tapir_wire::tags::Tag;

/// JSON that looks like what is expected, with values that do not.
fn json(members: &'static [&'static str]) -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        ".{0,12}".prop_map(Into::into),
        prop::sample::select(
            &[
                "OKP",
                "EC",
                "RSA",
                "oct",
                "Ed25519",
                "P-256",
                "EdDSA",
                "observation",
                "doubtlist",
                "AA",
                "a.example",
                "2026-11-21T00:00:00Z"
            ][..]
        )
        .prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 48, 6, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Into::into),
            vec((prop::sample::select(members), inner), 0..8)
                .prop_map(|members| members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

const MEMBERS: &[&str] = &[
    "payload",
    "signatures",
    "protected",
    "signature",
    "header",
    "keys",
    "kty",
    "crv",
    "kid",
    "alg",
    "x",
    "y",
    "d",
    "k",
    "n",
    "e",
    "p",
    "q",
    "dp",
    "dq",
    "qi",
    "use",
    "name",
    "Name",
    "key",
    "nodeman_url",
    "src_name",
    "msg_type",
    "list_type",
    "added",
    "removed",
    "time_added",
    "ttl",
    "tag_mask",
    "timestamp",
    "detail",
];

fn feed_everything(octets: &[u8]) {
    let keys = TrustedKeys::from_jwks(&text("core/mqtt/trusted_jwks.json")).unwrap();
    assert!(jws::verify(octets, &keys).is_err());
    let _ = Message::parse(octets);
    let _ = Dawg::from_bytes(octets.to_vec());
    let text = String::from_utf8_lossy(octets);
    let _ = serde_json::from_str::<EnrolmentAnswer>(&text);
    let _ = TrustedKeys::from_jwks(&text).map(|keys| jws::verify(octets, &keys));
    let _ = DataKey::from_jwk(&text);
    let _ = EnrolmentKey::from_jwk(&text);
    let _ = Credentials::parse(&text);
    let _ = CertificateInfo::from_pem(&text);
    let _ = TlsKey::from_pem(&text);
    let _ = EdmConfig::parse(&text);
    let _ = PopConfig::parse(&text);
    let _ = Tag::parse(&text);
    if let Ok(name) = Name::parse(&text) {
        assert_eq!(Name::parse(name.as_str()).unwrap(), name);
    }
    if let Ok(name) = NodeName::parse(&text) {
        let _ = endpoint(&text, &name, "enroll");
    }
}

/// Puts a value in place of the octet at `position`.
fn damaged(octets: &[u8], position: prop::sample::Index, value: u8) -> Vec<u8> {
    let mut octets = octets.to_vec();
    let position = position.index(octets.len());
    octets[position] = value;
    octets
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn arbitrary_octets_are_answered(octets in vec(any::<u8>(), 0..300)) {
        feed_everything(&octets);
    }

    #[test]
    fn arbitrary_text_is_answered(text in "\\PC{0,120}") {
        feed_everything(text.as_bytes());
    }

    #[test]
    fn arbitrary_json_is_answered(value in json(MEMBERS)) {
        feed_everything(value.to_string().as_bytes());
        let _ = TrustedKeys::from_value(&value);
        let _ = thumbprint(&value);
    }

    #[test]
    fn arbitrary_observations_are_answered(entry in json(MEMBERS), other in json(MEMBERS)) {
        let message = serde_json::json!({"msg_type": "observation", "list_type": "doubtlist", "src_name": "a", "added": [entry], "removed": other});
        let _ = Message::parse(message.to_string().as_bytes());
    }

    #[test]
    fn arbitrary_jws_are_answered(header in json(MEMBERS), payload in ".{0,20}", signature in "[A-Za-z0-9_-]{0,90}") {
        use base64::Engine as _;
        let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
        let message = serde_json::json!({"payload": encode(&payload), "protected": encode(&header.to_string()), "signature": signature});
        feed_everything(message.to_string().as_bytes());
    }

    #[test]
    fn a_damaged_observation_does_not_verify_as_something_else(position: prop::sample::Index, value: u8) {
        let keys = TrustedKeys::from_jwks(&text("core/mqtt/trusted_jwks.json")).unwrap();
        let message = damaged(&bytes("core/mqtt/observation-looptest.jws.json"), position, value);
        if let Ok(payload) = jws::verify(&message, &keys) {
            prop_assert_eq!(payload, bytes("core/mqtt/observation-looptest.payload.json"));
        }
    }

    #[test]
    fn a_damaged_word_list_is_refused_or_consistent(position: prop::sample::Index, value: u8) {
        for file in ["edm/dawg/generated-mixed.dawg", "edm/dawg/generated-prefixes.dawg", "pop/dawg/two-hundred.dawg"] {
            let Ok(dawg) = Dawg::from_bytes(damaged(&bytes(file), position, value)) else { continue };
            let words: Vec<_> = dawg.words().collect();
            prop_assert_eq!(words.len() as u64, dawg.len());
            for (index, word) in words.iter().enumerate() {
                prop_assert_eq!(dawg.index_of(word), Some(index as u64));
            }
        }
    }

    #[test]
    fn a_damaged_certificate_is_answered(position: prop::sample::Index, value: u8) {
        let chain = damaged(&bytes("core/pki/issuer.pem"), position, value);
        let chain = String::from_utf8_lossy(&chain);
        let key = TlsKey::from_pem(&text("core/go-client/tls-key.pem")).unwrap();
        let name = NodeName::parse("go-edge.test.dnstapir.se").unwrap();
        let now = "2026-11-21T00:30:00Z".parse().unwrap();
        prop_assert!(check_issued(&chain, &chain, &key, &name, now).is_err());
    }

    #[test]
    fn word_lists_come_back(words in btree_set("[a-dåä日.]{0,6}", 0..60), strangers in vec("[a-e.]{0,6}", 0..20)) {
        let words: Vec<_> = words.into_iter().collect();
        let dawg = Dawg::from_bytes(compile(words.iter().map(String::as_str)).unwrap()).unwrap();
        prop_assert!(dawg.words().eq(words.iter().cloned()));
        for word in words.iter().chain(&strangers) {
            prop_assert_eq!(dawg.index_of(word), words.binary_search(word).ok().map(|index| index as u64));
        }
    }

    #[test]
    fn domain_lookup_is_the_naive_one(entries in btree_set("\\.?([ab]\\.){1,3}", 0..12), name in "([abAB]\\.){1,5}") {
        let entries: Vec<_> = BTreeSet::into_iter(entries).collect();
        let set = DomainSet::new(Dawg::from_bytes(compile(entries.iter().map(String::as_str)).unwrap()).unwrap());
        let lower = name.to_ascii_lowercase();
        let exact = entries.iter().position(|entry| *entry == lower);
        let suffix = || {
            let borders = lower.match_indices('.').map(|(at, _)| &lower[at..]).filter(|rest| rest.len() > 1);
            borders.filter_map(|rest| entries.iter().position(|entry| entry == rest)).next()
        };
        let expected = exact.map(|index| (index as u64, false)).or_else(|| suffix().map(|index| (index as u64, true)));
        prop_assert_eq!(set.lookup(&name).map(|found| (found.index, found.suffix)), expected);
    }

    #[test]
    fn names_come_back_from_the_wire(labels in vec(vec(any::<u8>(), 1..=20), 0..8)) {
        let mut text: String = labels.iter().flat_map(|label| {
            label.iter().map(|octet| format!("\\{octet:03}")).chain([".".to_owned()])
        }).collect();
        if text.is_empty() {
            text.push('.');
        }
        let name = Name::parse(&text).unwrap();
        let mut wire = Vec::new();
        for label in &labels {
            wire.push(u8::try_from(label.len()).unwrap());
            wire.extend(label.to_ascii_lowercase());
        }
        wire.push(0);
        prop_assert_eq!(name.to_wire(), wire);
        prop_assert!(Name::parse(name.as_str()).unwrap() == name);
        prop_assert_eq!(name.labels().count(), labels.len());
        let parents: Vec<_> = std::iter::successors(Some(name), Name::parent).collect();
        prop_assert_eq!(parents.len(), labels.len() + 1);
        prop_assert!(parents.last().is_some_and(Name::is_root));
    }

    #[test]
    fn what_a_node_signs_verifies_with_its_public_key(payload in vec(any::<u8>(), 0..200)) {
        let key = DataKey::generate(&NodeName::parse("edge.example").unwrap()).unwrap();
        let keys = TrustedKeys::from_value(&serde_json::json!({"keys": [key.public_jwk()]})).unwrap();
        let message = jws::sign_flattened(&payload, &key);
        prop_assert_eq!(jws::verify(message.as_bytes(), &keys).unwrap(), payload);
        let stranger = DataKey::generate(&NodeName::parse("edge.example").unwrap()).unwrap();
        let keys = TrustedKeys::from_value(&serde_json::json!({"keys": [stranger.public_jwk()]})).unwrap();
        prop_assert_eq!(jws::verify(message.as_bytes(), &keys), Err(jws::VerifyError::BadSignature));
    }

    #[test]
    fn events_are_json_whatever_the_name(flags: u16, qclass: u16, qtype: u16, qname in "\\PC{0,40}", seconds in -1_000_000_000i64..4_000_000_000) {
        let timestamp = jiff::Timestamp::from_second(seconds).unwrap();
        let event = NewQname { flags, qclass, qname: qname.clone(), qtype, timestamp };
        let value: serde_json::Value = serde_json::from_str(&event.to_json()).unwrap();
        prop_assert_eq!(value["qname"].as_str(), Some(qname.as_str()));
        prop_assert_eq!(value.as_object().unwrap().len(), 7);
        let time: jiff::Timestamp = value["timestamp"].as_str().unwrap().parse().unwrap();
        prop_assert_eq!(time.as_second().rem_euclid(60), 0);
        prop_assert!((0..60).contains(&(seconds - time.as_second())));
    }
}
