//! What a source tells, without repeating itself.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tapir_runtime::panics::Panicked;
use tokio::time::sleep;

use super::store::Copy;
use super::{Health, NewsSender, SourceNews};

/// Nobody listens any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gone;

/// Tells the engine of one source.
#[derive(Debug)]
pub(super) struct Teller {
    source: Arc<str>,
    to: NewsSender,
    /// What was told last of how it is.
    told: Option<Health>,
}

impl Teller {
    pub(super) const fn new(source: Arc<str>, to: NewsSender) -> Self {
        Self { source, to, told: None }
    }

    pub(super) async fn whole(&mut self, copy: &Copy) -> Result<(), Gone> {
        let Copy { table, palette, meta, .. } = copy.clone();
        self.tell(SourceNews::Whole { table, palette, meta }).await
    }

    pub(super) async fn tell(&self, news: SourceNews) -> Result<(), Gone> {
        if self.to.tell(&self.source, news).await { Ok(()) } else { Err(Gone) }
    }

    /// It was reached, and what is held is what it has.
    pub(super) async fn good(&mut self, now: Timestamp, expires_at: Option<Timestamp>) -> Result<(), Gone> {
        self.to.well(&self.source);
        if self.told.as_ref().is_some_and(|told| !told.is_good()) {
            tracing::info!(source = &*self.source, "the source is there again");
        }
        self.health(Health::good(now, expires_at)).await
    }

    /// It was not, or what it has is no good.
    pub(super) async fn bad(&mut self, error: String, now: Timestamp, expires_at: Option<Timestamp>) -> Result<(), Gone> {
        self.to.failed(&self.source);
        self.not_good(error, now, expires_at).await
    }

    /// What is there made this program panic.
    pub(super) async fn panicked(&mut self, now: Timestamp, expires_at: Option<Timestamp>) -> Result<(), Gone> {
        self.to.panicked(&self.source);
        self.not_good(Panicked.to_string(), now, expires_at).await
    }

    async fn not_good(&mut self, error: String, now: Timestamp, expires_at: Option<Timestamp>) -> Result<(), Gone> {
        if self.told.as_ref().is_none_or(|told| told.error.as_deref() != Some(&error)) {
            tracing::warn!(source = &*self.source, %error, "the source has nothing new; what it had stays until it expires");
        }
        self.health(Health::bad(error, now, expires_at)).await
    }

    /// What is held stops to count.
    async fn expired(&mut self, error: String, now: Timestamp) -> Result<(), Gone> {
        tracing::warn!(source = &*self.source, %error, "the source was away for too long: nothing of it counts any more");
        let health = Health::bad(error, now, None);
        self.told = Some(health.clone());
        self.tell(SourceNews::Expired(health)).await
    }

    /// Waits, and says meanwhile when what counts has expired.
    pub(super) async fn wait(
        &mut self,
        wait: impl Future<Output = ()>,
        counts: &mut bool,
        expires_at: Option<Timestamp>,
        why: &str,
    ) -> Result<(), Gone> {
        tokio::pin!(wait);
        loop {
            let end = expires_at.filter(|_| *counts);
            let left = end.map(|end| Duration::try_from(end.duration_since(Timestamp::now())).unwrap_or_default());
            tokio::select! {
                () = &mut wait => return Ok(()),
                () = sleep(left.unwrap_or_default()), if left.is_some() => {
                    let now = Timestamp::now();
                    // Wall clocks step: only what is over now is over.
                    if end.is_some_and(|end| end <= now) {
                        *counts = false;
                        self.expired(why.to_owned(), now).await?;
                    }
                }
            }
        }
    }

    /// Told when it changed; since when it is so stays.
    async fn health(&mut self, mut health: Health) -> Result<(), Gone> {
        if let Some(told) = &self.told {
            if told.is_good() == health.is_good() {
                health.since = told.since;
            }
            if *told == health {
                return Ok(());
            }
        }
        self.told = Some(health.clone());
        self.tell(SourceNews::Health(health)).await
    }
}
