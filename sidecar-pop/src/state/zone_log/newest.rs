//! Which segment is the newest, beside the segments: one that is not there any more is missed.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::state::failpoint::pass;

/// Not like a segment: who removes those leaves it.
const FILE: &str = "newest-segment";

/// Its number; 0: there is none, and none is missed. `None`: that is not known.
pub(super) fn read(folder: &Path) -> Option<u64> {
    fs::read_to_string(folder.join(FILE)).ok()?.trim_end().parse().ok()
}

/// Always of one length and in one place, so that a process which is killed leaves this number or the one before.
pub(super) fn write(folder: &Path, number: u64) -> io::Result<()> {
    let path = folder.join(FILE);
    pass(&path)?;
    let file = File::options().create(true).truncate(false).write(true).open(path)?;
    file.write_all_at(format!("{number:020}\n").as_bytes(), 0)
}
