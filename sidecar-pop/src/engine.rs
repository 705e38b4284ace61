//! The one task that changes what is known, and publishes the zone that follows from it.
//!
//! Change -> journal -> decide everything anew -> serial on disk -> snapshot. A change is published at once; while more stream
//! in, one version per [`INTERVAL`] carries them together.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tapir_runtime::mqtt::Incoming;
use tapir_runtime::shutdown::Shutdown;
use tapir_wire::jwk::TrustedKeys;
use tapir_wire::observation::Message;
use tapir_wire::tags::Tag;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use crate::intake::{self, Reject};
use crate::setup::Setup;
use crate::sources::observations::{LONGEST_TTL, Refusal};
use crate::sources::{Knowledge, Observations};
use crate::state::blocking;
use crate::state::journal::{Journal, Kept};
use crate::state::serial::Serials;
use crate::status::{Telemetry, Trouble};
use crate::zone::build::build;
use crate::zone::{Content, Snapshot};

/// One version per interval at most.
const INTERVAL: Duration = Duration::from_millis(100);
/// Look at the clock at least so often: it may be set, and a timer would not notice.
const TICK: Duration = Duration::from_millis(500);
/// What takes long, building and writing down the zone or rewriting the journal, is done less often: a fifth of the time at most.
const SHARE: u32 = 4;
/// Messages that are taken in one go.
const BATCH: usize = 64;
/// After a failed rewrite of the journal.
const WRITE_PAUSE: Duration = Duration::from_secs(5);

/// What the engine hears of.
#[derive(Debug)]
pub struct Inputs {
    /// The configuration in force.
    pub setup: watch::Receiver<Option<Arc<Setup>>>,
    /// Keys that may sign observations.
    pub keys: watch::Receiver<Option<Arc<TrustedKeys>>>,
    /// Messages of Core.
    pub incoming: mpsc::Receiver<Incoming>,
}

/// State of the engine.
#[derive(Debug)]
pub struct Engine {
    setup: Option<Arc<Setup>>,
    /// Whether what is published follows from the configuration.
    configured: bool,
    observations: Observations,
    /// From the first configuration on; see [`Engine::configure`].
    disk: Option<(Journal, Serials)>,
    published: watch::Sender<Option<Arc<Snapshot>>>,
    telemetry: Arc<Telemetry>,
    /// When the next version may and must be built; `None` while nothing changed.
    due: Option<Instant>,
    earliest: Instant,
    /// When the journal may be rewritten next.
    rewrite_after: Instant,
    /// Names displace each other: said once until there is room again.
    crowded: bool,
}

impl Engine {
    /// Nothing known, nothing published.
    #[must_use]
    pub fn new(published: watch::Sender<Option<Arc<Snapshot>>>, telemetry: Arc<Telemetry>) -> Self {
        let observations = Observations::default();
        let now = Instant::now();
        Self {
            setup: None,
            configured: false,
            observations,
            disk: None,
            published,
            telemetry,
            due: None,
            earliest: now,
            rewrite_after: now,
            crowded: false,
        }
    }

    /// Works until shutdown.
    pub async fn run(mut self, mut inputs: Inputs, shutdown: Shutdown) {
        let setup = inputs.setup.borrow_and_update().clone();
        if let Some(setup) = setup {
            blocking(|| self.configure(setup, Timestamp::now()));
        }
        loop {
            self.telemetry.beat();
            let now = Timestamp::now();
            if self.observations.expire(now) {
                self.changed();
            }
            if self.due.is_some_and(|due| due <= Instant::now()) {
                blocking(|| self.publish(now));
            }
            if self.journal_is_due() {
                blocking(|| self.keep_journal());
            }
            if self.disk.as_ref().is_some_and(|(_, serials)| serials.needs_write()) {
                blocking(|| self.keep_serial());
            }
            tokio::select! {
                () = shutdown.requested() => return,
                () = wake(self.due, self.observations.next_due(), now) => {}
                Ok(()) = inputs.setup.changed() => {
                    let setup = inputs.setup.borrow_and_update().clone();
                    if let Some(setup) = setup {
                        blocking(|| self.configure(setup, Timestamp::now()));
                    }
                }
                Some(first) = inputs.incoming.recv() => {
                    let keys = inputs.keys.borrow().clone();
                    blocking(|| self.receive_all(&first, &mut inputs.incoming, keys.as_deref()));
                }
            }
        }
    }

    /// A configuration came into force. The first one tells where state lies: that is read before anything else happens.
    pub fn configure(&mut self, setup: Arc<Setup>, now: Timestamp) {
        if self.disk.is_none() {
            self.open(&setup, now);
        } else if self.setup.as_ref().is_some_and(|old| old.data_dir != setup.data_dir) {
            tracing::warn!("a new dataDir takes effect with the next start of the process");
        }
        self.setup = Some(setup);
        self.report_sources();
        self.configured = false;
        self.changed();
    }

    /// A message, and those that wait behind it, until it is time to look after the rest.
    fn receive_all(&mut self, first: &Incoming, incoming: &mut mpsc::Receiver<Incoming>, keys: Option<&TrustedKeys>) {
        let started = Instant::now();
        self.receive(&first.payload, keys, Timestamp::now());
        for _ in 1..BATCH {
            if started.elapsed() >= INTERVAL {
                return;
            }
            let Ok(message) = incoming.try_recv() else { return };
            self.receive(&message.payload, keys, Timestamp::now());
        }
    }

    /// A message of Core.
    pub fn receive(&mut self, message: &[u8], keys: Option<&TrustedKeys>, now: Timestamp) {
        let wanted = self.setup.as_ref().is_some_and(|setup| setup.rules.core.is_some());
        let taken = if wanted { intake::take(message, keys) } else { Err(Reject::NotWanted) };
        match taken {
            Ok(message) => {
                self.telemetry.metrics.message("accepted");
                self.observe(&message, now);
            }
            Err(Reject::NotWanted) => self.telemetry.metrics.message(Reject::NotWanted.label()),
            Err(reject) => {
                self.telemetry.metrics.message(reject.label());
                tracing::warn!(reason = reject.label(), error = %reject, "message of Core refused");
            }
        }
    }

    /// Applies an accepted message.
    pub fn observe(&mut self, message: &Message, now: Timestamp) {
        let metrics = &self.telemetry.metrics;
        let mut changes = Vec::new();
        let mut refused = 0;
        for (reason, count) in &message.rejected {
            metrics.observation(reason.into(), *count);
            refused += count;
        }
        let zone = self.setup.as_ref().map(|setup| &setup.zone);
        let core = self.setup.as_ref().and_then(|setup| setup.rules.core.as_ref());
        let max_ttl = core.map_or(LONGEST_TTL, |core| core.max_ttl);
        for (entry, removal) in
            message.added.iter().map(|entry| (entry, false)).chain(message.removed.iter().map(|entry| (entry, true)))
        {
            if let Some(Err(unfit)) = zone.map(|zone| zone.check(&entry.name)) {
                metrics.observation(unfit.into(), 1);
                refused += 1;
                continue;
            }
            let outcome =
                if removal { self.observations.remove(entry, now) } else { self.observations.add_for(entry, max_ttl, now) };
            match outcome {
                Ok(record) => {
                    metrics.observation(if removal { "removed" } else { "added" }, 1);
                    changes.push((entry.name.clone(), record));
                    if !removal && entry.tag_mask & Tag::LOOPTEST.mask() != 0 {
                        self.telemetry.looptest(now);
                    }
                }
                Err(refusal) => {
                    metrics.observation(refusal.into(), 1);
                    // A removal of what is not there is normal; everything else is worth a figure in the status.
                    refused += u64::from(refusal != Refusal::Unknown);
                }
            }
        }
        if !changes.is_empty() {
            let lines = changes.iter().map(|(name, record)| (name, record));
            if let Some((journal, _)) = &mut self.disk
                && let Err(error) = journal.append(lines)
            {
                self.telemetry.metrics.state_error("journal");
                tracing::error!(%error, "an observation could not be written down; a restart would forget it");
            }
            self.changed();
        }
        self.report_displaced();
        self.telemetry.observed(refused, now, self.observations.len(), self.observations.live_len());
    }

    /// An error once an episode, not for each name: it comes exactly when most is to be done.
    fn report_displaced(&mut self) {
        let displaced = self.observations.take_displaced();
        if displaced > 0 {
            self.telemetry.metrics.observation("displaced", displaced);
            if !self.crowded {
                tracing::error!(
                    names = self.observations.len(),
                    "more is observed than has room: names that end first are given up early"
                );
            }
            self.crowded = true;
        } else if self.observations.has_room() {
            self.crowded = false;
        }
    }

    /// Something changed: publish as soon as may be.
    fn changed(&mut self) {
        self.due.get_or_insert(self.earliest);
    }

    /// Decides everything anew; new content gets a new serial and is published.
    pub fn publish(&mut self, now: Timestamp) {
        self.due = None;
        let Some(setup) = self.setup.clone() else { return };
        let started = Instant::now();
        let content = build(&setup.zone, &Knowledge { rules: &setup.rules, observations: &self.observations });
        let took = started.elapsed();
        self.telemetry.metrics.build_microseconds.set(i64::try_from(took.as_micros()).unwrap_or(i64::MAX));
        if self.published.borrow().as_ref().is_none_or(|snapshot| snapshot.content != content) {
            self.issue(content, now);
        }
        if !std::mem::replace(&mut self.configured, true) {
            self.telemetry.configured(&setup);
        }
        self.telemetry.observed(0, now, self.observations.len(), self.observations.live_len());
        // The disk counts too, so that a slow one is waited for less often.
        self.earliest = pause_after(started);
    }

    fn issue(&mut self, content: Content, now: Timestamp) {
        let Some((_, serials)) = &mut self.disk else { return };
        let (serial, error) = serials.of(content.fingerprint(), now);
        if let Some(error) = error {
            self.telemetry.metrics.state_error("serial");
            tracing::error!(%error, "the serial could not be written down, trying again");
        }
        tracing::info!(serial = serial.0, records = content.records.len(), "zone published");
        self.telemetry.published(&content, serial);
        self.published.send_replace(Some(Arc::new(Snapshot { serial, content })));
    }

    fn open(&mut self, setup: &Setup, now: Timestamp) {
        let observations = &mut self.observations;
        let (journal, kept) = Journal::open(&setup.data_dir, |name, record| {
            // The names were good when they were written; a hand or a bad disk may have changed that.
            if setup.zone.check(&name).is_ok() {
                observations.restore(name, record, now);
            }
        });
        self.report_kept(&kept);
        let (serials, error) = Serials::open(&setup.data_dir);
        if let Some(error) = error {
            self.telemetry.metrics.state_error("serial");
            tracing::warn!(%error, "the last serial could not be read, going on from the clock");
        }
        tracing::info!(names = self.observations.len(), "kept state read");
        self.report_displaced();
        self.disk = Some((journal, serials));
    }

    fn report_kept(&self, kept: &Kept) {
        if kept.error.is_none() && kept.broken == 0 {
            return;
        }
        self.telemetry.metrics.state_error("journal");
        if !kept.is_damaged() {
            return tracing::warn!("the last line of kept observations is torn, as a crash does it");
        }
        let reason = kept.error.as_ref().map_or_else(|| format!("{} broken lines", kept.broken), io::Error::to_string);
        let aside = match &kept.aside {
            Some(Ok(path)) => format!("the file is kept as {}", path.display()),
            Some(Err(error)) => format!("nor can the file be set aside: {error}"),
            None => String::new(),
        };
        tracing::error!(error = reason, aside, "kept observations could not all be read, going on with the rest");
        self.telemetry
            .trouble(Trouble::Kept, Some(format!("kept observations could not all be read at the start: {reason}; {aside}")));
    }

    fn journal_is_due(&self) -> bool {
        let names = self.observations.len();
        self.rewrite_after <= Instant::now() && self.disk.as_ref().is_some_and(|(journal, _)| journal.needs_rewrite(names))
    }

    fn keep_journal(&mut self) {
        let Some((journal, _)) = &mut self.disk else { return };
        let started = Instant::now();
        let written = journal.rewrite(self.observations.all());
        self.rewrite_after = pause_after(started);
        if let Err(error) = written {
            self.telemetry.metrics.state_error("journal");
            tracing::error!(%error, "observations cannot be written down; a restart would forget them");
            self.rewrite_after += WRITE_PAUSE;
        }
    }

    fn keep_serial(&mut self) {
        let Some((_, serials)) = &mut self.disk else { return };
        match serials.write() {
            Ok(()) => tracing::info!("the serial is written down again"),
            Err(error) => {
                self.telemetry.metrics.state_error("serial");
                tracing::error!(%error, "the serial could still not be written down");
            }
        }
    }

    fn report_sources(&self) {
        let Some(setup) = &self.setup else { return };
        for list in &setup.rules.lists {
            if let Some(first) = list.rejected.first.first() {
                let (line, reason) = (first.line, &first.reason);
                let rejected = list.rejected.count;
                tracing::warn!(
                    source = list.source,
                    rejected,
                    line,
                    reason,
                    "entries of a list are refused, the rest is in force"
                );
            }
            if let Some(error) = &list.stale {
                tracing::warn!(source = list.source, error, "a list cannot be read, what it held last stays in force");
            }
        }
        for (source, error) in &setup.idle_sources {
            tracing::warn!(source, error, "a source holds nothing");
        }
    }
}

/// When work that began at `started` and ends now may be done again.
fn pause_after(started: Instant) -> Instant {
    Instant::now() + INTERVAL.max(started.elapsed() * SHARE)
}

/// When something is due: a version, an expiry (wall clock), or another look at the clock.
async fn wake(publish: Option<Instant>, expiry: Option<Timestamp>, now: Timestamp) {
    let expiry = expiry.map_or(TICK, |expiry| Duration::try_from(expiry.duration_since(now)).unwrap_or_default());
    let pause = sleep(expiry.min(TICK));
    match publish {
        Some(due) => tokio::select! {
            () = pause => {}
            () = sleep_until(due) => {}
        },
        None => pause.await,
    }
}

#[cfg(test)]
mod tests;
