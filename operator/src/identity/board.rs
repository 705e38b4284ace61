//! What the identity controller knows of each edge, for the edge controller to read without waiting: Core may take its time, a policy may not.
//! In memory only: after a restart every identity is looked at anew, and until then what the status says stays said.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::Secret;

use super::calls::Trouble;
use super::conditions;
use super::due::Certificate;
use super::verdict::Verdict;
use crate::cache::Queue;
use crate::conditions::Draft;
use crate::digest;
use crate::sidecars::EdgeKey;

/// Edges that went of which it is remembered, so that no round that began before undoes what was done last.
const DEPARTED: usize = 1024;

/// How it stands with one identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The edge is this node. The credentials may name another one meanwhile, which it does not become.
    Enrolled {
        node: String,
        ignored_credentials: Option<String>,
    },
    /// It was deleted and comes back.
    Restoring,
    /// The namespace goes.
    Leaving,
    Failed(Verdict),
}

/// All that others need of an identity; no key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityView {
    pub standing: Standing,
    pub certificate: Option<Certificate>,
    /// Digest of what Pods mount of it; none while it is not there or not known.
    pub mounted: Option<String>,
    /// The condition `Enrolled`.
    pub enrolled: Draft,
    /// The condition `CertificateValid`.
    pub valid: Draft,
}

impl IdentityView {
    /// Of an edge without an identity that could be mounted.
    #[must_use]
    pub fn of(standing: Standing) -> Self {
        let enrolled = conditions::enrolled(&standing, &[None, None], None);
        let valid = conditions::certificate(&standing, None, None);
        Self { standing, certificate: None, mounted: None, enrolled, valid }
    }

    /// Of an edge whose identity is there. The troubles are those of the last renewal and of the last look at Core's configuration;
    /// `replacement` is why it has not become another node although its own was removed.
    #[must_use]
    pub fn enrolled(
        standing: Standing,
        identity: &Secret,
        certificate: Option<Certificate>,
        troubles: &[Option<Trouble>; 2],
        replacement: Option<&str>,
    ) -> Self {
        Self {
            mounted: Some(digest::members(identity.data.iter().flatten().map(|(name, bytes)| (name, bytes.0.as_slice())))),
            enrolled: conditions::enrolled(&standing, troubles, replacement),
            valid: conditions::certificate(&standing, certificate.as_ref(), troubles[0].as_ref()),
            certificate,
            standing,
        }
    }

    /// The node, once it is enrolled.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        match &self.standing {
            Standing::Enrolled { node, .. } => Some(node),
            _ => None,
        }
    }
}

/// Views of all edges; clones share them.
#[derive(Clone, Debug, Default)]
pub struct IdentityBoard {
    state: Arc<Mutex<State>>,
    /// Where edges are named whose view is new.
    news: Queue<EdgeKey>,
}

#[derive(Debug, Default)]
struct State {
    rows: HashMap<EdgeKey, Row>,
    departed: VecDeque<String>,
}

#[derive(Debug, Default)]
struct Row {
    view: Option<Arc<IdentityView>>,
    epoch: u64,
    /// Somebody works on the Secrets of this edge.
    busy: bool,
}

/// The right to work on the Secrets of one edge, until it is dropped.
#[derive(Debug)]
pub struct Turn {
    board: IdentityBoard,
    edge: EdgeKey,
}

impl IdentityBoard {
    /// One that names edges with news there.
    #[must_use]
    pub fn new(news: Queue<EdgeKey>) -> Self {
        Self { state: Arc::default(), news }
    }

    /// What is known; none before the first look.
    #[must_use]
    pub fn view(&self, edge: &EdgeKey) -> Option<Arc<IdentityView>> {
        self.lock().rows.get(edge)?.view.clone()
    }

    /// Changes whenever the view does.
    #[must_use]
    pub fn epoch(&self, edge: &EdgeKey) -> u64 {
        self.lock().rows.get(edge).map_or(0, |row| row.epoch)
    }

    /// Says what is known now.
    pub fn publish(&self, edge: &EdgeKey, view: IdentityView) {
        let mut state = self.lock();
        let row = state.rows.entry(edge.clone()).or_default();
        if row.view.as_deref() == Some(&view) {
            return;
        }
        row.view = Some(Arc::new(view));
        row.epoch += 1;
        drop(state);
        self.news.push(edge.clone());
    }

    /// Begins to keep the identity of an edge; none while somebody else works on it, and for an edge that went.
    #[must_use]
    pub fn begin(&self, edge: &EdgeKey, uid: Option<&str>) -> Option<Turn> {
        let mut state = self.lock();
        if uid.is_some_and(|uid| state.departed.iter().any(|departed| departed == uid)) {
            return None;
        }
        self.turn(&mut state, edge)
    }

    /// From now on nobody keeps the identity of this edge; none while somebody still does: Core may take its time.
    #[must_use]
    pub fn depart(&self, edge: &EdgeKey, uid: Option<&str>) -> Option<Turn> {
        let mut state = self.lock();
        if let Some(uid) = uid.filter(|uid| !state.departed.iter().any(|departed| departed == uid)) {
            state.departed.truncate(DEPARTED - 1);
            state.departed.push_front(uid.to_owned());
        }
        self.turn(&mut state, edge)
    }

    /// The edge is gone.
    pub fn forget(&self, edge: &EdgeKey) {
        let mut state = self.lock();
        if let Some(row) = state.rows.get_mut(edge) {
            row.view = None;
            if !row.busy {
                state.rows.remove(edge);
            }
        }
    }

    fn turn(&self, state: &mut State, edge: &EdgeKey) -> Option<Turn> {
        let row = state.rows.entry(edge.clone()).or_default();
        let free = !std::mem::replace(&mut row.busy, true);
        free.then(|| Turn { board: self.clone(), edge: edge.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.board.lock();
        if let Some(row) = state.rows.get_mut(&self.edge) {
            row.busy = false;
            if row.view.is_none() {
                state.rows.remove(&self.edge);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge() -> EdgeKey {
        EdgeKey { namespace: "dns".into(), name: "a".into() }
    }

    #[test]
    fn only_what_is_new_is_news() {
        let news = Queue::default();
        let board = IdentityBoard::new(news.clone());
        board.publish(&edge(), IdentityView::of(Standing::Restoring));
        assert_eq!((board.epoch(&edge()), news.take()), (1, vec![edge()]));
        board.publish(&edge(), IdentityView::of(Standing::Restoring));
        assert_eq!(news.take(), []);
        board.publish(&edge(), IdentityView::of(Standing::Leaving));
        assert_eq!((board.epoch(&edge()), news.take()), (2, vec![edge()]));
    }

    #[test]
    fn one_at_a_time_and_nobody_after_the_edge_went() {
        let board = IdentityBoard::default();
        let keeping = board.begin(&edge(), Some("u")).unwrap();
        assert!(board.depart(&edge(), Some("u")).is_none(), "a call to Core is under way");
        drop(keeping);
        assert!(board.begin(&edge(), Some("u")).is_none(), "the edge is about to go");
        assert!(board.depart(&edge(), Some("u")).is_some());
        board.forget(&edge());
        assert!(board.begin(&edge(), Some("u")).is_none(), "a round from before");
        assert!(board.begin(&edge(), Some("another")).is_some(), "a new edge of the same name");
    }
}
