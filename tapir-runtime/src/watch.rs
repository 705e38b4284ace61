//! Changes of a mounted folder.
//!
//! Kubernetes replaces the content of a volume by renaming the symbolic link `..data` inside it, so the *folder* is watched,
//! never a file. Content decides: an event after which everything reads as before is none. Because events get lost (network
//! file systems, a full queue of the kernel, a folder that was itself replaced), the content is looked at every ten seconds too.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use crate::shutdown::Reloads;

/// Quiet time after an event before the content is looked at: an editor or `cp` of several files is one change.
const DEBOUNCE: Duration = Duration::from_millis(50);

/// A folder that is never quiet is looked at after this time all the same.
const DEBOUNCE_AT_MOST: Duration = Duration::from_secs(1);

/// Look at the content at least so often.
const POLL: Duration = Duration::from_secs(10);

/// Without a watch (no such folder yet) look more often: a mount that comes late is the usual reason.
const POLL_UNWATCHED: Duration = Duration::from_secs(1);

/// Larger files are told apart by size, time and inode instead of by content.
const HASHED_AT_MOST: u64 = 4 * 1024 * 1024;

/// Tells when the content of a folder changed.
#[derive(Debug)]
pub struct DirectoryWatch {
    directory: PathBuf,
    reloads: Option<Reloads>,
    poll: Duration,
    event: Arc<Notify>,
    /// An event was taken and the content not looked at since: a call of `changed` may be cancelled in between.
    pending: bool,
    watched: Option<Watched>,
    content: u64,
    looks: u64,
}

/// A kernel watch, and of what: a folder that was replaced keeps its path but not its identity.
#[derive(Debug)]
struct Watched {
    _watcher: RecommendedWatcher,
    identity: (u64, u64),
}

impl DirectoryWatch {
    /// Watches `directory`, which need not exist yet. `reloads` comes from [`crate::shutdown::Shutdown::reloads`].
    ///
    /// Make it *before* reading the folder for the first time, so that no change falls between.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>, reloads: Reloads) -> Self {
        Self::with_poll(directory, reloads, POLL)
    }

    /// [`DirectoryWatch::new`] with another interval of the safety net.
    #[must_use]
    pub fn with_poll(directory: impl Into<PathBuf>, reloads: Reloads, poll: Duration) -> Self {
        let directory = directory.into();
        let event = Arc::new(Notify::new());
        let watched = watch(&directory, &event);
        let content = content_of(&directory);
        Self { directory, reloads: Some(reloads), poll, event, pending: false, watched, content, looks: 0 }
    }

    /// Resolves after the folder's content changed since the last call (or since `new`), or at SIGHUP. Cancel safe.
    pub async fn changed(&mut self) {
        loop {
            let poll = if self.watched.is_some() { self.poll } else { self.poll.min(POLL_UNWATCHED) };
            tokio::select! {
                () = reload(&mut self.reloads) => {
                    // What changed at the same time is read by the caller now, or reported by the next call.
                    return;
                }
                () = std::future::ready(()), if self.pending => {}
                () = self.event.notified() => self.pending = true,
                () = sleep(poll) => {}
            }
            if self.pending {
                settle(&self.event).await;
            }
            self.watch_again();
            self.looks += 1;
            let content = self.look().await;
            self.pending = false;
            if content != self.content {
                self.content = content;
                return;
            }
        }
    }

    /// How often the content was looked at because of an event or the safety net.
    #[must_use]
    pub const fn looks(&self) -> u64 {
        self.looks
    }

    fn watch_again(&mut self) {
        let same = self.watched.as_ref().is_some_and(|watched| identity(&self.directory) == Some(watched.identity));
        if !same {
            self.watched = watch(&self.directory, &self.event);
        }
    }

    async fn look(&self) -> u64 {
        let directory = self.directory.clone();
        // Only a panic of `content_of` could end in the error.
        tokio::task::spawn_blocking(move || content_of(&directory)).await.unwrap_or(self.content)
    }
}

/// Resolves at SIGHUP; never, when there is nobody left to send one.
async fn reload(reloads: &mut Option<Reloads>) {
    if let Some(receiver) = reloads {
        if receiver.changed().await.is_ok() {
            return;
        }
        *reloads = None;
    }
    std::future::pending().await
}

async fn settle(event: &Notify) {
    let end = Instant::now() + DEBOUNCE_AT_MOST;
    while Instant::now() < end && timeout(DEBOUNCE, event.notified()).await.is_ok() {}
}

fn watch(directory: &Path, event: &Arc<Notify>) -> Option<Watched> {
    let identity = identity(directory)?;
    let event = Arc::clone(event);
    let tell = move |told: notify::Result<Event>| {
        // Our own look opens the folder, and that is an event too: without this every look would make the next one.
        if !told.is_ok_and(|told| is_reading(&told.kind)) {
            event.notify_one();
        }
    };
    let mut watcher = notify::recommended_watcher(tell).ok()?;
    watcher.watch(directory, RecursiveMode::NonRecursive).ok()?;
    Some(Watched { _watcher: watcher, identity })
}

fn is_reading(kind: &EventKind) -> bool {
    kind.is_access() && *kind != EventKind::Access(AccessKind::Close(AccessMode::Write))
}

fn identity(directory: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::metadata(directory).ok()?;
    metadata.is_dir().then(|| (metadata.dev(), metadata.ino()))
}

/// Names and content of the files in the folder, links followed; entries that begin with `..` are Kubernetes' own machinery.
fn content_of(directory: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    let Ok(entries) = std::fs::read_dir(directory) else {
        return hasher.finish();
    };
    let mut names: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.file_name()).collect();
    names.retain(|name| !name.as_encoded_bytes().starts_with(b".."));
    names.sort();
    for name in names {
        let path = directory.join(&name);
        name.hash(&mut hasher);
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() && metadata.len() <= HASHED_AT_MOST => std::fs::read(&path).ok().hash(&mut hasher),
            Ok(metadata) => (metadata.len(), metadata.mtime(), metadata.mtime_nsec(), metadata.ino()).hash(&mut hasher),
            Err(error) => error.raw_os_error().hash(&mut hasher),
        }
    }
    hasher.finish()
}
