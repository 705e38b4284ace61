//! What a feed tells the engine.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tapir_table::{Codes, KeyBuf, Palette, TableFile};
use tapir_wire::observation::Message;
use tokio::sync::mpsc;

use super::{Failures, Rejected};

/// News that may wait for the engine: one or two of each source that a policy may have.
const WAITING: usize = 512;

/// What a feed tells the engine of its source.
#[derive(Clone, Debug)]
pub enum SourceNews {
    /// The whole content. Codes of the table refer to the palette that comes with it, which is the source's own.
    Whole {
        /// All names.
        table: Arc<TableFile<Codes>>,
        /// Local data that the codes mean.
        palette: Arc<Palette>,
        /// About it.
        meta: Meta,
    },
    /// Changes against what was told last, in key order. A name that is silent is gone.
    Changes {
        /// What changed.
        list: Vec<(KeyBuf, Codes)>,
        /// That of before, with what is new behind it: an index means the same as before.
        palette: Arc<Palette>,
        /// About the whole.
        meta: Meta,
    },
    /// Of a source of observations: what others know that Core told them earlier. The newest of each name counts.
    Observed(Box<Message>),
    /// Something new is there and is being read: it, or how it went, follows.
    Coming,
    /// Nothing new in content.
    Health(Health),
    /// The source's own expiry has passed: nothing of it counts any more, until the next [`SourceNews::Whole`].
    Expired(Health),
}

/// About the content of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    /// Names in it.
    pub entries: u64,
    /// What was refused, and why.
    pub rejected: Rejected,
    /// When the source had it.
    pub fetched_at: Timestamp,
    /// When it stops to count, unless the source is reached before.
    pub expires_at: Option<Timestamp>,
    /// The version that the source gave it.
    pub serial: Option<u32>,
}

/// How it is with a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Why what is held is not the newest, or why nothing is held; `None`: the source was reached, and this is what it has.
    pub error: Option<String>,
    /// Since when it is so.
    pub since: Timestamp,
    /// When what is held stops to count, unless the source is reached before.
    pub expires_at: Option<Timestamp>,
}

impl Health {
    /// Reached, and current.
    #[must_use]
    pub const fn good(since: Timestamp, expires_at: Option<Timestamp>) -> Self {
        Self { error: None, since, expires_at }
    }

    /// Not.
    #[must_use]
    pub const fn bad(error: String, since: Timestamp, expires_at: Option<Timestamp>) -> Self {
        Self { error: Some(error), since, expires_at }
    }

    /// Whether what is held is what the source has.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        self.error.is_none()
    }
}

/// News with the name of its source.
#[derive(Clone, Debug)]
pub struct Told {
    /// Name of the source in the policy.
    pub source: Arc<str>,
    /// What is new.
    pub news: SourceNews,
}

/// Where feeds tell their news. When the engine does not keep up they wait: nothing is lost, and no source outruns the others.
#[derive(Clone, Debug)]
pub struct NewsSender {
    sender: mpsc::Sender<Told>,
    failures: Failures,
}

/// Between feeds and engine.
#[must_use]
pub fn channel() -> (NewsSender, mpsc::Receiver<Told>) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (NewsSender { sender, failures: Failures::default() }, receiver)
}

impl NewsSender {
    /// Tells it; false when nobody listens any more, and then the feed ends.
    pub async fn tell(&self, source: &Arc<str>, news: SourceNews) -> bool {
        self.sender.send(Told { source: Arc::clone(source), news }).await.is_ok()
    }

    /// It could not be had, once more.
    pub(crate) fn failed(&self, source: &Arc<str>) {
        self.failures.count(source);
    }

    /// Having it panicked.
    pub(crate) fn panicked(&self, source: &Arc<str>) {
        self.failures.panicked(source);
    }

    /// It was had, or nothing keeps it from being had.
    pub(super) fn well(&self, source: &str) {
        self.failures.well(source);
    }

    /// For who tells how it is.
    #[must_use]
    pub fn failures(&self) -> Failures {
        self.failures.clone()
    }

    /// For who looks how much waits.
    #[must_use]
    pub fn queue(&self) -> mpsc::WeakSender<Told> {
        self.sender.downgrade()
    }

    /// Tells [`SourceNews::Coming`], unless too much waits: it helps, and nothing depends on it.
    pub(super) fn coming(&self, source: &Arc<str>) {
        _ = self.sender.try_send(Told { source: Arc::clone(source), news: SourceNews::Coming });
    }
}
