//! A crash leaves no memory behind: addresses are in there.

use std::io;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// From now on the kernel writes no dump of this process's memory, nor gives it to a program that keeps dumps, nor lets other processes of this
/// user read it.
///
/// # Errors
/// When the kernel refuses, as no Linux does.
pub fn hide_memory() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}
