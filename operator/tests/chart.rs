//! What the chart grants is what the operator uses, and no more. The rules hold no template inside, so they are read as they are.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use serde::Deserialize;

const RULES: &str = include_str!("../../charts/tapir-operator/templates/_rules.tpl");
const RBAC: &str = include_str!("../../charts/tapir-operator/templates/rbac.yaml");
const DEPLOYMENT: &str = include_str!("../../charts/tapir-operator/templates/deployment.yaml");

/// Each verb with where it is used.
const USED: &[(&str, &[&str])] = &[
    // Controllers and rivals read; the finalizer and the node's annotation are patched.
    ("dnstapir.se/tapiredges", &["get", "list", "patch", "watch"]),
    ("dnstapir.se/tapirpolicies", &["get", "list", "watch"]),
    // Server-side apply.
    ("dnstapir.se/tapiredges/status dnstapir.se/tapirpolicies/status", &["patch"]),
    // identity::secrets replaces whole objects by their version.
    ("/secrets", &["create", "delete", "get", "list", "update", "watch"]),
    // Server-side apply, which creates too; leftovers deletes.
    ("/configmaps", &["create", "delete", "get", "list", "patch", "watch"]),
    // Server-side apply, which looks first; offboarding deletes. Nobody watches them.
    ("/services", &["create", "delete", "get", "patch"]),
    ("discovery.k8s.io/endpointslices", &["list", "watch"]),
    // One Pod is never looked at alone: they are watched and listed by their label.
    ("/pods", &["list", "patch", "watch"]),
    ("/pods/eviction", &["create"]),
    // A series of the same Event is patched.
    ("events.k8s.io/events", &["create", "patch"]),
];

/// With `rollout.prePull`: rollout::pull asks for one by its name, begins and clears.
const USED_FOR_PULLS: &[(&str, &[&str])] = &[("/pods", &["create", "delete", "get"])];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    api_groups: Vec<String>,
    resources: Vec<String>,
    verbs: Vec<String>,
}

fn granted(yaml: &str) -> BTreeMap<String, Vec<String>> {
    let rules: Vec<Rule> = serde_saphyr::from_str(yaml).unwrap();
    let mut granted: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for rule in &rules {
        for (group, resource) in rule.api_groups.iter().flat_map(|group| rule.resources.iter().map(move |name| (group, name))) {
            let verbs = granted.entry(format!("{group}/{resource}")).or_default();
            verbs.extend(rule.verbs.iter().cloned());
            verbs.sort();
        }
    }
    granted
}

fn used(used: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
    let rows = used.iter().flat_map(|(resources, verbs)| {
        resources.split(' ').map(|resource| (resource.to_owned(), verbs.iter().map(|verb| (*verb).to_owned()).collect()))
    });
    rows.collect()
}

#[test]
fn the_rights_in_a_namespace_are_those_that_are_used() {
    let rules = |name: &str| {
        let (_, rules) = RULES.split_once(&format!("{{{{- define \"tapir-operator.{name}\" -}}}}")).expect(name);
        let lines = rules.lines().take_while(|line| !line.starts_with("{{- end"));
        granted(&lines.map(|line| format!("{line}\n")).collect::<String>())
    };
    assert_eq!(rules("namespaceRules"), used(USED));
    assert_eq!(rules("pullRules"), used(USED_FOR_PULLS));
}

/// A certificate of cert-manager is watched only; the operator's own is read, and replaced by its version.
#[test]
fn of_the_webhook_s_secret_only_the_issuer_has_more_than_a_watch() {
    assert_eq!(RBAC.matches("resources: [secrets]").count(), 1);
    let (_, rule) = RBAC.split_once("resources: [secrets]\n").unwrap();
    assert_eq!(rule.lines().nth(1).unwrap().trim(), "verbs: [list, watch{{ if $own }}, get, update{{ end }}]");
}

#[test]
fn the_lease_has_the_release_s_name_and_no_right_too_many() {
    assert!(DEPLOYMENT.contains("- {name: LEASE_NAME, value: {{ $name | quote }}}"));
    let (_, rule) = RBAC.split_once("resources: [leases]\n").unwrap();
    assert_eq!(rule.lines().next().unwrap().trim(), "verbs: [get, create, update]");
}
