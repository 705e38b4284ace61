//! The socket and its file.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// The resolver runs as another user in another container, and the folder is shared by these two alone.
pub(super) const SOCKET_MODE: u32 = 0o666;

/// A listening socket and the file that leads to it.
#[derive(Debug)]
pub(super) struct BoundSocket {
    pub(super) listener: UnixListener,
    pub(super) path: PathBuf,
    identity: (u64, u64),
    mode: u32,
}

impl BoundSocket {
    pub(super) fn bind(path: &Path, mode: u32) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        remove_stale(path)?;
        let listener = UnixListener::bind(path)?;
        let metadata = std::fs::symlink_metadata(path)?;
        let mut socket = Self { listener, path: path.to_owned(), identity: (metadata.dev(), metadata.ino()), mode };
        socket.set_mode(mode)?;
        Ok(socket)
    }

    /// Who may connect.
    pub(super) fn set_mode(&mut self, mode: u32) -> io::Result<()> {
        self.mode = mode;
        std::fs::set_permissions(&self.path, Permissions::from_mode(mode))
    }

    /// The same again, where the file is gone.
    pub(super) fn again(&self) -> io::Result<Self> {
        Self::bind(&self.path, self.mode)
    }

    pub(super) fn file_is_ours(&self) -> bool {
        std::fs::symlink_metadata(&self.path).is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.identity)
    }
}

impl Drop for BoundSocket {
    /// Leaves the file alone when another process has put its own there.
    fn drop(&mut self) {
        if self.file_is_ours() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Removes what an earlier process left, but nothing that is not a socket: a wrong path must not cost a file.
fn remove_stale(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => std::fs::remove_file(path),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is not a socket")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
