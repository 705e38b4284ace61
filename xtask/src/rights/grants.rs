//! What roles grant to a ServiceAccount.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Right, Subject};

/// Rights of `subject` by a list of roles and bindings of all kinds.
pub(crate) fn of(objects: &Value, subject: &Subject) -> BTreeSet<Right> {
    let items = || list(objects, "items");
    let is = |object: &Value, suffix: &str| text(object, "/kind").ends_with(suffix);
    let bound: BTreeSet<(String, String)> = items()
        .filter(|object| is(object, "Binding") && is_for(object, subject))
        .map(|binding| (text(binding, "/roleRef/kind").to_owned(), text(binding, "/roleRef/name").to_owned()))
        .collect();
    items()
        .filter(|object| is(object, "Role"))
        .filter(|role| bound.contains(&(text(role, "/kind").to_owned(), text(role, "/metadata/name").to_owned())))
        .flat_map(|role| {
            let name = text(role, "/metadata/name").to_owned();
            list(role, "rules").flat_map(move |rule| rights(&name, rule)).collect::<Vec<_>>()
        })
        .collect()
}

fn is_for(binding: &Value, subject: &Subject) -> bool {
    list(binding, "subjects").any(|found| {
        text(found, "/kind") == "ServiceAccount"
            && text(found, "/name") == subject.name
            && text(found, "/namespace") == subject.namespace
    })
}

fn rights(role: &str, rule: &Value) -> Vec<Right> {
    let mut rights = Vec::new();
    for group in list(rule, "apiGroups").filter_map(Value::as_str) {
        for resource in list(rule, "resources").filter_map(Value::as_str) {
            for verb in list(rule, "verbs").filter_map(Value::as_str) {
                rights.push(Right { role: role.to_owned(), resource: format!("{group}/{resource}"), verb: verb.to_owned() });
            }
        }
    }
    rights
}

fn list<'a>(object: &'a Value, member: &str) -> impl Iterator<Item = &'a Value> {
    object.get(member).and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_bound_to_the_account_counts() {
        let role = |kind: &str, name: &str, verbs: &[&str]| json!({"kind": kind, "metadata": {"name": name}, "rules": [{"apiGroups": [""], "resources": ["pods", "pods/eviction"], "verbs": verbs}]});
        let binding = |kind: &str, role_kind: &str, role: &str, account: &str| {
            json!({
                "kind": kind, "metadata": {"name": "b"}, "roleRef": {"kind": role_kind, "name": role},
                "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": "tapir-system"}],
            })
        };
        let objects = json!({"items": [
            role("Role", "tapir-operator", &["list"]),
            role("ClusterRole", "view", &["watch"]),
            role("ClusterRole", "tapir-operator", &["get"]),
            binding("RoleBinding", "Role", "tapir-operator", "tapir-operator"),
            binding("ClusterRoleBinding", "ClusterRole", "view", "someone"),
        ]});
        let found: Vec<String> = of(&objects, &Subject::OPERATOR).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["list /pods by tapir-operator", "list /pods/eviction by tapir-operator"]);
    }
}
