//! Where tables stand: in files, or in memory when there is no disk.

use std::fs::{self, File};
use std::io::{self, Write};
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Advice, fadvise};

/// Written octets that may wait for the disk. More, and one sync at the end stalls everyone else's.
const SYNC_EVERY: u64 = 4 << 20;

/// Octets that can be read at any place.
#[derive(Clone, Debug)]
pub enum Backing {
    /// A file that nobody changes.
    File(Arc<File>),
    /// No disk: the octets themselves.
    Memory(Arc<[u8]>),
}

impl Backing {
    /// Number of octets.
    pub fn size(&self) -> io::Result<u64> {
        match self {
            Self::File(file) => Ok(file.metadata()?.len()),
            Self::Memory(octets) => Ok(octets.len() as u64),
        }
    }

    /// Fills `to` with what stands from `at` on.
    pub fn read_exact_at(&self, to: &mut [u8], at: u64) -> io::Result<()> {
        match self {
            Self::File(file) => file.read_exact_at(to, at),
            Self::Memory(octets) => {
                let start = usize::try_from(at).unwrap_or(usize::MAX);
                let from = start.checked_add(to.len()).and_then(|end| octets.get(start..end));
                to.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
        }
    }

    /// Lets the kernel drop its copy of this part: it is not read again soon, and counts as memory of the container until then.
    pub fn forget(&self, from: u64, octets: u64) {
        if let (Self::File(file), Some(octets)) = (self, NonZeroU64::new(octets)) {
            // Advice: nothing to do where it is not taken.
            _ = fadvise(&**file, from, Some(octets), Advice::DontNeed);
        }
    }
}

/// A file that becomes visible whole, or not at all.
#[derive(Debug)]
pub struct Staged {
    file: File,
    staged: PathBuf,
    target: PathBuf,
    written: u64,
    synced: u64,
}

impl Staged {
    /// Begins a file that is going to stand at `target`. What an earlier attempt left there is replaced.
    pub fn create(target: &Path) -> io::Result<Self> {
        let mut staged = target.as_os_str().to_owned();
        staged.push(".new");
        let staged = PathBuf::from(staged);
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&staged)?;
        Ok(Self { file, staged, target: target.to_owned(), written: 0, synced: 0 })
    }

    /// Puts it into its place, durable, and hands it out for reading.
    pub fn finish(mut self) -> io::Result<File> {
        self.sync()?;
        fs::rename(&self.staged, &self.target)?;
        let folder = self.target.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        let file = self.file.try_clone();
        self.staged = PathBuf::new();
        file
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        Backing::File(Arc::new(self.file.try_clone()?)).forget(self.synced, self.written - self.synced);
        self.synced = self.written;
        Ok(())
    }
}

impl Write for Staged {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let count = self.file.write(octets)?;
        self.written += count as u64;
        if self.written - self.synced >= SYNC_EVERY {
            self.sync()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Staged {
    /// What was not finished leaves nothing behind.
    fn drop(&mut self) {
        if !self.staged.as_os_str().is_empty() {
            _ = fs::remove_file(&self.staged);
        }
    }
}
