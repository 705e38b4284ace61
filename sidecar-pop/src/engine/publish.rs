//! Touched names -> a version of the zone.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tapir_table::{Cursor as _, KeyBuf, ReadError, Tree};
use tokio::time::Instant;

use super::counted::Counted;
use super::{Engine, Running};
use crate::metrics::Occasion;
use crate::state::zone_log::record::{Body, Change, Step};
use crate::zone::layers::Layers;
use crate::zone::tally::Tally;
use crate::zone::touch::{Changed, Touch, TouchError, Touched};
use crate::zone::{Serial, Size, Snapshot};

/// Names that are decided in place at most, however large the zone is, and however small.
const MOST_TOUCHED: usize = 65_536;
const LEAST_TOUCHED: u64 = 4096;
/// Share of the zone beyond which making it anew costs less.
const TOUCHED_SHARE: u64 = 16;
/// Names that may be read for it.
pub(super) const BUDGET: usize = 262_144;

impl Engine {
    /// Decides what was touched, if it is time.
    pub(super) fn publish_due(&mut self, now: Timestamp) {
        if self.touched.is_empty() || self.world.is_none() || self.earliest > Instant::now() {
            return;
        }
        let started = Instant::now();
        let many =
            usize::try_from((self.size.names / TOUCHED_SHARE).max(LEAST_TOUCHED)).unwrap_or(MOST_TOUCHED).min(MOST_TOUCHED);
        let touched = std::mem::take(&mut self.touched);
        if touched.len() > many {
            self.wanted.rebuild = true;
            return;
        }
        let mut published = false;
        match self.decide(&touched) {
            Ok(Some(changed)) => match self.commit(changed, now) {
                Ok(done) => published = done,
                Err(error) => self.unreadable(&error),
            },
            Ok(None) => {}
            Err(TouchError::TooMany) => self.wanted.rebuild = true,
            Err(TouchError::Read(error)) => self.unreadable(&error),
        }
        // Of names that were not in the zone nobody waits for the end.
        if !self.wanted.rebuild {
            self.ended = None;
        }
        let took = started.elapsed();
        self.telemetry.metrics.build_microseconds.set(i64::try_from(took.as_micros()).unwrap_or(i64::MAX));
        let interval = self.setup.as_ref().map_or_else(Default::default, |setup| setup.publish_interval);
        // What changes nothing holds up no change, but takes no more than half of the time.
        self.earliest = Instant::now() + if published { interval } else { took.min(interval) };
    }

    fn decide(&self, touched: &Tree) -> Result<Option<Changed>, TouchError> {
        let (Some(world), Some(layers)) = (&self.world, &self.layers) else { return Ok(None) };
        let judge = Counted::new(world);
        let mut touch = Touch::new(&judge, &world.sources, world.room(), layers, BUDGET);
        touch.touch(named(touched))?;
        let changed = touch.finish();
        judge.tell(Occasion::Change);
        Ok(Some(changed))
    }

    /// Whether there is a new version.
    fn commit(&mut self, Changed { layers, before }: Changed, now: Timestamp) -> Result<bool, ReadError> {
        let palette = self.sets.now();
        let (mut body, mut size) = (Body::between(Arc::clone(&palette), palette), self.size);
        let mut cursor = before.cursor();
        while cursor.advance()? {
            let (old, new) = (cursor.value(), layers.get(cursor.key().as_bytes())?);
            if old != new {
                size.change(old, new);
                body.push(&Change { key: *cursor.key(), old, new });
            }
        }
        self.look_for_room();
        if body.is_empty() {
            return Ok(false);
        }
        if let Some(building) = self.running.as_mut().and_then(Running::rebuild).filter(|building| !building.is_late()) {
            let mut cursor = before.cursor();
            while cursor.advance()? {
                building.meanwhile.insert(cursor.key(), super::observe::touch_of(false));
            }
        }
        self.layers = Some(layers);
        self.size = size;
        self.version(&body, now);
        Ok(true)
    }

    /// Publishes what the layers say, as the version after the published one.
    pub(super) fn version(&mut self, body: &Body, now: Timestamp) {
        let Some(from) = self.published.borrow().as_ref().map(|zone| zone.serial) else { return };
        let to = self.number(now);
        let Some(store) = &mut self.store else { return };
        let step = Step { from, to, time: super::store::milliseconds(now) };
        if let Some(error) = store.append(step, body) {
            self.telemetry.metrics.state_error("journal");
            tracing::error!(%error, "a version could not be written down; a restart begins with an older one");
            self.report_disk();
        }
        self.keeping.written = true;
        self.show(to);
    }

    /// The next number.
    pub(super) fn number(&mut self, now: Timestamp) -> Serial {
        let Some(store) = &mut self.store else { return Serial(0) };
        let (serial, error) = store.number(now);
        if let Some(error) = error {
            self.telemetry.metrics.state_error("serial");
            tracing::error!(%error, "the serial could not be reserved, trying again");
        }
        serial
    }

    /// Lets everyone see the layers under this number.
    pub(super) fn show(&mut self, serial: Serial) {
        let (Some(setup), Some(store), Some(layers)) = (&self.setup, &self.store, &self.layers) else { return };
        // What is published follows from the configuration that decides, not from one that is to come.
        let setup = self.world.as_ref().map_or(setup, |world| &world.setup);
        let zone = (layers.clone(), self.size);
        let snapshot = Snapshot::new(serial, Arc::clone(&setup.apex), self.sets.now(), zone, store.log.past());
        tracing::info!(serial = serial.0, records = self.size.records, "zone published");
        let publish = || _ = self.published.send_replace(Some(Arc::new(snapshot)));
        self.telemetry.published(setup.zone.name(), serial, self.size, publish);
        if let Some(ended) = self.ended.take() {
            self.telemetry.metrics.lag.took(Duration::try_from(Timestamp::now().duration_since(ended)).unwrap_or_default());
        }
        self.report_journal();
    }

    /// How much history there is.
    pub(super) fn report_journal(&self) {
        if let Some(store) = &self.store {
            self.telemetry.metrics.journal(store.log.octets(), store.log.len());
        }
    }

    /// How much is in layers over a base with so many records of each kind.
    pub(super) fn sized(layers: &Layers, base: Tally) -> Result<Size, ReadError> {
        let mut size = Size::of(&layers.base, base);
        let mut trail = tapir_table::Trail::new();
        let mut fresh = layers.fresh.cursor();
        while fresh.advance()? {
            let old = layers.base.get(fresh.key().as_bytes(), &mut trail)?.unwrap_or_default();
            size.change(old, fresh.value());
        }
        Ok(size)
    }
}

/// The touched names in order.
pub(super) fn named(touched: &Tree) -> impl Iterator<Item = Touched> {
    let mut cursor = touched.cursor();
    std::iter::from_fn(move || {
        // A tree in memory gives what was put in.
        cursor.advance().unwrap_or(false).then(|| {
            let key: KeyBuf = *cursor.key();
            Touched { key, reaches: !cursor.value().below.is_silent() }
        })
    })
}
