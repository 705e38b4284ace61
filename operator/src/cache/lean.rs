//! What the watch of edges decodes into. The body of `status.injection`, most of an edge, is reduced to a mark while it is decoded and
//! never stays in memory; whoever needs it reads that one edge.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use k8s_openapi::NamespaceResourceScope;
use kube::Resource;
use kube::api::ObjectMeta;
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use crate::api::status::{CertificateStatus, NodeStatus, PodsStatus, PolicyStatus};
use crate::api::{GROUP, Images, RolloutStatus, TapirEdge, TapirEdgeSpec};
use crate::sidecars::EdgeKey;

/// An edge as the cache keeps it.
#[derive(Clone, Debug)]
pub struct LeanEdge {
    /// Without managed fields and without annotations of others.
    pub metadata: ObjectMeta,
    pub spec: TapirEdgeSpec,
    pub status: Option<LeanStatus>,
}

/// The status without messages and without the injection.
#[derive(Clone, Debug, Default)]
pub struct LeanStatus {
    /// Of the whole status as it stands in the cluster.
    pub digest: u64,
    pub conditions: Vec<LeanCondition>,
    pub node: Option<NodeStatus>,
    pub policy: Option<PolicyStatus>,
    pub pods: Option<PodsStatus>,
    pub rollout: Option<RolloutStatus>,
    pub injection: Option<InjectionMark>,
}

/// A condition without its words.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct LeanCondition {
    #[serde(rename = "type")]
    pub kind: Box<str>,
    pub status: Box<str>,
    pub reason: Box<str>,
}

/// What is known of an injection without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InjectionMark {
    pub digest: u64,
    pub revision: Box<str>,
    pub images: Images,
}

impl LeanEdge {
    /// Namespace and name.
    #[must_use]
    pub fn key(&self) -> EdgeKey {
        key_of(&self.metadata)
    }
}

/// Namespace and name of an edge.
#[must_use]
pub fn key_of(metadata: &ObjectMeta) -> EdgeKey {
    EdgeKey { namespace: metadata.namespace.clone().unwrap_or_default(), name: metadata.name.clone().unwrap_or_default() }
}

/// Digest of a document, whatever the order of its members.
#[must_use]
pub fn digest(value: &Value) -> u64 {
    let mut sorted = value.clone();
    sorted.sort_all_objects();
    digest_of(&sorted.to_string())
}

/// Digest of a text; the same within one process only.
#[must_use]
pub fn digest_of(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

impl<'de> Deserialize<'de> for LeanEdge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Whole {
            #[serde(default)]
            metadata: ObjectMeta,
            spec: TapirEdgeSpec,
            #[serde(default)]
            status: Option<LeanStatus>,
        }
        let Whole { mut metadata, spec, status } = Whole::deserialize(deserializer)?;
        metadata.managed_fields = None;
        if let Some(annotations) = &mut metadata.annotations {
            annotations.retain(|name, _| name.split_once('/').is_some_and(|(prefix, _)| prefix == GROUP));
        }
        Ok(Self { metadata, spec, status })
    }
}

impl<'de> Deserialize<'de> for LeanStatus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Parts {
            #[serde(default)]
            conditions: Vec<LeanCondition>,
            #[serde(default)]
            node: Option<NodeStatus>,
            #[serde(default)]
            policy: Option<PolicyStatus>,
            #[serde(default)]
            pods: Option<PodsStatus>,
            #[serde(default)]
            rollout: Option<RolloutStatus>,
        }
        let mut value = Value::deserialize(deserializer)?;
        let digest = digest(&value);
        let injection = value.as_object_mut().and_then(|status| status.remove("injection")).filter(|found| !found.is_null());
        let injection = injection.map(|injection| InjectionMark {
            digest: self::digest(&injection),
            revision: injection["revision"].as_str().unwrap_or_default().into(),
            images: Images::deserialize(&injection["images"]).unwrap_or_default(),
        });
        let Parts { conditions, node, policy, pods, rollout } = serde_json::from_value(value).map_err(de::Error::custom)?;
        Ok(Self { digest, conditions, node, policy, pods, rollout, injection })
    }
}

impl LeanStatus {
    /// The certificate in force, as the status tells it.
    #[must_use]
    pub fn certificate(&self) -> Option<&CertificateStatus> {
        self.node.as_ref()?.certificate.as_ref()
    }
}

impl Resource for LeanEdge {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind(_: &()) -> Cow<'_, str> {
        TapirEdge::kind(&())
    }

    fn group(_: &()) -> Cow<'_, str> {
        TapirEdge::group(&())
    }

    fn version(_: &()) -> Cow<'_, str> {
        TapirEdge::version(&())
    }

    fn plural(_: &()) -> Cow<'_, str> {
        TapirEdge::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use kube::core::DeserializeGuard;
    use serde_json::json;

    use super::*;

    fn edge(status: &Value) -> Value {
        json!({"apiVersion": "dnstapir.se/v1alpha1", "kind": "TapirEdge",
            "metadata": {"name": "a", "namespace": "dns", "managedFields": [{"manager": "x"}], "annotations": {"kubectl.kubernetes.io/last": "long", "dnstapir.se/node": "n"}},
            "spec": {"enrollment": {"credentialsSecretRef": {"name": "enrol"}}, "resolver": {"container": "unbound"}}, "status": status})
    }

    fn read(status: &Value) -> LeanEdge {
        serde_json::from_value::<DeserializeGuard<LeanEdge>>(edge(status)).unwrap().0.unwrap()
    }

    #[test]
    fn the_injection_leaves_a_mark_that_tells_two_apart() {
        let with = |image: &str| {
            let status = read(&json!({"injection": {"revision": "r", "burstable": [{"image": image}]}})).status.unwrap();
            (status.injection.unwrap(), status.digest)
        };
        assert_eq!(with("a"), with("a"));
        let ((one, one_status), (other, other_status)) = (with("a"), with("b"));
        assert!(one.digest != other.digest && one.revision == other.revision && one_status != other_status);
    }

    #[test]
    fn what_others_wrote_does_not_stay_in_memory() {
        let edge = read(&json!({}));
        assert_eq!(edge.metadata.managed_fields, None);
        assert_eq!(edge.metadata.annotations.unwrap().into_keys().collect::<Vec<_>>(), ["dnstapir.se/node"]);
    }

    #[test]
    fn a_malformed_edge_stops_no_watch() {
        let malformed = edge(&json!({"conditions": 7}));
        let guard: DeserializeGuard<LeanEdge> = serde_json::from_value(malformed).unwrap();
        assert_eq!(guard.0.unwrap_err().metadata.name.as_deref(), Some("a"));
    }
}
