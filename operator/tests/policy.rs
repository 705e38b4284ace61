//! A TapirPolicy and the `pop.yaml` that POP reads say the same: every variant of the resource is rendered, accepted by the reader of the file, and
//! read back as what it meant.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Value, json};
use tapir_operator::api::{TapirEdgeSpec, TapirPolicy, TapirPolicySpec};
use tapir_operator::build::{Edge, pop_config};
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
    let map = pop_config(&Edge { namespace: "dns", name: "demo", spec: &spec }, Some(&policy)).unwrap();
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
fn every_action() {
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
