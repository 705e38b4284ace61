//! A TapirPolicy and the `pop.yaml` that POP reads say the same: every variant of the resource is rendered, accepted by the reader of the file, and
//! read back as what it meant.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Value, json};
use tapir_operator::api::{TapirEdgeSpec, TapirPolicy, TapirPolicySpec};
use tapir_operator::build::{Contents, Edge, pop_files};
use tapir_operator::policy::acceptable;
use tapir_wire::config::pop::PopConfig;

const TAGS: [&str; 4] = ["globally_new", "newly_registered", "registry_investigation", "looptest"];

/// What POP reads of a policy, as JSON.
fn read(policy: &Value) -> Value {
    let policy: TapirPolicySpec = serde_json::from_value(policy.clone()).unwrap();
    acceptable(&policy).unwrap();
    let spec: TapirEdgeSpec = serde_json::from_value(json!({
        "enrollment": {"credentialsSecretRef": {"name": "enrol"}}, "resolver": {"container": "unbound"}, "pop": {"policyRef": {"name": "default"}}
    }))
    .unwrap();
    let map =
        pop_files(&Edge { namespace: "dns", name: "demo", spec: &spec }, Some((&policy, &Contents::default()))).unwrap().config;
    let parsed = PopConfig::parse(&map.data.unwrap()["pop.yaml"]).unwrap();
    assert_eq!(parsed.warnings, [""; 0]);
    serde_json::to_value(parsed.config).unwrap()
}

/// The values that the schema of the resource allows at a place of its specification.
fn schema(pointer: &str) -> Value {
    let definition = serde_json::to_value(<TapirPolicy as kube::CustomResourceExt>::crd()).unwrap();
    let spec = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    spec.pointer(pointer).unwrap_or_else(|| panic!("no {pointer} in the schema")).clone()
}

fn variants(pointer: &str) -> Vec<Value> {
    let found = schema(pointer)["enum"].as_array().unwrap().clone();
    assert!(found.len() > 1, "{pointer}");
    found
}

#[test]
fn every_mode_list_match_and_kind_of_source() {
    for mode in variants("/properties/mode") {
        assert_eq!(read(&json!({"mode": mode}))["mode"], mode);
    }
    let (lists, matches) =
        (variants("/properties/sources/items/properties/list"), variants("/properties/sources/items/properties/match"));
    let inline = lists.iter().flat_map(|list| matches.iter().map(move |r#match| (list, r#match))).enumerate();
    let mut sources: Vec<Value> = inline
        .map(|(number, (list, r#match))| json!({"name": format!("s{number}"), "list": list, "match": r#match, "inline": {"names": ["a.example", "_b.Example."]}}))
        .collect();
    sources.push(json!({"name": "core", "list": "Doubt", "match": "Exact", "core": {}}));
    assert_eq!(read(&json!({"sources": sources}))["sources"], json!(sources));
    let kinds = schema("/properties/sources/items/properties");
    let known = ["name", "list", "match", "format", "core", "inline", "configMapRef", "rpz", "https"];
    assert!(
        kinds.as_object().unwrap().keys().all(|kind| known.contains(&kind.as_str())),
        "a kind of source without a test: {kinds}"
    );
}

#[test]
fn every_source_that_is_not_in_the_policy_itself() {
    let formats = variants("/properties/sources/items/properties/format");
    let list = |format: &Value| if *format == "Dawg" { "Allow" } else { "Deny" };
    for (number, format) in formats.iter().enumerate() {
        let source = |kind: &str, what: Value| json!({"name": format!("s{number}"), "list": list(format), "match": "Subtree", "format": format, kind: what});
        let of = |kind: &str, what: Value| read(&json!({"sources": [source(kind, what)]}))["sources"][0].clone();
        let file = of("configMapRef", json!({"name": "lists", "key": "names.txt"}));
        assert_eq!(file["file"], json!({"path": format!("list-s{number}"), "format": format}));
        let mut https =
            json!({"url": "https://lists.example/a", "sha256": "a".repeat(64), "refreshSeconds": 60, "keepSeconds": 120});
        let read = of("https", https.clone());
        https["format"] = format.clone();
        let members =
            |value: &Value| value.as_object().unwrap().clone().into_iter().collect::<std::collections::BTreeMap<_, _>>();
        assert_eq!(members(&read["https"]), members(&https));
    }
    for (primary, key) in [("192.0.2.1:53", None), ("[2001:db8::1]:5353", Some(json!({"name": "tsig"})))] {
        let mut rpz = json!({"primary": primary, "zone": "feed.example.", "refreshSeconds": 60, "keepSeconds": 3600});
        let mut wanted = json!({"primaries": [primary], "zone": "feed.example.", "refreshSeconds": 60, "keepSeconds": 3600});
        if let Some(key) = key {
            rpz["tsigSecretRef"] = key;
            wanted = json!({"primaries": [primary], "zone": "feed.example.", "tsigKeyFile": "tsig-feed", "refreshSeconds": 60, "keepSeconds": 3600});
        }
        assert_eq!(read(&json!({"sources": [{"name": "feed", "list": "Doubt", "rpz": rpz}]}))["sources"][0]["rpz"], wanted);
    }
    let core =
        read(&json!({"sources": [{"name": "core", "list": "Doubt", "core": {"maxTtlSeconds": 60}}], "recordTtlSeconds": 5}));
    assert_eq!(
        (&core["sources"][0]["core"]["maxTtlSeconds"], &core["recordTtlSeconds"], &core["format"]),
        (&json!(60), &json!(5), &json!(2))
    );
}

#[test]
fn every_redirect() {
    for redirect in [json!({"name": "block.example."}), json!({"addresses": ["192.0.2.1", "2001:db8::1"]})] {
        let policy = json!({"deny": {"action": "Redirect", "redirect": redirect}, "doubt": [{"name": "r", "minSources": 2, "action": "Redirect", "redirect": redirect}]});
        let found = read(&policy);
        assert_eq!((&found["deny"], &found["doubt"]), (&policy["deny"], &policy["doubt"]));
    }
    assert_eq!(read(&json!({"deny": {"action": "Source"}}))["deny"]["action"], "Source");
}

#[test]
fn every_action() {
    // Those two need more to be said: see `every_redirect`.
    let plain = |action: &Value| action != "Redirect" && action != "Source";
    for action in variants("/properties/deny/properties/action").into_iter().filter(plain) {
        assert_eq!(read(&json!({"deny": {"action": action}}))["deny"]["action"], action);
    }
    for action in variants("/properties/doubt/items/properties/action").into_iter().filter(plain) {
        let doubt = json!([{"name": "r", "minTags": 1, "action": action}]);
        assert_eq!(read(&json!({"doubt": doubt}))["doubt"], doubt);
    }
}

#[test]
fn every_tag_and_every_condition_of_a_rule() {
    let tags: Vec<String> = TAGS.iter().map(ToString::to_string).chain((0..32).map(|bit| format!("bit{bit}"))).collect();
    let items = &schema("/properties/doubt/items/properties/anyTags");
    let rule = items["items"]["x-kubernetes-validations"][0]["rule"].as_str().unwrap();
    let pattern =
        regex::Regex::new(rule.strip_prefix("self.matches('").and_then(|rest| rest.strip_suffix("')")).unwrap()).unwrap();
    assert!(tags.iter().all(|tag| pattern.is_match(tag)) && items["maxItems"] == tags.len());
    let numbers = schema("/properties/doubt/items/properties/minTags");
    let [least, most] = ["minimum", "maximum"].map(|bound| numbers[bound].as_f64().unwrap());
    let doubt = json!([
        {"name": "any", "anyTags": tags, "action": "DROP"},
        {"name": "all", "allTags": tags, "action": "DROP"},
        {"name": "least", "minTags": least as u32, "action": "NODATA"},
        {"name": "most", "minTags": most as u32, "action": "NODATA"},
        {"name": "together", "anyTags": ["bit31"], "allTags": ["looptest"], "minTags": 2, "action": "PASSTHRU"},
    ]);
    assert_eq!(read(&json!({"doubt": doubt}))["doubt"], doubt);
    let known = ["name", "anyTags", "allTags", "minTags", "minSources", "action", "redirect"];
    let members = schema("/properties/doubt/items/properties");
    assert!(
        members.as_object().unwrap().keys().all(|member| known.contains(&member.as_str())),
        "a condition without a test: {members}"
    );
}
