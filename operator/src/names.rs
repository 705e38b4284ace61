//! Names of what belongs to an edge.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

pub use crate::api::{FIELD_MANAGER, LABEL_EDGE};

/// Label of rendered configuration that outlives its edge until no injected Pod is left.
pub const LABEL_OFFBOARDED: &str = "dnstapir.se/offboarded";
/// Label that marks what this operator made.
pub const LABEL_MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// Secret with the complete identity.
#[must_use]
pub fn identity(edge: &str) -> String {
    format!("{edge}-identity")
}

/// Secret with keys that are about to be enrolled.
#[must_use]
pub fn pending(edge: &str) -> String {
    format!("{edge}-pending")
}

/// Secret with the copy of a deleted identity.
#[must_use]
pub fn rescue(edge: &str) -> String {
    format!("{edge}-identity-rescue")
}

/// Secret with further keys of EDM, which exists only while it needs any.
#[must_use]
pub fn edm_keys(edge: &str) -> String {
    format!("{edge}-edm-keys")
}

/// Secret with the TSIG keys of POP's sources, which exists only while it needs any.
#[must_use]
pub fn pop_keys(edge: &str) -> String {
    format!("{edge}-pop-keys")
}

/// Secret with the data key for POP, which exists only while POP signs anything.
#[must_use]
pub fn pop_data_key(edge: &str) -> String {
    format!("{edge}-pop-datakey")
}

/// Headless Service of the edge's Pods.
#[must_use]
pub fn peers(edge: &str) -> String {
    format!("{edge}-peers")
}

/// Secret with the identity of a node that Core removed and whose edge is another node now.
#[must_use]
pub fn retired(edge: &str, data_key: &str) -> String {
    format!("{edge}-identity-retired-{}", hex::encode(&Sha256::digest(data_key.as_bytes())[..4]))
}

/// Labels of what an edge owns.
#[must_use]
pub fn labels(edge: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (LABEL_EDGE.to_owned(), edge.to_owned()),
        (LABEL_MANAGED_BY.to_owned(), FIELD_MANAGER.to_owned()),
        ("app.kubernetes.io/part-of".to_owned(), "dns-tapir-edge".to_owned()),
    ])
}
