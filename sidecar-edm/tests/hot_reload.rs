//! What is replaced while EDM runs is in use afterwards, without a restart and without losing what waits: certificates, keys, CAs, the broker's
//! address, how events are sent, and lists.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;
#[path = "support/tls_receiver.rs"]
mod tls_receiver;

use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use support::broker::{Authority, soon};
use support::core::{Core, whole};
use support::{Edm, NODE, Resolver, until};
use tapir_wire::http_signature::BodyDigest;
use tapir_wire::jwk::{DataKey, TrustedKeys};
use tapir_wire::jws;
use tls_receiver::{TlsReceiver, Upload};

const CLIENT: &str = "198.51.100.77";

/// Another key of the same node.
fn new_key() -> DataKey {
    DataKey::generate(&NODE.parse().unwrap()).unwrap()
}

/// The octets of the certificate that lies in the configuration folder.
fn certificate_in(folder: &Path) -> Vec<u8> {
    CertificateDer::from_pem_file(folder.join("tls.crt")).unwrap().to_vec()
}

/// Ed25519 signatures are deterministic (RFC 8032): who signs the same again gets the same.
fn is_signed_by(key: &DataKey, upload: &Upload) -> bool {
    let mut digest = BodyDigest::default();
    digest.update(&upload.body);
    let content = digest.finish(upload.header("content-type"));
    let created = upload.header("signature-input").split(";created=").nth(1).unwrap().split(';').next().unwrap();
    let created = jiff::Timestamp::from_second(created.parse().unwrap()).unwrap();
    content.sign(key, created).signature == upload.header("signature")
}

/// A minute with an answer for a well-known name; gives the upload that it makes.
async fn minute(edm: &Edm, resolver: &mut Resolver, receiver: &TlsReceiver, number: usize) -> Upload {
    counted(edm, resolver, number).await;
    receiver.received(number).await.remove(number - 1)
}

async fn counted(edm: &Edm, resolver: &mut Resolver, number: usize) {
    resolver.answered("example.com.", CLIENT).await;
    edm.metric_becomes("frames_total{outcome=\"well_known\"}", number as u64).await;
    edm.rotate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aggregates_go_with_the_newest_ca_certificate_and_key() {
    let core = Core::start().await;
    let receiver = TlsReceiver::start(&core.authority).await;
    let told = format!(r#""mqttBroker":"{}","aggrecUrl":"{}""#, core.broker.url(), receiver.url());
    let edm = Edm::start(|files| {
        files.write_list(&["example.com."]);
        files.write("core.crt", Authority::new("of somebody else").pem().as_bytes());
        files.write_identity_for(&core.authority, &told, &core.key);
        files.write_config(
            "well-known-domains-file = \"well-known-domains.dawg\"\nhttp-ca-file = \"core.crt\"\nenable-manual-parquet-rotation = true",
        );
    })
    .await;
    let files = edm.files();
    edm.status_becomes("/edm/wellKnownDomains", 1).await;
    let mut resolver = edm.connect().await;

    // Whom nobody here trusts gets nothing.
    counted(&edm, &mut resolver, 1).await;
    until("refusal", async || {
        edm.status().await["edm"]["aggregates"]["error"].as_str().is_some_and(|error| error.starts_with("TLS with Core: "))
    })
    .await;
    assert_eq!(edm.metric("aggregates_sent_total").await, Some(0));
    files.write("core.crt", core.authority.pem().as_bytes());
    let first = receiver.received(1).await.remove(0);
    assert_eq!(first.certificate, certificate_in(&files.config()));
    assert!(is_signed_by(&core.key, &first));
    edm.status_becomes("/edm/aggregates/error", Value::Null).await;

    let serial = edm.status().await["identity"]["certificateSerial"].clone();
    files.write_identity_for(&core.authority, &told, &core.key);
    until("the new certificate", async || {
        let status = edm.status().await;
        status["identity"]["certificateSerial"] != serial && status["identityError"].is_null()
    })
    .await;
    let second = minute(&edm, &mut resolver, &receiver, 2).await;
    assert_eq!(second.certificate, certificate_in(&files.config()));
    assert_ne!(second.certificate, first.certificate);

    // Nothing tells when a key has come into force; none is ever mixed with another.
    let key = new_key();
    files.write("datakey.jwk", key.to_jwk().as_bytes());
    soon("the new key", async {
        let mut number = 3;
        loop {
            let upload = minute(&edm, &mut resolver, &receiver, number).await;
            if is_signed_by(&key, &upload) {
                break;
            }
            assert!(is_signed_by(&core.key, &upload));
            number += 1;
        }
    })
    .await;
    edm.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_go_to_the_newest_broker_with_the_newest_ca_and_key() {
    let mut core = Core::start().await;
    let edm = Edm::start(|files| {
        whole(&core)(files);
        files.write("ca.crt", Authority::new("of somebody else").pem().as_bytes());
    })
    .await;
    let files = edm.files();
    let mut resolver = edm.connect().await;

    // Whom nobody here trusts gets nothing, and nothing is lost meanwhile.
    until("refusal", async || edm.metric("mqtt_failures_total").await.is_some_and(|failures| failures > 0)).await;
    resolver.answered("first.example.", CLIENT).await;
    edm.status_becomes("/edm/eventsQueued", 1).await;
    edm.status_becomes("/core/connected", false).await;
    files.write("ca.crt", core.authority.pem().as_bytes());
    assert_eq!(core.name().await, "first.example.");

    let before = core.move_on().await;
    let moved = json!({"format": 1, "name": NODE, "mqttBroker": core.broker.url(), "mqttTopics": {}});
    files.write("node.json", moved.to_string().as_bytes());
    core.broker.logged(&format!("as {NODE}-edm-x1")).await;
    before.logged(&format!("Client {NODE}-edm-x1 disconnected")).await;
    edm.status_becomes("/core/connected", true).await;
    resolver.answered("second.example.", CLIENT).await;
    assert_eq!(core.name().await, "second.example.");
    drop(before);

    let key = new_key();
    let trusted = TrustedKeys::from_value(&json!({ "keys": [key.public_jwk()] })).unwrap();
    let connects = edm.metric("mqtt_connects_total").await;
    files.write("datakey.jwk", key.to_jwk().as_bytes());
    soon("the new key", async {
        let mut number = 0;
        loop {
            resolver.answered(&format!("n{number}.example."), CLIENT).await;
            let message = core.eye.incoming.recv().await.unwrap().payload;
            if jws::verify(&message, &trusted).is_ok() {
                break;
            }
            assert!(jws::verify(&message, &core.trusted).is_ok());
            number += 1;
        }
    })
    .await;
    assert_eq!(edm.metric("mqtt_connects_total").await, connects, "a key needs no other connection");
    core.nothing_more().await;
    edm.status_becomes("/edm/eventsQueued", 0).await;
    edm.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_sent_once_where_that_is_wanted_and_acknowledged_otherwise() {
    let mut core = Core::start().await;
    let list = "well-known-domains-file = \"well-known-domains.dawg\"";
    let edm = Edm::start(|files| {
        whole(&core)(files);
        files.write_config(&format!("{list}\nmqtt-qos = 0"));
    })
    .await;
    let mut resolver = edm.connect().await;
    let published = |qos: u8| format!("Received PUBLISH from {NODE}-edm-x1 (d0, q{qos}, r0, ");
    let acknowledged = format!("Sending PUBACK to {NODE}-edm-x1 ");
    for (number, name) in (1..).zip(["one.example.", "two.example.", "three.example."]) {
        resolver.answered(name, CLIENT).await;
        assert_eq!(core.name().await, name);
        edm.status_becomes("/edm/eventsSent", number).await;
    }
    edm.status_becomes("/edm/eventsQueued", 0).await;
    let log = core.broker.log();
    assert_eq!(log.matches(&published(0)).count(), 3, "{log}");
    assert!(!log.contains(&published(1)) && !log.contains(&acknowledged), "{log}");

    edm.files().write_config(&format!("{list}\nmqtt-qos = 1\nrevision = \"acknowledged\""));
    edm.status_becomes("/config/revision", "acknowledged").await;
    resolver.answered("four.example.", CLIENT).await;
    assert_eq!(core.name().await, "four.example.");
    core.broker.logged(&published(1)).await;
    core.broker.logged(&acknowledged).await;
    edm.status_becomes("/edm/eventsSent", 4).await;
    core.nothing_more().await;
    edm.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_left_out_follow_their_file() {
    let mut core = Core::start().await;
    let edm = Edm::start(|files| {
        whole(&core)(files);
        files.write("ignored.dawg", &tapir_wire::dawg::compile([".hidden.example."]).unwrap());
        files.write_config(
            "well-known-domains-file = \"well-known-domains.dawg\"\nignored-question-names-file = \"ignored.dawg\"",
        );
    })
    .await;
    let files = edm.files();
    let ignored = async |count| edm.metric_becomes("frames_total{outcome=\"name_ignored\"}", count).await;
    edm.status_becomes("/edm/ignoredNames", 1).await;
    let mut resolver = edm.connect().await;
    resolver.answered("a.hidden.example.", CLIENT).await;
    ignored(1).await;

    files.write("ignored.dawg", &tapir_wire::dawg::compile([".elsewhere.example.", "example.com."]).unwrap());
    edm.status_becomes("/edm/ignoredNames", 2).await;
    resolver.answered("a.elsewhere.example.", CLIENT).await;
    resolver.answered("example.com.", CLIENT).await;
    ignored(3).await;
    resolver.answered("a.hidden.example.", CLIENT).await;
    assert_eq!(core.name().await, "a.hidden.example.", "nobody hides it any more");

    // A broken one leaves the last good one in force.
    files.write("ignored.dawg", b"nonsense");
    until("refusal", async || edm.status().await["config"]["error"].as_str().is_some_and(|error| error.contains("ignored.dawg")))
        .await;
    resolver.answered("b.elsewhere.example.", CLIENT).await;
    ignored(4).await;

    // An empty one hides nothing.
    files.write("ignored.dawg", b"");
    edm.status_becomes("/edm/ignoredNames", Value::Null).await;
    edm.status_becomes("/config/error", Value::Null).await;
    resolver.answered("b.elsewhere.example.", CLIENT).await;
    assert_eq!(core.name().await, "b.elsewhere.example.");
    core.nothing_more().await;
    edm.stop().await;
}
