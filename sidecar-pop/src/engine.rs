//! The one thread that changes what is known, and publishes the zone that follows from it.
//!
//! A turn takes what came (observations, news of sources, a configuration), for some milliseconds at most; writes observations down; decides the
//! names anew that were touched; and publishes what changed: a serial that is reserved, a record of the log, a snapshot. The first change is
//! published in the same turn; while more stream in, one version per interval carries them together.
//!
//! Everything that takes as long as the zone is large happens elsewhere: the [`builder`] makes lists into tables and zones anew, the
//! [`keeper`] waits for the disk. What has to be written before anything else happens is written by a third one ([`Scribe`]), which is waited for a
//! bounded time: where the disk hangs everything goes on in memory.
//!
//! At the start the zone of before is served first, whatever the sources are doing. Then everything is decided anew; where nothing is
//! different, nothing is published.

mod ask;
mod builder;
mod chores;
mod counted;
mod disk;
mod jobs;
mod keeper;
mod list;
mod locals;
mod observe;
mod publish;
mod start;
mod store;
mod swap;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use jiff::Timestamp;
use tapir_runtime::mqtt::Incoming;
use tapir_runtime::shutdown::Shutdown;
use tapir_table::{Codes, MAX_SETS, Tree};
use tapir_wire::jwk::TrustedKeys;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep};

use crate::admin::Question;
use crate::feeds::Told;
use crate::intake::{self, Observed, ToldSettings};
use crate::setup::Setup;
use crate::sources::ListText;
use crate::state::observation_log::ObservationLog;
use crate::state::scribe::Scribe;
use crate::status::Telemetry;
use crate::zone::layers::Layers;
use crate::zone::sets::Sets;
use crate::zone::{Size, Snapshot};
use builder::{Done, Job};
use jobs::Running;
use keeper::{Chore, Kept};
use list::List;
use locals::Made;
use observe::Core;
use store::Store;
use world::World;

/// Look at the clock at least so often: it may be set, and a timer would not notice.
const TICK: Duration = Duration::from_millis(500);
/// Longest that one turn takes what comes, or lets end what ends.
const TURN: Duration = Duration::from_millis(5);
/// Longest that a version, or work of the builder, waits for more names that end: all that end together leave in one version.
const HOLD: Duration = Duration::from_millis(500);
/// Outcomes of builder and keeper that wait: each has one or two pieces of work at a time.
const OUTCOMES: usize = 32;

/// What the engine hears of.
#[derive(Debug)]
pub struct Inputs {
    /// The configuration in force.
    pub setup: watch::Receiver<Option<Arc<Setup>>>,
    /// Keys that may sign observations.
    pub keys: watch::Receiver<Option<Arc<TrustedKeys>>>,
    /// Messages of Core.
    pub incoming: mpsc::Receiver<Incoming>,
    /// What sources tell that are fetched.
    pub news: mpsc::Receiver<Told>,
}

/// What other threads finished.
#[derive(Debug)]
pub(crate) enum Outcome {
    Built(Done),
    Kept(Kept),
}

/// State of the engine.
#[derive(Debug)]
pub struct Engine {
    published: watch::Sender<Option<Arc<Snapshot>>>,
    telemetry: Arc<Telemetry>,
    questions: Option<mpsc::Receiver<Question>>,
    settings: Option<ToldSettings>,
    /// The newest configuration.
    setup: Option<Arc<Setup>>,
    /// From the first configuration on.
    store: Option<Store>,
    /// By name of the source; what is not configured any more stays, and comes back with its source.
    cores: BTreeMap<Arc<str>, Core>,
    lists: BTreeMap<Arc<str>, List>,
    /// What lists that came with a configuration are made of, with the name of the zone that they fit.
    texts: BTreeMap<String, (ListText, crate::names::ZoneName)>,
    /// Sources that held something before the start and have told nothing yet.
    awaited: BTreeSet<String>,
    awaited_until: Instant,
    /// Sources that are reading something new, and since when.
    coming: BTreeMap<Arc<str>, std::time::Instant>,
    /// Local data of what is published: that of the world, where there is one.
    sets: Sets,
    /// How many sets of it there may be.
    room: u16,
    /// What decides; none before the zone was made once.
    world: Option<World>,
    /// When that was, how many sets there were, and how many sources had local data without room.
    made: Made,
    layers: Option<Layers>,
    size: Size,
    /// Names to be decided anew: what is said `below` tells that this reaches below.
    touched: Tree<Codes>,
    /// When the next version may be published.
    earliest: Instant,
    /// When the first of the names ended that are still to leave.
    ended: Option<Timestamp>,
    /// Since when a version waits for more names that end.
    held_since: Option<Instant>,
    jobs: SyncSender<Job>,
    chores: SyncSender<Chore>,
    /// Writes what cannot wait, while the engine does not wait for long.
    scribe: Scribe,
    /// Builder and keeper. They end with the engine, unless they panic.
    threads: [std::thread::JoinHandle<()>; 2],
    outcomes: Option<mpsc::Receiver<Outcome>>,
    running: Option<Running>,
    wanted: jobs::Wanted,
    keeping: chores::Keeping,
    written: jobs::Written,
    /// Ends at once and without farewell.
    killed: Arc<AtomicBool>,
}

/// A running engine.
#[derive(Debug)]
pub struct Handle {
    thread: std::thread::JoinHandle<()>,
    killed: Arc<AtomicBool>,
    wake: mpsc::Sender<Told>,
}

impl Engine {
    /// Nothing known, nothing published.
    ///
    /// # Errors
    /// When there can be no threads.
    pub fn new(published: watch::Sender<Option<Arc<Snapshot>>>, telemetry: Arc<Telemetry>) -> io::Result<Self> {
        let (tell, outcomes) = mpsc::channel(OUTCOMES);
        let now = Instant::now();
        let (jobs, builder) = builder::spawn(tell.clone())?;
        let (chores, keeper) = keeper::spawn(tell)?;
        let scribe = Scribe::spawn()?;
        Ok(Self {
            published,
            telemetry,
            questions: None,
            settings: None,
            setup: None,
            store: None,
            cores: BTreeMap::new(),
            lists: BTreeMap::new(),
            texts: BTreeMap::new(),
            awaited: BTreeSet::new(),
            awaited_until: now,
            coming: BTreeMap::new(),
            sets: Sets::default(),
            room: MAX_SETS,
            world: None,
            made: Made::default(),
            layers: crate::zone::nothing().map(Layers::new),
            size: Size::default(),
            touched: Tree::new(),
            earliest: now,
            ended: None,
            held_since: None,
            jobs,
            chores,
            scribe,
            threads: [builder, keeper],
            outcomes: Some(outcomes),
            running: None,
            wanted: jobs::Wanted::default(),
            keeping: chores::Keeping::default(),
            written: jobs::Written::default(),
            killed: Arc::default(),
        })
    }

    /// Answers questions beside its work.
    #[must_use]
    pub fn answering(self, questions: mpsc::Receiver<Question>) -> Self {
        Self { questions: Some(questions), ..self }
    }

    /// Settings of Core go there.
    #[must_use]
    pub fn telling_settings(self, settings: ToldSettings) -> Self {
        Self { settings: Some(settings), ..self }
    }

    /// Works on a thread of its own until shutdown. `ended` is dropped with the engine, also when it panics.
    ///
    /// # Errors
    /// When there can be no threads.
    pub fn spawn(mut self, inputs: Inputs, shutdown: Shutdown, ended: oneshot::Sender<()>) -> io::Result<Handle> {
        let Inputs { setup, keys, incoming, mut news } = inputs;
        let observed = intake::spawn(incoming, keys, setup.clone(), self.telemetry.metrics.clone(), self.settings.take())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let killed = Arc::clone(&self.killed);
        let (wake, mut woken) = mpsc::channel::<Told>(1);
        let thread = std::thread::Builder::new().name("engine".to_owned()).spawn(move || {
            runtime.block_on(self.work(setup, observed, &mut news, &mut woken, shutdown));
            drop(ended);
        })?;
        Ok(Handle { thread, killed, wake })
    }

    async fn work(
        mut self,
        mut setups: watch::Receiver<Option<Arc<Setup>>>,
        mut observed: mpsc::Receiver<Observed>,
        news: &mut mpsc::Receiver<Told>,
        woken: &mut mpsc::Receiver<Told>,
        shutdown: Shutdown,
    ) {
        let Some(mut outcomes) = self.outcomes.take() else { return };
        let mut questions = self.questions.take();
        let setup = setups.borrow_and_update().clone();
        if let Some(setup) = setup {
            self.configure(setup, Timestamp::now());
        }
        loop {
            let now = Timestamp::now();
            self.telemetry.beat();
            let more = self.turn(now);
            if self.killed.load(Ordering::Relaxed) {
                return;
            }
            // Without them nothing is made anew and nothing is safe: the process ends, and who started it starts it anew.
            if self.threads.iter().any(std::thread::JoinHandle::is_finished) {
                tracing::error!("a thread of the engine ended");
                return;
            }
            let pause = if more { Duration::ZERO } else { self.pause(now) };
            tokio::select! {
                () = shutdown.requested() => break,
                Ok(()) = setups.changed() => {
                    setups.mark_changed();
                    self.catch_up(&mut setups);
                }
                Some(outcome) = outcomes.recv() => self.outcome(outcome, Timestamp::now()),
                Some(question) = next(&mut questions) => self.answer(question),
                // Who sent them may know a configuration that is newer than ours: without it nobody would want what nobody repeats.
                Some(told) = news.recv() => {
                    self.catch_up(&mut setups);
                    self.told(told);
                }
                Some(first) = observed.recv() => self.observe_all(first, &mut observed, &mut setups),
                _ = woken.recv() => {}
                () = sleep(pause) => {}
            }
        }
        self.close();
    }

    /// Goes over to the newest configuration.
    fn catch_up(&mut self, setups: &mut watch::Receiver<Option<Arc<Setup>>>) {
        if setups.has_changed().unwrap_or(false) {
            let setup = setups.borrow_and_update().clone();
            if let Some(setup) = setup {
                self.configure(setup, Timestamp::now());
            }
        }
    }

    /// What is due; whether more names have ended than were looked at.
    fn turn(&mut self, now: Timestamp) -> bool {
        let more = self.expire(now);
        let since = *self.held_since.get_or_insert_with(Instant::now);
        if !more || since.elapsed() >= HOLD {
            self.publish_due(now);
            self.start_jobs();
        }
        if !more || self.touched.is_empty() {
            self.held_since = None;
        }
        self.start_chores(now);
        more
    }

    /// Until something is due.
    fn pause(&self, now: Timestamp) -> Duration {
        let expiry = self.cores.values().filter_map(|core| core.observations.next_due()).min();
        let expiry = expiry.and_then(|second| Timestamp::from_second(second.into()).ok());
        let expiry = expiry.map_or(TICK, |expiry| Duration::try_from(expiry.duration_since(now)).unwrap_or_default());
        let publish = if self.touched.is_empty() || self.world.is_none() { TICK } else { self.earliest - Instant::now() };
        expiry.min(publish).min(TICK)
    }

    /// What was written is on disk, and numbers go on behind the last one.
    fn close(mut self) {
        let Some(store) = self.store.take() else { return };
        if let Some(trouble) = &store.trouble {
            tracing::error!(trouble, "versions of the zone since then may not be on disk, nor what was observed");
        }
        let logs = self.cores.values().filter_map(|core| core.log.as_ref().map(ObservationLog::file)).collect();
        if let Err(error) = store.close(logs) {
            self.telemetry.metrics.state_error("serial");
            tracing::error!(
                %error,
                "the end could not be written down: versions of the zone and observations of the last seconds may not be on disk, and the \
                 next start goes on behind what was reserved"
            );
        }
    }
}

impl Handle {
    /// Ends it as a crash would: nothing more is written. For tests.
    pub fn kill(self) {
        self.killed.store(true, Ordering::Relaxed);
        _ = self.wake.try_send(Told {
            source: "".into(),
            news: crate::feeds::SourceNews::Health(crate::feeds::Health::good(Timestamp::UNIX_EPOCH, None)),
        });
        _ = self.thread.join();
    }
}

/// The next question; never one where nobody asks.
async fn next(questions: &mut Option<mpsc::Receiver<Question>>) -> Option<Question> {
    match questions {
        Some(questions) => questions.recv().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod ending_tests;
#[cfg(test)]
mod interval_tests;
#[cfg(test)]
mod slow_disk_tests;
#[cfg(test)]
mod tests;
