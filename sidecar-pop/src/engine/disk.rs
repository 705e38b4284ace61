//! Whether there is a disk that state can be kept on.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

/// Keeps another process from writing to the same folder.
pub(super) fn lock(folder: &Path) -> io::Result<File> {
    fs::create_dir_all(folder.join("zone"))?;
    let file = File::options().create(true).truncate(false).write(true).open(folder.join("lock"))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
        rustix::io::Errno::WOULDBLOCK => io::Error::other("another process has it"),
        error => error.into(),
    })?;
    Ok(file)
}

pub(super) fn no_disk(folder: &Path, error: &io::Error) -> String {
    format!(
        "state cannot be kept in {}, a restart would have to begin anew: {error}; check dataDir, its permissions and free space",
        folder.display()
    )
}

/// Looks whether there is a disk that takes something, and takes the lock where that is needed.
pub(super) fn probe(folder: &Path, needs_lock: bool) -> io::Result<Option<File>> {
    let lock = if needs_lock { Some(lock(folder)?) } else { None };
    let probe = folder.join("zone").join("probe.new");
    let written = fs::write(&probe, [0; 4096]).and_then(|()| File::open(&probe)?.sync_all());
    _ = fs::remove_file(&probe);
    written.map(|()| lock)
}
