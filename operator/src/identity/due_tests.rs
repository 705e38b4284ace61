use k8s_openapi::ByteString;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use tapir_wire::jwk::DataKey;

use super::*;

const NODE: &str = "a.edge.test";
const DAY: i64 = 86_400;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// An identity whose certificate is valid for so many days from the beginning of time.
fn identity(days: i64) -> Secret {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.not_before = rcgen::date_time_ymd(1960, 1, 1);
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let mut leaf = CertificateParams::new(vec![NODE.to_owned()]).unwrap();
    leaf.distinguished_name = rcgen::DistinguishedName::new();
    leaf.distinguished_name.push(rcgen::DnType::CommonName, NODE);
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    leaf.not_before = rcgen::date_time_ymd(1970, 1, 1);
    leaf.not_after = leaf.not_before + std::time::Duration::from_secs(u64::try_from(days * DAY).unwrap());
    let leaf = leaf.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap().pem();
    let data_key = DataKey::generate(&NODE.parse().unwrap()).unwrap().to_jwk();
    let member = |name: &str, text: &str| (name.to_owned(), ByteString(text.as_bytes().to_vec()));
    let data = [
        member(TLS_CERTIFICATE, &leaf),
        member(CA_CERTIFICATE, &ca_pem),
        member(TLS_KEY, &key.serialize_pem()),
        member("datakey.jwk", &data_key),
    ];
    Secret { data: Some(data.into()), ..Secret::default() }
}

fn annotated(mut secret: Secret, name: &str, value: &str) -> Secret {
    secret.annotations_mut().insert(name.to_owned(), value.to_owned());
    secret
}

fn why(secret: &Secret, asked: Option<&str>, now: Timestamp) -> Option<Why> {
    renewal(secret, &Certificate::of(secret, Percent::DEFAULT, now), asked, now)
}

#[test]
fn a_certificate_is_renewed_in_its_time_and_after_it() {
    let secret = identity(90);
    assert_eq!(why(&secret, None, at(50 * DAY)), None);
    assert_eq!(why(&secret, None, at(60 * DAY)), Some(Why::Time));
    assert_eq!(why(&secret, None, at(900 * DAY)), Some(Why::Time));
    // A clock that is far behind must not ask.
    assert_eq!(why(&secret, None, at(-DAY)), None);
    let certificate = Certificate::of(&secret, Percent::DEFAULT, at(0)).unwrap();
    assert_eq!(certificate.next_turn(at(0)), Some(certificate.schedule.renew_at));
    assert_eq!(certificate.next_turn(at(80 * DAY)), Some(certificate.info.not_after));
    assert_eq!(certificate.schedule.renew_at.subsec_nanosecond(), 0);
}

#[test]
fn asking_is_answered_once() {
    let secret = identity(90);
    assert_eq!(why(&secret, Some("now"), at(DAY)), Some(Why::Asked));
    let done = annotated(secret, RENEWED_FOR_ANNOTATION, "now");
    assert_eq!(why(&done, Some("now"), at(DAY)), None);
    assert_eq!(why(&done, Some("again"), at(DAY)), Some(Why::Asked));
    assert_eq!(why(&done, None, at(DAY)), None);
}

#[test]
fn a_clock_that_is_ahead_does_not_renew_in_a_loop() {
    // Ninety minutes ahead, each certificate of two hours is due the moment it is there.
    let renewed = annotated(identity(1), RENEWED_AT_ANNOTATION, &at(20 * 3600).to_string());
    assert_eq!(why(&renewed, None, at(20 * 3600 + 60)), None);
    assert_eq!(why(&renewed, Some("now"), at(20 * 3600 + 60)), Some(Why::Asked));
    assert_eq!(why(&renewed, None, at(20 * 3600 + 4320)), Some(Why::Time));
    let certificate = Certificate::of(&renewed, Percent::DEFAULT, at(20 * 3600)).unwrap();
    assert_eq!(rested_at(&renewed, &certificate, at(20 * 3600 + 60)), Some(at(20 * 3600 + 4320)));
    // Set right again, it says that the last success is to come: that counts for nothing.
    assert_eq!(why(&renewed, None, at(18 * 3600)), Some(Why::Time));
}

#[test]
fn a_certificate_that_no_peer_could_accept_is_replaced() {
    let (secret, other) = (identity(90), identity(90));
    for member in [TLS_KEY, CA_CERTIFICATE, TLS_CERTIFICATE] {
        let mut mixed = secret.clone();
        let foreign = other.data.as_ref().unwrap()[member].clone();
        mixed.data.as_mut().unwrap().insert(member.to_owned(), foreign);
        assert!(Certificate::of(&mixed, Percent::DEFAULT, at(DAY)).unwrap().unusable.is_some(), "{member}");
        assert_eq!(why(&mixed, None, at(DAY)), Some(Why::Unusable), "{member}");
    }
    let mut none = secret;
    none.data.as_mut().unwrap().remove(TLS_CERTIFICATE);
    assert_eq!(why(&none, None, at(DAY)), Some(Why::Unusable));
    let just_tried = annotated(none, RENEWED_AT_ANNOTATION, &at(DAY).to_string());
    assert_eq!(why(&just_tried, None, at(DAY + 30)), None);
}
