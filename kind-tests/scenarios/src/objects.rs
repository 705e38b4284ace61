//! Reading conditions and Pods out of JSON objects.

use anyhow::{Result, ensure};
use serde_json::Value;

/// One condition of an object: status and reason.
#[must_use]
pub fn condition(object: &Value, kind: &str) -> Option<(String, String)> {
    let list = object["status"]["conditions"].as_array()?;
    let found = list.iter().find(|entry| entry["type"] == kind)?;
    Some((text(&found["status"]), text(&found["reason"])))
}

/// What a condition tells a person.
#[must_use]
pub fn message(object: &Value, kind: &str) -> String {
    let list = object["status"]["conditions"].as_array();
    list.into_iter().flatten().find(|entry| entry["type"] == kind).map(|entry| text(&entry["message"])).unwrap_or_default()
}

/// A condition tells a person what it has to, in words that are found in the manifest.
///
/// # Errors
/// With what it says instead.
pub fn says(object: &Value, kind: &str, words: &[&str]) -> Result<()> {
    let said = message(object, kind);
    ensure!(words.iter().all(|word| said.contains(word)), "{kind} should speak of {words:?}: {said:?}");
    Ok(())
}

/// A JSON string, empty when it is none.
#[must_use]
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The elements of a list object.
#[must_use]
pub fn items(list: Option<Value>) -> Vec<Value> {
    list.and_then(|mut list| list["items"].as_array_mut().map(std::mem::take)).unwrap_or_default()
}

/// The containers of a Pod, also those that are init containers.
pub fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers"].into_iter().flat_map(|list| pod["spec"][list].as_array().into_iter().flatten())
}

/// Whether both sidecars were injected.
#[must_use]
pub fn is_injected(pod: &Value) -> bool {
    ["tapir-edm", "tapir-pop"].iter().all(|name| containers(pod).any(|container| container["name"] == *name))
}

/// Image of POP by the specification of a Pod.
#[must_use]
pub fn pop_image(pod: &Value) -> Option<String> {
    containers(pod).find(|container| container["name"] == "tapir-pop").map(|container| text(&container["image"]))
}

/// Whether a Pod is Ready and not on its way out.
#[must_use]
pub fn is_ready(pod: &Value) -> bool {
    pod["metadata"]["deletionTimestamp"].is_null() && condition(pod, "Ready").is_some_and(|(status, _)| status == "True")
}

/// Name of an object.
#[must_use]
pub fn name(object: &Value) -> String {
    text(&object["metadata"]["name"])
}
