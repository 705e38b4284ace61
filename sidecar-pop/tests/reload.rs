//! Configuration, trusted keys and identity are replaced independently of each other; the last good one stays.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use tapir_pop::reload::{InForce, Loader};
use tapir_pop::setup::Setup;
use tapir_pop::sources::ListText;
use tapir_pop::status::Telemetry;
use tapir_wire::config::pop::List;
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
    assert!(in_force.setup.borrow().as_ref().unwrap().rules.cores.len() == 1, "what was learnt counts on");
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

const LISTS: &str = "format: 2\nrevision: r\ndataDir: /nowhere\nsources:
- {name: a, list: Deny, file: {path: list-a}}
- {name: b, list: Deny, match: Subtree, file: {path: list-b, format: Hosts}}
";

/// A folder as the kubelet makes it: every version whole, behind one link.
fn mount(directory: &Path, version: &str, files: &[(&str, &str)]) {
    let folder = format!("..{version}");
    fs::create_dir(directory.join(&folder)).unwrap();
    for (name, text) in files {
        fs::write(directory.join(&folder).join(name), text).unwrap();
        if fs::symlink_metadata(directory.join(name)).is_err() {
            std::os::unix::fs::symlink(format!("..data/{name}"), directory.join(name)).unwrap();
        }
    }
    std::os::unix::fs::symlink(&folder, directory.join("..new")).unwrap();
    fs::rename(directory.join("..new"), directory.join("..data")).unwrap();
}

/// The lists in force: name, names in order, and what is said of it.
fn lists(in_force: &InForce) -> Vec<(String, Vec<String>, Option<String>)> {
    let setup = in_force.setup.borrow().clone().unwrap();
    let row = |list: &ListText| {
        let mut names = Vec::new();
        list.text.each(&setup.zone, |_, entry| names.extend(entry.map(|key| key.to_string())));
        names.sort();
        (list.source.clone(), names, list.stale.clone())
    };
    setup.rules.lists.iter().map(row).collect()
}

/// Sources that came with the configuration: name, class, and whether they keep their action.
fn classes(setup: &Setup) -> Vec<(&str, List, bool)> {
    let came = setup.bindings.iter().filter(|binding| setup.rules.lists.iter().any(|list| list.source == binding.source));
    came.map(|binding| (binding.source.as_str(), binding.list, binding.records && binding.keeps_action)).collect()
}

fn held(source: &str, names: &[&str], stale: Option<&str>) -> (String, Vec<String>, Option<String>) {
    (source.to_owned(), names.iter().map(|name| (*name).to_owned()).collect(), stale.map(str::to_owned))
}

#[test]
fn lists_come_with_the_configuration_and_their_last_good_content_stays() {
    let directory = tempfile::tempdir().unwrap();
    let (mut loader, in_force, telemetry) = loader(directory.path());
    mount(directory.path(), "1", &[("pop.yaml", LISTS), ("list-a", "one.example\n"), ("list-b", "0.0.0.0 two.example\n")]);
    loader.load(&telemetry);
    assert_eq!(lists(&in_force), [held("a", &["one.example."], None), held("b", &["two.example."], None)]);

    // Lists change while their configuration stays.
    mount(directory.path(), "2", &[("pop.yaml", LISTS), ("list-a", "three.example\n"), ("list-b", "0.0.0.0 two.example\n")]);
    loader.load(&telemetry);
    loader.keep_last_good(&telemetry);
    assert_eq!(lists(&in_force)[0], held("a", &["three.example."], None));

    // One is missing, the other one moves on.
    mount(directory.path(), "3", &[("pop.yaml", LISTS), ("list-b", "0.0.0.0 four.example\n")]);
    loader.load(&telemetry);
    let missing = Some("list-a is missing");
    assert_eq!(lists(&in_force), [held("a", &["three.example."], missing), held("b", &["four.example."], None)]);
    assert!(telemetry.document().config.error.is_none(), "the configuration is good");
    loader.keep_last_good(&telemetry);

    // An empty list is a list, and a configuration that is refused moves no list on.
    let refused = LISTS.replace("revision", "mood");
    mount(directory.path(), "4", &[("pop.yaml", &refused), ("list-a", ""), ("list-b", "")]);
    loader.load(&telemetry);
    assert_eq!(lists(&in_force), [held("a", &["three.example."], missing), held("b", &["four.example."], None)]);
    let again = || {
        let (mut loader, in_force, telemetry) = self::loader(directory.path());
        loader.load(&telemetry);
        lists(&in_force)
    };
    assert_eq!(again(), [held("a", &["three.example."], None), held("b", &["four.example."], None)], "nor over a restart");
    mount(directory.path(), "5", &[("pop.yaml", LISTS), ("list-b", "")]);
    assert_eq!(again(), [held("a", &["three.example."], missing), held("b", &[], None)]);

    // What no source uses any more is not kept.
    let without = "format: 2\ndataDir: /nowhere\nsources: [{name: b, list: Deny, file: {path: list-b}}]\n";
    mount(directory.path(), "6", &[("pop.yaml", without), ("list-b", "")]);
    loader.load(&telemetry);
    loader.keep_last_good(&telemetry);
    let kept = |name: &str| directory.path().join("state").join(format!("last-good-{name}.list")).exists();
    assert!(!kept("a") && kept("b"));
}

#[test]
fn a_list_that_was_never_there_holds_nothing_and_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let (mut loader, in_force, telemetry) = loader(directory.path());
    mount(directory.path(), "1", &[("pop.yaml", LISTS), ("list-a", &"x".repeat(5 * 1024 * 1024))]);
    loader.load(&telemetry);
    let setup = in_force.setup.borrow().clone().unwrap();
    assert_eq!(setup.idle_sources, [("b".to_owned(), "list-b is missing".to_owned())]);
    // What is too large to come with a configuration is fetched as other sources are.
    assert_eq!(setup.fetched.iter().map(|fetched| fetched.source.as_str()).collect::<Vec<_>>(), ["a"]);
}

#[test]
fn sources_are_fetched_when_their_keys_are_good() {
    let directory = tempfile::tempdir().unwrap();
    let (mut loader, in_force, telemetry) = loader(directory.path());
    let text = "format: 2\ndataDir: /nowhere\nsources:
- {name: plain, list: Deny, rpz: {primaries: ['192.0.2.1:53'], zone: feed.example., tsigKeyFile: tsig-good}}
- {name: bad, list: Doubt, rpz: {primaries: ['192.0.2.1:53'], zone: feed.example., tsigKeyFile: tsig-bad}}
- {name: gone, list: Doubt, rpz: {primaries: ['192.0.2.1:53'], zone: feed.example., tsigKeyFile: tsig-gone}}
- {name: web, list: Allow, https: {url: 'https://lists.example/', refreshSeconds: 60, keepSeconds: 60}}
- {name: csv, list: Deny, file: {path: list, format: Csv}}
- {name: dawg, list: Allow, file: {path: list, format: Dawg}}
- {name: served, list: Deny, file: {path: list}}
deny: {action: Source}
doubt: [{name: agreed, minSources: 1, action: DROP}]
";
    let good = "key \"feed\" { algorithm hmac-sha256; secret \"c2VjcmV0\"; };";
    mount(
        directory.path(),
        "1",
        &[("pop.yaml", text), ("list", "evil.example"), ("tsig-good", good), ("tsig-bad", "feed:c2VjcmV")],
    );
    loader.load(&telemetry);
    let setup = in_force.setup.borrow().clone().unwrap();
    let idle: Vec<_> = setup.idle_sources.iter().map(|(name, reason)| (name.as_str(), reason.as_str())).collect();
    assert_eq!(idle, [("bad", "tsig-bad has a secret that is no base64"), ("gone", "tsig-gone is missing"),]);
    let fetched: Vec<_> = setup.fetched.iter().map(|fetched| fetched.source.as_str()).collect();
    assert_eq!(fetched, ["plain", "web", "csv", "dawg"]);
    assert_eq!(classes(&setup), [("served", List::Deny, false)]);
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

#[test]
fn upstreams_files_are_taken_as_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let write = |file: &str, text: &str| fs::write(directory.path().join(file), text).unwrap();
    let list = directory.path().join("deny.txt");
    write("deny.txt", "evil.example\n");
    let source = |kind: &str| {
        format!(
            "sources:\n  own: {{active: true, name: own, type: {kind}, source: file, format: domains, filename: {}}}\n",
            list.display()
        )
    };
    write("pop-sources.yaml", &source("denylist"));
    write("pop-outputs.yaml", "outputs:\n  r: {active: true, format: rpz, downstream: '127.0.0.1:53'}\n");
    let (loader, in_force, telemetry) = loader(directory.path());
    let mut loader = loader.of_upstream(directory.path());
    assert_eq!(loader.directory(), directory.path());
    loader.load(&telemetry);
    assert_eq!(telemetry.document().config.error, None);
    let class = || {
        let setup = in_force.setup.borrow().clone().unwrap();
        assert_eq!(lists(&in_force), [held("own", &["evil.example."], None)]);
        classes(&setup)[0].1
    };
    assert_eq!((class(), in_force.targets.borrow().targets.len()), (List::Deny, 1));

    write("pop-sources.yaml", &source("greylist"));
    loader.load(&telemetry);
    let error = telemetry.document().config.error.unwrap();
    assert!(error.contains("pop-sources.yaml: sources.own.type: is none of allowlist, denylist and doubtlist"), "{error}");
    assert_eq!(class(), List::Deny, "the last good one stays");

    write("pop-sources.yaml", &source("allowlist"));
    loader.load(&telemetry);
    assert_eq!((class(), telemetry.document().config.error), (List::Allow, None));
}

#[test]
fn what_cannot_be_had_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let write = |text: &str| fs::write(directory.path().join("pop.yaml"), text).unwrap();
    let (mut loader, in_force, telemetry) = loader(directory.path());
    let errors = |loader: &mut Loader| {
        loader.load(&telemetry);
        telemetry.configured(in_force.setup.borrow().as_ref().unwrap());
        telemetry.document().pop.unwrap().errors
    };
    write(
        "format: 2\nsources: [{name: c, list: Doubt, core: {topics: [t], bootstrap: {servers: ['192.0.2.1:443'], keyFile: k}}}]\n",
    );
    let told = "source c, core.bootstrap: k is missing";
    assert_eq!(errors(&mut loader), [told]);
    write("format: 2\n");
    assert_eq!(errors(&mut loader), [""; 0]);
}
