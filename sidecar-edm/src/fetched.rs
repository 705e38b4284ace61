//! The list of well-known domains from a web server (`well-known-domains-url`): fetched when it is not there yet, proven by its SHA-256, and kept
//! below `data-dir` under that name, so that a start needs no network.
//!
//! A file is put there whole and proven, or not at all; [`crate::reload`] reads it like any other list. What was fetched and is not the list that is
//! wanted is thrown away. The list that is in force stays beside the one that is wanted, for a start at which that one cannot be had.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use tapir_runtime::back_off::BackOff;
use tapir_runtime::https::{self, Body, FetchError, StatusCode, Url};
use tapir_runtime::shutdown::Shutdown;
use tokio::sync::{Mutex, Notify, OwnedMutexGuard, watch};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::bounded;
use crate::disk::{self, Entry, Unfinished};
use crate::list::{List, ListError, MAX_FILE};
use crate::memory::Budget;

/// Its folder below `data-dir`.
const FOLDER: &str = "well-known-domains";
const SUFFIX: &str = ".dawg";
/// Lists that are tried at a start without the one that is wanted: more are never kept.
const MOST_KEPT: usize = 2;
/// Many edges read the same list, and are told of a new one at the same moment.
const BACK_OFF: BackOff = BackOff { min: Duration::from_secs(2), max: Duration::from_secs(600) };

/// A list that is wanted and not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedList {
    /// Where it is.
    pub url: String,
    /// What it is.
    pub sha256: String,
    /// Whom the server is trusted by (PEM), in place of the system's CAs; or why nobody knows.
    pub anchors: Option<Result<String, String>>,
    /// Where it is kept.
    pub file: PathBuf,
    /// Octets that it may have.
    pub most: u64,
}

/// Where the fetching stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetching {
    /// Why the newest try failed; none after a success, and where nothing is to be fetched.
    pub error: Option<String>,
}

/// What is counted of it. Cloning shares the counters.
#[derive(Clone, Debug, Default)]
pub struct Fetches {
    /// Lists fetched.
    pub done: Counter,
    /// Tries that failed.
    pub failed: Counter,
}

impl Fetches {
    /// Registers everything. The prefix is the registry's.
    pub fn register(&self, registry: &mut Registry) {
        let Self { done, failed } = self.clone();
        registry.register("list_fetches", "Lists of well-known domains fetched from their server", done);
        registry.register("list_fetch_failures", "Tries to fetch a list that failed and are repeated", failed);
    }
}

/// The file in which the list with this hash is kept.
#[must_use]
pub fn place(data: &Path, sha256: &str) -> PathBuf {
    data.join(FOLDER).join(format!("{sha256}{SUFFIX}"))
}

/// Octets that a list may have where all that is kept is bounded so: two of them are there for a moment.
#[must_use]
pub const fn most(storage_mib: u32) -> u64 {
    let share = ((storage_mib as u64) << 20) / 16;
    if share < MAX_FILE { share } else { MAX_FILE }
}

/// The list of a file that was fetched, charged to `budget`.
///
/// # Errors
/// When it is not there, is not the one that is wanted, is none, or takes more memory than there is.
pub fn read(file: &Path, sha256: &str, most: u64, budget: &Arc<Budget>) -> Result<List, String> {
    let unread = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => "not fetched yet".to_owned(),
        _ => error.to_string(),
    };
    let room = budget.room();
    if std::fs::metadata(file).map_err(unread)?.len() > room as u64 {
        return Err(ListError::NoRoom(room).to_string());
    }
    let octets = bounded::read(file, most.min(room as u64)).map_err(unread)?;
    let has = https::sha256(&octets);
    if has != sha256 {
        return Err(format!("the file that is kept is not the one whose SHA-256 is given; it has {has}"));
    }
    List::within(&octets, room).map(|list| list.charged(budget)).map_err(|error| error.to_string())
}

/// The list that was in force before, with its SHA-256, where the one that is wanted cannot be had.
#[must_use]
pub fn before(wanted: &WantedList, budget: &Arc<Budget>) -> Option<(String, List)> {
    let folder = wanted.file.parent()?;
    let mut kept = others(folder, &[&wanted.file]).ok()?;
    kept.sort_by_key(|entry| std::cmp::Reverse(entry.modified));
    kept.into_iter().take(MOST_KEPT).find_map(|entry| {
        let sha256 = entry.name.strip_suffix(SUFFIX)?.to_owned();
        let list = read(&folder.join(&entry.name), &sha256, wanted.most, budget).ok()?;
        Some((sha256, list))
    })
}

/// Removes lists that are neither wanted nor in force. One that cannot be removed goes another time.
pub fn tidy(wanted: &WantedList, in_force: Option<&str>) {
    let Some(folder) = wanted.file.parent() else { return };
    let in_force = in_force.map(|sha256| folder.join(format!("{sha256}{SUFFIX}")));
    let stay = [Some(&wanted.file), in_force.as_ref()].map(|file| file.map_or(folder, PathBuf::as_path));
    for entry in others(folder, &stay).unwrap_or_default() {
        if let Err(error) = disk::remove(&folder.join(&entry.name)) {
            tracing::warn!(%error, "a list that is not wanted any more stays on the disk");
        }
    }
}

/// Lists of the folder beside these.
fn others(folder: &Path, these: &[&Path]) -> io::Result<Vec<Entry>> {
    disk::list(folder, |name| name.ends_with(SUFFIX) && !these.contains(&folder.join(name).as_path()))
}

/// Fetches what is wanted, until shutdown.
#[derive(Debug)]
pub struct Fetcher {
    /// What is wanted; none where everything is there.
    wanted: watch::Receiver<Option<Arc<WantedList>>>,
    state: watch::Sender<Fetching>,
    fetches: Fetches,
    news: Arc<Notify>,
    /// Of what waits for the disk, one thing at a time, also where nobody waits for it any more.
    turn: Arc<Mutex<()>>,
}

impl Fetcher {
    /// Fetches what is `wanted`, tells how that goes, counts it, and notifies of a list that is there now.
    #[must_use]
    pub fn new(
        wanted: watch::Receiver<Option<Arc<WantedList>>>,
        state: watch::Sender<Fetching>,
        fetches: Fetches,
        news: Arc<Notify>,
    ) -> Self {
        Self { wanted, state, fetches, news, turn: Arc::default() }
    }

    /// Nothing but the shutdown ends it.
    pub async fn run(mut self, shutdown: Shutdown) {
        loop {
            let wanted = self.wanted.borrow_and_update().clone();
            let again = async {
                match wanted {
                    Some(wanted) => self.have(&wanted).await,
                    None => self.tell(None),
                }
                std::future::pending::<()>().await;
            };
            let mut changes = self.wanted.clone();
            tokio::select! {
                () = shutdown.requested() => return,
                () = again => {}
                changed = changes.changed() => if changed.is_err() {
                    shutdown.requested().await;
                    return;
                },
            }
        }
    }

    /// Tries until it is there.
    async fn have(&self, wanted: &Arc<WantedList>) {
        let (theirs, turn) = (Arc::clone(wanted), self.turn().await);
        // There it may be, and refused all the same: fetching it again makes it no better.
        let looked = spawn_blocking(move || {
            let _turn = turn;
            is_there(&theirs)
        });
        if looked.await.unwrap_or(false) {
            return self.tell(None);
        }
        let mut pauses = BACK_OFF.start();
        loop {
            match self.get(wanted).await {
                Ok(octets) => {
                    self.fetches.done.inc();
                    tracing::info!(octets, sha256 = wanted.sha256, "list of well-known domains fetched");
                    self.tell(None);
                    self.news.notify_one();
                    return;
                }
                Err(error) => {
                    self.fetches.failed.inc();
                    let pause = pauses.next_pause();
                    let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
                    tracing::warn!(error, pause_ms, "the list of well-known domains cannot be fetched");
                    self.tell(Some(error));
                    sleep(pause).await;
                }
            }
        }
    }

    async fn turn(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.turn).lock_owned().await
    }

    /// Fetches, proves and keeps it. No text has the URL in it, which may hold a password.
    async fn get(&self, wanted: &Arc<WantedList>) -> Result<u64, String> {
        let anchors = wanted.anchors.as_ref().map(Result::as_ref).transpose().map_err(Clone::clone)?;
        let url = Url::parse(&wanted.url).map_err(|_| "well-known-domains-url is no URL".to_owned())?;
        let client = https::client(concat!("tapir-edm/", env!("CARGO_PKG_VERSION")), anchors.map(String::as_str))?;
        let turn = self.turn().await;
        let response = client.get(url).send().await.map_err(|error| FetchError::from(error).to_string())?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()).to_string());
        }
        let (theirs, now) = (Arc::clone(wanted), self.wanted.clone());
        let kept = https::save(response, wanted.most, move |body| {
            let _turn = turn;
            keep(&theirs, body, || now.borrow().as_ref().is_some_and(|now| now.file == theirs.file))
        });
        kept.await.map_err(|error| error.to_string())?
    }

    fn tell(&self, error: Option<String>) {
        self.state.send_if_modified(|state| {
            let differs = state.error != error;
            state.error = error;
            differs
        });
    }
}

/// Whether it is kept already.
fn is_there(wanted: &WantedList) -> bool {
    let file = File::open(&wanted.file).map(|file| file.take(wanted.most.saturating_add(1)));
    file.and_then(https::sha256_of).is_ok_and(|has| has == wanted.sha256)
}

/// Puts it into its place if it is the list that is wanted, also when it has come; gives its length. On a thread that may wait for the disk.
fn keep(wanted: &WantedList, body: Body, is_wanted: impl Fn() -> bool) -> Result<Result<u64, String>, FetchError> {
    let (Some(folder), Some(name)) = (wanted.file.parent(), wanted.file.file_name().and_then(|name| name.to_str())) else {
        return Ok(Err("there is no place for it".to_owned()));
    };
    // What a kill left.
    disk::sweep(folder)?;
    let mut kept = Unfinished::create(folder, name)?;
    let has = body.save(&mut kept)?;
    if has != wanted.sha256 {
        return Ok(Err(format!("the list is not the one whose SHA-256 is given; it has {has}")));
    }
    if !is_wanted() {
        return Ok(Err("another list is wanted meanwhile".to_owned()));
    }
    kept.finish()?;
    Ok(Ok(std::fs::metadata(&wanted.file)?.len()))
}
