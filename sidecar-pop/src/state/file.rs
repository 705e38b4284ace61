//! Files that are replaced whole.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::failpoint::pass;

/// Writes beside, flushes to the disk, renames: a reader finds the old content or the new one, also after a power loss.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    replace_with(path, |file| file.write_all(content))
}

/// As [`replace`], for content that need not be in memory as a whole.
pub fn replace_with(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::create_dir_all(directory)?;
    let beside = path.with_extension("new");
    if let Err(error) = write_file(&beside, write).and_then(|()| pass(path)).and_then(|()| fs::rename(&beside, path)) {
        // What is torn would only take room that the disk may lack.
        if pass(&beside).is_ok() {
            let _ = fs::remove_file(&beside);
        }
        return Err(error);
    }
    sync_directory(directory)
}

/// What was renamed in a folder is on disk only when the folder is.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn write_file(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    pass(path)?;
    let mut file = BufWriter::new(File::create(path)?);
    write(&mut file)?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_content_and_nothing_beside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file.json");
        replace(&path, b"old").unwrap();
        let torn = replace_with(&path, |file| file.write_all(b"ne").and_then(|()| Err(io::ErrorKind::StorageFull.into())));
        assert!(torn.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
