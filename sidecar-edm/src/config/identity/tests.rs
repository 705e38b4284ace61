use std::fs;

use tapir_wire::node_name::NodeName;

use super::*;
use crate::vectors;

const UPSTREAM: &str =
    "input-unix = '/s'\ncryptopan-key = 'hush'\nhttp-url = 'https://core.example'\nmqtt-server = 'core.example:8883'\n";

/// A folder with everything that upstream's configuration names, and that configuration.
pub(crate) fn scene() -> (tempfile::TempDir, EdmConfig) {
    let folder = tempfile::tempdir().unwrap();
    let pair = rcgen::generate_simple_self_signed(["node-a.test".to_owned()]).unwrap();
    let key = DataKey::generate(&NodeName::parse("node-a.test").unwrap()).unwrap();
    let place = |name: &str| folder.path().join(name);
    fs::write(place("c.pem"), pair.cert.pem()).unwrap();
    fs::write(place("ca.pem"), pair.cert.pem()).unwrap();
    fs::write(place("k.pem"), pair.signing_key.serialize_pem()).unwrap();
    fs::write(place("d.jwk"), key.to_jwk().as_bytes()).unwrap();
    let mut text = UPSTREAM.to_owned();
    for service in ["mqtt", "http"] {
        for (key, file) in [("signing-key", "d.jwk"), ("client-cert", "c.pem"), ("client-key", "k.pem"), ("ca", "ca.pem")] {
            text.push_str(&format!("{service}-{key}-file = '{}'\n", place(file).display()));
        }
    }
    let config = EdmConfig::parse(&text).unwrap().config;
    (folder, config)
}

fn load_there(config: &EdmConfig) -> Result<Identity, String> {
    load(config, Path::new("/nonexistent")).map_err(|faults| faults.join("; "))
}

#[test]
fn upstreams_files() {
    let (_folder, mut config) = scene();
    let identity = load_there(&config).unwrap();
    assert_eq!(identity.node, "node-a.test");
    let events = identity.events.clone().unwrap();
    assert_eq!((events.url.as_str(), events.is_encrypted()), ("core.example:8883", true));
    assert_eq!(identity.aggregates.as_ref().unwrap().url, "https://core.example");
    assert_eq!(load_there(&config).unwrap(), identity, "equal files make equal identities");

    config.disable_mqtt = true;
    config.mqtt_client_key_file = Some("/missing".into());
    let quiet = load_there(&config).unwrap();
    assert!(quiet.events.is_none() && quiet.node == "node-a.test");
}

#[test]
fn a_new_certificate_is_another_link() {
    let (folder, config) = scene();
    let before = load_there(&config).unwrap();
    let pair = rcgen::generate_simple_self_signed(["node-a.test".to_owned()]).unwrap();
    fs::write(folder.path().join("c.pem"), pair.cert.pem()).unwrap();
    let error = load_there(&config).unwrap_err();
    assert!(error.contains("mqtt-client-cert-file and mqtt-client-key-file do not go together"), "{error}");
    fs::write(folder.path().join("k.pem"), pair.signing_key.serialize_pem()).unwrap();
    assert_ne!(load_there(&config).unwrap(), before);
}

#[test]
fn what_is_wrong_is_said_by_key_and_file() {
    let (folder, config) = scene();
    let said = |change: &dyn Fn(&mut EdmConfig)| {
        let mut changed = config.clone();
        change(&mut changed);
        load_there(&changed).map_or_else(
            |error| error,
            |identity| {
                assert!(identity.events.is_some() && identity.aggregates.is_none(), "it costs no events");
                identity.aggregates_faults.join("; ")
            },
        )
    };
    let missing = said(&|config| config.http_signing_key_file = Some("/missing".into()));
    assert!(missing.starts_with("http-signing-key-file /missing: "), "{missing}");
    let certificate = folder.path().join("c.pem");
    let no_key = said(&|config| config.mqtt_client_key_file = Some(certificate.clone()));
    assert!(no_key.starts_with("mqtt-client-key-file is unusable: "), "{no_key}");
    let no_ca = said(&|config| config.http_ca_file = Some(folder.path().join("k.pem")));
    assert!(no_ca.starts_with("http-ca-file ") && no_ca.ends_with("no certificate in it"), "{no_ca}");
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let (folder, mut config) = scene();
    config.http_ca_file = Some("/missing".into());
    config.mqtt_client_cert_file = Some(folder.path().join("d.jwk"));
    fs::write(folder.path().join("k.pem"), "no key").unwrap();
    config.http_signing_key_file = None;
    let faults = load(&config, Path::new("/nonexistent")).unwrap_err();
    let keys: Vec<&str> = faults.iter().filter_map(|fault| fault.split(' ').next()).collect();
    let expected =
        ["mqtt-client-cert-file", "mqtt-client-key-file", "http-signing-key-file", "http-client-key-file", "http-ca-file"];
    assert_eq!(keys, expected, "{faults:?}");
}

#[test]
fn new_cas_of_the_system_are_another_mark() {
    let certificate = || rcgen::generate_simple_self_signed(["ca.test".to_owned()]).unwrap().cert.der().clone();
    let (first, second) = (certificate(), certificate());
    let (roots, both) = of_system(vec![first.clone(), second.clone()]);
    assert_eq!((roots.len(), of_system(vec![second, first.clone()]).1), (2, both), "in any order");
    assert_ne!(of_system(vec![first]).1, both);
}

/// `jwk_loading.json`: what upstream's HTTP sender takes is taken, and nothing else, for either service.
#[test]
fn recorded_keys() {
    let (folder, config) = scene();
    let vector = vectors::load("jwk_loading.json");
    let cases = vector["vectors"].as_array().unwrap();
    assert_eq!(cases.len(), 7);
    for case in cases {
        fs::write(folder.path().join("d.jwk"), case["jwk"].to_string()).unwrap();
        let read = load_there(&config);
        assert_eq!(read.is_ok(), case["http"] == "ok", "{case}: {read:?}");
        if let Err(error) = read {
            assert!(error.starts_with("mqtt-signing-key-file"), "{error}");
            assert!(case["jwk"]["d"].as_str().is_none_or(|secret| !error.contains(secret)), "{error}");
        }
    }
}

#[test]
fn own_form_reads_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = EdmConfig::parse("format = 1").unwrap().config;
    let all = ["tls.crt", "tls.key", "ca.crt", "node.json", "datakey.jwk"].map(|file| format!("{file} is missing"));
    assert_eq!(load(&config, folder.path()).unwrap_err(), all);
    let pair = rcgen::generate_simple_self_signed(["node-a.test".to_owned()]).unwrap();
    let key = DataKey::generate(&NodeName::parse("node-a.test").unwrap()).unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("tls.crt", &pair.cert.pem());
    write("tls.key", &pair.signing_key.serialize_pem());
    write("ca.crt", &pair.cert.pem());
    write(
        "node.json",
        r#"{"format":1,"name":"node-a.test","mqttBroker":"mqtts://core.example","aggrecUrl":"https://core.example/"}"#,
    );
    assert_eq!(load(&config, folder.path()).unwrap_err(), ["datakey.jwk is missing"]);
    write("datakey.jwk", &key.to_jwk());
    let identity = load(&config, folder.path()).unwrap();
    let url = |link: &Option<Link>| link.as_ref().unwrap().url.clone();
    assert_eq!(
        (url(&identity.events), url(&identity.aggregates)),
        ("mqtts://core.example".into(), "https://core.example/".into())
    );

    config.http_url = Some("https://other.example".to_owned());
    config.http_ca_file = Some("ca.crt".into());
    let other = load(&config, folder.path()).unwrap();
    assert_eq!(url(&other.aggregates), "https://other.example");
    assert_ne!(other.aggregates.unwrap().generation, identity.aggregates.unwrap().generation);
    config.http_ca_file = Some("missing.crt".into());
    let without = load(&config, folder.path()).unwrap();
    assert!(without.events.is_some() && without.aggregates.is_none());
    assert!(without.aggregates_faults.join("; ").starts_with("http-ca-file missing.crt: "));
    config.disable_histogram_sender = true;
    let neither = load(&config, folder.path()).unwrap();
    assert!(neither.aggregates.is_none() && neither.aggregates_faults.is_empty());
}

#[test]
fn the_secret_of_pseudonyms() {
    let (folder, mut config) = (tempfile::tempdir().unwrap(), EdmConfig::parse("format = 1").unwrap().config);
    let said = |config: &EdmConfig| pseudonym_secret(config, folder.path());
    assert_eq!(said(&config).unwrap_err(), "cryptopan.key is missing");
    fs::write(folder.path().join("cryptopan.key"), " \n").unwrap();
    assert_eq!(said(&config).unwrap_err(), "cryptopan.key is empty");
    fs::write(folder.path().join("cryptopan.key"), "hush\n").unwrap();
    let secret = said(&config).unwrap();
    assert!(secret.reveal() == "hush" && !format!("{secret:?}").contains("hush"));
    config.cryptopan_key = Some(Secret::new("said".to_owned()));
    assert_eq!(said(&config).unwrap().reveal(), "said", "command line or environment");
    assert_eq!(said(&scene().1).unwrap().reveal(), "hush", "upstream's form");
}
