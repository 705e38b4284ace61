//! Snapshots of everything built, and proof that what is built passes the check while broken things do not.

use serde_json::{Value, json};

use super::*;
use crate::api::TapirPolicySpec;
use crate::build::check::validate_value;

fn spec(overrides: &Value) -> TapirEdgeSpec {
    let mut spec = json!({
        "enrollment": {"credentialsSecretRef": {"name": "demo-enrollment"}},
        "resolver": {"container": "unbound"},
        "pop": {"policyRef": {"name": "default"}}
    });
    for (name, value) in overrides.as_object().unwrap() {
        spec[name] = value.clone();
    }
    serde_json::from_value(spec).unwrap()
}

fn edge(spec: &TapirEdgeSpec) -> Edge<'_> {
    Edge { namespace: "dns", name: "demo", spec }
}

fn policy() -> TapirPolicySpec {
    serde_json::from_value(json!({
        "sources": [
            {"name": "dns-tapir", "list": "Doubt", "core": {}},
            {"name": "own-allow", "list": "Allow", "match": "Subtree", "inline": {"names": ["example.se"]}},
            {"name": "own-deny", "list": "Deny", "inline": {"names": ["bad.example"]}}
        ],
        "doubt": [
            {"name": "loop", "anyTags": ["looptest"], "action": "NXDOMAIN"},
            {"name": "suspect", "minTags": 3, "action": "NODATA"}
        ]
    }))
    .unwrap()
}

fn pop_config(edge: &Edge<'_>) -> k8s_openapi::api::core::v1::ConfigMap {
    pop_files(edge, Some((&policy(), &Contents::default()))).unwrap().config
}

fn with_list(edge: &Edge<'_>, list: &[u8]) -> Result<k8s_openapi::api::core::v1::ConfigMap, ConfigBuildError> {
    edm_config(edge, EdmInputs { well_known_domains: Some(list), core_ca: None })
}

const IMAGES: Defaults<'_> = Defaults { edm: "tapir.local/tapir-edm:0.1.0", pop: "registry.example:5000/tapir/tapir-pop:0.1.0" };

fn built(overrides: &Value) -> crate::api::Injection {
    let spec = spec(overrides);
    injection(&edge(&spec), &target_images(&spec, IMAGES)).unwrap()
}

#[test]
fn injection_of_both_sidecars() {
    insta::assert_yaml_snapshot!(built(&json!({})));
}

/// Session files need memory; whoever chose a limit keeps it.
#[test]
fn the_limit_of_memory_where_session_files_are_written() {
    let limits = |edm: &Value| {
        let built = built(&json!({"edm": edm}));
        let of = |containers: &[crate::api::injection::Container]| {
            containers.iter().filter_map(|each| Some(each.resources.as_ref()?.limits.memory.clone())).collect::<Vec<_>>()
        };
        [of(&built.burstable), of(&built.guaranteed)]
    };
    let both = |edm: &str| [vec![edm.to_owned(), "256Mi".to_owned()], vec![edm.to_owned(), "256Mi".to_owned()]];
    assert_eq!(limits(&json!({})), both("256Mi"));
    assert_eq!(limits(&json!({"sessions": {"enabled": true}})), both("384Mi"));
    let chosen = json!({"limits": {"memory": "300Mi"}});
    assert_eq!(limits(&json!({"sessions": {"enabled": true}, "resources": chosen})), both("300Mi"));
}

/// Pods of the two structures before run beside those of this one, and sidecars of this release run in all of them: `structures/` keeps each.
/// A structure reaches a Pod only when it is created anew, so a new one has to be worth that.
#[test]
fn the_structure_is_the_one_that_is_kept() {
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/src/build/structures/2.json");
    let built = serde_json::to_string_pretty(&built(&json!({}))).unwrap() + "\n";
    if std::env::var_os("UPDATE_STRUCTURE").is_some() {
        std::fs::write(kept, &built).unwrap();
    }
    assert_eq!(std::fs::read_to_string(kept).unwrap(), built, "a changed structure is a new one: keep it as the next number");
}

/// After an upgrade the status still holds what the operator before wrote, and such an edge must not be unreadable.
#[test]
fn a_structure_from_before_is_still_read_and_valid() {
    let before: Value = serde_json::from_str(include_str!("structures/1.json")).unwrap();
    assert_eq!(validate_value(&before), Ok(()));
    let read: crate::api::Injection = serde_json::from_value(before).unwrap();
    assert_eq!((read.images_revision, read.form), (None, crate::api::Form::Containers));
}

#[test]
fn images_are_no_part_of_the_structure() {
    let (plain, pinned) = (built(&json!({})), built(&json!({"edm": {"image": "registry.example/edm:2"}})));
    assert_eq!(plain.revision, pinned.revision);
    assert_ne!(plain.images_revision, pinned.images_revision);
    assert_eq!(pinned.images.edm.as_deref(), Some("registry.example/edm:2"));
    assert_eq!((&pinned.burstable[0].image, &pinned.images.pop), (&"registry.example/edm:2".to_owned(), &plain.images.pop));
}

#[test]
fn native_sidecars_are_init_containers_that_go_on() {
    let (plain, native) = (built(&json!({})), built(&json!({"injection": {"form": "Native"}})));
    assert_ne!(plain.revision, native.revision);
    assert_eq!(plain.images_revision, native.images_revision);
    let all = |injection: &crate::api::Injection| {
        [&injection.best_effort, &injection.burstable, &injection.guaranteed].map(Clone::clone).concat()
    };
    assert!(all(&plain).iter().all(|container| container.restart_policy.is_none()));
    assert!(all(&native).iter().all(|container| container.restart_policy == Some(crate::api::injection::RestartPolicy::Always)));
}

#[test]
fn a_disabled_sidecar_leaves_nothing_behind() {
    let text = serde_json::to_string(&built(&json!({"edm": {"enabled": false}}))).unwrap();
    assert!(!text.contains("tapir-edm"), "{text}");
    assert!(text.contains("tapir-pop"));
}

#[test]
fn the_revision_follows_the_content() {
    let same = built(&json!({}));
    assert_eq!(same, built(&json!({})));
    let other = built(&json!({"edm": {"resources": {"limits": {"memory": "512Mi"}}}}));
    assert_ne!(same.revision, other.revision);
}

#[test]
fn binding_of_an_edge() {
    insta::assert_yaml_snapshot!(binding("dns", "demo", "tapir-operator-inject"));
}

#[test]
fn configuration_of_both_sidecars() {
    let spec = spec(&json!({}));
    let edge = edge(&spec);
    insta::assert_yaml_snapshot!("edm_config", with_list(&edge, b"list").unwrap());
    insta::assert_yaml_snapshot!("pop_config", pop_config(&edge));
}

#[test]
fn everything_that_an_edge_can_say_of_edm() {
    let spec = spec(&json!({"edm": {
        "ignoredClients": ["192.0.2.0/24", "2001:db8::1/128"],
        "ignoredNames": ["host.example.", ".internal.example."],
        "countedTypes": ["CLIENT_RESPONSE", "FORWARDER_RESPONSE"],
        "histograms": {"countsOnly": true, "threshold": 100},
        "events": {"reverseZones": true, "homeArpa": true, "localhost": true, "local": true, "specialUse": true, "clientAddresses": true},
        "sessions": {"enabled": true},
        "telemetry": {"enabled": true},
        "wellKnownDomains": {"https": {"url": "https://lists.example/w.dawg", "sha256": "0a".repeat(32)}},
        "storage": {"size": "512Mi"}
    }}));
    let map = edm_config(&edge(&spec), EdmInputs { well_known_domains: None, core_ca: Some("PEM") }).unwrap();
    let data = map.data.as_ref().unwrap();
    assert_eq!(data["ignored-clients.txt"], "192.0.2.0/24\n2001:db8::1/128\n");
    assert_eq!(data["ignored-names.txt"], "host.example.\n.internal.example.\n");
    assert_eq!(data["core-ca.crt"], "PEM");
    let lines: Vec<_> = data["edm.toml"].lines().filter(|line| !line.starts_with("revision")).collect();
    assert_eq!(
        lines,
        [
            "format = 2",
            "disabled = false",
            "counted-types = [\"CLIENT_RESPONSE\", \"FORWARDER_RESPONSE\"]",
            "well-known-domains-url = \"https://lists.example/w.dawg\"",
            &format!("well-known-domains-sha256 = \"{}\"", "0a".repeat(32)),
            "ignored-client-ips-file = \"ignored-clients.txt\"",
            "ignored-question-names-file = \"ignored-names.txt\"",
            "histogram-hll-explicit-threshold = 100",
            "histogram-counts-only = true",
            "http-ca-file = \"core-ca.crt\"",
            "newqname-reverse-zones = true",
            "newqname-home-arpa = true",
            "newqname-localhost = true",
            "newqname-local = true",
            "newqname-special-use = true",
            "newqname-client-addresses = true",
            "disable-session-files = false",
            "storage-mib = 512",
            "telemetry = true",
        ]
    );
    let after = offboarded_edm_config("dns", "demo", Some(&map)).unwrap().data.unwrap();
    assert_eq!(after["edm.toml"].replace("disabled = true", "disabled = false").len(), data["edm.toml"].len());
    assert_eq!((&after["ignored-clients.txt"], &after["core-ca.crt"]), (&data["ignored-clients.txt"], &data["core-ca.crt"]));
}

#[test]
fn a_name_that_is_none_is_refused_before_edm_refuses_the_whole_list() {
    let with = |name: &str| {
        let spec = spec(&json!({"edm": {"ignoredNames": [name, "host.example."]}}));
        edm_config(&edge(&spec), EdmInputs::default()).map_err(|error| error.to_string())
    };
    let longest = format!("{}a.", "a.".repeat(126));
    for good in [longest.clone(), format!(".{longest}")] {
        assert!(with(&good).is_ok(), "{good}");
    }
    let error = with(&format!("a{longest}")).unwrap_err();
    assert!(error.contains("spec.edm.ignoredNames") && error.contains("253 characters"), "{error}");
}

#[test]
fn another_ignored_client_is_another_revision() {
    let with = |client: &str| {
        let spec = spec(&json!({"edm": {"ignoredClients": [client]}}));
        config::revision_of(&edm_config(&edge(&spec), EdmInputs::default()).unwrap())
    };
    assert_ne!(with("192.0.2.0/24"), with("192.0.2.0/25"));
}

#[rstest::rstest]
#[case(json!({"countedTypes": ["CLIENT_QUERY"]}), "counted-types")]
#[case(json!({"storage": {"size": "1Mi"}}), "storage-mib")]
#[case(json!({"storage": {"size": "2000000Gi"}}), "storage")]
#[case(json!({"storage": {"size": "2G"}}), "spec.edm.storage.size")]
#[case(json!({"histograms": {"threshold": 0}}), "histogram-hll-explicit-threshold")]
fn what_edm_would_refuse_is_not_rendered(#[case] edm: Value, #[case] named: &str) {
    let spec = spec(&json!({"edm": edm}));
    let error = edm_config(&edge(&spec), EdmInputs::default()).unwrap_err().to_string();
    assert!(error.contains(named), "{error}");
}

#[test]
fn service_of_the_peers() {
    insta::assert_yaml_snapshot!(peers("dns", "demo"));
}

#[test]
fn sidecars_read_what_is_rendered() {
    let spec = spec(&json!({}));
    for map in [edm_config(&edge(&spec), EdmInputs::default()).unwrap(), pop_config(&edge(&spec))] {
        assert_eq!(config::revision_of(&map).map(|revision| revision.len()), Some(16), "{map:?}");
    }
}

#[test]
fn another_list_is_another_revision() {
    let spec = spec(&json!({}));
    let with = |list: &[u8]| config::revision_of(&with_list(&edge(&spec), list).unwrap());
    assert_ne!(with(b"one"), with(b"two"));
}

#[test]
fn offboarding_disables_and_keeps_the_rest() {
    let spec = spec(&json!({}));
    let before = pop_config(&edge(&spec));
    let after = offboarded_pop_config("dns", "demo", Some(&before)).unwrap();
    insta::assert_yaml_snapshot!("offboarded_pop", after);
    let before = with_list(&edge(&spec), b"list").unwrap();
    let after = offboarded_edm_config("dns", "demo", Some(&before)).unwrap();
    assert_eq!(after.binary_data, before.binary_data);
    for map in [&before, &after] {
        assert!(map.metadata.owner_references.is_none(), "an owner would take it along");
    }
    assert!(after.data.unwrap()["edm.toml"].contains("disabled = true"));
    assert!(offboarded_edm_config("dns", "demo", None).unwrap().data.unwrap()["edm.toml"].contains("disabled = true"));
}

#[test]
fn a_list_too_long_for_a_config_map_is_refused() {
    let spec = spec(&json!({}));
    let list = vec![0; 1024 * 1024];
    assert!(matches!(with_list(&edge(&spec), &list), Err(ConfigBuildError::TooLarge { .. })));
}

#[rstest::rstest]
#[case("/burstable/0/image", json!("not an image"))]
#[case("/burstable/0/image", json!("registry.example/Upper"))]
#[case("/burstable/0/resources/requests/memory", json!("much"))]
#[case("/burstable/0/resources/requests/cpu", json!("0"))]
#[case("/burstable/0/name", json!("resolver"))]
#[case("/burstable/0/securityContext/runAsUser", json!(0))]
#[case("/burstable/0/securityContext/allowPrivilegeEscalation", json!(true))]
#[case("/burstable/0/securityContext/privileged", json!(true))]
#[case("/burstable/0/ports", json!([]))]
#[case("/volumes/0/hostPath", json!({"path": "/"}))]
#[case("/volumes/2/projected/sources/0/configMap/optional", json!(false))]
#[case("/container", json!("Not_A_Name"))]
#[case("/burstable/0/restartPolicy", json!("Never"))]
#[case("/images/edm", json!("not an image"))]
#[case("/form", json!("Webhook"))]
#[case("/volumes/2/projected/sources/2/secret/optional", json!(false))]
#[case("/revision", json!(7))]
#[case("/guaranteed", json!([]))]
fn the_check_refuses_what_a_pod_would(#[case] pointer: &str, #[case] bad: Value) {
    let mut value = serde_json::to_value(built(&json!({}))).unwrap();
    assert_eq!(validate_value(&value), Ok(()));
    let (parent, member) = pointer.rsplit_once('/').unwrap();
    value.pointer_mut(parent).unwrap()[member] = bad;
    assert!(validate_value(&value).is_err(), "{pointer}");
}

#[test]
fn the_check_sees_doubles_and_gaps() {
    let good = built(&json!({}));
    let mut double = good.clone();
    double.volumes.push(double.volumes[0].clone());
    assert!(matches!(validate_injection(&double), Err(InjectionError::Duplicate { what: "volume", .. })));
    let mut gap = good;
    gap.volumes.remove(0);
    assert!(matches!(validate_injection(&gap), Err(InjectionError::NoVolume { .. })));
}
