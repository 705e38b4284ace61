use std::fs;
use std::os::unix::fs::symlink;

use tapir_wire::jwk::DataKey;
use tapir_wire::node_name::NodeName;

use super::*;

/// A volume as the kubelet makes it: files are links through `..data`, which is renamed to replace all at once.
fn publish(volume: &Path, version: &str, files: &[(&str, Vec<u8>)]) {
    let content = volume.join(format!("..{version}"));
    fs::create_dir(&content).unwrap();
    for (name, octets) in files {
        fs::write(content.join(name), octets).unwrap();
        let link = volume.join(name);
        if link.symlink_metadata().is_err() {
            symlink(Path::new("..data").join(name), link).unwrap();
        }
    }
    symlink(format!("..{version}"), volume.join("..data_tmp")).unwrap();
    fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
}

fn config(revision: &str) -> Vec<u8> {
    format!("format = 1\nrevision = \"{revision}\"\nwell-known-domains-file = \"list.dawg\"\n").into_bytes()
}

#[test]
fn follows_a_mounted_volume() {
    let volume = tempfile::tempdir().unwrap();
    let list = |words: &[&str]| tapir_wire::dawg::compile(words.iter().copied()).unwrap();
    let mut reloader = Reloader::new(ConfigFile::new(volume.path().join("edm.toml")), Budget::new(1 << 20));
    let knows = |in_force: &InForce, name: &[u8]| in_force.lists.well_known.as_ref().unwrap().find(name).is_some();
    let nothing = reloader.read();
    assert_eq!(nothing.config_error.as_deref(), Some("edm.toml is missing"));
    assert!(!nothing.sending());

    publish(volume.path(), "1", &[("edm.toml", config("a")), ("list.dawg", list(&["a."]))]);
    let first = reloader.read();
    assert_eq!(first.config_error, None);
    assert!(first.sending() && knows(&first, b"\x01a"));
    assert!(first.mqtt_settings("x").is_none(), "no identity, no connection");

    publish(volume.path(), "2", &[("edm.toml", config("b")), ("list.dawg", list(&["b."]))]);
    let second = reloader.read();
    assert_eq!(second.config.as_ref().unwrap().revision, "b");
    assert!(knows(&second, b"\x01b"));

    publish(volume.path(), "3", &[("edm.toml", config("c")), ("list.dawg", b"broken".to_vec())]);
    let third = reloader.read();
    assert_eq!(third.config.as_ref().unwrap().revision, "c");
    assert!(knows(&third, b"\x01b"), "the last good list stays");
    assert!(third.config_error.unwrap().starts_with("list list.dawg: "));

    publish(volume.path(), "4", &[("edm.toml", b"format = 1\n".to_vec())]);
    let fourth = reloader.read();
    assert!(fourth.lists.well_known.is_none() && fourth.config_error.is_none(), "a list that is not wanted any more goes");
}

#[test]
fn a_list_that_is_only_to_be_fetched_is_not_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (config, data, hash) = (folder.path().join("edm.toml"), folder.path().join("data"), "0".repeat(64));
    let url = format!("well-known-domains-url = 'https://192.0.2.1/list'\nwell-known-domains-sha256 = '{hash}'");
    fs::write(&config, format!("format = 2\ndata-dir = '{}'\n{url}\n", data.display())).unwrap();
    let mut reloader = Reloader::new(ConfigFile::new(config), Budget::new(1 << 20));
    let awaited = reloader.read();
    assert!(awaited.to_fetch.is_some() && !awaited.refused.lists, "{awaited:?}");
    assert!(awaited.config_error.unwrap().ends_with("not fetched yet"), "the status says it all the same");
    // What is there and is not good is refused.
    let place = fetched::place(&data, &hash);
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    fs::write(&place, "something else").unwrap();
    assert!(reloader.read().refused.lists);
}

#[test]
fn nothing_is_dumped_while_everything_is_disabled() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("edm.toml");
    let mut reloader = Reloader::new(ConfigFile::new(place.clone()), Budget::new(1 << 20));
    for disabled in [false, true, false] {
        fs::write(&place, format!("format = 2\ndebug-dnstap-filename = '/tmp/dump'\ndisabled = {disabled}\n")).unwrap();
        let read = reloader.read();
        assert_eq!((read.dump.is_some(), read.config_error), (!disabled, None));
    }
}

#[test]
fn a_bad_receiver_is_no_bad_identity_and_leaves_the_link_of_the_same_node_to_the_same_place() {
    let (_folder, config) = identity::tests::scene();
    let good = identity::load(&config, Path::new("/nonexistent")).unwrap();
    let link = good.aggregates.clone();
    assert!(link.is_some());
    let bad = |node: &str, url: &str| Identity {
        node: node.to_owned(),
        aggregates: None,
        aggregates_url: Some(url.to_owned()),
        aggregates_faults: vec!["no CA".to_owned()],
        ..good.clone()
    };
    let cases = [
        ("node-a.test", "https://core.example", link),
        ("b.test", "https://core.example", None),
        ("node-a.test", "https://b", None),
    ];
    for (node, url, kept) in cases {
        let mut reloader = Reloader::new(ConfigFile::new("edm.toml".into()), Budget::new(1 << 20));
        reloader.config.offer(Ok(config.clone()));
        reloader.follow_identity(Ok(good.clone()));
        assert_eq!(reloader.refused(), Refused::default());
        reloader.follow_identity(Ok(bad(node, url)));
        let in_force = reloader.in_force();
        assert_eq!(in_force.refused, Refused { aggregates: true, ..Refused::default() });
        assert_eq!((in_force.identity_error.as_ref(), in_force.aggregates()), (None, kept.as_ref()), "{node} {url}");
        reloader.follow_identity(Err("no key".to_owned()));
        assert!(reloader.refused().identity && reloader.in_force().identity_error.is_some());
    }
}

#[test]
fn aggregates_do_not_go_on_with_another_key_of_that_node() {
    let (folder, mut config) = identity::tests::scene();
    let mut reloader = Reloader::new(ConfigFile::new(folder.path().join("edm.toml")), Budget::new(1 << 20));
    let mut aggregates = |config: &EdmConfig| {
        reloader.follow_identity(identity::load(config, folder.path()).map_err(|faults| faults.join("; ")));
        reloader.identity.good().unwrap().aggregates.clone()
    };
    let good = aggregates(&config);
    assert!(good.is_some());
    config.http_ca_file = Some("/missing".into());
    assert_eq!(aggregates(&config), good, "what is wrong with whom to trust is no reason to stop");
    let key = DataKey::generate(&NodeName::parse("node-a.test").unwrap()).unwrap();
    fs::write(folder.path().join("d.jwk"), key.to_jwk().as_bytes()).unwrap();
    assert_eq!(aggregates(&config), None);
}
