use serde_json::{Value, json};

use super::*;

const BINDING: i64 = 1_000_000;

fn pod(spec: &Value, status: &Value, created: i64) -> Pod {
    let created = Timestamp::from_second(created).unwrap().to_string();
    serde_json::from_value(json!({
        "metadata": {"name": "p", "creationTimestamp": created,
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u", "controller": true}]},
        "spec": spec, "status": status
    }))
    .unwrap()
}

fn view(spec: &Value, created: i64) -> View {
    classify(&pod(spec, &json!({}), created), "unbound", Some(Timestamp::from_second(BINDING).unwrap())).unwrap()
}

fn plain() -> Value {
    json!({"containers": [{"name": "unbound"}]})
}

#[test]
fn an_injected_pod_has_our_container_and_our_volume() {
    let spec = json!({"containers": [{"name": "unbound"}, {"name": "tapir-edm"}], "volumes": [{"name": "tapir-no-token"}]});
    assert_eq!(view(&spec, 0).injection, Injection::Injected);
    let native = json!({"containers": [{"name": "unbound"}], "initContainers": [{"name": "prepare"}, {"name": "tapir-edm", "restartPolicy": "Always"}],
        "volumes": [{"name": "tapir-no-token"}]});
    assert_eq!(view(&native, 0).injection, Injection::Injected);
}

#[test]
fn somebody_s_own_container_of_our_name_is_a_collision() {
    let spec = json!({"containers": [{"name": "unbound"}, {"name": "tapir-edm"}]});
    assert_eq!(view(&spec, 0).injection, Injection::Not(Cause::Collision));
    let volume = json!({"containers": [{"name": "unbound"}], "volumes": [{"name": "tapir-run"}]});
    assert_eq!(view(&volume, 0).injection, Injection::Not(Cause::Collision));
    let path = json!({"containers": [{"name": "unbound", "volumeMounts": [{"name": "x", "mountPath": "/run/tapir"}]}]});
    assert_eq!(view(&path, 0).injection, Injection::Not(Cause::Collision));
}

/// Policy and webhook are asked the same on real API servers.
#[test]
fn what_is_left_alone_is_known_case_by_case() {
    let table: Value = serde_json::from_str(include_str!("../../../tapir-inject/cases.json")).unwrap();
    let cases = table["cases"].as_array().unwrap();
    assert!(cases.len() > 50);
    for case in cases {
        let mut pod = pod(&case["spec"], &json!({}), BINDING * 2);
        pod.metadata.annotations = serde_json::from_value(case["metadata"]["annotations"].clone()).unwrap();
        let found = classify(&pod, "unbound", Some(Timestamp::from_second(BINDING).unwrap())).unwrap().injection;
        let expected = match case["why"].as_str() {
            // Which edge a Pod's label names is settled before.
            None | Some("this-edge") => Cause::Skipped,
            Some("container-exists") => Cause::ResolverContainerMissing,
            Some(_) => Cause::Collision,
        };
        assert_eq!(found, Injection::Not(expected), "{}", case["case"]);
    }
}

#[test]
fn the_resolver_s_container_may_be_missing() {
    let spec = json!({"containers": [{"name": "bind"}]});
    assert_eq!(view(&spec, 0).injection, Injection::Not(Cause::ResolverContainerMissing));
}

#[test]
fn pods_from_before_the_binding_are_told_from_those_that_were_skipped() {
    assert_eq!(view(&plain(), BINDING - 1).injection, Injection::Not(Cause::CreatedTooEarly));
    assert_eq!(view(&plain(), BINDING + PROPAGATION_SECONDS).injection, Injection::Not(Cause::CreatedTooEarly));
    assert_eq!(view(&plain(), BINDING + PROPAGATION_SECONDS + 1).injection, Injection::Not(Cause::Skipped));
    let unbound = classify(&pod(&plain(), &json!({}), BINDING * 2), "unbound", None).unwrap();
    assert_eq!(unbound.injection, Injection::Not(Cause::CreatedTooEarly));
}

#[test]
fn a_sidecar_that_cannot_be_pulled_is_trouble_and_a_starting_one_is_not() {
    let status = |reason: &str| {
        json!({"containerStatuses": [
            {"name": "unbound", "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": {"waiting": {"reason": "ErrImagePull"}}},
            {"name": "tapir-pop", "image": "", "imageID": "", "ready": false, "restartCount": 0,
             "state": {"waiting": {"reason": reason, "message": "no\nsuch image"}}}]})
    };
    let trouble = |reason| classify(&pod(&plain(), &status(reason), 0), "unbound", None).unwrap().trouble;
    let found = trouble("ImagePullBackOff").unwrap();
    assert_eq!((found.container.as_str(), found.about_image, found.message.as_str()), ("tapir-pop", true, "nosuch image"));
    assert!(!trouble("CreateContainerError").unwrap().about_image);
    assert_eq!(trouble("ContainerCreating"), None);
    let native = json!({"initContainerStatuses": status("ErrImagePull")["containerStatuses"]});
    assert_eq!(classify(&pod(&plain(), &native, 0), "unbound", None).unwrap().trouble.unwrap().container, "tapir-pop");
}

#[test]
fn ended_pods_do_not_count() {
    assert_eq!(classify(&pod(&plain(), &json!({"phase": "Succeeded"}), 0), "unbound", None), None);
}
