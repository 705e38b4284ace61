//! How often each source could not be had.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// By name of the source. Each attempt counts, also where it fails as the one before did and nobody is told again.
#[derive(Clone, Debug, Default)]
pub struct Failures(Arc<Mutex<BTreeMap<Arc<str>, u64>>>);

impl Failures {
    pub(super) fn count(&self, source: &Arc<str>) {
        *self.known().entry(Arc::clone(source)).or_default() += 1;
    }

    /// Forgets those of others.
    pub(crate) fn keep(&self, sources: &[String]) {
        self.known().retain(|known, _| sources.iter().any(|source| **source == **known));
    }

    /// All of them.
    pub(crate) fn all(&self) -> BTreeMap<Arc<str>, u64> {
        self.known().clone()
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
