//! What waits for the disk, on a thread of its own: flushing, reservations, and removing files when nothing needs them any more.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use tokio::sync::mpsc;

use super::disk::probe;
use crate::state::failpoint::pass;
use crate::state::file::sync_directory;
use crate::state::manifest;
use crate::state::numbers::{Gate, Reserved};
use crate::zone::Serial;

/// Work. At most one of each kind is under way.
#[derive(Debug)]
pub(crate) enum Chore {
    /// A reservation of numbers, in this folder.
    Reserve(Reserved, PathBuf, Gate),
    /// What was written to these.
    Flush(Vec<Arc<File>>),
    /// The manifest of this folder; then these files go.
    Settle(PathBuf, Vec<PathBuf>, Serial),
    /// Whether this folder takes something again, and the lock of it where that is needed.
    Probe(PathBuf, bool),
}

/// What became of it.
#[derive(Debug)]
pub(crate) enum Kept {
    /// A reservation.
    Reserved(io::Result<Reserved>),
    /// Flushed.
    Flushed(io::Result<()>),
    /// The base with this number is what a restart begins with, whatever happens.
    Settled(io::Result<Serial>),
    /// It does, and this is the lock.
    Probed(io::Result<Option<File>>),
}

/// Begins the thread. It ends when nobody has work for it any more.
pub(crate) fn spawn(tell: mpsc::Sender<super::Outcome>) -> io::Result<(SyncSender<Chore>, JoinHandle<()>)> {
    let (chores, work) = sync_channel(8);
    let thread = std::thread::Builder::new().name("keeper".to_owned()).spawn(move || run(&work, &tell))?;
    Ok((chores, thread))
}

fn run(work: &Receiver<Chore>, tell: &mpsc::Sender<super::Outcome>) {
    while let Ok(chore) = work.recv() {
        if tell.blocking_send(super::Outcome::Kept(done(chore))).is_err() {
            return;
        }
    }
}

fn done(chore: Chore) -> Kept {
    match chore {
        Chore::Reserve(reserved, folder, gate) => Kept::Reserved(gate.write(&reserved, &folder).map(|()| reserved)),
        Chore::Flush(files) => Kept::Flushed(files.iter().try_for_each(|file| file.sync_data())),
        Chore::Settle(folder, useless, serial) => Kept::Settled(settle(&folder, &useless).map(|()| serial)),
        Chore::Probe(folder, needs_lock) => Kept::Probed(probe(&folder, needs_lock)),
    }
}

fn settle(folder: &std::path::Path, useless: &[PathBuf]) -> io::Result<()> {
    File::open(folder.join(manifest::FILE))?.sync_all()?;
    sync_directory(folder)?;
    for path in useless {
        match pass(path).and_then(|()| fs::remove_file(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "a former file of the zone cannot be removed");
            }
            _ => {}
        }
    }
    Ok(())
}
