//! A disk that is small enough to be filled.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

const PIECE: usize = 64 << 10;

/// A file system in memory; it is gone when this is dropped.
#[derive(Debug)]
pub(super) struct Tmpfs {
    folder: PathBuf,
}

impl Tmpfs {
    pub(super) fn mount(folder: &Path, mebibytes: u32) -> Result<Self> {
        let size = format!("size={mebibytes}m");
        let status =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder).status().context("starting mount")?;
        ensure!(status.success(), "a small disk cannot be mounted (not root?): {status}");
        Ok(Self { folder: folder.to_owned() })
    }

    /// Until not one octet more fits.
    pub(super) fn fill(&self) -> Result<()> {
        let mut file = File::create(self.ballast()).context("filling the disk")?;
        let mut piece = PIECE;
        while piece > 0 {
            match file.write(&vec![1; piece]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => piece /= 2,
                Err(error) => return Err(error).context("filling the disk"),
            }
        }
        Ok(())
    }

    pub(super) fn free(&self) -> Result<()> {
        fs::remove_file(self.ballast()).context("making room on the disk")
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: whoever still has files open there may go on.
        let _ = Command::new("umount").arg("--lazy").arg(&self.folder).status();
    }
}
