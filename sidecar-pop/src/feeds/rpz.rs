//! Response policy zones of others, transferred: asked for their version as often as they say or a NOTIFY tells, transferred when
//! that is newer (IXFR, or AXFR where changes are not to be had or do not fit), kept until their own expiry.
//!
//! A transfer counts whole or not at all. What is held stays while primaries are away, refuse, or have an older version (RFC 1982).

mod exchange;
mod held;
mod log;
mod notified;
mod timing;
mod whole;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tapir_runtime::panics::Panicked;
use tapir_runtime::shutdown::Shutdown;
use tapir_wire::config::pop::{LocalData, RpzSource};
use tapir_wire::name::Name;
use tapir_wire::tsig::TsigKey;
use tokio::time::{Instant, sleep, sleep_until};

use self::exchange::{Asked, ExchangeError, TransferFailed};
use self::held::{Held, HeldError};
pub use self::notified::{Notified, Rung};
use self::timing::{Failing, Timing};
use self::whole::{Whole, read};
use super::aside::{AGAIN, lent};
use super::collect::Place;
use super::lists::Fit;
use super::record::RecordReader;
use super::store::{Leave, Store};
use super::teller::{Gone, Teller};
use super::{NewsSender, SourceNews};
use crate::dns::records::{Event, Limits, Outcome, Soa, TransferError, Wanted, WireName};
use crate::dns::tsig::Key;
use crate::zone::Serial;

/// Smallest record: an owner that is a pointer, and no data.
const LEAST_RECORD: u64 = 12;
/// Between two questions to a primary at least, however many NOTIFYs come.
const BETWEEN: Duration = Duration::from_secs(1);
/// The time of the last confirmation is written down so often.
const WRITE_EVERY: Duration = Duration::from_secs(60);
/// What is in memory for want of room is written down as soon as there is some, which is tried so often.
const TRY_EVERY: Duration = Duration::from_secs(5);
/// Why a copy does not count any more.
const NOT_REACHED: &str = "no primary was reached before the zone's expiry";

/// One source.
#[derive(Debug)]
pub struct RpzFeed {
    source: Arc<str>,
    primaries: Vec<SocketAddr>,
    key: Option<Arc<Key>>,
    zone: WireName,
    fit: Fit,
    local_data: LocalData,
    timing: Timing,
    limits: Limits,
    rung: Rung,
    state: State,
}

/// What a round of questions works on.
#[derive(Debug)]
struct State {
    store: Store,
    held: Option<Held>,
    written_at: Timestamp,
    /// The last round panicked: changes may be what it panicked on, and the whole comes in another way.
    distrusts_changes: bool,
}

/// What a round of questions brought.
enum Round {
    /// Nothing newer.
    Current,
    /// This.
    New(SourceNews),
    Failed(String),
    Panicked,
}

/// Why one primary was of no use.
#[derive(Debug, thiserror::Error)]
enum PrimaryError {
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    #[error(transparent)]
    Held(#[from] HeldError),
    #[error("dataDir takes no new copy, check its free space and permissions: {disk}; nor does memory: {memory}")]
    NoRoom { disk: HeldError, memory: Box<Self> },
    #[error("it has version {theirs}, which is not newer than {ours}; what is held stays until it expires")]
    Behind { theirs: u32, ours: u32 },
}

impl RpzFeed {
    /// The source `name`; `None` when its zone is no name. `most` are the octets of one transfer.
    #[must_use]
    pub fn new(
        name: &str,
        rpz: &RpzSource,
        key: Option<&TsigKey>,
        fit: Fit,
        data: &Path,
        most: u64,
        notified: &Notified,
    ) -> Option<Self> {
        let zone = WireName::from(&Name::parse(&rpz.zone).ok()?);
        let identity = format!("rpz {zone} {:?} room {}", rpz.local_data, fit.room());
        let key = key.map(|key| Arc::new(Key::from(key)));
        let rung = notified.expect(zone, &rpz.primaries, key.as_ref().map(|key| key.name));
        Some(Self {
            source: name.into(),
            primaries: rpz.primaries.clone(),
            key,
            zone,
            fit,
            local_data: rpz.local_data,
            timing: Timing::of(rpz),
            limits: Limits { octets: most, records: most / LEAST_RECORD },
            rung,
            state: State {
                store: Store::open(data, name, identity),
                held: None,
                written_at: Timestamp::UNIX_EPOCH,
                distrusts_changes: false,
            },
        })
    }

    /// For who may say that it is not wanted any more.
    #[must_use]
    pub fn leaving(mut self, leave: &Leave) -> Self {
        self.state.store = self.state.store.leaving(leave);
        self
    }

    /// Until the shutdown, or until nobody listens.
    pub async fn run(self, to: NewsSender, shutdown: Shutdown) {
        tokio::select! {
            _ = self.go_on(to, &shutdown) => {}
            () = shutdown.requested() => {}
        }
    }

    async fn go_on(mut self, to: NewsSender, shutdown: &Shutdown) -> Result<(), Gone> {
        let mut teller = Teller::new(Arc::clone(&self.source), to);
        // A copy that cannot be read is none.
        (self, _) = lent(self, |feed| feed.state.held = Held::load(&mut feed.state.store)).await;
        let mut counts = false;
        if let Some(held) = &self.state.held
            && self.timing.expires_at(held) > Timestamp::now()
        {
            teller.tell(held.news(Some(self.timing.expires_at(held)))).await?;
            counts = true;
        }
        let (mut failing, mut panicked) = (Failing::new(self.timing), AGAIN.start());
        loop {
            let begun = Instant::now();
            self.rung.clear();
            let shutdown_of_round = shutdown.clone();
            // A primary may be silent, or slow, for longer than what is held counts.
            let (until, mut done) = (self.expires_at(), None);
            let round = async { done = Some(lent(self, move |feed| feed.round(&shutdown_of_round)).await) };
            teller.wait(round, &mut counts, until, NOT_REACHED).await?;
            let (feed, round) = done.ok_or(Gone)?;
            self = feed;
            let mut round = self.judged(round);
            if !counts && matches!(round, Round::Current | Round::New(SourceNews::Changes { .. })) {
                // It ended while the primary said that it is good still: nobody knows it any more.
                let all;
                (self, all) = lent(self, Self::all_of_it).await;
                round = self.judged(all);
            }
            let now = Timestamp::now();
            let expires_at = self.expires_at();
            let pause = match round {
                Round::New(news) => {
                    teller.tell(news).await?;
                    teller.good(now, expires_at).await?;
                    counts = true;
                    failing.reached();
                    panicked.reset();
                    self.refresh()
                }
                // What is expired is transferred anew, so this is of what counts.
                Round::Current => {
                    teller.good(now, expires_at).await?;
                    failing.reached();
                    self.refresh()
                }
                Round::Panicked => {
                    teller.panicked(now, expires_at.filter(|_| counts)).await?;
                    panicked.next_pause()
                }
                Round::Failed(error) => {
                    teller.bad(error, now, expires_at.filter(|_| counts)).await?;
                    failing.next_pause(self.state.held.as_ref().map(|held| held.timers))
                }
            };
            let (next, soonest) = (Instant::now() + pause, begun + BETWEEN);
            loop {
                let (mut waits, in_memory) = (false, self.state.store.is_in_memory());
                let wait = async {
                    tokio::select! {
                        () = sleep_until(next) => {}
                        () = self.rung.rings() => sleep_until(soonest).await,
                        () = sleep(TRY_EVERY), if in_memory => waits = true,
                    }
                };
                teller.wait(wait, &mut counts, expires_at, NOT_REACHED).await?;
                if !waits {
                    break;
                }
                (self, _) = lent(self, Self::write_down).await;
            }
        }
    }

    fn expires_at(&self) -> Option<Timestamp> {
        self.state.held.as_ref().map(|held| self.timing.expires_at(held))
    }

    fn refresh(&self) -> Duration {
        self.state.held.as_ref().map_or(BETWEEN, |held| self.timing.refresh(held))
    }

    /// What came of a round, and what follows from it for the next one.
    fn judged(&mut self, round: Result<Round, Panicked>) -> Round {
        self.state.distrusts_changes = match &round {
            Err(Panicked) => true,
            Ok(Round::New(_)) => false,
            Ok(_) => self.state.distrusts_changes,
        };
        round.unwrap_or(Round::Panicked)
    }

    /// Asks one primary after the other until one is of use.
    fn round(&mut self, shutdown: &Shutdown) -> Round {
        let mut errors = Vec::new();
        for primary in self.primaries.clone() {
            let asked = Asked {
                primary,
                zone: self.zone,
                key: self.key.clone(),
                limits: self.limits,
                shutdown: shutdown.clone(),
                leave: self.state.store.leave(),
            };
            match self.ask(&asked) {
                Ok(Some(news)) => return Round::New(news),
                Ok(None) => return Round::Current,
                Err(error) => errors.push(format!("{primary}: {error}")),
            }
        }
        Round::Failed(errors.join("; "))
    }

    fn ask(&mut self, asked: &Asked) -> Result<Option<SourceNews>, PrimaryError> {
        if let Some((serial, takes_changes)) = self.held_in_force() {
            let soa = asked.probe()?;
            if soa.serial == serial {
                self.confirm();
                return Ok(None);
            }
            if !Serial(soa.serial).is_after(Serial(serial)) {
                return Err(PrimaryError::Behind { theirs: soa.serial, ours: serial });
            }
            if takes_changes && !self.state.distrusts_changes {
                match self.take_changes(asked, serial) {
                    Ok(news) => return Ok(news),
                    Err(error @ (PrimaryError::Behind { .. } | PrimaryError::Exchange(ExchangeError::Stopping))) => {
                        return Err(error);
                    }
                    Err(error) => tracing::info!(source = &*self.source, %error, "no changes to be had, asking for the whole"),
                }
            }
        }
        self.take_whole(asked).map(Some)
    }

    /// What is held, for whom all of it is new. Where that cannot be put together it is transferred anew.
    fn all_of_it(&mut self) -> Round {
        let expires_at = self.expires_at();
        let store = &mut self.state.store;
        match self.state.held.as_mut().map(|held| held.whole(expires_at, store)) {
            Some(Ok(news)) => Round::New(news),
            Some(Err(error)) => {
                self.state.held = None;
                Round::Failed(error.to_string())
            }
            None => Round::Failed("nothing is held any more".to_owned()),
        }
    }

    /// What is expired is no reason to refuse what the primary has, however old that is.
    fn held_in_force(&self) -> Option<(u32, bool)> {
        let held = self.state.held.as_ref().filter(|held| self.timing.expires_at(held) > Timestamp::now())?;
        Some((held.serial, held.takes_changes()))
    }

    fn confirm(&mut self) {
        let now = Timestamp::now();
        let every = if self.state.store.is_in_memory() { TRY_EVERY } else { WRITE_EVERY };
        let write = now.duration_since(self.state.written_at).unsigned_abs() >= every;
        if let Some(held) = &mut self.state.held {
            held.confirm(now, write, &mut self.state.store);
        }
        if write {
            self.state.written_at = now;
        }
    }

    /// What only memory holds goes to the disk, should there be room by now.
    fn write_down(&mut self) {
        let State { store, held, .. } = &mut self.state;
        if let Some(held) = held
            && held.write_down(store)
        {
            tracing::info!(source = &*self.source, "the zone is on the disk now");
        }
    }

    fn reader(&self) -> RecordReader {
        RecordReader { fit: self.fit, zone: self.zone, local_data: self.local_data }
    }

    /// What the disk has no room for is held in memory, as long as that has.
    fn take_whole(&mut self, asked: &Asked) -> Result<SourceNews, PrimaryError> {
        match self.take_whole_by(asked, true) {
            Err(PrimaryError::Held(disk)) if disk.is_of_disk() => {
                let held = self.take_whole_by(asked, false);
                held.map_err(|memory| PrimaryError::NoRoom { disk, memory: Box::new(memory) })
            }
            taken => taken,
        }
    }

    fn take_whole_by(&mut self, asked: &Asked, on_disk: bool) -> Result<SourceNews, PrimaryError> {
        self.state.store.look();
        let place = if on_disk { self.state.store.next_place() } else { Place::Memory };
        let mut taker = Whole::begin(self.reader(), place);
        let outcome = asked.transfer(Wanted::Whole, |event| taker.take(&event)).map_err(flat)?;
        let (Outcome::Whole(soa) | Outcome::Changed(soa) | Outcome::Current(soa) | Outcome::Behind(soa)) = outcome;
        self.finish_whole(taker, soa, on_disk)
    }

    fn finish_whole(&mut self, taker: Whole, soa: Soa, on_disk: bool) -> Result<SourceNews, PrimaryError> {
        let now = Timestamp::now();
        let collected = taker.finish(&soa)?;
        let held = Held::of_whole(&collected, soa, now, (&mut self.state.store, on_disk))?;
        if !on_disk {
            tracing::warn!(source = &*self.source, "the disk takes no copy of the zone, it is held in memory");
        }
        self.state.written_at = now;
        let news = held.news(Some(self.timing.expires_at(&held)));
        tracing::info!(
            source = &*self.source,
            serial = soa.serial,
            names = collected.table.nodes(),
            rejected = collected.rejected.count,
            "zone transferred"
        );
        self.state.held = Some(held);
        Ok(news)
    }

    /// IXFR, which may bring the whole zone too.
    fn take_changes(&mut self, asked: &Asked, serial: u32) -> Result<Option<SourceNews>, PrimaryError> {
        let reader = self.reader();
        let State { store, held, .. } = &mut self.state;
        let Some(held) = held else { return Ok(None) };
        let mut pending = held.begin();
        let mut whole: Option<Whole> = None;
        let transferred = asked.transfer(Wanted::Since(Serial(serial)), |event| {
            if matches!(event, Event::Whole(_)) {
                whole = Some(Whole::begin(reader, store.next_place()));
            }
            if let Some(whole) = &mut whole {
                return whole.take(&event);
            }
            let (record, is_added) = match event {
                Event::Removed(record) => (record, false),
                Event::Added(record) => (record, true),
                Event::Whole(_) | Event::Step { .. } | Event::Reached(_) => return Ok(()),
            };
            match read(&reader, &record) {
                Ok(Some(read)) => held.change(&mut pending, &read, is_added),
                // What was never taken is not missed.
                Ok(None) | Err(_) => Ok(()),
            }
        });
        let outcome = transferred.map_err(flat)?;
        let now = Timestamp::now();
        match (outcome, whole) {
            (Outcome::Whole(soa), Some(whole)) => self.finish_whole(whole, soa, true).map(Some),
            (Outcome::Changed(soa), _) => {
                let expires_at = self.timing.expires_of(&soa, now);
                Ok(Some(held.commit(pending, soa, now, Some(expires_at), store)?))
            }
            (Outcome::Current(_), _) => {
                self.confirm();
                Ok(None)
            }
            (Outcome::Behind(soa) | Outcome::Whole(soa), _) => Err(PrimaryError::Behind { theirs: soa.serial, ours: serial }),
        }
    }
}

fn flat(error: TransferFailed<HeldError>) -> PrimaryError {
    match error {
        TransferFailed::Exchange(error) => error.into(),
        TransferFailed::Each(error) => error.into(),
    }
}

impl From<TransferError> for PrimaryError {
    fn from(error: TransferError) -> Self {
        Self::Exchange(error.into())
    }
}
