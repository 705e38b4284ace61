//! Server-side apply that stays silent when nothing would change.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, ObjectMeta, Patch, PatchParams};
use kube::{Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::api::FIELD_MANAGER;
use crate::cache::{self, Cache, Kind, Mark, Named, OwnWrites};
use crate::sidecars::EdgeKey;

/// Annotation with the hash of what was applied last: a field that was dropped from the wanted object shows in nothing else.
pub(crate) const APPLIED_ANNOTATION: &str = "dnstapir.se/applied";

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

/// What is not watched is looked at now and then.
const UNWATCHED: SignedDuration = SignedDuration::from_hours(1);

/// What was seen after the last apply of each object: while its version is the same there is nothing to ask. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<HashMap<EdgeKey, HashMap<Name, Memo>>>>);

/// Kind and name of an object of an edge.
type Name = (String, String);

#[derive(Clone, Debug)]
struct Memo {
    /// Of what was wanted.
    hash: Box<str>,
    /// None if the watch is not expected to know of it.
    mark: Option<Mark>,
    at: Timestamp,
    metadata: LeanMetadata,
}

/// What is needed of an object that stands as it was left. There are five of them to each edge.
#[derive(Clone, Debug, Default)]
struct LeanMetadata {
    uid: Option<Box<str>>,
    version: Option<Box<str>>,
    created: Option<Timestamp>,
}

impl From<&ObjectMeta> for LeanMetadata {
    fn from(metadata: &ObjectMeta) -> Self {
        Self {
            uid: metadata.uid.as_deref().map(Into::into),
            version: metadata.resource_version.as_deref().map(Into::into),
            created: metadata.creation_timestamp.as_ref().map(|time| time.0),
        }
    }
}

impl From<&LeanMetadata> for ObjectMeta {
    fn from(LeanMetadata { uid, version, created }: &LeanMetadata) -> Self {
        Self {
            uid: uid.as_deref().map(str::to_owned),
            resource_version: version.as_deref().map(str::to_owned),
            creation_timestamp: created.map(Time),
            ..Self::default()
        }
    }
}

impl Memory {
    /// The edge is gone, or everything is to be looked at.
    pub fn forget(&self, edge: &EdgeKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(edge);
    }

    fn get(&self, edge: &EdgeKey, name: &Name) -> Option<Memo> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(edge)?.get(name).cloned()
    }

    fn set(&self, edge: &EdgeKey, name: Name, memo: Option<Memo>) {
        let mut memory = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let objects = memory.entry(edge.clone()).or_default();
        match memo {
            Some(memo) => drop(objects.insert(name, memo)),
            None => drop(objects.remove(&name)),
        }
    }
}

/// Applies the objects of one edge in one round.
#[derive(Debug)]
pub struct Applier<'a> {
    pub edge: &'a EdgeKey,
    pub cache: &'a Cache,
    pub memory: &'a Memory,
    pub own: &'a OwnWrites,
    pub now: Timestamp,
    pub wrote: AtomicBool,
}

impl Applier<'_> {
    /// Whether anything was written.
    #[must_use]
    pub fn wrote(&self) -> bool {
        self.wrote.load(Ordering::Relaxed)
    }

    /// As [`apply`], without asking when the watch tells that the object is as it was left.
    ///
    /// # Errors
    /// When the API server refuses, or when an object of that name is somebody else's.
    pub async fn apply<K>(&self, api: &Api<K>, wanted: &K) -> Result<K, ApplyError>
    where
        K: Resource<DynamicType = ()> + Clone + Serialize + DeserializeOwned + Debug,
    {
        let name = (K::kind(&()).into_owned(), wanted.name_any());
        let (document, hash) = document(wanted)?;
        let named = self.named(&name);
        let known = named.as_ref().and_then(|named| self.cache.mark_of(self.edge, named));
        let memo = self.memory.get(self.edge, &name).filter(|memo| memo.mark.is_some() && memo.mark == known);
        if let Some(memo) = memo.as_ref().filter(|memo| *memo.hash == *hash) {
            return Ok(with_metadata(wanted, &ObjectMeta::from(&memo.metadata)));
        }
        self.memory.set(self.edge, name.clone(), None);
        // What is as it was left is ours, and need not be read before it is written.
        let version = memo.and_then(|memo| memo.metadata.version);
        let (object, wrote) = match version {
            Some(version) => overwrite(api, wanted, document, &hash, &version).await?,
            None => bring(api, wanted, document, &hash).await?,
        };
        self.wrote.fetch_or(wrote, Ordering::Relaxed);
        let mark = cache::mark(object.meta());
        if let Some(named) = named.filter(|_| wrote) {
            self.own.object(self.edge, named, known, mark);
        }
        self.remember(name, hash, Some(mark), object.meta());
        Ok(object)
    }

    /// The same for a kind that is not watched: while it `seems` well, it is looked at once an hour.
    ///
    /// # Errors
    /// When the API server refuses, or when an object of that name is somebody else's.
    pub async fn apply_unwatched<K>(&self, api: &Api<K>, wanted: &K, seems: bool) -> Result<K, ApplyError>
    where
        K: Resource<DynamicType = ()> + Clone + Serialize + DeserializeOwned + Debug,
    {
        let name = (K::kind(&()).into_owned(), wanted.name_any());
        let (document, hash) = document(wanted)?;
        if let Some(memo) =
            self.memory.get(self.edge, &name).filter(|memo| seems && *memo.hash == *hash && memo.is_young(self.now))
        {
            return Ok(with_metadata(wanted, &ObjectMeta::from(&memo.metadata)));
        }
        self.memory.set(self.edge, name.clone(), None);
        let (object, wrote) = bring(api, wanted, document, &hash).await?;
        self.wrote.fetch_or(wrote, Ordering::Relaxed);
        self.remember(name, hash, None, object.meta());
        Ok(object)
    }

    /// Whether a Secret is known to be not there, as it should be.
    #[must_use]
    pub fn is_absent(&self, secret: &str) -> bool {
        let name = ("Secret".to_owned(), secret.to_owned());
        let known = self.cache.mark_of(self.edge, &(Kind::Secret, secret.into()));
        let memo = self.memory.get(self.edge, &name);
        memo.is_some_and(|memo| *memo.hash == *ABSENT && memo.mark == known && memo.is_young(self.now))
    }

    /// A Secret was not there, as it should be.
    pub fn found_absent(&self, secret: &str, known: Option<Mark>) {
        self.remember(("Secret".to_owned(), secret.to_owned()), ABSENT.to_owned(), known, &ObjectMeta::default());
    }

    fn remember(&self, name: Name, hash: String, mark: Option<Mark>, metadata: &ObjectMeta) {
        let memo = Memo { hash: hash.into(), mark, at: self.now, metadata: metadata.into() };
        self.memory.set(self.edge, name, Some(memo));
    }

    fn named(&self, (kind, name): &Name) -> Option<Named> {
        match kind.as_str() {
            "ConfigMap" => Some((Kind::ConfigMap, name.as_str().into())),
            "MutatingAdmissionPolicyBinding" => Some((Kind::Binding, self.edge.name.as_str().into())),
            _ => None,
        }
    }
}

/// In place of the hash of something wanted.
const ABSENT: &str = "absent";

impl Memo {
    fn is_young(&self, now: Timestamp) -> bool {
        self.at <= now && now.duration_since(self.at) < UNWATCHED
    }
}

/// Brings an object to what is wanted; other writers' fields stay. Returns what is wanted with the metadata that it has then.
///
/// # Errors
/// When the API server refuses, or when an object of that name is somebody else's.
pub async fn apply<K>(api: &Api<K>, wanted: &K) -> Result<K, ApplyError>
where
    K: Resource<DynamicType = ()> + Clone + Serialize + DeserializeOwned + Debug,
{
    let (document, hash) = document(wanted)?;
    bring(api, wanted, document, &hash).await.map(|(object, _)| object)
}

fn document<K: Resource<DynamicType = ()> + Serialize>(wanted: &K) -> Result<(Value, String), serde_json::Error> {
    let mut document = serde_json::to_value(wanted)?;
    document["apiVersion"] = K::api_version(&()).into();
    document["kind"] = K::kind(&()).into();
    let hash = hash(&document);
    Ok((document, hash))
}

/// Writes over what stands there in this version, and looks when it does not any more.
async fn overwrite<K>(api: &Api<K>, wanted: &K, document: Value, hash: &str, version: &str) -> Result<(K, bool), ApplyError>
where
    K: Resource<DynamicType = ()> + Clone + Serialize + DeserializeOwned + Debug,
{
    let mut same = document.clone();
    same["metadata"]["resourceVersion"] = version.into();
    same["metadata"]["annotations"][APPLIED_ANNOTATION] = hash.into();
    match api.patch(&wanted.name_any(), &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&same)).await {
        Ok(applied) => Ok((with_metadata(wanted, applied.meta()), true)),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => bring(api, wanted, document, hash).await,
        Err(error) => Err(error.into()),
    }
}

/// The object, and whether it was written.
async fn bring<K>(api: &Api<K>, wanted: &K, mut document: Value, hash: &str) -> Result<(K, bool), ApplyError>
where
    K: Resource<DynamicType = ()> + Clone + Serialize + DeserializeOwned + Debug,
{
    let name = wanted.name_any();
    let live = api.get_opt(&name).await?;
    if let Some(live) = live {
        let managed_by = live.labels().get(crate::names::LABEL_MANAGED_BY);
        if managed_by.map(String::as_str) != Some(FIELD_MANAGER) {
            let owner = managed_by.cloned().unwrap_or_else(|| "somebody else".to_owned());
            return Err(ApplyError::Foreign { kind: K::kind(&()).into_owned(), name, owner });
        }
        let unchanged = live.annotations().get(APPLIED_ANNOTATION).map(String::as_str) == Some(hash);
        if unchanged && live.meta().deletion_timestamp.is_none() && covers(&serde_json::to_value(&live)?, &document) {
            return Ok((with_metadata(wanted, live.meta()), false));
        }
    }
    document["metadata"]["annotations"][APPLIED_ANNOTATION] = hash.into();
    let applied = api.patch(&name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&document)).await?;
    Ok((with_metadata(wanted, applied.meta()), true))
}

fn with_metadata<K: Resource<DynamicType = ()> + Clone>(wanted: &K, metadata: &ObjectMeta) -> K {
    let mut object = wanted.clone();
    *object.meta_mut() = metadata.clone();
    object
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
