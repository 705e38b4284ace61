//! Tables that are begun, and that nothing names yet.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The file of a table. It goes with the last one who holds this, unless something names it by then: who reads the table reads on, and a feed
/// that was dropped in the midst of its work leaves nothing behind.
#[derive(Clone, Debug, Default)]
pub struct Begun(Option<Arc<Unnamed>>);

#[derive(Debug)]
struct Unnamed {
    path: PathBuf,
    is_named: AtomicBool,
}

impl Begun {
    /// A table that is going to stand there.
    pub(super) fn at(path: &Path) -> Self {
        Self(Some(Arc::new(Unnamed { path: path.to_owned(), is_named: AtomicBool::new(false) })))
    }

    /// The file stays.
    pub(super) fn is_named(&self) {
        if let Some(unnamed) = &self.0 {
            unnamed.is_named.store(true, Ordering::Release);
        }
    }
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        if !self.is_named.load(Ordering::Acquire) {
            // It may never have been made.
            _ = fs::remove_file(&self.path);
        }
    }
}
