//! Builds every object that the operator writes for an edge, except its Secrets. Pure: no client, clock or file in reach, and the same
//! input always gives the same bytes, so that a converged reconcile writes nothing.

pub mod binding;
pub mod check;
pub mod config;
pub mod container;
pub mod injection;
pub mod volume;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use sha2::{Digest, Sha256};

use crate::api::TapirEdgeSpec;
use crate::names;

pub use binding::{binding, binding_name};
pub use check::{InjectionError, validate_injection};
pub use config::{
    ConfigBuildError, edm_config, edm_config_name, offboarded_edm_config, offboarded_pop_config, pop_config, pop_config_name,
};
pub use injection::{Images, InjectionBuildError, injection};

/// An edge as far as it decides what is built.
#[derive(Clone, Copy, Debug)]
pub struct Edge<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its UID, for the owner reference.
    pub uid: &'a str,
    /// Its specification.
    pub spec: &'a TapirEdgeSpec,
}

/// Metadata of an object in the edge's namespace. Owned objects go when the edge goes.
fn owned(edge: &Edge<'_>, name: String) -> ObjectMeta {
    ObjectMeta {
        owner_references: Some(vec![OwnerReference {
            api_version: "dnstapir.se/v1alpha1".to_owned(),
            kind: "TapirEdge".to_owned(),
            name: edge.name.to_owned(),
            uid: edge.uid.to_owned(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }]),
        ..unowned(edge.namespace, edge.name, name)
    }
}

fn unowned(namespace: &str, edge: &str, name: String) -> ObjectMeta {
    ObjectMeta { name: Some(name), namespace: Some(namespace.to_owned()), labels: Some(labels(edge)), ..ObjectMeta::default() }
}

fn labels(edge: &str) -> BTreeMap<String, String> {
    names::labels(edge)
}

/// The first 16 hexadecimal digits of a SHA-256 over all parts, each preceded by its length: enough to tell revisions of one edge apart.
fn revision<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    let mut text = hex::encode(digest.finalize());
    text.truncate(16);
    text
}
