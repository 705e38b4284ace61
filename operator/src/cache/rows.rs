//! Compact rows of Pods and of their addresses, by edge.

use std::collections::HashMap;
use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::ObjectMeta;

use super::lean::digest_of;
use crate::api::{ANNOTATION_CONFIG, ANNOTATION_IMAGES, ANNOTATION_INJECTION, LABEL_EDGE};
use crate::sidecars::EdgeKey;

/// Label of an `EndpointSlice`: the Service that it is of.
const LABEL_SERVICE: &str = "kubernetes.io/service-name";

/// A Pod that carries the label of an edge and has not ended, as far as its metadata tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodRow {
    pub name: Box<str>,
    pub uid: Box<str>,
    /// Digest of the resource version.
    pub version: u64,
    /// Seconds since 1970.
    pub created: i64,
    /// Digest of the annotation with the injection that it got; none for a Pod that got none.
    pub structure: Option<u64>,
    /// Digest of the annotation with the images that it runs.
    pub images: Option<u64>,
    /// What it was touched for last.
    pub touched: Option<Box<str>>,
    pub deleting: bool,
}

/// An address of a Pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SliceRow {
    pub uid: Box<str>,
    pub address: IpAddr,
    pub serving: bool,
    pub terminating: bool,
}

impl PodRow {
    /// From metadata.
    #[must_use]
    pub fn of(metadata: &ObjectMeta) -> Option<Self> {
        let annotation = |name: &str| metadata.annotations.as_ref().and_then(|annotations| annotations.get(name));
        Some(Self {
            name: metadata.name.as_deref()?.into(),
            uid: metadata.uid.as_deref()?.into(),
            version: digest_of(metadata.resource_version.as_deref().unwrap_or_default()),
            created: metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second()),
            structure: annotation(ANNOTATION_INJECTION).map(|revision| digest_of(revision)),
            images: annotation(ANNOTATION_IMAGES).map(|revision| digest_of(revision)),
            touched: annotation(ANNOTATION_CONFIG).map(|touched| touched.as_str().into()),
            deleting: metadata.deletion_timestamp.is_some(),
        })
    }

    /// When it was created.
    #[must_use]
    pub fn created(&self) -> Option<Timestamp> {
        Timestamp::from_second(self.created).ok()
    }
}

/// Edges by namespace and name, so that what concerns one namespace is found without looking at all others.
type ByEdge<T> = HashMap<Box<str>, HashMap<Box<str>, T>>;

/// Pods of all edges.
#[derive(Debug, Default)]
pub(super) struct Pods(ByEdge<Vec<PodRow>>);

impl Pods {
    /// Takes a Pod down. Says which edges it concerns: the label may have changed.
    pub(super) fn apply(&mut self, metadata: &ObjectMeta) -> Vec<EdgeKey> {
        let Some(row) = PodRow::of(metadata) else { return Vec::new() };
        let mut concerned = self.remove(metadata);
        let Some(edge) = metadata.labels.as_ref().and_then(|labels| labels.get(LABEL_EDGE)) else { return concerned };
        let namespace = metadata.namespace.clone().unwrap_or_default();
        self.0.entry(namespace.as_str().into()).or_default().entry(edge.as_str().into()).or_default().push(row);
        let key = EdgeKey { namespace, name: edge.clone() };
        if !concerned.contains(&key) {
            concerned.push(key);
        }
        concerned
    }

    /// Forgets a Pod.
    pub(super) fn remove(&mut self, metadata: &ObjectMeta) -> Vec<EdgeKey> {
        let (namespace, name) = (metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default());
        let Some(edges) = self.0.get_mut(namespace) else { return Vec::new() };
        let mut concerned = Vec::new();
        for (edge, rows) in edges.iter_mut() {
            if let Some(at) = rows.iter().position(|row| &*row.name == name) {
                rows.swap_remove(at);
                concerned.push(EdgeKey { namespace: namespace.to_owned(), name: edge.to_string() });
            }
        }
        edges.retain(|_, rows| !rows.is_empty());
        concerned
    }

    /// Pods of an edge, in the order of their names.
    pub(super) fn of(&self, edge: &EdgeKey) -> Vec<PodRow> {
        let rows = self.0.get(edge.namespace.as_str()).and_then(|edges| edges.get(edge.name.as_str()));
        let mut rows = rows.cloned().unwrap_or_default();
        rows.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        rows
    }

    /// Names of all Pods of the namespaces that are wanted.
    pub(super) fn names(&self, wanted: impl Fn(&str) -> bool) -> Vec<(String, String)> {
        let edges = self.0.iter().filter(|(namespace, _)| wanted(namespace));
        edges
            .flat_map(|(namespace, edges)| edges.values().flatten().map(|row| (namespace.to_string(), row.name.to_string())))
            .collect()
    }
}

/// Addresses of the Pods of all edges, out of the slices of `<edge>-peers`.
#[derive(Debug, Default)]
pub(super) struct Slices(ByEdge<Vec<(Box<str>, Vec<SliceRow>)>>);

impl Slices {
    /// Takes a slice down. Says which edge it concerns, if anything in it is new.
    pub(super) fn apply(&mut self, slice: &EndpointSlice) -> Option<EdgeKey> {
        let key = edge_of(&slice.metadata)?;
        let name: Box<str> = slice.metadata.name.as_deref()?.into();
        let rows = rows(slice);
        let slices = self.0.entry(key.namespace.as_str().into()).or_default().entry(key.name.as_str().into()).or_default();
        match slices.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) if *known == rows => return None,
            Some((_, known)) => *known = rows,
            None => slices.push((name, rows)),
        }
        Some(key)
    }

    /// Forgets a slice.
    pub(super) fn remove(&mut self, metadata: &ObjectMeta) -> Option<EdgeKey> {
        let (namespace, name) = (metadata.namespace.as_deref()?, metadata.name.as_deref()?);
        let edges = self.0.get_mut(namespace)?;
        let (edge, slices) = edges.iter_mut().find(|(_, slices)| slices.iter().any(|(known, _)| &**known == name))?;
        slices.retain(|(known, _)| &**known != name);
        let key = EdgeKey { namespace: namespace.to_owned(), name: edge.to_string() };
        edges.retain(|_, slices| !slices.is_empty());
        Some(key)
    }

    /// Addresses of an edge, each once.
    pub(super) fn of(&self, edge: &EdgeKey) -> Vec<SliceRow> {
        let slices = self.0.get(edge.namespace.as_str()).and_then(|edges| edges.get(edge.name.as_str()));
        let mut rows: Vec<SliceRow> = slices.into_iter().flatten().flat_map(|(_, rows)| rows.iter().cloned()).collect();
        rows.sort_unstable();
        // A Pod of two address families has two; one is enough to ask it.
        rows.dedup_by(|one, other| one.uid == other.uid);
        rows
    }

    pub(super) fn names(&self, wanted: impl Fn(&str) -> bool) -> Vec<(String, String)> {
        let edges = self.0.iter().filter(|(namespace, _)| wanted(namespace));
        edges
            .flat_map(|(namespace, edges)| edges.values().flatten().map(|(name, _)| (namespace.to_string(), name.to_string())))
            .collect()
    }
}

/// The edge whose Service a slice is of. Somebody else's Service may carry the label too, and says nothing of ours.
fn edge_of(metadata: &ObjectMeta) -> Option<EdgeKey> {
    let labels = metadata.labels.as_ref()?;
    let name = labels.get(LABEL_EDGE)?;
    (*labels.get(LABEL_SERVICE)? == crate::names::peers(name))
        .then(|| EdgeKey { namespace: metadata.namespace.clone().unwrap_or_default(), name: name.clone() })
}

fn rows(slice: &EndpointSlice) -> Vec<SliceRow> {
    let row = |endpoint: &k8s_openapi::api::discovery::v1::Endpoint| {
        let conditions = endpoint.conditions.as_ref();
        Some(SliceRow {
            uid: endpoint.target_ref.as_ref()?.uid.as_deref()?.into(),
            address: endpoint.addresses.first()?.parse().ok()?,
            serving: conditions.and_then(|conditions| conditions.serving) == Some(true),
            terminating: conditions.and_then(|conditions| conditions.terminating) == Some(true),
        })
    };
    let mut rows: Vec<SliceRow> = slice.endpoints.iter().flatten().filter_map(row).collect();
    rows.sort_unstable();
    rows
}
