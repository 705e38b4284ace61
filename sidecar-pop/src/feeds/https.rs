//! Lists on web servers: asked for as often as the source says, taken when they are what their hash or signature says, kept until
//! the source's own expiry.

mod check;
mod fetch;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::Url;
use sha2::{Digest as _, Sha256};
use tapir_runtime::back_off::BackOff;
use tapir_runtime::panics::{Panicked, caught};
use tapir_runtime::shutdown::Shutdown;
use tapir_wire::config::pop::HttpsSource;
use tokio::time::{Instant, sleep, sleep_until};

pub use self::check::{Proof, PublicKey, PublicKeyError};
use self::fetch::{FetchError, Fetched, Fetcher};
use super::NewsSender;
use super::aside::aside;
use super::collect::{CollectError, IN_MEMORY, Place, collect};
use super::lists::{Fit, Form};
use super::store::{Copy, Leave, Marks, Store};
use super::teller::{Gone, Teller};
use crate::state::blocking;

/// First pause after a failure.
const RETRY: Duration = Duration::from_secs(2);
/// The longest, where the source is asked for less often than that.
const LONGEST_RETRY: Duration = Duration::from_secs(600);
/// What is in memory for want of room, or of a folder, is written down as soon as there is some, which is tried so often.
const TRY_EVERY: Duration = Duration::from_secs(5);
/// Why a copy does not count any more.
const NOT_FETCHED: &str = "the list could not be fetched before its expiry";

/// One source.
#[derive(Debug)]
pub struct HttpsFeed {
    source: Arc<str>,
    url: Url,
    form: Form,
    fit: Fit,
    proof: Proof,
    refresh: Duration,
    keep: SignedDuration,
    /// Largest list that is taken.
    most: u64,
    fetcher: Fetcher,
    store: Store,
    held: Option<Copy>,
}

/// Why a source cannot be fetched at all.
#[derive(Debug, thiserror::Error)]
pub enum HttpsError {
    /// The configuration was checked for less than this.
    #[error("its URL is none")]
    Url,
    /// No client can be made, certificates that are none for example.
    #[error("{0}")]
    Client(String),
}

/// Why there is nothing new. What was held stays until it expires.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    List(#[from] CollectError),
    #[error("keeping a copy: {0}")]
    Keep(std::io::Error),
    #[error(transparent)]
    Panicked(#[from] Panicked),
    #[error("dataDir takes no new list, check its free space and permissions: {disk}; nor does memory: {memory}")]
    NoRoom { disk: Box<Self>, memory: Box<Self> },
}

impl RoundError {
    fn is_panic(&self) -> bool {
        match self {
            Self::Panicked(_) | Self::Fetch(FetchError::Panicked(_)) => true,
            // It may be what memory is read for that makes it panic, and it is what was tried last.
            Self::NoRoom { memory, .. } => memory.is_panic(),
            Self::Fetch(_) | Self::List(_) | Self::Keep(_) => false,
        }
    }

    /// Whether our disk is to blame, and not the list or who has it.
    const fn is_of_disk(&self) -> bool {
        match self {
            Self::Keep(_) | Self::Fetch(FetchError::Io(_)) => true,
            Self::List(error) => error.is_of_disk(),
            Self::Fetch(_) | Self::NoRoom { .. } | Self::Panicked(_) => false,
        }
    }
}

impl HttpsFeed {
    /// The source `name`. `anchors` are certificates (PEM) that the server's is checked against, in place of the system's.
    pub fn new(
        name: &str,
        https: &HttpsSource,
        proof: Proof,
        anchors: Option<&str>,
        fit: Fit,
        data: &Path,
        most: u64,
    ) -> Result<Self, HttpsError> {
        let url = Url::parse(&https.url).map_err(|_| HttpsError::Url)?;
        let form = Form::of_https(https);
        // An URL may hold a password, so only its hash is written down.
        let identity = Sha256::digest(format!("https {url} {form:?} room {} {proof:?}", fit.room()));
        let identity = identity.iter().map(|octet| format!("{octet:02x}")).collect();
        Ok(Self {
            source: name.into(),
            fetcher: Fetcher::new(anchors).map_err(HttpsError::Client)?,
            url,
            form,
            fit,
            proof,
            refresh: Duration::from_secs(https.refresh_seconds.max(1).into()),
            keep: SignedDuration::from_secs(https.keep_seconds.into()),
            most,
            store: Store::open(data, name, identity),
            held: None,
        })
    }

    /// For who may say that it is not wanted any more.
    #[must_use]
    pub fn leaving(self, leave: &Leave) -> Self {
        Self { store: self.store.leaving(leave), ..self }
    }

    /// Until the shutdown, or until nobody listens.
    pub async fn run(self, to: NewsSender, shutdown: Shutdown) {
        tokio::select! {
            _ = self.go_on(to) => {}
            () = shutdown.requested() => {}
        }
    }

    async fn go_on(mut self, to: NewsSender) -> Result<(), Gone> {
        let mut teller = Teller::new(Arc::clone(&self.source), to);
        // A copy that cannot be read is none.
        self.held = caught(|| blocking(|| self.store.load())).unwrap_or_default();
        let mut counts = false;
        if let Some(held) = &mut self.held {
            held.meta.expires_at = expiry(&held.marks, self.keep);
            if held.meta.expires_at.is_some_and(|end| end > Timestamp::now()) {
                teller.whole(held).await?;
                counts = true;
            }
        }
        let longest = self.refresh.min(LONGEST_RETRY);
        let mut pauses = BackOff { min: RETRY.min(longest), max: longest }.start();
        // All edges read the same list and must not do it at the same moment.
        let mut usual = BackOff { min: self.refresh, max: self.refresh }.start();
        loop {
            // A server may be slow for longer than what is held counts.
            let (until, mut done) = (self.expires_at(), None);
            let round = async { done = Some(self.round().await) };
            teller.wait(round, &mut counts, until, NOT_FETCHED).await?;
            let Some(round) = done else { return Err(Gone) };
            let now = Timestamp::now();
            let expires_at = self.expires_at();
            let pause = match (round, &self.held) {
                (Ok(is_new), Some(held)) => {
                    if is_new || !counts {
                        teller.whole(held).await?;
                        counts = true;
                    }
                    teller.good(now, expires_at).await?;
                    pauses.reset();
                    usual.next_pause()
                }
                (Ok(_), None) => pauses.next_pause(),
                (Err(error), _) if error.is_panic() => {
                    teller.panicked(now, expires_at.filter(|_| counts)).await?;
                    pauses.next_pause()
                }
                (Err(error), _) => {
                    teller.bad(error.to_string(), now, expires_at.filter(|_| counts)).await?;
                    pauses.next_pause()
                }
            };
            let next = Instant::now() + pause;
            while self.store.is_in_memory() && Instant::now() + TRY_EVERY < next {
                teller.wait(sleep(TRY_EVERY), &mut counts, expires_at, NOT_FETCHED).await?;
                self.write_down();
            }
            teller.wait(sleep_until(next), &mut counts, expires_at, NOT_FETCHED).await?;
        }
    }

    fn expires_at(&self) -> Option<Timestamp> {
        self.held.as_ref().and_then(|held| held.meta.expires_at)
    }

    /// Fetches what is new: whether there was anything. What the disk has no room for is held in memory, as long as that has.
    async fn round(&mut self) -> Result<bool, RoundError> {
        match self.round_by(true).await {
            Err(disk) if disk.is_of_disk() => {
                let held = self.round_by(false).await;
                held.map_err(|memory| RoundError::NoRoom { disk: Box::new(disk), memory: Box::new(memory) })
            }
            done => done,
        }
    }

    async fn round_by(&mut self, on_disk: bool) -> Result<bool, RoundError> {
        let now = Timestamp::now();
        blocking(|| self.store.look());
        let marks = self.held.as_ref().map(|held| held.marks.clone()).unwrap_or_default();
        let fetched = if self.proof.is_kept(marks.sha256.as_deref()) {
            // Another content could not be right.
            Fetched::Same
        } else {
            let limit = if on_disk { self.store.most(self.most) } else { self.most.min(IN_MEMORY) };
            let scratch = if on_disk { self.store.scratch_or_memory() } else { Store::scratch_in_memory() };
            let scratch = scratch.map_err(RoundError::Keep)?;
            self.fetcher.fetch(&self.url, &self.proof, &marks, limit, scratch).await?
        };
        let (list, marks) = match fetched {
            Fetched::List(list, new) if self.held.is_none() || new.sha256 != marks.sha256 => (list, new),
            Fetched::List(_, new) => {
                self.confirm(now, new);
                return Ok(false);
            }
            Fetched::Same => {
                self.confirm(now, marks);
                return Ok(false);
            }
        };
        let place = if on_disk { self.store.next_place() } else { Place::Memory };
        let (form, fit) = (self.form.clone(), self.fit);
        let collected = aside(move || collect(&form, &list, fit, &place)).await??;
        let marks = Marks { checked_at: Some(now), ..marks };
        let meta = collected.meta(now, expiry(&marks, self.keep));
        let copy = Copy::new(&collected, meta, marks);
        if on_disk {
            blocking(|| self.store.keep(&copy)).map_err(RoundError::Keep)?;
        } else {
            tracing::warn!(source = &*self.source, "the disk takes no copy of the list, it is held in memory");
            self.store.hold_in_memory();
        }
        tracing::info!(source = &*self.source, names = copy.meta.entries, rejected = copy.meta.rejected.count, "list fetched");
        self.held = Some(copy);
        Ok(true)
    }

    /// What only memory holds goes to the disk, should there be room by now: a restart would begin with the list before it.
    fn write_down(&mut self) {
        if let Some(held) = &mut self.held
            && blocking(|| self.store.update(held)).is_ok()
        {
            tracing::info!(source = &*self.source, "the list is on the disk now");
        }
    }

    /// The server has what is held. That cannot be written down is no reason to hold less of it.
    fn confirm(&mut self, now: Timestamp, marks: Marks) {
        let Some(held) = &mut self.held else { return };
        held.marks = Marks { checked_at: Some(now), lossy: held.marks.lossy, ..marks };
        held.meta.expires_at = expiry(&held.marks, self.keep);
        if let Err(error) = blocking(|| self.store.update(held)) {
            tracing::warn!(source = &*self.source, %error, "a list's copy cannot be kept");
        }
    }
}

fn expiry(marks: &Marks, keep: SignedDuration) -> Option<Timestamp> {
    Some(marks.checked_at?.checked_add(keep).unwrap_or(Timestamp::MAX))
}
