//! Rows and marks of everything that edges depend on, and from which object to which edge a change leads. No object stays in memory whole.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hasher as _};

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::ObjectMeta;

use super::lean::{LeanEdge, digest_of};
use super::references::{self, Kind, Named};
use super::rows::{PodRow, Pods, SliceRow, Slices};
use crate::api::{LABEL_EDGE, LABEL_EDGE_NAMESPACE, TapirPolicy};
use crate::sidecars::EdgeKey;

/// Tells whether an object is as it was.
pub type Mark = u64;
/// Namespace and name.
type Place = (Box<str>, Box<str>);

/// Kind, namespace and name.
type Object = (Kind, Box<str>, Box<str>);

/// All rows and marks.
#[derive(Debug, Default)]
pub struct Indexes {
    pods: Pods,
    slices: Slices,
    /// Only of what some edge names or owns: of other objects nothing is kept.
    marks: HashMap<Object, Mark>,
    edges: HashMap<EdgeKey, Vec<Named>>,
    /// Which edges name an object of their namespace.
    users: HashMap<Object, Vec<Box<str>>>,
    policies: HashMap<Place, Vec<Named>>,
}

/// What a change leads to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Concerned {
    pub edges: Vec<EdgeKey>,
    /// Policies, by namespace and name.
    pub policies: Vec<(String, String)>,
}

impl Indexes {
    /// An edge is there, as it is now.
    pub fn edge(&mut self, edge: &LeanEdge) -> Concerned {
        let key = edge.key();
        let named = references::of_edge(&edge.spec);
        let before = self.edges.get(&key).cloned().unwrap_or_default();
        let mut policies: HashSet<Box<str>> = policies_of(&named).collect();
        if before != named {
            policies.extend(policies_of(&before));
            self.unlink(&key, &before);
            for (kind, name) in &named {
                self.users
                    .entry((*kind, key.namespace.as_str().into(), name.clone()))
                    .or_default()
                    .push(key.name.as_str().into());
            }
            self.edges.insert(key.clone(), named);
            self.prune(&key.namespace, &before);
        }
        let policies = policies.into_iter().map(|policy| (key.namespace.clone(), policy.to_string())).collect();
        Concerned { edges: vec![key], policies }
    }

    /// An edge is gone.
    pub fn edge_gone(&mut self, key: &EdgeKey) -> Concerned {
        let Some(before) = self.edges.remove(key) else { return Concerned::default() };
        self.unlink(key, &before);
        self.prune(&key.namespace, &before);
        self.prune(&key.namespace, &references::own(&key.name));
        self.prune(&key.namespace, &references::identity(&key.name));
        let policies = policies_of(&before).map(|policy| (key.namespace.clone(), policy.to_string())).collect();
        Concerned { edges: Vec::new(), policies }
    }

    /// A policy is there, as it is now.
    pub fn policy(&mut self, policy: &TapirPolicy) -> Concerned {
        let place = place(&policy.metadata);
        self.policies.insert(place, references::of_policy(&policy.spec));
        // Its status is written all the time and concerns no edge.
        let mark = hash(&(&policy.metadata.uid, policy.metadata.generation, policy.metadata.deletion_timestamp.is_some()));
        self.marked(Kind::Policy, &policy.metadata, mark)
    }

    /// A policy is gone, or cannot be read.
    pub fn policy_gone(&mut self, metadata: &ObjectMeta) -> Concerned {
        self.policies.remove(&place(metadata));
        self.gone(Kind::Policy, metadata)
    }

    /// A Secret, ConfigMap, binding or namespace is there, as it is now.
    pub fn object(&mut self, kind: Kind, metadata: &ObjectMeta) -> Concerned {
        let mark = match kind {
            Kind::Namespace => of_namespace(metadata),
            _ => mark(metadata),
        };
        self.marked(kind, metadata, mark)
    }

    /// It is gone.
    pub fn gone(&mut self, kind: Kind, metadata: &ObjectMeta) -> Concerned {
        if kind == Kind::Namespace {
            let (_, name) = place(metadata);
            let concerned = self.concerned(kind, "", &name);
            if concerned.edges.is_empty() {
                self.marks.remove(&(kind, "".into(), name));
                return concerned;
            }
        }
        // Not none, which stands for an object that nobody named when it came.
        self.marked(kind, metadata, hash(&("gone", &metadata.uid, &metadata.resource_version)))
    }

    /// A Pod is there, as it is now.
    pub fn pod(&mut self, metadata: &ObjectMeta) -> Concerned {
        Concerned { edges: self.pods.apply(metadata), policies: Vec::new() }
    }

    /// A Pod is gone or has ended.
    pub fn pod_gone(&mut self, metadata: &ObjectMeta) -> Concerned {
        Concerned { edges: self.pods.remove(metadata), policies: Vec::new() }
    }

    /// A slice is there, as it is now.
    pub fn slice(&mut self, slice: &EndpointSlice) -> Concerned {
        Concerned { edges: self.slices.apply(slice).into_iter().collect(), policies: Vec::new() }
    }

    /// A slice is gone.
    pub fn slice_gone(&mut self, metadata: &ObjectMeta) -> Concerned {
        Concerned { edges: self.slices.remove(metadata).into_iter().collect(), policies: Vec::new() }
    }

    /// Pods of an edge.
    #[must_use]
    pub fn pods(&self, edge: &EdgeKey) -> Vec<PodRow> {
        self.pods.of(edge)
    }

    /// Addresses of the Pods of an edge.
    #[must_use]
    pub fn slices(&self, edge: &EdgeKey) -> Vec<SliceRow> {
        self.slices.of(edge)
    }

    /// Edges of a namespace that name a policy.
    #[must_use]
    pub fn users(&self, kind: Kind, namespace: &str, name: &str) -> Vec<EdgeKey> {
        let users = self.users.get(&(kind, namespace.into(), name.into()));
        users.into_iter().flatten().map(|edge| EdgeKey { namespace: namespace.to_owned(), name: edge.to_string() }).collect()
    }

    /// Policies that an edge names.
    #[must_use]
    pub fn policies_of(&self, edge: &EdgeKey) -> Vec<String> {
        self.edges.get(edge).map(|named| policies_of(named).map(String::from).collect()).unwrap_or_default()
    }

    /// Marks of all that an edge names or owns besides its identity, in a fixed order.
    #[must_use]
    pub(super) fn marks(&self, edge: &EdgeKey) -> Vec<(Named, Option<Mark>)> {
        let named = self.edges.get(edge).into_iter().flatten();
        let by_policy = named
            .clone()
            .filter(|(kind, _)| *kind == Kind::Policy)
            .filter_map(|(_, policy)| self.policies.get(&(edge.namespace.as_str().into(), policy.clone())));
        let mut marks: Vec<(Named, Option<Mark>)> = named
            .chain(by_policy.flatten())
            .chain(&references::own(&edge.name))
            .chain(&[(Kind::Binding, edge.name.as_str().into())])
            .map(|(kind, name)| ((*kind, name.clone()), self.mark(*kind, &edge.namespace, name)))
            .collect();
        let namespace = self.mark(Kind::Namespace, "", &edge.namespace);
        marks.push(((Kind::Namespace, edge.namespace.as_str().into()), namespace));
        marks
    }

    /// Marks of all that the identity of an edge depends on, in a fixed order.
    #[must_use]
    pub fn identity_marks(&self, edge: &EdgeKey) -> Vec<Option<Mark>> {
        let named = self.edges.get(edge).into_iter().flatten().filter(|(kind, _)| *kind != Kind::Policy);
        let own = references::identity(&edge.name);
        let mut marks: Vec<Option<Mark>> =
            named.chain(&own).map(|(kind, name)| self.mark(*kind, &edge.namespace, name)).collect();
        marks.push(self.mark(Kind::Namespace, "", &edge.namespace));
        marks
    }

    /// Objects of a kind that are known in the namespaces that are wanted, for comparison with a new list.
    pub(super) fn known(&self, table: Table, wanted: impl Fn(&str) -> bool) -> Vec<(String, String)> {
        match table {
            Table::Edges => {
                let edges = self.edges.keys().filter(|key| wanted(&key.namespace));
                edges.map(|key| (key.namespace.clone(), key.name.clone())).collect()
            }
            Table::Pods => self.pods.names(wanted),
            Table::Slices => self.slices.names(wanted),
            Table::Marks(of) => {
                let marks = self.marks.keys().filter(|(kind, namespace, _)| *kind == of && wanted(namespace));
                marks.map(|(_, namespace, name)| (namespace.to_string(), name.to_string())).collect()
            }
        }
    }

    /// Mark of one object.
    pub(super) fn mark(&self, kind: Kind, namespace: &str, name: &str) -> Option<Mark> {
        self.marks.get(&(kind, namespace.into(), name.into())).copied()
    }

    fn marked(&mut self, kind: Kind, metadata: &ObjectMeta, mark: Mark) -> Concerned {
        let Some((namespace, name)) = place_of(kind, metadata) else { return Concerned::default() };
        let concerned = self.concerned(kind, &namespace, &name);
        // An edge may come to a namespace at any time, and has to know whether it stays.
        if concerned.edges.is_empty() && !matches!(kind, Kind::Policy | Kind::Namespace) {
            return concerned;
        }
        if self.marks.insert((kind, namespace, name), mark) == Some(mark) {
            // A policy looks at its own status too; its edges do not.
            return Concerned { edges: Vec::new(), policies: concerned.policies };
        }
        concerned
    }

    fn concerned(&self, kind: Kind, namespace: &str, name: &str) -> Concerned {
        let key = |edge: &str| EdgeKey { namespace: namespace.to_owned(), name: edge.to_owned() };
        let edges = match kind {
            Kind::Namespace => self.edges.keys().filter(|edge| edge.namespace == name).cloned().collect(),
            Kind::Binding => Some(key(name)).into_iter().filter(|edge| self.edges.contains_key(edge)).collect(),
            Kind::Secret | Kind::ConfigMap | Kind::Policy => {
                let mut edges = self.users(kind, namespace, name);
                edges.extend(references::owners(kind, name).map(key).filter(|edge| self.edges.contains_key(edge)));
                for ((_, policy), _) in self.policies.iter().filter(|((of, _), named)| {
                    **of == *namespace && named.iter().any(|(named_kind, named)| *named_kind == kind && **named == *name)
                }) {
                    edges.extend(self.users(Kind::Policy, namespace, policy));
                }
                edges
            }
        };
        let policies = if kind == Kind::Policy { vec![(namespace.to_owned(), name.to_owned())] } else { Vec::new() };
        Concerned { edges, policies }
    }

    fn unlink(&mut self, key: &EdgeKey, named: &[Named]) {
        for (kind, name) in named {
            let place = (*kind, key.namespace.as_str().into(), name.clone());
            if let Some(users) = self.users.get_mut(&place) {
                users.retain(|user| **user != *key.name);
                if users.is_empty() {
                    self.users.remove(&place);
                }
            }
        }
    }

    /// Marks of these are dropped where nobody names them any more. Policies keep theirs: that nobody uses them has to be said too.
    fn prune(&mut self, namespace: &str, named: &[Named]) {
        for (kind, name) in named.iter().filter(|(kind, _)| *kind != Kind::Policy) {
            if self.concerned(*kind, namespace, name).edges.is_empty() {
                self.marks.remove(&(*kind, namespace.into(), name.clone()));
            }
        }
    }
}

/// What a new list is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Edges,
    Pods,
    Slices,
    Marks(Kind),
}

fn policies_of(named: &[Named]) -> impl Iterator<Item = Box<str>> + '_ {
    named.iter().filter(|(kind, _)| *kind == Kind::Policy).map(|(_, name)| name.clone())
}

fn place(metadata: &ObjectMeta) -> Place {
    (metadata.namespace.as_deref().unwrap_or_default().into(), metadata.name.as_deref().unwrap_or_default().into())
}

/// Where the mark of an object stands.
fn place_of(kind: Kind, metadata: &ObjectMeta) -> Option<Place> {
    match kind {
        Kind::Binding => {
            let labels = metadata.labels.as_ref()?;
            Some((labels.get(LABEL_EDGE_NAMESPACE)?.as_str().into(), labels.get(LABEL_EDGE)?.as_str().into()))
        }
        _ => Some(place(metadata)),
    }
}

/// Mark of an object that is as its metadata tell.
#[must_use]
pub fn mark(metadata: &ObjectMeta) -> u64 {
    hash(&(&metadata.uid, &metadata.resource_version))
}

/// Labels and the like of a namespace concern nobody.
pub(super) fn of_namespace(metadata: &ObjectMeta) -> Mark {
    hash(&metadata.deletion_timestamp.is_some())
}

/// Digest of anything.
pub(super) fn hash(value: &impl std::hash::Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// What counts of an edge itself besides its status: a label or an annotation of somebody else is no change.
#[must_use]
pub(super) fn of_edge_itself(edge: &LeanEdge) -> u64 {
    let metadata = &edge.metadata;
    hash(&(
        &metadata.uid,
        metadata.generation,
        metadata.deletion_timestamp.is_some(),
        &metadata.finalizers,
        metadata.annotations.iter().flatten().map(|(name, value)| digest_of(&format!("{name}={value}"))).collect::<Vec<_>>(),
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn edge(name: &str, policy: &str) -> LeanEdge {
        serde_json::from_value(json!({"metadata": {"name": name, "namespace": "dns", "uid": name},
            "spec": {"enrollment": {"credentialsSecretRef": {"name": "enrol"}}, "resolver": {"container": "unbound"}, "pop": {"policyRef": {"name": policy}}}}))
        .unwrap()
    }

    fn policy(name: &str, sources: &Value) -> TapirPolicy {
        serde_json::from_value(
            json!({"apiVersion": "dnstapir.se/v1alpha1", "kind": "TapirPolicy", "metadata": {"name": name, "namespace": "dns"},
            "spec": {"sources": sources}}),
        )
        .unwrap()
    }

    fn object(name: &str, version: &str) -> ObjectMeta {
        serde_json::from_value(json!({"name": name, "namespace": "dns", "uid": name, "resourceVersion": version})).unwrap()
    }

    fn names(concerned: &Concerned) -> Vec<&str> {
        let mut names: Vec<&str> = concerned.edges.iter().map(|edge| edge.name.as_str()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn a_source_of_a_policy_concerns_every_edge_that_names_the_policy() {
        let mut indexes = Indexes::default();
        for (name, policy) in [("a", "p"), ("b", "p"), ("c", "q")] {
            indexes.edge(&edge(name, policy));
        }
        let sources = json!([{"name": "mine", "list": "Deny", "configMapRef": {"name": "list", "key": "k"}},
            {"name": "zone", "list": "Deny", "rpz": {"primary": "192.0.2.1:53", "zone": "z.", "tsigSecretRef": {"name": "tsig"}}}]);
        assert_eq!(names(&indexes.policy(&policy("p", &sources))), ["a", "b"]);
        let key = edge("a", "p").key();
        for (kind, name) in [(Kind::ConfigMap, "list"), (Kind::Secret, "tsig")] {
            let before = indexes.marks(&key);
            assert_eq!(names(&indexes.object(kind, &object(name, "1"))), ["a", "b"]);
            assert_ne!(indexes.marks(&key), before);
            let before = indexes.marks(&key);
            assert_eq!(indexes.object(kind, &object(name, "1")), Concerned::default(), "a list anew is no change");
            assert_eq!(names(&indexes.gone(kind, &object(name, "1"))), ["a", "b"]);
            assert_ne!(indexes.marks(&key), before);
        }
    }

    #[test]
    fn the_status_of_a_policy_concerns_the_policy_alone() {
        let mut indexes = Indexes::default();
        indexes.edge(&edge("a", "p"));
        let mut policy = policy("p", &json!([]));
        policy.metadata.generation = Some(1);
        assert_eq!(names(&indexes.policy(&policy)), ["a"]);
        policy.metadata.resource_version = Some("2".to_owned());
        let written = indexes.policy(&policy);
        assert_eq!((names(&written), written.policies.len()), (vec![], 1));
        policy.metadata.generation = Some(2);
        assert_eq!(names(&indexes.policy(&policy)), ["a"]);
    }

    #[test]
    fn of_what_nobody_names_nothing_is_kept() {
        let mut indexes = Indexes::default();
        indexes.edge(&edge("a", "p"));
        assert_eq!(indexes.object(Kind::Secret, &object("theirs", "1")), Concerned::default());
        assert!(indexes.marks.is_empty());
        indexes.object(Kind::Secret, &object("enrol", "1"));
        indexes.object(Kind::Secret, &object("a-identity", "1"));
        assert_eq!(indexes.marks.len(), 2);
        assert_eq!(indexes.edge_gone(&edge("a", "p").key()).policies, [("dns".to_owned(), "p".to_owned())]);
        assert!(indexes.marks.is_empty() && indexes.users.is_empty());
    }

    #[test]
    fn an_edge_that_names_another_policy_concerns_both() {
        let mut indexes = Indexes::default();
        indexes.edge(&edge("a", "p"));
        let mut policies = indexes.edge(&edge("a", "q")).policies;
        policies.sort();
        assert_eq!(policies, [("dns".to_owned(), "p".to_owned()), ("dns".to_owned(), "q".to_owned())]);
        assert_eq!(indexes.users(Kind::Policy, "dns", "p"), []);
    }
}
