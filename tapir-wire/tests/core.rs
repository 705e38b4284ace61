//! Against exchanges that were recorded from Core's services and clients.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::{json, string, text};
use jiff::Timestamp;
use serde_json::Value;
use tapir_wire::certificate::{CertificateError, CertificateInfo, TlsKey, check_issued};
use tapir_wire::enrolment::{Configuration, Credentials, EnrolmentAnswer, RenewalAnswer, endpoint};
use tapir_wire::jwk::{DataKey, EnrolmentKey, TrustedKeys, thumbprint};
use tapir_wire::node_name::NodeName;
use tapir_wire::observation::{ListType, Message};
use tapir_wire::{event, jws, tags};

const NOW: &str = "2026-11-21T00:30:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn data_key(client: &str) -> DataKey {
    DataKey::from_jwk(&text(&format!("core/{client}/data-key.private.jwk.json"))).unwrap()
}

fn payload_of(jws: &str) -> Vec<u8> {
    let message: Value = serde_json::from_str(jws).unwrap();
    URL_SAFE_NO_PAD.decode(string(&message, "payload")).unwrap()
}

#[test]
fn our_enrolment_request_is_the_go_clients() {
    let recorded = json("core/go-client/enroll.json");
    let body = string(&recorded["request"], "body");
    let credentials = Credentials::parse(&text("core/go-client/enrollment-credentials.json")).unwrap();
    assert_eq!(jws::sign_enrolment(&payload_of(body), &data_key("go-client"), &credentials.key).unwrap(), body);
}

#[test]
fn our_renewal_request_is_the_go_clients() {
    let recorded = json("core/go-client/renew.json");
    let body = string(&recorded["request"], "body");
    assert_eq!(jws::sign_flattened(&payload_of(body), &data_key("go-client")), body);
}

#[test]
fn a_symmetric_enrolment_key_signs_as_recorded() {
    let recorded: Value = serde_json::from_str(string(&json("core/hs256-enrolment/enroll.json")["request"], "body")).unwrap();
    let mut credentials = json("core/hs256-enrolment/enrollment-credentials.json");
    // The Python client leaves the key id out of the header.
    credentials["key"].as_object_mut().unwrap().remove("kid");
    let key = EnrolmentKey::from_jwk(&credentials["key"].to_string()).unwrap();
    let payload = URL_SAFE_NO_PAD.decode(string(&recorded, "payload")).unwrap();
    let ours: Value = serde_json::from_str(&jws::sign_enrolment(&payload, &data_key("hs256-enrolment"), &key).unwrap()).unwrap();
    // That client signs with the enrolment key first, we with it last.
    assert_eq!(ours["signatures"][1], recorded["signatures"][0]);
}

#[test]
fn paths_are_those_recorded() {
    for (file, action) in [("go-client/enroll", "enroll"), ("go-client/renew", "renew"), ("python-client/enroll", "enroll")] {
        let recorded = json(&format!("core/{file}.json"));
        let path = string(&recorded["request"], "path");
        let name = NodeName::parse(path.split('/').nth(4).unwrap()).unwrap();
        for base in ["https://core.example", "https://core.example/"] {
            assert_eq!(endpoint(base, &name, action).unwrap(), format!("https://core.example{path}"));
        }
    }
}

#[test]
fn answers_are_read_and_certificates_accepted() {
    let clients = [
        ("go-client", "enroll", "tls-key.pem"),
        ("go-client", "renew", "tls-key.pem"),
        ("python-client", "enroll", "tls-key-enroll.pem"),
        ("python-client", "renew", "tls-key-renew.pem"),
        ("hs256-enrolment", "enroll", "tls-key.pem"),
    ];
    for (client, action, key) in clients {
        let recorded = json(&format!("core/{client}/{action}.json"));
        let body = string(&recorded["response"], "body");
        let answer: RenewalAnswer = serde_json::from_str(body).unwrap();
        let credentials = Credentials::parse(&text(&format!("core/{client}/enrollment-credentials.json"))).unwrap();
        let key = TlsKey::from_pem(&text(&format!("core/{client}/{key}"))).unwrap();
        let anchors = answer.x509_ca_certificate.as_deref().unwrap();
        let info = check_issued(&answer.x509_certificate, anchors, &key, &credentials.name, now())
            .unwrap_or_else(|error| panic!("{client} {action}: {error}"));
        assert_eq!(Some(info.serial.as_str()), answer.x509_certificate_serial_number.as_deref(), "{client} {action}");
        assert_eq!(Some(info.not_after), answer.x509_certificate_not_valid_after, "{client} {action}");
        assert_eq!(CertificateInfo::from_pem(&answer.x509_certificate).unwrap(), info);
        if action == "enroll" {
            let answer: EnrolmentAnswer = serde_json::from_str(body).unwrap();
            assert_eq!(answer.configuration.name, credentials.name.as_str());
            assert!(answer.configuration.mqtt_broker.starts_with("mqtts://"));
            assert_eq!(TrustedKeys::from_value(&answer.configuration.trusted_jwks).unwrap().len(), 2);
        }
    }
}

#[test]
fn certificates_that_do_not_fit_are_refused() {
    let recorded = json("core/go-client/enroll.json");
    let answer: RenewalAnswer = serde_json::from_str(string(&recorded["response"], "body")).unwrap();
    let chain = answer.x509_certificate.as_str();
    let root = text("core/pki/root.pem");
    let issuer = text("core/pki/issuer.pem");
    let stranger = text("core/hs256-enrolment/root.pem");
    let key = TlsKey::from_pem(&text("core/go-client/tls-key.pem")).unwrap();
    let name = NodeName::parse("go-edge.test.dnstapir.se").unwrap();
    let check = |chain: &str, anchors: &str| check_issued(chain, anchors, &key, &name, now()).map(drop);

    assert_eq!(check(chain, &root), Ok(()));
    // A CA may hand out its issuing certificate as the anchor, or a bundle.
    assert_eq!(check(chain, &issuer), Ok(()));
    assert_eq!(check(chain, &format!("{stranger}{root}")), Ok(()));
    assert!(matches!(check(chain, &stranger), Err(CertificateError::Untrusted(_))));
    let leaf = &chain[..chain.find("-----END CERTIFICATE-----").unwrap() + 26];
    assert!(matches!(check(leaf, &root), Err(CertificateError::Untrusted(_))));
    assert_eq!(check(leaf, &issuer), Ok(()));
    // A leaf must not vouch for itself.
    assert!(matches!(check(leaf, leaf), Err(CertificateError::Untrusted(_))));
    assert_eq!(check("", &root), Err(CertificateError::NotPem { what: "certificate" }));
    assert_eq!(check(chain, "nonsense"), Err(CertificateError::NotPem { what: "CA certificate" }));

    let other_key = TlsKey::generate().unwrap();
    assert_eq!(check_issued(chain, &root, &other_key, &name, now()), Err(CertificateError::OtherKey));
    let upper = NodeName::parse("GO-EDGE.test.dnstapir.se").unwrap();
    assert!(matches!(check_issued(chain, &root, &key, &upper, now()), Err(CertificateError::OtherName { .. })));
    let at = |time: &str| check_issued(chain, &root, &key, &name, time.parse().unwrap()).map(drop);
    assert!(matches!(at("2027-02-19T00:24:15Z"), Err(CertificateError::Expired(_))));
    assert!(matches!(at("2026-11-21T00:24:13Z"), Err(CertificateError::NotYetValid(_))));
}

#[test]
fn the_event_is_signed_as_recorded() {
    let key = data_key("go-client");
    let payload = text("core/mqtt/new_qname.payload.json");
    assert_eq!(jws::sign_flattened(payload.as_bytes(), &key), text("core/mqtt/new_qname.jws.json"));
    assert_eq!(event::topic(key.kid()), text("core/mqtt/new_qname.topic.txt").trim());
    let public = json("core/mqtt/new_qname.public-key.jwk.json");
    for (member, value) in public.as_object().unwrap() {
        assert_eq!(&key.public_jwk()[member], value);
    }
    let headers = &json("core/mqtt/new_qname.on-nats.json")["headers"];
    assert_eq!(key.thumbprint(), string(headers, "DNSTAPIR-Key-Thumbprint"));
    assert_eq!(thumbprint(&public), Some(key.thumbprint()));
}

#[test]
fn observations_verify_with_the_keys_handed_out() {
    let keys = TrustedKeys::from_jwks(&text("core/mqtt/trusted_jwks.json")).unwrap();
    for (name, mask) in [("looptest", tags::Tag::LOOPTEST.mask()), ("globally_new", 1), ("ticker", 1024)] {
        let message = text(&format!("core/mqtt/observation-{name}.jws.json"));
        let payload = jws::verify(message.as_bytes(), &keys).unwrap();
        assert_eq!(payload, text(&format!("core/mqtt/observation-{name}.payload.json")).as_bytes());
        let message = Message::parse(&payload).unwrap();
        assert_eq!((message.src_name.as_str(), message.list_type), ("dns-tapir", ListType::Doubt));
        assert_eq!((message.added.len(), message.removed.len(), message.rejected.len()), (1, 0, 0));
        let entry = &message.added[0];
        assert_eq!(entry.tag_mask & mask, mask, "{name}");
        assert!(entry.name.as_str().ends_with('.') && entry.expires() > entry.time_added);
    }
    let compact = text("core/mqtt/observation-looptest.compact.txt");
    assert_eq!(jws::verify(compact.as_bytes(), &keys).unwrap(), text("core/mqtt/observation-looptest.payload.json").as_bytes());
}

#[test]
fn observations_that_core_never_signed_are_dropped() {
    let keys = TrustedKeys::from_jwks(&text("core/mqtt/trusted_jwks.json")).unwrap();
    for (defect, message) in json("core/mqtt/observation-rejected.json").as_object().unwrap() {
        assert!(jws::verify(message.as_str().unwrap().as_bytes(), &keys).is_err(), "{defect}");
    }
}

#[test]
fn key_sets_are_equal_in_any_order_and_without_algorithms() {
    let handed_out = json("core/mqtt/trusted_jwks.json");
    let configured = TrustedKeys::from_jwks(&text("core/pki/trusted_jwks.json")).unwrap();
    assert_eq!(TrustedKeys::from_value(&handed_out).unwrap(), configured);
    assert_eq!(configured.kids().collect::<Vec<_>>(), ["core-observations-2025", "core-observations-2026"]);
    let mut bare = handed_out;
    for key in bare["keys"].as_array_mut().unwrap() {
        key.as_object_mut().unwrap().remove("alg");
    }
    assert_eq!(TrustedKeys::from_value(&bare).unwrap(), configured);
    bare["keys"].as_array_mut().unwrap().pop();
    assert_ne!(TrustedKeys::from_value(&bare).unwrap(), configured);
}

#[test]
fn the_public_key_is_what_nodeman_serves_for_it() {
    let recorded = json("core/read/public_key_jwk_with_alg.json");
    let served: Value = serde_json::from_str(string(&recorded["response"], "body")).unwrap();
    for (member, value) in data_key("go-client").public_jwk().as_object().unwrap() {
        assert_eq!(&served[member], value, "{member}");
    }
}

#[test]
fn the_configuration_is_read() {
    let recorded = json("core/read/configuration.json");
    let configuration: Configuration = serde_json::from_str(string(&recorded["response"], "body")).unwrap();
    assert_eq!(configuration.name, "py-edge.test.dnstapir.se");
    assert_eq!(configuration.mqtt_topics["observations"], "observations/down/tapir-pop");
    assert_eq!(configuration.aggrec_url.as_deref(), Some("https://aggrec.test.dnstapir.se/"));
}
