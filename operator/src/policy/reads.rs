//! Which ConfigMaps and Secrets each edge reads by way of its policy, so that a change of one leads to the edges that it concerns and to
//! no other. Each reconcile of an edge says it anew; bounded by the edges there are and the sources that a policy may have.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast;

use crate::sidecars::EdgeKey;

/// Hints that a controller may be behind with before it misses some. Each edge is compared with reality from time to time anyway.
const NEWS: usize = 1024;

/// A kind of object that a policy points at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    ConfigMap,
    Secret,
}

/// An object that a policy points at.
type Object = (Kind, String, String);

#[derive(Debug, Default)]
struct Inner {
    of_edge: HashMap<EdgeKey, BTreeSet<Object>>,
    by_object: HashMap<Object, BTreeSet<EdgeKey>>,
}

/// Shared by all controllers.
#[derive(Clone, Debug)]
pub struct Reads {
    inner: Arc<Mutex<Inner>>,
    news: broadcast::Sender<EdgeKey>,
}

impl Default for Reads {
    fn default() -> Self {
        Self { inner: Arc::default(), news: broadcast::channel(NEWS).0 }
    }
}

impl Reads {
    /// What an edge reads from now on.
    pub fn set(&self, edge: &EdgeKey, config_maps: BTreeSet<String>, secrets: BTreeSet<String>) {
        let named = |kind, names: BTreeSet<String>| names.into_iter().map(move |name| (kind, edge.namespace.clone(), name));
        let objects: BTreeSet<Object> = named(Kind::ConfigMap, config_maps).chain(named(Kind::Secret, secrets)).collect();
        let mut inner = self.lock();
        if inner.of_edge.get(edge).map_or_else(|| objects.is_empty(), |before| *before == objects) {
            return;
        }
        inner.drop_edge(edge);
        for object in &objects {
            inner.by_object.entry(object.clone()).or_default().insert(edge.clone());
        }
        if !objects.is_empty() {
            inner.of_edge.insert(edge.clone(), objects);
        }
    }

    /// An edge is gone.
    pub fn forget(&self, edge: &EdgeKey) {
        self.lock().drop_edge(edge);
    }

    /// What an edge reads: kind, namespace and name.
    #[must_use]
    pub fn of(&self, edge: &EdgeKey) -> Vec<(Kind, String, String)> {
        self.lock().of_edge.get(edge).into_iter().flatten().cloned().collect()
    }

    /// The edges that read an object.
    #[must_use]
    pub fn readers(&self, kind: Kind, namespace: &str, name: &str) -> Vec<EdgeKey> {
        let object = (kind, namespace.to_owned(), name.to_owned());
        self.lock().by_object.get(&object).into_iter().flatten().cloned().collect()
    }

    /// An object changed: the edges that read it hear of it.
    pub fn changed(&self, kind: Kind, namespace: &str, name: &str) {
        for edge in self.readers(kind, namespace, name) {
            // Nobody listens while the controllers start: they look at everything then.
            let _ = self.news.send(edge);
        }
    }

    /// Edges that read something that changed.
    #[must_use]
    pub fn news(&self) -> broadcast::Receiver<EdgeKey> {
        self.news.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn drop_edge(&mut self, edge: &EdgeKey) {
        for object in self.of_edge.remove(edge).into_iter().flatten() {
            if let Some(edges) = self.by_object.get_mut(&object) {
                edges.remove(edge);
                if edges.is_empty() {
                    self.by_object.remove(&object);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(name: &str) -> EdgeKey {
        EdgeKey { namespace: "dns".into(), name: name.into() }
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_change_reaches_those_that_read_it_now_and_nobody_else() {
        let reads = Reads::default();
        let mut news = reads.news();
        reads.set(&edge("a"), names(&["lists"]), names(&["tsig"]));
        reads.set(&edge("b"), names(&["lists", "more"]), names(&[]));
        assert_eq!(reads.readers(Kind::ConfigMap, "dns", "lists"), [edge("a"), edge("b")]);
        assert_eq!(reads.readers(Kind::Secret, "dns", "lists"), []);
        assert_eq!(reads.readers(Kind::ConfigMap, "other", "lists"), []);
        reads.changed(Kind::Secret, "dns", "tsig");
        assert_eq!(news.try_recv().unwrap(), edge("a"));
        reads.set(&edge("a"), names(&[]), names(&[]));
        reads.forget(&edge("b"));
        reads.changed(Kind::ConfigMap, "dns", "lists");
        assert!(news.try_recv().is_err());
        assert!(reads.lock().by_object.is_empty() && reads.lock().of_edge.is_empty(), "nothing is kept of what is gone");
    }
}
