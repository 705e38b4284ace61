//! One file: created aside, written, synced, renamed, its folder synced.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::Failpoint;

pub(super) const UNFINISHED: &str = ".tmp";
const BUFFER: usize = 64 * 1024;

/// A file that has not got its name yet. Dropped, it goes.
#[derive(Debug)]
pub struct Unfinished {
    file: Option<BufWriter<File>>,
    temporary: PathBuf,
    folder: PathBuf,
    path: PathBuf,
}

impl Unfinished {
    /// A file that shall be called `name` in `folder`, which is made where it is missing. Nobody but this user and its group reads either.
    ///
    /// # Errors
    /// When one of them cannot be made.
    pub fn create(folder: &Path, name: &str) -> io::Result<Self> {
        Self::with_mode(folder, name, 0o640)
    }

    /// The same, but the group does not read the file either.
    ///
    /// # Errors
    /// When one of them cannot be made.
    pub fn private(folder: &Path, name: &str) -> io::Result<Self> {
        Self::with_mode(folder, name, 0o600)
    }

    fn with_mode(folder: &Path, name: &str, mode: u32) -> io::Result<Self> {
        make_folder(folder)?;
        let (path, temporary) = (folder.join(name), folder.join(format!("{name}{UNFINISHED}")));
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
        Failpoint::FileCreated.pass();
        Ok(Self { file: Some(BufWriter::with_capacity(BUFFER, file)), temporary, folder: folder.to_owned(), path })
    }

    /// Another name than the one that was said first.
    #[must_use]
    pub fn called(mut self, name: &str) -> Self {
        self.path = self.folder.join(name);
        self
    }

    /// Brings what was written so far to the disk, and out of the page cache, which would grow with the file.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn settle(&mut self) -> io::Result<()> {
        let buffer = self.buffer()?;
        buffer.flush()?;
        buffer.get_ref().sync_data()?;
        forget_pages(buffer.get_ref());
        Ok(())
    }

    /// Gives it its name, in place of what had it. Afterwards it is there even if the machine loses power.
    ///
    /// # Errors
    /// When any step fails; then the file is gone, or it is there and may not survive a loss of power.
    pub fn finish(mut self) -> io::Result<()> {
        let Some(file) = self.file.take() else { return Ok(()) };
        // What fails from here on drops the path as well as the file.
        let outcome = self.finish_file(file);
        if outcome.is_err() {
            let _ = fs::remove_file(&self.temporary);
        }
        outcome?;
        Failpoint::FileRenamed.pass();
        sync_folder(&self.folder)
    }

    /// The same for a name that nobody has.
    ///
    /// # Errors
    /// When any step fails; then there is no file of that name.
    pub fn finish_new(self) -> io::Result<()> {
        let path = self.path.clone();
        self.finish().inspect_err(|_| drop(fs::remove_file(path)))
    }

    fn finish_file(&self, file: BufWriter<File>) -> io::Result<()> {
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        Failpoint::FileWritten.pass();
        file.sync_all()?;
        forget_pages(&file);
        Failpoint::FileSynced.pass();
        fs::rename(&self.temporary, &self.path)
    }

    fn buffer(&mut self) -> io::Result<&mut BufWriter<File>> {
        self.file.as_mut().ok_or_else(|| io::Error::other("the file is finished"))
    }
}

impl Write for Unfinished {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let written = self.buffer()?.write(octets)?;
        Failpoint::FileHalf.pass();
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.buffer()?.flush()
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            // Without writing what is still in the buffer: the disk may be full.
            let (file, _) = file.into_parts();
            drop(file);
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Moves a file into another folder of the same disk, in place of what has its name there.
///
/// # Errors
/// When it cannot be moved. Where only the folders could not be synced it is moved, and a loss of power may undo that.
pub fn move_into(from: &Path, name: &str, to: &Path) -> io::Result<()> {
    make_folder(to)?;
    fs::rename(from.join(name), to.join(name))?;
    Failpoint::FileMoved.pass();
    sync_folder(to)?;
    sync_folder(from)
}

/// Removes a file; one that is not there is as good as removed.
///
/// # Errors
/// When it is there and stays.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// They count as this container's memory, and nobody reads them soon. Advice alone: whether it is taken does not matter.
fn forget_pages(file: &File) {
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
}

/// A folder for this user alone, and those above it.
pub(crate) fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    // Each that is new is a name in the one above it, which has to reach the disk.
    let new: Vec<&Path> = folder.ancestors().take_while(|folder| !folder.is_dir()).filter_map(Path::parent).collect();
    DirBuilder::new().recursive(true).mode(0o750).create(folder)?;
    new.into_iter().rev().try_for_each(sync_folder)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    // What has no name is the working directory.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    #[cfg(test)]
    tests::synced(folder)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    thread_local! {
        /// Folders that this thread synced.
        static SYNCED: std::cell::RefCell<Vec<PathBuf>> = const { std::cell::RefCell::new(Vec::new()) };
        /// Whether that fails.
        static FAILS: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    }

    pub(super) fn synced(folder: &Path) -> io::Result<()> {
        SYNCED.with_borrow_mut(|synced| synced.push(folder.to_owned()));
        if FAILS.get() { Err(io::ErrorKind::Other.into()) } else { Ok(()) }
    }

    #[test]
    fn a_new_name_that_may_not_survive_is_given_to_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = Unfinished::create(folder.path(), "x").unwrap();
        FAILS.set(true);
        file.finish_new().unwrap_err();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        FAILS.set(false);
        Unfinished::create(folder.path(), "x").unwrap().finish_new().unwrap();
        assert!(folder.path().join("x").exists());
    }

    #[test]
    fn every_folder_that_is_new_survives() {
        let folder = tempfile::tempdir().unwrap();
        SYNCED.take();
        make_folder(&folder.path().join("a/b/c")).unwrap();
        assert_eq!(SYNCED.take(), ["", "a", "a/b"].map(|above| folder.path().join(above)));
        make_folder(&folder.path().join("a/b/c")).unwrap();
        make_folder(&folder.path().join("a/b/d")).unwrap();
        assert_eq!(SYNCED.take(), [folder.path().join("a/b")]);
    }

    #[test]
    fn a_file_has_its_name_only_when_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("a/b");
        let mut file = Unfinished::create(&below, "x").unwrap();
        file.write_all(b"whole").unwrap();
        assert!(!below.join("x").exists() && below.join("x.tmp").exists());
        file.finish().unwrap();
        assert_eq!(fs::read(below.join("x")).unwrap(), b"whole");
        assert!(!below.join("x.tmp").exists());
        assert_eq!(fs::metadata(below.join("x")).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::metadata(&below).unwrap().permissions().mode() & 0o007, 0);
    }

    #[test]
    fn a_private_file_may_get_another_name_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = Unfinished::private(folder.path(), "first").unwrap();
        file.write_all(b"one").unwrap();
        file.settle().unwrap();
        assert_eq!(fs::read(folder.path().join("first.tmp")).unwrap(), b"one");
        file.write_all(b" two").unwrap();
        file.called("second").finish().unwrap();
        let path = folder.path().join("second");
        assert_eq!((fs::read(&path).unwrap().as_slice(), fs::read_dir(folder.path()).unwrap().count()), (&b"one two"[..], 1));
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_is_given_up_is_gone_and_the_old_file_stays() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("x"), "old").unwrap();
        let mut file = Unfinished::create(folder.path(), "x").unwrap();
        file.write_all(b"new").unwrap();
        drop(file);
        assert_eq!(fs::read(folder.path().join("x")).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_name_that_cannot_be_had_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("x")).unwrap();
        fs::write(folder.path().join("x/y"), "").unwrap();
        let file = Unfinished::create(folder.path(), "x").unwrap();
        file.finish().unwrap_err();
        assert!(!folder.path().join("x.tmp").exists());
    }
}
