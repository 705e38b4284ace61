//! Names, labels and annotations that others rely on.

use std::collections::BTreeMap;

/// Field manager of every server-side apply.
pub const FIELD_MANAGER: &str = "tapir-operator";
/// Label of Pods that want to be injected, and of what an edge owns; its value is the edge's name.
pub const EDGE_LABEL: &str = "dnstapir.se/edge";
/// Finalizer of a `TapirEdge`.
pub const OFFBOARD_FINALIZER: &str = "dnstapir.se/offboard";

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

/// Labels of what an edge owns.
#[must_use]
pub fn labels(edge: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (EDGE_LABEL.to_owned(), edge.to_owned()),
        ("app.kubernetes.io/managed-by".to_owned(), FIELD_MANAGER.to_owned()),
        ("app.kubernetes.io/part-of".to_owned(), "dns-tapir-edge".to_owned()),
    ])
}
