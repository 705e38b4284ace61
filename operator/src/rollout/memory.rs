//! What is remembered between rounds. All of it may be lost: then a Pod is watched a moment longer, and an image asked for once more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tapir_plan::fleet::Fleet;
use tapir_plan::rollout::Watch;
use tokio::sync::OnceCell;

use super::ask::Answers;
use super::ledger::Ledger;
use super::pull::Pulls;
use crate::cache::Queue;
use crate::settings::Settings;
use crate::sidecars::EdgeKey;

/// Everything that rollouts share; clones share it.
#[derive(Clone, Debug)]
pub struct Rollouts(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    ledger: Ledger,
    learnt: OnceCell<()>,
    answers: Answers,
    settings: Arc<Settings>,
    memories: Mutex<HashMap<EdgeKey, Memory>>,
}

/// Of one edge.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub watch: Option<Watch>,
    pub switched_since: Option<Timestamp>,
    pub observing_since: Option<Timestamp>,
    pub pulls: Pulls,
}

impl Rollouts {
    /// Nothing is known yet. Edges whose turn has come are named to `news`.
    #[must_use]
    pub fn new(settings: Arc<Settings>, answers: Answers, news: Queue<EdgeKey>) -> Self {
        let (ledger, learnt, memories) = (Ledger::new(news), OnceCell::new(), Mutex::default());
        Self(Arc::new(Inner { ledger, learnt, answers, settings, memories }))
    }

    /// Whose turn it is.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.0.ledger
    }

    /// An edge is gone, suspended, or on its way out: it takes no turn.
    pub fn forget(&self, edge: &EdgeKey) {
        self.0.memories.lock().unwrap_or_else(PoisonError::into_inner).remove(edge);
        self.ledger().forget(edge, self.fleet(), Timestamp::now());
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    pub(super) fn fleet(&self) -> Fleet {
        let rollout = &self.0.settings.rollout;
        Fleet { max_concurrent: rollout.max_concurrent_edges as usize, soak: rollout.canary_soak }
    }

    pub(super) fn answers(&self) -> &Answers {
        &self.0.answers
    }

    pub(super) fn learnt(&self) -> &OnceCell<()> {
        &self.0.learnt
    }

    pub(super) fn memory<T>(&self, edge: &EdgeKey, of: impl FnOnce(&mut Memory) -> T) -> T {
        of(self.0.memories.lock().unwrap_or_else(PoisonError::into_inner).entry(edge.clone()).or_default())
    }
}
