//! The binding that makes the chart's admission policy work for one edge.

use std::collections::BTreeMap;

use k8s_openapi::api::admissionregistration::v1::{
    MatchResources, MutatingAdmissionPolicyBinding, MutatingAdmissionPolicyBindingSpec, ParamRef,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use crate::api::{LABEL_EDGE, LABEL_EDGE_NAMESPACE};
use crate::names;

/// Label that the API server puts on every namespace.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// Name of an edge's binding. Namespaces hold no dots, so two edges never share one.
#[must_use]
pub fn binding_name(namespace: &str, edge: &str) -> String {
    format!("dnstapir.{namespace}.{edge}")
}

/// The binding of an edge. It is cluster-wide and so can have no owner in a namespace: the edge's finalizer removes it.
#[must_use]
pub fn binding(namespace: &str, edge: &str, policy: &str) -> MutatingAdmissionPolicyBinding {
    let mut labels = names::labels(edge);
    labels.insert(LABEL_EDGE_NAMESPACE.to_owned(), namespace.to_owned());
    MutatingAdmissionPolicyBinding {
        metadata: ObjectMeta { name: Some(binding_name(namespace, edge)), labels: Some(labels), ..ObjectMeta::default() },
        spec: Some(MutatingAdmissionPolicyBindingSpec {
            policy_name: Some(policy.to_owned()),
            param_ref: Some(ParamRef {
                name: Some(edge.to_owned()),
                namespace: Some(namespace.to_owned()),
                // Pods are admitted as they are when the edge is gone before its binding.
                parameter_not_found_action: Some("Allow".to_owned()),
                selector: None,
            }),
            match_resources: Some(MatchResources {
                match_policy: Some("Equivalent".to_owned()),
                namespace_selector: Some(label(NAMESPACE_NAME, namespace)),
                object_selector: Some(label(LABEL_EDGE, edge)),
                ..MatchResources::default()
            }),
        }),
    }
}

fn label(key: &str, value: &str) -> LabelSelector {
    LabelSelector { match_labels: Some(BTreeMap::from([(key.to_owned(), value.to_owned())])), match_expressions: None }
}
