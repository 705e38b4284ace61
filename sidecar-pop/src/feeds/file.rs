//! Lists in files: the folder is watched, a private copy is taken when it is stable, read, and put in place of the one before.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tapir_runtime::panics::Panicked;
use tapir_runtime::shutdown::Shutdown;
use tapir_runtime::watch::DirectoryWatch;
use tapir_wire::config::pop::FileSource;
use tokio::time::sleep;

use super::NewsSender;
use super::aside::{AGAIN, lent};
use super::collect::{CollectError, Place, collect};
use super::lists::{Fit, Form};
use super::store::{Copy, Leave, Marks, Store};
use super::teller::{Gone, Teller};

/// A file that was written to so short a time ago may be written to still.
const RECENT: Duration = Duration::from_secs(1);
/// How long it must be quiet then.
const QUIET: Duration = Duration::from_millis(50);
/// Attempts to find it quiet, until this is said; then it is tried less often.
const ATTEMPTS: u32 = 20;
/// Pause after a file that could not be taken, and after a copy that the disk had no room for.
const PAUSE: Duration = Duration::from_secs(5);

/// One source.
#[derive(Debug)]
pub struct FileFeed {
    source: Arc<str>,
    path: PathBuf,
    form: Form,
    fit: Fit,
    store: Store,
    /// Largest file that is taken.
    most: u64,
    held: Option<Copy>,
    /// Who is told that something new is being read.
    tell: Option<NewsSender>,
}

/// Why a file was not taken. What it had before stays.
#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error("{path}: {source}", path = path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("{path} is no file", path = .0.display())]
    NoFile(PathBuf),
    #[error("{path} has {octets} octets, more than the limit of {most}; raise limits.sourceOctets if that is meant", path = path.display())]
    TooLarge { path: PathBuf, octets: u64, most: u64 },
    #[error("{path} changes all the time", path = .0.display())]
    Unstable(PathBuf),
    #[error("{path}: {source}", path = path.display())]
    List { path: PathBuf, source: CollectError },
    #[error("keeping a copy: {0}")]
    Keep(io::Error),
}

impl FileError {
    /// Whether our disk is to blame, and not the list.
    fn is_of_disk(&self) -> bool {
        match self {
            Self::Keep(_) => true,
            Self::Open { source, .. } => matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded),
            Self::List { source, .. } => source.is_of_disk(),
            Self::NoFile(_) | Self::TooLarge { .. } | Self::Unstable(_) => false,
        }
    }
}

enum Look {
    /// Another content, which counts from now on.
    New,
    Same,
    Failed(FileError),
}

impl FileFeed {
    /// The source `name`, whose file lies in `folder` unless it says its whole path.
    #[must_use]
    pub fn new(name: &str, file: &FileSource, folder: &Path, fit: Fit, data: &Path, most: u64) -> Self {
        let (path, form) = (folder.join(&file.path), Form::of_file(file));
        let identity = format!("file {form:?} room {}", fit.room());
        let store = Store::open(data, name, identity);
        Self { source: name.into(), path, form, fit, store, most, held: None, tell: None }
    }

    /// For who may say that it is not wanted any more.
    #[must_use]
    pub fn leaving(self, leave: &Leave) -> Self {
        Self { store: self.store.leaving(leave), ..self }
    }

    /// Until the shutdown, or until nobody listens.
    pub async fn run(self, to: NewsSender, shutdown: Shutdown) {
        tokio::select! {
            _ = self.go_on(to, &shutdown) => {}
            () = shutdown.requested() => {}
        }
    }

    async fn go_on(mut self, to: NewsSender, shutdown: &Shutdown) -> Result<(), Gone> {
        self.tell = Some(to.clone());
        let mut teller = Teller::new(Arc::clone(&self.source), to);
        let folder = self.path.parent().unwrap_or(Path::new("/")).to_owned();
        let mut watch = DirectoryWatch::new(folder, shutdown.reloads());
        let mut panicked = AGAIN.start();
        // A copy that cannot be read is none.
        let (mut feed, _) = lent(self, |feed| feed.held = feed.store.load()).await;
        if let Some(held) = &feed.held {
            teller.whole(held).await?;
        }
        loop {
            let (back, look) = lent(feed, Self::look).await;
            feed = back;
            let now = Timestamp::now();
            let again = match look {
                Ok(Look::Failed(_)) => Some(PAUSE),
                // It is a file like others that was read for nothing: less and less often.
                Err(Panicked) => Some(panicked.next_pause()),
                Ok(Look::New | Look::Same) => {
                    panicked.reset();
                    None
                }
            };
            match (look, &feed.held) {
                (Ok(Look::New), Some(held)) => {
                    tracing::info!(
                        source = &*feed.source,
                        names = held.meta.entries,
                        rejected = held.meta.rejected.count,
                        "list read"
                    );
                    teller.whole(held).await?;
                    teller.good(now, None).await?;
                }
                (Ok(Look::New | Look::Same), _) => teller.good(now, None).await?,
                (Ok(Look::Failed(error)), _) => teller.bad(error.to_string(), now, None).await?,
                (Err(Panicked), _) => teller.panicked(now, None).await?,
            }
            let pause = sleep(again.unwrap_or_default());
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    () = watch.changed() => break,
                    () = &mut pause, if again.is_some() => break,
                    () = sleep(PAUSE), if feed.store.is_in_memory() => (feed, _) = lent(feed, Self::write_down).await,
                }
            }
        }
    }

    /// What only memory holds goes to the disk, should there be room by now: a restart would begin with the list before it.
    fn write_down(&mut self) {
        if let Some(held) = &mut self.held
            && self.store.update(held).is_ok()
        {
            tracing::info!(source = &*self.source, "the list is on the disk now");
        }
    }

    fn look(&mut self) -> Look {
        match self.take() {
            Ok(true) => Look::New,
            Ok(false) => Look::Same,
            Err(error) => Look::Failed(error),
        }
    }

    /// What the disk has no room for is taken into memory until there is some.
    fn take(&mut self) -> Result<bool, FileError> {
        match self.take_by(true) {
            Err(error) if error.is_of_disk() => self.take_by(false).map_err(|_| error),
            taken => taken,
        }
    }

    fn take_by(&mut self, on_disk: bool) -> Result<bool, FileError> {
        self.store.look();
        let (staged, sha256) = self.stage(on_disk)?;
        if self.held.as_ref().is_some_and(|held| held.marks.sha256.as_ref() == Some(&sha256)) {
            return Ok(false);
        }
        if let Some(to) = &self.tell {
            to.coming(&self.source);
        }
        let list = |source| FileError::List { path: self.path.clone(), source };
        let place = if on_disk { self.store.next_place() } else { Place::Memory };
        let collected = collect(&self.form, &staged, self.fit, &place).map_err(list)?;
        let meta = collected.meta(Timestamp::now(), None);
        let copy = Copy::new(&collected, meta, Marks { sha256: Some(sha256), ..Marks::default() });
        if on_disk {
            self.store.keep(&copy).map_err(FileError::Keep)?;
        } else {
            tracing::warn!(source = &*self.source, "the disk takes no copy of the list, it is held in memory");
            self.store.hold_in_memory();
        }
        self.held = Some(copy);
        Ok(true)
    }

    /// A copy that nobody changes, of a file that nobody changed meanwhile, with its SHA-256. Without a disk: the file itself.
    fn stage(&self, on_disk: bool) -> Result<(File, String), FileError> {
        let failed = |source| FileError::Open { path: self.path.clone(), source };
        for _ in 0..ATTEMPTS {
            let mut file = File::open(&self.path).map_err(failed)?;
            let before = file.metadata().map_err(failed)?;
            if !before.is_file() {
                return Err(FileError::NoFile(self.path.clone()));
            }
            if before.len() > self.most {
                return Err(FileError::TooLarge { path: self.path.clone(), octets: before.len(), most: self.most });
            }
            let (mut staged, is_private) = match self.store.scratch().filter(|_| on_disk) {
                Some(scratch) => (scratch.map_err(FileError::Keep)?, true),
                None => (file.try_clone().map_err(failed)?, false),
            };
            // One octet more than it has shows that it grows.
            let mut hashed = Hashed { to: is_private.then_some(&mut staged), hash: Sha256::new(), leave: self.store.leave() };
            let copied = io::copy(&mut (&mut file).take(before.len() + 1), &mut hashed).map_err(failed)?;
            let sha256 = hashed.hash.finalize().iter().map(|octet| format!("{octet:02x}")).collect();
            if is_recent(&before) {
                std::thread::sleep(QUIET);
            }
            // By its path: what was replaced meanwhile is another file.
            let after = fs::metadata(&self.path).map_err(failed)?;
            if copied == before.len() && same(&before, &after) {
                staged.rewind().map_err(failed)?;
                return Ok((staged, sha256));
            }
        }
        Err(FileError::Unstable(self.path.clone()))
    }
}

fn is_recent(metadata: &Metadata) -> bool {
    let age = metadata.modified().ok().and_then(|modified| SystemTime::now().duration_since(modified).ok());
    // A time of the future says nothing.
    age.is_none_or(|age| age < RECENT)
}

fn same(one: &Metadata, other: &Metadata) -> bool {
    let of = |metadata: &Metadata| (metadata.dev(), metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec());
    of(one) == of(other)
}

struct Hashed<'a> {
    to: Option<&'a mut File>,
    hash: Sha256,
    leave: Leave,
}

impl Write for Hashed<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        if self.leave.has_left() {
            return Err(io::Error::other("the source is not wanted any more"));
        }
        if let Some(to) = &mut self.to {
            to.write_all(octets)?;
        }
        self.hash.update(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
