//! Server-side apply that stays silent when nothing would change.

use std::fmt::Debug;

use kube::api::{Api, Patch, PatchParams};
use kube::{Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::api::FIELD_MANAGER;

/// Annotation with the hash of what was applied last: a field that was dropped from the wanted object shows in nothing else.
const APPLIED_ANNOTATION: &str = "dnstapir.se/applied";

/// Why an object could not be brought to where it should be.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error("writing the object as JSON")]
    Json(#[from] serde_json::Error),
    #[error("asking the API server: {0}")]
    Api(#[from] kube::Error),
    #[error("{kind} {name} belongs to {owner}: rename this TapirEdge or that object")]
    Foreign { kind: String, name: String, owner: String },
}

/// Brings an object to what is wanted; other writers' fields stay. Returns the object as it is then.
///
/// # Errors
/// When the API server refuses, or when an object of that name is somebody else's.
pub async fn apply<K>(api: &Api<K>, wanted: &K) -> Result<K, ApplyError>
where
    K: Resource<DynamicType = ()> + Clone + Serialize + DeserializeOwned + Debug,
{
    let name = wanted.name_any();
    let mut document = serde_json::to_value(wanted)?;
    document["apiVersion"] = K::api_version(&()).into();
    document["kind"] = K::kind(&()).into();
    let hash = hash(&document);
    let live = api.get_opt(&name).await?;
    if let Some(live) = live {
        let managed_by = live.labels().get(crate::names::LABEL_MANAGED_BY);
        if managed_by.map(String::as_str) != Some(FIELD_MANAGER) {
            let owner = managed_by.cloned().unwrap_or_else(|| "somebody else".to_owned());
            return Err(ApplyError::Foreign { kind: K::kind(&()).into_owned(), name, owner });
        }
        let unchanged = live.annotations().get(APPLIED_ANNOTATION) == Some(&hash);
        if unchanged && live.meta().deletion_timestamp.is_none() && covers(&serde_json::to_value(&live)?, &document) {
            return Ok(live);
        }
    }
    document["metadata"]["annotations"][APPLIED_ANNOTATION] = hash.into();
    Ok(api.patch(&name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&document)).await?)
}

fn hash(document: &Value) -> String {
    let mut sorted = document.clone();
    sorted.sort_all_objects();
    hex::encode(&Sha256::digest(sorted.to_string().as_bytes())[..16])
}

/// Whether all that is wanted stands in the live object; what the API server or others added does not count.
fn covers(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => {
            wanted.iter().all(|(name, value)| live.get(name).map_or_else(|| is_empty(value), |live| covers(live, value)))
        }
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len() && live.iter().zip(wanted).all(|(live, wanted)| covers(live, wanted))
        }
        (live, wanted) => live == wanted,
    }
}

/// The API server leaves out what is empty.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(members) => members.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn additions_of_others_are_no_difference() {
        let live = json!({"metadata": {"uid": "u", "labels": {"a": "1", "theirs": "2"}}, "data": {"k": "v"}, "list": [{"x": 1, "defaulted": true}]});
        assert!(covers(&live, &json!({"metadata": {"labels": {"a": "1"}}, "data": {"k": "v"}, "list": [{"x": 1}], "empty": {}})));
        assert!(!covers(&live, &json!({"data": {"k": "w"}})));
        assert!(!covers(&live, &json!({"list": [{"x": 1}, {"x": 2}]})));
        assert!(!covers(&live, &json!({"data": {"new": "v"}})));
    }

    #[test]
    fn the_hash_knows_no_order() {
        assert_eq!(hash(&json!({"a": 1, "b": {"c": 1, "d": 2}})), hash(&json!({"b": {"d": 2, "c": 1}, "a": 1})));
        assert_ne!(hash(&json!({"a": 1})), hash(&json!({"a": 2})));
    }
}
