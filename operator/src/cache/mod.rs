//! What the operator remembers of the cluster: lean edges, policies, and of everything else rows and marks. Fed by one set of watches a
//! namespace, which all controllers share.
//!
//! What lies here tells *whether* there is something to do. What is done follows from what is read at that moment, past this cache.

mod fingerprint;
mod index;
mod lean;
mod own;
mod queue;
mod references;
mod rows;
mod watches;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::api::ObjectMeta;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::{self, Store, store::Writer};
use kube::runtime::watcher::Event;

pub use fingerprint::{Inputs, URGENT, touched};
pub use index::{Concerned, Indexes, Mark, mark};
pub use lean::{InjectionMark, LeanCondition, LeanEdge, LeanStatus, digest, digest_of, key_of};
pub use own::OwnWrites;
pub use queue::Queue;
pub use references::{Kind, Named};
pub use rows::{PodRow, SliceRow};
pub use watches::Feed;

use crate::api::TapirPolicy;
use crate::sidecars::EdgeKey;

/// An edge that may be malformed.
pub type Edge = DeserializeGuard<LeanEdge>;
/// A policy that may be malformed.
pub type Policy = DeserializeGuard<TapirPolicy>;

/// Everything; clones share it.
#[derive(Clone)]
pub struct Cache(Arc<Inner>);

struct Inner {
    indexes: Mutex<Indexes>,
    edges: Mirror<Edge>,
    policies: Mirror<Policy>,
    /// Whether each watch has told all that there is, by what it watches.
    synced: Mutex<BTreeMap<String, bool>>,
    /// For the edge controller.
    changed_edges: Queue<EdgeKey>,
    /// For the identity controller.
    changed_identities: Queue<EdgeKey>,
    /// For the policy controller, by namespace and name.
    changed_policies: Queue<(String, String)>,
}

/// A store that several watches write to.
struct Mirror<K: Clone + 'static + kube::runtime::reflector::Lookup<DynamicType = ()>> {
    writer: Mutex<Writer<K>>,
    store: Store<K>,
}

impl<K: Clone + kube::runtime::reflector::Lookup<DynamicType = ()>> Mirror<K> {
    fn new() -> Self {
        let (store, mut writer) = reflector::store();
        // Ready from the beginning: a namespace that cannot be watched holds up none of the others. Who is named by a queue before its
        // namespace is known is not looked at yet.
        writer.apply_watcher_event(&Event::Init);
        writer.apply_watcher_event(&Event::InitDone);
        Self { writer: Mutex::new(writer), store }
    }

    fn write(&self, event: &Event<K>) {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).apply_watcher_event(event);
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self(Arc::new(Inner {
            indexes: Mutex::default(),
            edges: Mirror::new(),
            policies: Mirror::new(),
            synced: Mutex::default(),
            changed_edges: Queue::default(),
            changed_identities: Queue::default(),
            changed_policies: Queue::default(),
        }))
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Cache").finish_non_exhaustive()
    }
}

impl Cache {
    /// Rows and marks.
    pub fn indexes(&self) -> MutexGuard<'_, Indexes> {
        self.0.indexes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All edges.
    #[must_use]
    pub fn edges(&self) -> Store<Edge> {
        self.0.edges.store.clone()
    }

    /// All policies.
    #[must_use]
    pub fn policies(&self) -> Store<Policy> {
        self.0.policies.store.clone()
    }

    /// Edges that the edge controller is to look at.
    #[must_use]
    pub fn changed_edges(&self) -> &Queue<EdgeKey> {
        &self.0.changed_edges
    }

    /// Edges that the identity controller is to look at.
    #[must_use]
    pub fn changed_identities(&self) -> &Queue<EdgeKey> {
        &self.0.changed_identities
    }

    /// Policies that the policy controller is to look at.
    #[must_use]
    pub fn changed_policies(&self) -> &Queue<(String, String)> {
        &self.0.changed_policies
    }

    /// Pods of an edge, if all Pods of its namespace are known.
    #[must_use]
    pub fn pods(&self, edge: &EdgeKey) -> Option<Vec<PodRow>> {
        self.is_synced("Pods", &edge.namespace).then(|| self.indexes().pods(edge))
    }

    /// Mark of an object of an edge; none if nothing is known of it, or its kind is not watched.
    #[must_use]
    pub fn mark_of(&self, edge: &EdgeKey, (kind, name): &(Kind, Box<str>)) -> Option<Mark> {
        self.indexes().mark(*kind, &edge.namespace, name)
    }

    /// Whether a namespace is known to stay. One that goes, or that nothing is known of, is to be looked at.
    #[must_use]
    pub fn stays(&self, namespace: &str) -> bool {
        let stays = ObjectMeta { name: Some(namespace.to_owned()), ..ObjectMeta::default() };
        let indexes = self.indexes();
        self.is_synced("namespaces", namespace)
            && indexes.mark(Kind::Namespace, "", namespace) == Some(index::of_namespace(&stays))
    }

    /// Edges that name a policy.
    #[must_use]
    pub fn users_of_policy(&self, namespace: &str, policy: &str) -> Vec<Arc<Edge>> {
        let users = self.indexes().users(Kind::Policy, namespace, policy);
        users
            .iter()
            .filter_map(|edge| self.0.edges.store.get(&reflector::ObjectRef::new(&edge.name).within(&edge.namespace)))
            .collect()
    }

    /// The sidecars of an edge have news: the policy that they work by is concerned too.
    pub fn heard(&self, edge: &EdgeKey) {
        let policies = self.indexes().policies_of(edge);
        self.0.changed_edges.push(edge.clone());
        for policy in policies {
            self.0.changed_policies.push((edge.namespace.clone(), policy));
        }
    }

    /// What a change led to.
    pub(crate) fn tell(&self, concerned: Concerned) {
        for edge in concerned.edges {
            self.0.changed_identities.push(edge.clone());
            self.0.changed_edges.push(edge);
        }
        for policy in concerned.policies {
            self.0.changed_policies.push(policy);
        }
    }

    /// Takes an edge down, without a watch: for tests.
    pub fn apply_edge(&self, edge: Edge) -> Concerned {
        let concerned = match &edge.0 {
            Ok(lean) => self.indexes().edge(lean),
            // Stays out of the indexes, and is reported by the edge controller.
            Err(invalid) => {
                let key = key_of(&invalid.metadata);
                Concerned { edges: vec![key.clone()], ..self.indexes().edge_gone(&key) }
            }
        };
        self.0.edges.write(&Event::Apply(edge));
        concerned
    }

    /// An edge is gone.
    pub fn remove_edge(&self, metadata: &ObjectMeta) -> Concerned {
        self.0.edges.write(&Event::Delete(watches::vanished(metadata.clone())));
        self.indexes().edge_gone(&key_of(metadata))
    }

    /// All that is of a kind is known in a namespace, or in all of them.
    pub fn set_synced(&self, what: &str, namespace: Option<&str>, synced: bool) {
        self.lock_synced().insert(label(what, namespace), synced);
    }

    fn is_synced(&self, what: &str, namespace: &str) -> bool {
        let synced = self.lock_synced();
        [None, Some(namespace)].iter().any(|scope| synced.get(&label(what, *scope)) == Some(&true))
    }

    fn lock_synced(&self) -> MutexGuard<'_, BTreeMap<String, bool>> {
        self.0.synced.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a watch is called, for people too.
fn label(what: &str, namespace: Option<&str>) -> String {
    namespace.map_or_else(|| format!("{what} of all namespaces"), |namespace| format!("{what} of namespace {namespace}"))
}
