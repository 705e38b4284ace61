//! The file of the dump.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

use super::{Asked, Dumped, line};

/// Octets of the file at most, those included that were there before.
pub(super) const MOST: u64 = 64 << 20;

/// Appends lines until the file is full.
#[derive(Debug)]
pub(super) struct Writer {
    /// None when no more is written.
    file: Option<File>,
    octets: u64,
    most: u64,
    addresses: bool,
    counts: Dumped,
}

impl Writer {
    /// Only this user may read what is in it.
    pub(super) fn open(asked: &Asked, counts: Dumped) -> Self {
        let mut writer = Self { file: None, octets: 0, most: MOST, addresses: asked.addresses, counts };
        match opened(&asked.file) {
            Ok((file, octets)) => (writer.file, writer.octets) = (Some(file), octets),
            Err(error) => tracing::error!(file = %asked.file.display(), %error, "the debug dump cannot be written"),
        }
        writer
    }

    #[cfg(test)]
    pub(super) const fn holding(mut self, most: u64) -> Self {
        self.most = most;
        self
    }

    /// Whether nothing more will be written.
    pub(super) const fn has_ended(&self) -> bool {
        self.file.is_none()
    }

    /// A line, if the frame says anything.
    pub(super) fn write(&mut self, frame: &[u8]) {
        let Some(file) = &mut self.file else {
            self.counts.dropped.inc();
            return;
        };
        let Some(line) = line::of(frame, self.addresses) else { return };
        let octets = line.len() as u64;
        if self.octets + octets > self.most {
            return self.end(&format!("it has {} of the {} octets that it may have", self.octets, self.most));
        }
        match file.write_all(line.as_bytes()) {
            Ok(()) => {
                self.octets += octets;
                self.counts.written.inc();
            }
            Err(error) => self.end(&error.to_string()),
        }
    }

    /// Says it once.
    fn end(&mut self, reason: &str) {
        self.file = None;
        self.counts.dropped.inc();
        tracing::warn!(reason, "nothing more is written to the debug dump");
    }
}

/// A file of this user, under this name alone: whoever else may write into its folder must not choose what is written to, nor whose mode is changed.
fn opened(path: &Path) -> io::Result<(File, u64)> {
    // Opening a pipe would wait for a reader.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(flags).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() || found.nlink() != 1 || found.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other("it is there and no file of this user under this name alone"));
    }
    // It may have been there.
    file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    Ok((file, found.len()))
}
