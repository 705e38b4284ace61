//! Node material as it lies in a mounted folder.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use support::{Authority, write_node};
use tapir_runtime::node::{MaterialError, NodeMaterial};
use tapir_wire::jwk::DataKey;
use tapir_wire::node_name::NodeName;

const NAME: &str = "node-a.test";

fn data_key(name: &str) -> String {
    DataKey::generate(&NodeName::parse(name).unwrap()).unwrap().to_jwk().to_string()
}

fn with(change: impl Fn(&Path)) -> Result<NodeMaterial, MaterialError> {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("node CA");
    write_node(folder.path(), &authority, &authority, NAME);
    std::fs::write(folder.path().join("datakey.jwk"), data_key(NAME)).unwrap();
    change(folder.path());
    NodeMaterial::load(folder.path())
}

fn refused(change: impl Fn(&Path)) -> String {
    with(change).map(|material| material.document).expect_err("refused").to_string()
}

#[test]
fn a_whole_folder_loads() {
    let material = with(|_| {}).unwrap();
    assert_eq!(material.document.name, NAME);
    assert_eq!(material.data_key.unwrap().kid(), NAME);
    assert!(material.trusted_keys.is_none());
    assert!(!material.certificate.serial.is_empty());
}

#[test]
fn keys_are_optional_and_an_empty_file_is_a_missing_one() {
    let material = with(|folder| std::fs::write(folder.join("datakey.jwk"), "\n").unwrap()).unwrap();
    assert!(material.data_key.is_none());
    let material = with(|folder| {
        std::fs::write(
            folder.join("trusted-jwks.json"),
            r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"core","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
        )
        .unwrap();
    })
    .unwrap();
    assert_eq!(material.trusted_keys.unwrap().len(), 1);
}

#[test]
fn what_is_missing_is_named() {
    for file in ["tls.crt", "tls.key", "ca.crt", "node.json"] {
        assert_eq!(refused(|folder| std::fs::remove_file(folder.join(file)).unwrap()), format!("{file} is missing"));
    }
    assert!(matches!(NodeMaterial::load(Path::new("/nonexistent")), Err(MaterialError::Missing(_))));
}

#[test]
fn what_is_damaged_is_named_and_never_shown() {
    for file in ["tls.crt", "tls.key", "ca.crt", "node.json", "datakey.jwk", "trusted-jwks.json"] {
        for content in ["SECRET", "-----BEGIN CERTIFICATE-----\nSECRET\n-----END CERTIFICATE-----\n", "{\"SECRET\":1}"] {
            let text = refused(|folder| std::fs::write(folder.join(file), content).unwrap());
            assert!(text.contains(file), "{file}: {text}");
            assert!(!text.contains("SECRET"), "{text}");
        }
        let text = refused(|folder| std::fs::write(folder.join(file), vec![b'x'; 2 << 20]).unwrap());
        assert_eq!(text, format!("{file} is longer than 1 MiB"));
        let text = refused(|folder| std::fs::write(folder.join(file), [0xff, 0xfe]).unwrap());
        assert_eq!(text, format!("reading {file}"));
    }
}

#[test]
fn a_broker_that_would_be_spoken_to_in_the_clear_is_refused_with_the_remedy() {
    let broker = |url: &str| {
        let document = format!(r#"{{"format":1,"name":"{NAME}","mqttBroker":"{url}","mqttTopics":{{}}}}"#);
        with(|folder| std::fs::write(folder.join("node.json"), &document).unwrap())
    };
    for url in ["mqtt://broker.test:8883", "tcp://broker.test"] {
        let text = broker(url).map(|material| material.document).expect_err("refused").to_string();
        for part in ["node.json", "mqttBroker", url, "mqtts://"] {
            assert!(text.contains(part), "{text}");
        }
    }
    assert!(broker("gopher://broker.test").is_err());
    assert!(broker("mqtts://broker.test").is_ok());
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let text = refused(|folder| {
        let (_, key) = Authority::new("x").issue(NAME, &[NAME]);
        std::fs::write(folder.join("tls.key"), key).unwrap();
    });
    assert!(text.starts_with("tls.crt and tls.key do not go together"), "{text}");
}

#[test]
fn a_data_key_of_another_node_is_refused() {
    let text = refused(|folder| std::fs::write(folder.join("datakey.jwk"), data_key("node-b.test")).unwrap());
    assert_eq!(text, "datakey.jwk belongs to node-b.test, node.json to node-a.test");
}

#[test]
fn the_generation_follows_certificate_key_and_ca_only() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("node CA");
    write_node(folder.path(), &authority, &authority, NAME);
    let first = NodeMaterial::load(folder.path()).unwrap().generation;
    std::fs::write(folder.path().join("datakey.jwk"), data_key(NAME)).unwrap();
    assert_eq!(NodeMaterial::load(folder.path()).unwrap().generation, first);
    write_node(folder.path(), &authority, &authority, NAME);
    assert_ne!(NodeMaterial::load(folder.path()).unwrap().generation, first);
}

/// Kubernetes replaces all files at once; a reader must never see the certificate of one moment with the key of another.
#[test]
fn a_swap_while_loading_never_mixes_two_moments() {
    let volume = tempfile::tempdir().unwrap();
    let authority = Authority::new("node CA");
    for version in ["..1", "..2"] {
        let folder = volume.path().join(version);
        std::fs::create_dir(&folder).unwrap();
        write_node(&folder, &authority, &authority, NAME);
    }
    for file in ["tls.crt", "tls.key", "ca.crt", "node.json"] {
        symlink(Path::new("..data").join(file), volume.path().join(file)).unwrap();
    }
    let swap = |version: &str| {
        let temporary = volume.path().join("..data_tmp");
        symlink(version, &temporary).unwrap();
        std::fs::rename(&temporary, volume.path().join("..data")).unwrap();
    };
    swap("..1");
    let (swaps, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                swap(if swaps.fetch_add(1, Ordering::Relaxed) % 2 == 0 { "..2" } else { "..1" });
            }
        });
        let mut results = Vec::new();
        while results.len() < 500 || swaps.load(Ordering::Relaxed) < 5000 {
            results.push(NodeMaterial::load(volume.path()));
        }
        done.store(true, Ordering::Relaxed);
        for result in results {
            result.unwrap();
        }
    });
}
