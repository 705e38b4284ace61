//! The list of well-known domains from a web server (`well-known-domains-url`): fetched when it is not there yet, proven by its SHA-256, and kept
//! below `data-dir` under that name, so that a start needs no network.
//!
//! A file is put there whole and proven, or not at all; [`crate::reload`] reads it like any other list. What was fetched and is not the list that is
//! wanted is thrown away.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use tapir_runtime::back_off::BackOff;
use tapir_runtime::https::{self, StatusCode, Url};
use tapir_runtime::shutdown::Shutdown;
use tokio::sync::{Notify, watch};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::bounded;
use crate::disk::{self, Unfinished};
use crate::list::{List, MAX_FILE};

/// Its folder below `data-dir`.
const FOLDER: &str = "well-known-domains";
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
    data.join(FOLDER).join(format!("{sha256}.dawg"))
}

/// Octets that a list may have where all that is kept is bounded so: two of them are there for a moment.
#[must_use]
pub const fn most(storage_mib: u32) -> u64 {
    let share = ((storage_mib as u64) << 20) / 16;
    if share < MAX_FILE { share } else { MAX_FILE }
}

/// The list of a file that was fetched.
///
/// # Errors
/// When it is not there, is not the one that is wanted, or is none.
pub fn read(file: &Path, sha256: &str, most: u64) -> Result<List, String> {
    let octets = bounded::read(file, most).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => "not fetched yet".to_owned(),
        _ => error.to_string(),
    })?;
    let has = https::sha256(&octets);
    if has != sha256 {
        return Err(format!("the file that is kept is not the one whose SHA-256 is given; it has {has}"));
    }
    List::from_dawg(&octets).map_err(|error| error.to_string())
}

/// Fetches what is wanted, until shutdown.
#[derive(Debug)]
pub struct Fetcher {
    /// What is wanted; none where everything is there.
    pub wanted: watch::Receiver<Option<Arc<WantedList>>>,
    /// What others are told.
    pub state: watch::Sender<Fetching>,
    /// What it counts.
    pub fetches: Fetches,
    /// Notified of a list that is there now.
    pub news: Arc<Notify>,
}

impl Fetcher {
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
        let theirs = Arc::clone(wanted);
        // There it may be, and refused all the same: fetching it again makes it no better.
        if spawn_blocking(move || is_there(&theirs)).await.unwrap_or(false) {
            return self.tell(None);
        }
        let mut pauses = BACK_OFF.start();
        loop {
            match get(wanted).await {
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
    bounded::read(&wanted.file, wanted.most).is_ok_and(|octets| https::sha256(&octets) == wanted.sha256)
}

/// Fetches, proves and keeps it. No text has the URL in it, which may hold a password.
async fn get(wanted: &WantedList) -> Result<u64, String> {
    let anchors = wanted.anchors.as_ref().map(Result::as_ref).transpose().map_err(Clone::clone)?;
    let url = Url::parse(&wanted.url).map_err(|_| "well-known-domains-url is no URL".to_owned())?;
    let client = https::client(concat!("tapir-edm/", env!("CARGO_PKG_VERSION")), anchors.map(String::as_str))?;
    let (folder, name) = match (wanted.file.parent(), wanted.file.file_name().and_then(|name| name.to_str())) {
        (Some(folder), Some(name)) => (folder, name),
        _ => return Err("there is no place for it".to_owned()),
    };
    let response = client.get(url).send().await.map_err(|error| https::FetchError::from(error).to_string())?;
    if response.status() != StatusCode::OK {
        return Err(https::FetchError::Status(response.status()).to_string());
    }
    let unkept = |error: std::io::Error| https::FetchError::Io(error).to_string();
    // What a kill left.
    disk::sweep(folder).map_err(unkept)?;
    let mut kept = Unfinished::create(folder, name).map_err(unkept)?;
    let has = https::save(response, wanted.most, &mut kept).await.map_err(|error| error.to_string())?;
    if has != wanted.sha256 {
        return Err(format!("the list is not the one whose SHA-256 is given; it has {has}"));
    }
    let file = wanted.file.clone();
    let finished = spawn_blocking(move || {
        kept.finish()?;
        let octets = std::fs::metadata(&file)?.len();
        drop_others(&file);
        Ok(octets)
    });
    finished.await.unwrap_or_else(|error| Err(std::io::Error::other(error))).map_err(unkept)
}

/// Lists that are not wanted any more. One that cannot be removed goes with the next one.
fn drop_others(file: &Path) {
    let Some(folder) = file.parent() else { return };
    let Ok(entries) = disk::list(folder, |name| name.ends_with(".dawg")) else { return };
    for entry in entries {
        let other = folder.join(&entry.name);
        if other != file
            && let Err(error) = disk::remove(&other)
        {
            tracing::warn!(%error, "a list that is not wanted any more stays on the disk");
        }
    }
}
