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
