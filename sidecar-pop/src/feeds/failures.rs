//! How often each source could not be had, and whose content makes this program panic.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// By name of the source. Each attempt counts, also where it fails as the one before did and nobody is told again.
#[derive(Clone, Debug, Default)]
pub struct Failures(Arc<Mutex<BTreeMap<Arc<str>, Failed>>>);

/// Of one source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Failed {
    /// Attempts, those that panicked among them.
    pub(crate) attempts: u64,
    /// Attempts that panicked.
    pub(crate) panics: u64,
    /// The last one did.
    pub(crate) is_at_fault: bool,
}

impl Failures {
    /// An attempt failed.
    pub(crate) fn count(&self, source: &Arc<str>) {
        let mut known = self.known();
        let failed = known.entry(Arc::clone(source)).or_default();
        *failed = Failed { attempts: failed.attempts + 1, is_at_fault: false, ..*failed };
    }

    /// An attempt panicked.
    pub(crate) fn panicked(&self, source: &Arc<str>) {
        let mut known = self.known();
        let failed = known.entry(Arc::clone(source)).or_default();
        *failed = Failed { attempts: failed.attempts + 1, panics: failed.panics + 1, is_at_fault: true };
    }

    /// One did not fail.
    pub(crate) fn well(&self, source: &str) {
        if let Some(failed) = self.known().get_mut(source) {
            failed.is_at_fault = false;
        }
    }

    /// Forgets those of others.
    pub(crate) fn keep(&self, sources: &[String]) {
        self.known().retain(|known, _| sources.iter().any(|source| **source == **known));
    }

    /// All of them.
    pub(crate) fn all(&self) -> BTreeMap<Arc<str>, Failed> {
        self.known().clone()
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Failed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
