//! Each change of a file of this module passes here, so that tests can end the process at every one of them.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use crate::disk::{self, Unfinished};

/// A new file with this beginning, to be appended to. It is there as a whole or not at all.
pub(super) fn begin(folder: &Path, name: &str, beginning: &[u8]) -> io::Result<File> {
    pass(None)?;
    let mut file = Unfinished::create(folder, name)?;
    file.write_all(beginning)?;
    file.finish()?;
    open(&folder.join(name))
}

/// A file that is there, to be read and appended to.
pub(super) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).open(path)
}

/// A file that is there, to be read.
pub(super) fn to_read(path: &Path) -> io::Result<File> {
    note_read(path)?;
    File::open(path)
}

/// The disk gives something back damaged, or not at all: trying again does not help.
pub(super) fn is_damage(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

/// Appends; what was written of it when that fails is cut again where that is possible.
pub(super) fn append(file: &File, end: u64, octets: &[u8]) -> io::Result<()> {
    let written = pass(Some((file, octets))).and_then(|()| (&*file).write_all(octets));
    if written.is_err() {
        // Nothing that comes later is to stand behind half of this.
        let _ = cut(file, end);
    }
    written
}

/// Makes a file shorter.
pub(super) fn cut(file: &File, end: u64) -> io::Result<()> {
    pass(None)?;
    file.set_len(end)
}

/// Makes what was written survive the end of the machine.
pub(super) fn sync(file: &File) -> io::Result<()> {
    note_sync(file)?;
    file.sync_data()
}

/// Writes at a place.
pub(super) fn write_at(file: &File, octets: &[u8], offset: u64) -> io::Result<()> {
    use std::os::unix::fs::FileExt as _;

    pass(None)?;
    file.write_all_at(octets, offset)
}

/// Removes a file.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    pass(None)?;
    note_name(path)?;
    disk::remove(path)
}

/// Gives a file a second name, if it has that not already.
pub(super) fn link(from: &Path, to: &Path) -> io::Result<()> {
    pass(None)?;
    note_name(to)?;
    match std::fs::hard_link(from, to) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    }
}

/// Gives a file another name.
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    pass(None)?;
    std::fs::rename(from, to)
}

#[cfg(not(test))]
#[expect(clippy::unnecessary_wraps, reason = "tests have another one")]
#[inline]
const fn pass(_: Option<(&File, &[u8])>) -> io::Result<()> {
    Ok(())
}

#[cfg(not(test))]
#[expect(clippy::unnecessary_wraps, reason = "tests have another one")]
#[inline]
const fn note_sync(_: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(not(test))]
#[expect(clippy::unnecessary_wraps, reason = "tests have another one")]
#[inline]
const fn note_read(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(not(test))]
#[expect(clippy::unnecessary_wraps, reason = "tests have another one")]
#[inline]
const fn note_name(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
pub(super) use for_tests::{crash_after, fail_reads_of, fail_syncs_of, has_crashed, hold_names, let_read, synced};
#[cfg(test)]
use for_tests::{note_name, note_read, note_sync, pass};

#[cfg(test)]
mod for_tests {
    use std::cell::{Cell, RefCell};
    use std::fs::File;
    use std::io::{self, Write as _};
    use std::os::fd::AsRawFd as _;
    use std::path::Path;

    use rustix::io::Errno;

    thread_local! {
        static LEFT: Cell<Option<usize>> = const { Cell::new(None) };
        static FAILING: Cell<Option<&'static str>> = const { Cell::new(None) };
        static UNREADABLE: Cell<Option<(&'static str, Errno)>> = const { Cell::new(None) };
        static HELD: Cell<Option<&'static str>> = const { Cell::new(None) };
        static READABLE: Cell<usize> = const { Cell::new(0) };
        static SYNCED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    }

    /// On this thread, files whose names begin thus cannot be synced.
    pub(in super::super) fn fail_syncs_of(prefix: Option<&'static str>) {
        FAILING.set(prefix);
    }

    /// On this thread, files whose names begin thus cannot be read, for this reason.
    pub(in super::super) fn fail_reads_of(files: Option<(&'static str, Errno)>) {
        UNREADABLE.set(files);
    }

    /// On this thread, names that begin thus can be given to no file that has one, and taken from none.
    pub(in super::super) fn hold_names(prefix: Option<&'static str>) {
        HELD.set(prefix);
    }

    pub(super) fn note_name(path: &Path) -> io::Result<()> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if HELD.get().is_some_and(|prefix| name.starts_with(prefix)) { Err(Errno::PERM.into()) } else { Ok(()) }
    }

    /// So many of them can be read before.
    pub(in super::super) fn let_read(times: usize) {
        READABLE.set(times);
    }

    pub(super) fn note_read(path: &Path) -> io::Result<()> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match UNREADABLE.get() {
            Some((prefix, _)) if name.starts_with(prefix) && READABLE.get() > 0 => {
                READABLE.set(READABLE.get() - 1);
                Ok(())
            }
            Some((prefix, error)) if name.starts_with(prefix) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Names of the files that this thread synced since the last call, in order.
    pub(in super::super) fn synced() -> Vec<String> {
        SYNCED.take()
    }

    pub(super) fn note_sync(file: &File) -> io::Result<()> {
        let path = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if FAILING.get().is_some_and(|prefix| name.starts_with(prefix)) {
            return Err(io::Error::other("the disk has failed"));
        }
        SYNCED.with_borrow_mut(|synced| synced.push(name));
        Ok(())
    }

    /// This thread makes so many more changes; the next one is made by half, if it can be, and none after it.
    pub(in super::super) fn crash_after(changes: Option<usize>) {
        LEFT.set(changes);
    }

    /// Whether that was reached.
    pub(in super::super) fn has_crashed() -> bool {
        LEFT.get() == Some(0)
    }

    pub(super) fn pass(half: Option<(&File, &[u8])>) -> io::Result<()> {
        match LEFT.get() {
            None => return Ok(()),
            Some(0) => {}
            Some(1) => {
                LEFT.set(Some(0));
                if let Some((mut file, octets)) = half {
                    file.write_all(&octets[..octets.len() / 2])?;
                }
            }
            Some(left) => {
                LEFT.set(Some(left - 1));
                return Ok(());
            }
        }
        Err(io::Error::other("the process has ended"))
    }
}
