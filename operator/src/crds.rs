//! The CustomResourceDefinitions as they are written to `crds/` and into the chart.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::Value;

use crate::api::{TapirEdge, TapirPolicy};

/// All definitions with the names of their files.
///
/// # Errors
/// When a definition does not survive its way through JSON, which a test excludes.
pub fn all() -> Result<Vec<(&'static str, CustomResourceDefinition)>, serde_json::Error> {
    [("tapiredges.yaml", TapirEdge::crd()), ("tapirpolicies.yaml", TapirPolicy::crd())]
        .into_iter()
        .map(|(file, definition)| Ok((file, tidy(definition)?)))
        .collect()
}

/// Takes out what the derive puts in and Kubernetes has a better word for.
fn tidy(definition: CustomResourceDefinition) -> Result<CustomResourceDefinition, serde_json::Error> {
    let mut value = serde_json::to_value(definition)?;
    walk(&mut value);
    serde_json::from_value(value)
}

fn walk(value: &mut Value) {
    match value {
        Value::Object(members) => {
            // Without `nullable` the API server treats `field: null` as if the field were absent, and defaults it, as built-in types do.
            if members.get("nullable").is_some_and(Value::is_boolean) {
                members.shift_remove("nullable");
            }
            // Kubernetes knows no unsigned formats and warns about them; minimum and maximum say the same.
            if members.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with("uint")) {
                members.shift_remove("format");
            }
            members.values_mut().for_each(walk);
        }
        Value::Array(items) => items.iter_mut().for_each(walk),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// `UPDATE_CRDS=1 cargo test -p tapir-operator crds` writes the files.
    #[test]
    fn files_have_not_drifted_from_the_types() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for (file, definition) in all().unwrap() {
            let text = serde_saphyr::to_string(&definition).unwrap();
            let plain = format!("# Generated from operator/src/api; do not edit.\n{text}");
            let indented: String = text.lines().map(|line| format!("{line}\n")).collect();
            let chart = format!(
                "{{{{- /* Generated from operator/src/api; do not edit. */ -}}}}\n{}",
                indented.replacen("metadata:\n", "metadata:\n  annotations:\n    helm.sh/resource-policy: keep\n", 1)
            );
            for (path, wanted) in
                [(format!("crds/{file}"), plain), (format!("charts/tapir-operator-crds/templates/{file}"), chart)]
            {
                let path = root.join(path);
                if std::env::var_os("UPDATE_CRDS").is_some() {
                    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                    std::fs::write(&path, &wanted).unwrap();
                }
                let found = std::fs::read_to_string(&path).unwrap_or_default();
                assert!(
                    found == wanted,
                    "{} differs from the types: run `UPDATE_CRDS=1 cargo test -p tapir-operator crds`",
                    path.display()
                );
            }
        }
    }

    /// Definitions far below what etcd and server-side apply bear; and every pattern compiles.
    #[test]
    fn definitions_are_small_and_their_patterns_compile() {
        for (file, definition) in all().unwrap() {
            let value = serde_json::to_value(&definition).unwrap();
            assert!(value.to_string().len() < 128 * 1024, "{file}");
            let mut patterns = Vec::new();
            collect(&value, &mut patterns);
            assert!(patterns.iter().all(|pattern| regex::Regex::new(pattern).is_ok()), "{patterns:?}");
        }
    }

    fn collect(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("pattern").and_then(Value::as_str).map(str::to_owned));
                members.values().for_each(|value| collect(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| collect(value, found)),
            _ => {}
        }
    }
}
