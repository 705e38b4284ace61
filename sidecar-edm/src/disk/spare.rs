//! How full a disk is.

use std::io;
use std::path::Path;

/// Octets that are free for this user on the disk of a folder; of the first folder above it that is there.
///
/// # Errors
/// When the disk does not say.
pub fn spare(folder: &Path) -> io::Result<u64> {
    let there = folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("."));
    let disk = rustix::fs::statvfs(there)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_yet_has_the_disk_of_the_one_above() {
        let folder = tempfile::tempdir().unwrap();
        assert!(spare(&folder.path().join("a/b")).unwrap() > 0);
    }
}
