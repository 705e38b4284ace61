//! Configuration, trusted keys and identity are replaced independently of each other; the last good one stays.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use tapir_pop::reload::{InForce, Loader};
use tapir_pop::status::Telemetry;
use tapir_wire::jwk::DataKey;
use tapir_wire::node_name::NodeName;

const NODE: &str = "edge1.edge.tapir.test";

fn identity(directory: &Path) {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec![NODE.to_owned()]).unwrap().self_signed(&key).unwrap();
    let write = |file: &str, text: &str| fs::write(directory.join(file), text).unwrap();
    write("tls.crt", &certificate.pem());
    write("ca.crt", &certificate.pem());
    write("tls.key", &key.serialize_pem());
    let topics = json!({"observations": "observations/down/tapir-pop"});
    write(
        "node.json",
        &json!({"format": 1, "name": NODE, "mqttBroker": "mqtts://broker:8883", "mqttTopics": topics}).to_string(),
    );
    let signer = DataKey::generate(&NodeName::parse("core.test").unwrap()).unwrap();
    write("trusted-jwks.json", &json!({"keys": [signer.public_jwk()]}).to_string());
}

fn config(directory: &Path, disabled: bool) {
    let text = format!(
        "format: 1\nrevision: r\ndisabled: {disabled}\ndataDir: /nowhere\nsources: [{{name: c, list: Doubt, core: {{}}}}]\n"
    );
    fs::write(directory.join("pop.yaml"), text).unwrap();
}

fn loader(directory: &Path) -> (Loader, InForce, Arc<Telemetry>) {
    tapir_runtime::crypto::install();
    let (loader, in_force) = Loader::new(directory.join("pop.yaml"), &directory.join("state"), "pod-1".to_owned());
    (loader, in_force, Telemetry::new(None, None))
}

#[test]
fn the_connection_follows_configuration_and_identity() {
    let directory = tempfile::tempdir().unwrap();
    let (mut loader, in_force, telemetry) = loader(directory.path());
    loader.load(&telemetry);
    assert!(in_force.mqtt.borrow().is_none());
    let status = telemetry.document();
    assert!(status.config.error.unwrap().contains("missing"));
    assert!(status.identity.is_none() && status.identity_error.is_some());

    identity(directory.path());
    loader.load(&telemetry);
    assert!(in_force.mqtt.borrow().is_none(), "whether it is switched off is not known yet");

    config(directory.path(), false);
    loader.load(&telemetry);
    let settings = in_force.mqtt.borrow().clone().unwrap();
    assert_eq!(settings.client_id, format!("{NODE}-pop-pod-1"));
    assert_eq!(settings.url, "mqtts://broker:8883");
    assert_eq!(settings.subscriptions[0].0, "observations/down/tapir-pop");
    assert_eq!(telemetry.document().identity.unwrap().node, NODE);

    let generation = settings.generation;
    identity(directory.path());
    loader.load(&telemetry);
    assert_ne!(in_force.mqtt.borrow().as_ref().unwrap().generation, generation, "a new certificate is a new connection");

    config(directory.path(), true);
    loader.load(&telemetry);
    assert!(in_force.mqtt.borrow().is_none(), "switched off");
    assert!(in_force.setup.borrow().as_ref().unwrap().rules.core.is_some(), "what was learnt counts on");
}

#[test]
fn a_bad_file_holds_up_no_other() {
    let directory = tempfile::tempdir().unwrap();
    identity(directory.path());
    config(directory.path(), false);
    let (mut loader, in_force, telemetry) = loader(directory.path());
    loader.load(&telemetry);
    let kids =
        |in_force: &InForce| in_force.keys.borrow().as_ref().map(|keys| keys.kids().map(str::to_owned).collect::<Vec<_>>());
    let before = kids(&in_force);
    assert_eq!(before.as_ref().unwrap().len(), 1);

    // A broken identity, and a configuration that is good: the latter comes into force.
    fs::write(directory.path().join("tls.key"), "nonsense").unwrap();
    config(directory.path(), true);
    loader.load(&telemetry);
    assert!(in_force.setup.borrow().as_ref().unwrap().disabled);
    let status = telemetry.document();
    assert!(status.identity_error.is_some() && status.identity.is_some(), "the last good one is still named");

    // Broken keys and a broken configuration, and an identity that is good again.
    identity(directory.path());
    config(directory.path(), false);
    let generation = |in_force: &InForce| in_force.mqtt.borrow().as_ref().map(|settings| settings.generation);
    for nonsense in ["nonsense", r#"{"keys": []}"#] {
        let old = generation(&in_force);
        identity(directory.path());
        fs::write(directory.path().join("trusted-jwks.json"), nonsense).unwrap();
        loader.load(&telemetry);
        assert_eq!(kids(&in_force), before, "the last good keys stay");
        assert!(generation(&in_force).is_some_and(|new| Some(new) != old), "configuration and identity move on without the keys");
    }

    fs::write(directory.path().join("pop.yaml"), "format: 1\nmood: bad\n").unwrap();
    identity(directory.path());
    loader.load(&telemetry);
    assert!(!in_force.setup.borrow().as_ref().unwrap().disabled);
    assert!(telemetry.document().config.error.unwrap().contains("mood"));
    assert!(telemetry.document().identity_error.is_none());
}

#[test]
fn what_is_read_is_in_force_before_any_disk_is_written() {
    let directory = tempfile::tempdir().unwrap();
    config(directory.path(), false);
    let (mut loader, in_force, telemetry) = loader(directory.path());
    loader.load(&telemetry);
    assert!(in_force.setup.borrow().is_some());
    assert!(!directory.path().join("state").exists(), "a slow disk would hold up the start");
    loader.keep_last_good(&telemetry);
    fs::remove_file(directory.path().join("pop.yaml")).unwrap();
    let (mut loader, in_force, telemetry) = self::loader(directory.path());
    loader.load(&telemetry);
    assert!(in_force.setup.borrow().is_some(), "kept for a restart");
}
