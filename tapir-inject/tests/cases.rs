//! The table that policy and webhook share, asked of this crate; and that the policy of the chart names the same conditions.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Value, json};
use tapir_inject::{Class, EDGE_LABEL, Verdict, Why, inject};

const POLICY: &str = include_str!("../../charts/tapir-operator/templates/injection-policy.yaml");

fn table() -> Value {
    serde_json::from_str(include_str!("../cases.json")).unwrap()
}

/// An injection whose containers tell which class and form they are for.
fn injection(form: &str) -> Value {
    let containers = |class: &str| {
        let container = |name: &str| {
            let mut container = json!({"name": name, "image": class});
            if form == "Native" {
                container["restartPolicy"] = json!("Always");
            }
            container
        };
        json!([container("tapir-edm"), container("tapir-pop")])
    };
    json!({
        "revision": "r1", "imagesRevision": "i1", "form": form, "container": "unbound",
        "bestEffort": containers("BestEffort"), "burstable": containers("Burstable"), "guaranteed": containers("Guaranteed"),
        "volumes": [{"name": "tapir-run", "emptyDir": {}}, {"name": "tapir-no-token", "emptyDir": {}}],
        "resolverVolumeMounts": [{"name": "tapir-run", "mountPath": "/run/tapir"}],
    })
}

fn pod(case: &Value) -> Value {
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": case["metadata"], "spec": case["spec"]});
    if pod["metadata"]["labels"].is_null() {
        pod["metadata"]["labels"] = json!({EDGE_LABEL: "demo"});
    }
    pod
}

/// The Pod after the patch.
fn patched(pod: &Value, form: &str) -> Result<Value, Why> {
    match inject(pod, "demo", &injection(form)) {
        Verdict::Skip(why) => Err(why),
        Verdict::Patch(operations) => {
            let patch: json_patch::Patch = serde_json::from_value(serde_json::to_value(operations).unwrap()).unwrap();
            let mut pod = pod.clone();
            json_patch::patch(&mut pod, &patch).unwrap();
            Ok(pod)
        }
    }
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().map(|entry| entry["name"].as_str().unwrap()).collect()
}

#[test]
fn every_case_has_the_verdict_of_the_table() {
    let table = table();
    let mut seen = std::collections::HashSet::new();
    for case in table["cases"].as_array().unwrap() {
        for form in table["forms"].as_array().unwrap() {
            let found = patched(&pod(case), form.as_str().unwrap());
            let expected = case["why"].as_str();
            assert_eq!(found.as_ref().err().map(|why| why.condition()), expected, "{} {form}", case["case"]);
            seen.extend(found.err());
            if expected.is_none() {
                assert_eq!(format!("{:?}", Class::of(&case["spec"]).unwrap()), case["class"], "{}", case["case"]);
            }
        }
    }
    // Of no condition is there no case, but for what no API server would show.
    let without: Vec<&Why> = Why::ALL.iter().filter(|why| !seen.contains(why)).collect();
    assert_eq!(without, [&Why::NotRendered, &Why::Unreadable]);
}

/// All that was there stays, in its place; all that is ours comes after it, in the variant of the Pod's class.
#[test]
fn a_patched_pod_is_the_old_one_and_the_injection() {
    let table = table();
    for case in table["cases"].as_array().unwrap().iter().filter(|case| case["why"].is_null()) {
        for form in ["Containers", "Native"] {
            let before = pod(case);
            let mut after = patched(&before, form).unwrap();
            let list = if form == "Native" { "initContainers" } else { "containers" };
            let ours: Vec<Value> = strip(&mut after["spec"][list]);
            assert_eq!(names(&json!(ours)), ["tapir-edm", "tapir-pop"], "{}", case["case"]);
            assert!(ours.iter().all(|container| container["image"] == case["class"]), "{}", case["case"]);
            assert_eq!(ours[0]["restartPolicy"] == "Always", form == "Native");
            assert_eq!(names(&json!(strip(&mut after["spec"]["volumes"]))), ["tapir-run", "tapir-no-token"]);
            let resolver = names(&before["spec"]["containers"]).iter().position(|name| *name == "unbound").unwrap();
            let mounts = strip(&mut after["spec"]["containers"][resolver]["volumeMounts"]);
            assert_eq!(mounts, [json!({"name": "tapir-run", "mountPath": "/run/tapir"})]);
            let annotations = after["metadata"]["annotations"].as_object_mut().unwrap();
            assert_eq!(annotations.remove("dnstapir.se/injection-revision"), Some(json!("r1")));
            assert_eq!(annotations.remove("dnstapir.se/injection-images"), Some(json!("i1")));
            assert_eq!(without_empty(after), without_empty(before), "{}", case["case"]);
        }
    }
}

/// Takes our entries off the end of a list.
fn strip(list: &mut Value) -> Vec<Value> {
    let list = list.as_array_mut().unwrap();
    let first = list.iter().position(|entry| entry["name"].as_str().unwrap().starts_with("tapir-")).unwrap();
    list.split_off(first)
}

fn without_empty(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let empty = |value: &Value| {
                value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(serde_json::Map::is_empty)
            };
            members.into_iter().map(|(name, value)| (name, without_empty(value))).filter(|(_, value)| !empty(value)).collect()
        }
        Value::Array(items) => items.into_iter().map(without_empty).collect(),
        other => other,
    }
}

#[test]
fn what_cannot_be_judged_is_left_alone() {
    let plain = json!({"metadata": {"labels": {EDGE_LABEL: "demo"}}, "spec": {"containers": [{"name": "unbound"}]}});
    assert_eq!(inject(&plain, "demo", &Value::Null), Verdict::Skip(Why::NotRendered));
    assert_eq!(inject(&plain, "demo", &json!({"container": "unbound"})), Verdict::Skip(Why::Unreadable));
    assert_eq!(inject(&plain, "demo", &json!({})), Verdict::Skip(Why::NoContainer));
    assert_eq!(inject(&Value::Null, "demo", &injection("Native")), Verdict::Skip(Why::NotOurs));
    let mut odd = plain;
    odd["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "much"}});
    assert_eq!(inject(&odd, "demo", &injection("Native")), Verdict::Skip(Why::Unreadable));
}

/// An edge that was rendered by an operator before this one has neither form nor revision of images.
#[test]
fn an_older_injection_is_still_good() {
    let mut older = injection("Containers");
    for member in ["form", "imagesRevision"] {
        older.as_object_mut().unwrap().remove(member);
    }
    let plain = json!({"metadata": {"labels": {EDGE_LABEL: "demo"}}, "spec": {"containers": [{"name": "unbound"}]}});
    let Verdict::Patch(operations) = inject(&plain, "demo", &older) else { panic!("left alone") };
    let paths: Vec<&str> = operations.iter().map(|operation| operation.path.as_str()).collect();
    assert!(paths.contains(&"/spec/containers/-") && !paths.iter().any(|path| path.contains("injection-images")), "{paths:?}");
}

#[test]
fn the_policy_has_the_same_conditions_in_the_same_order() {
    let (_, rest) = POLICY.split_once("  matchConditions:\n").unwrap();
    let (conditions, _) = rest.split_once("  variables:\n").unwrap();
    let named: Vec<&str> = conditions.lines().filter_map(|line| line.strip_prefix("  - name: ")).collect();
    let expected: Vec<&str> = Why::ALL.iter().filter(|why| **why != Why::Unreadable).map(|why| why.condition()).collect();
    assert_eq!(named, expected);
}
