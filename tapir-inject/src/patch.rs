//! The patch, operation by operation as the policy makes it.

use serde::Serialize;
use serde_json::{Value, json};

use crate::class::Class;
use crate::{IMAGES_ANNOTATION, REVISION_ANNOTATION, items, text};

/// One operation of a JSON patch (RFC 6902 section 4.1). Nothing of a Pod is ever replaced or removed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "op", rename = "add")]
pub struct Operation {
    pub path: String,
    pub value: Value,
}

fn add(path: impl Into<String>, value: Value) -> Operation {
    Operation { path: path.into(), value }
}

/// None when the injection lacks what its schema requires.
pub(crate) fn patch(pod: &Value, injection: &Value, class: Class) -> Option<Vec<Operation>> {
    let spec = &pod["spec"];
    let container = text(injection, "container");
    let index = items(&spec["containers"]).position(|found| text(found, "name") == container)?;
    // Native sidecars come after the init containers of the user, which so run as without them.
    let list = if text(injection, "form") == "Native" { "initContainers" } else { "containers" };

    let mut operations = Vec::new();
    let mut extend = |there: &Value, path: String, values: &[Value]| {
        if there.is_null() {
            operations.push(add(path.clone(), json!([])));
        }
        operations.extend(values.iter().map(|value| add(format!("{path}/-"), value.clone())));
    };
    extend(&spec["volumes"], "/spec/volumes".to_owned(), injection["volumes"].as_array()?);
    extend(&spec[list], format!("/spec/{list}"), injection[class.member()].as_array()?);
    let mounts = &spec["containers"][index]["volumeMounts"];
    extend(mounts, format!("/spec/containers/{index}/volumeMounts"), injection["resolverVolumeMounts"].as_array()?);

    if pod["metadata"]["annotations"].is_null() {
        operations.push(add("/metadata/annotations", json!({})));
    }
    let mut annotate = |name: &str, value: &str| {
        operations.push(add(format!("/metadata/annotations/{}", name.replace('~', "~0").replace('/', "~1")), value.into()));
    };
    annotate(REVISION_ANNOTATION, injection["revision"].as_str()?);
    if let Some(images) = injection["imagesRevision"].as_str() {
        annotate(IMAGES_ANNOTATION, images);
    }
    Some(operations)
}
