//! What this operator wrote itself and left in order: that it comes back through a watch is no news. Until it does, the state before it is
//! none either, so that the events of one round, which come one after the other, lead to no round each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::index::Mark;
use super::references::Named;
use crate::sidecars::EdgeKey;

/// Own writes of all edges; clones share them.
#[derive(Clone, Debug, Default)]
pub struct OwnWrites(Arc<Mutex<HashMap<EdgeKey, Row>>>);

/// Of one edge. Bounded by what belongs to it.
#[derive(Debug, Default)]
struct Row {
    objects: HashMap<Named, Write<Option<Mark>>>,
    /// Digests of annotations by digest of the Pod's uid.
    pods: HashMap<u64, Write<u64>>,
    /// The status before by the version of the edge: a status may become again what it was.
    status: Option<(Option<String>, u64)>,
}

/// One write.
#[derive(Debug)]
struct Write<T> {
    /// What stood there, until the write is seen.
    before: Option<T>,
    after: T,
}

impl<T: PartialEq> Write<T> {
    fn explains(&mut self, seen: &T) -> bool {
        if self.after == *seen {
            self.before = None;
            return true;
        }
        self.before.as_ref() == Some(seen)
    }
}

impl OwnWrites {
    /// An object was written: what the watch knew of it then, and its mark now.
    pub fn object(&self, edge: &EdgeKey, named: Named, before: Option<Mark>, after: Mark) {
        self.with(edge, |row| row.objects.insert(named, Write { before: Some(before), after: Some(after) }));
    }

    /// The annotation of a Pod was written; all as digests.
    pub fn pod(&self, edge: &EdgeKey, uid: u64, before: u64, after: u64) {
        self.with(edge, |row| row.pods.insert(uid, Write { before: Some(before), after }));
    }

    /// Pods that are no more are forgotten.
    pub fn keep_pods(&self, edge: &EdgeKey, uids: &[u64]) {
        if let Some(row) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(edge) {
            row.pods.retain(|uid, _| uids.contains(uid));
        }
    }

    /// The status was written over that of this version of the edge. None if the next round has to judge what was written.
    pub fn status(&self, edge: &EdgeKey, written: Option<(Option<String>, u64)>) {
        self.with(edge, |row| row.status = written);
    }

    /// The edge is gone.
    pub fn forget(&self, edge: &EdgeKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(edge);
    }

    pub(super) fn explain<R>(&self, edge: &EdgeKey, ask: impl FnOnce(&mut Explain<'_>) -> R) -> R {
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ask(&mut Explain(rows.get_mut(edge)))
    }

    fn with<R>(&self, edge: &EdgeKey, change: impl FnOnce(&mut Row) -> R) {
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = change(rows.entry(edge.clone()).or_default());
    }
}

/// Tells whether what is seen of one edge is its own write.
pub(super) struct Explain<'a>(Option<&'a mut Row>);

impl Explain<'_> {
    pub(super) fn object(&mut self, named: &Named, seen: Option<Mark>) -> bool {
        self.0.as_mut().and_then(|row| row.objects.get_mut(named)).is_some_and(|write| write.explains(&seen))
    }

    pub(super) fn pod(&mut self, uid: u64, seen: u64) -> bool {
        self.0.as_mut().and_then(|row| row.pods.get_mut(&uid)).is_some_and(|write| write.explains(&seen))
    }

    pub(super) fn status(&self, version: Option<&str>, seen: Option<u64>) -> bool {
        let written = self.0.as_ref().and_then(|row| row.status.as_ref());
        written.is_some_and(|(before, after)| seen == Some(*after) || (before.is_some() && before.as_deref() == version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Kind;

    fn edge() -> EdgeKey {
        EdgeKey { namespace: "dns".into(), name: "a".into() }
    }

    #[test]
    fn a_write_explains_what_was_before_it_only_until_it_is_seen() {
        let own = OwnWrites::default();
        let named: Named = (Kind::ConfigMap, "a-pop".into());
        let explained = |seen: Option<Mark>| own.explain(&edge(), |explain| explain.object(&named, seen));
        assert!(!explained(Some(1)), "nothing was written");
        own.object(&edge(), named.clone(), Some(1), 2);
        assert_eq!([Some(1), Some(3), None, Some(2)].map(explained), [true, false, false, true]);
        assert!(!explained(Some(1)), "it became again what it was");
        own.forget(&edge());
        assert!(!explained(Some(2)));
    }

    #[test]
    fn a_status_is_explained_by_its_version_until_it_changes() {
        let own = OwnWrites::default();
        own.status(&edge(), Some((Some("7".into()), 2)));
        let explained = |version: &str, seen: u64| own.explain(&edge(), |explain| explain.status(Some(version), Some(seen)));
        assert!(explained("7", 1) && explained("8", 2) && explained("9", 2));
        assert!(!explained("8", 1), "somebody put the old one back");
        own.status(&edge(), None);
        assert!(!explained("8", 2));
    }

    #[test]
    fn of_pods_that_are_no_more_nothing_is_kept() {
        let own = OwnWrites::default();
        own.pod(&edge(), 1, 10, 11);
        own.pod(&edge(), 2, 10, 11);
        own.keep_pods(&edge(), &[2]);
        let explained = |uid: u64| own.explain(&edge(), |explain| explain.pod(uid, 11));
        assert_eq!([1, 2].map(explained), [false, true]);
    }
}
