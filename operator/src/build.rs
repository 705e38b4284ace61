//! Builds every object that the operator writes for an edge, except those of its identity. Pure: no client, clock or file in reach, and the same
//! input always gives the same bytes, so that a converged reconcile writes nothing.

pub mod binding;
pub mod check;
pub mod config;
pub mod container;
pub mod edm_files;
pub mod injection;
pub mod peers;
pub mod pop_files;
pub mod volume;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use sha2::{Digest, Sha256};

use crate::api::TapirEdgeSpec;
use crate::names;

pub use binding::{binding, binding_name};
pub use check::{InjectionError, validate_injection};
pub use config::{ConfigBuildError, edm_config_name, pop_config_name};
pub use edm_files::{EdmInputs, edm_config, edm_inputs, edm_keys, offboarded_edm_config};
pub use injection::{Defaults, InjectionBuildError, images_revision, injection, target_images};
pub use peers::peers;
pub use pop_files::{Contents, PopFiles, offboarded_pop_config, pop_data_key, pop_files, translate};

/// An edge as far as it decides what is built.
#[derive(Clone, Copy, Debug)]
pub struct Edge<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its specification.
    pub spec: &'a TapirEdgeSpec,
}

/// Metadata of an object in the edge's namespace. It has no owner: the garbage collector may remove what an edge owns before the edge is
/// offboarded (foreground deletion), and a file that merely vanished means "keep the last good state" to a sidecar.
fn metadata(namespace: &str, edge: &str, name: String) -> ObjectMeta {
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
