//! A zone that was made anew, or written down anew, takes over.

use std::sync::Arc;

use jiff::Timestamp;
use tapir_table::{Codes, Cursor as _, ReadError, Tree};
use tokio::time::Instant;

use super::Engine;
use super::builder::Base;
use super::counted::Counted;
use super::jobs::Building;
use super::keeper::Chore;
use super::publish::{BUDGET, named};
use super::store::Store;
use super::world::Unplaced;
use crate::metrics::Occasion;
use crate::state::manifest::{FORMAT, Manifest, apex_text};
use crate::state::zone_log::record::{Body, Change};
use crate::zone::Serial;
use crate::zone::layers::Layers;
use crate::zone::rebuild::Rebuilt;
use crate::zone::sets::{Same, Sets};
use crate::zone::tally::Tally;
use crate::zone::touch::{Changed, TouchError};

/// Changes beyond which it may cost a client less to get the whole zone.
const FEW: usize = 4096;

impl Engine {
    /// Goes over to a zone that was made anew: one change from what is published now, whatever came meanwhile.
    pub(super) fn swap(&mut self, building: Building, base: &Base, (differs, unplaced): (Tree<Codes>, Unplaced), now: Timestamp) {
        let current = self.setup.as_ref().is_some_and(|setup| Arc::ptr_eq(setup, &building.world.setup));
        if !current || building.is_late() {
            self.wanted.rebuild = true;
            return self.drop_file(base);
        }
        let published = if building.from_nothing { crate::zone::nothing().map(Layers::new) } else { self.layers.clone() };
        let Some(published) = published else { return };
        let world = &building.world;
        let rebuilt = Rebuilt { base: Arc::clone(&base.table), differs };
        let judge = Counted::new(world);
        let parts = (&judge, world.sources.as_slice(), world.room());
        let swapped = rebuilt.swap(parts, named(&building.touched), &published, &building.meanwhile, BUDGET);
        if swapped.is_ok() {
            judge.tell(Occasion::Change);
        }
        let done = match swapped {
            Ok(changed) => self.take_over(changed, building, base, &unplaced, now),
            Err(TouchError::TooMany) => {
                self.wanted.rebuild = true;
                return self.drop_file(base);
            }
            Err(TouchError::Read(error)) => Err(error),
        };
        if let Err(error) = done {
            self.unreadable(&error);
        }
        if let Some(error) = &base.error {
            self.telemetry.metrics.state_error("zone");
            tracing::error!(%error, "the zone cannot be written down");
            if let Some(store) = &mut self.store {
                store.fail(error);
            }
        }
        self.report_disk();
    }

    fn take_over(
        &mut self,
        changed: Changed,
        building: Building,
        base: &Base,
        unplaced: &Unplaced,
        now: Timestamp,
    ) -> Result<(), ReadError> {
        let Changed { layers, before } = changed;
        let size = Self::sized(&layers, base.tally)?;
        let previous = self.published.borrow().clone();
        let setup = Arc::clone(&building.world.setup);
        let forced = building.from_nothing || previous.as_ref().is_none_or(|zone| zone.apex != setup.apex);
        let half = usize::try_from(size.names.max(self.size.names) / 2).unwrap_or(usize::MAX);
        let sets = building.world.sets.clone();
        let body = if forced || before.len() > half.max(FEW) {
            None
        } else {
            Some(difference(&before, &layers, &self.sets, &sets)?).filter(|(body, _)| !body.is_crowded())
        };
        self.wanted.from_nothing = false;
        self.wanted.since = None;
        let was = std::mem::replace(&mut self.sets, sets);
        self.world = Some(building.world);
        // All of them were decided with the new zone.
        self.touched = Tree::new();
        if let Some(store) = &mut self.store {
            store.limit(&setup, base.table.octets());
        }
        let serial = previous.as_ref().map(|zone| zone.serial);
        match (body, previous) {
            (Some((body, changes)), Some(previous)) => {
                if changes == 0 {
                    // What is published is as good, unless its codes mean something else from now on: then it is read from the new file, which goes
                    // when nobody has it open.
                    if !self.sets.now().sets().starts_with(was.now().sets()) {
                        self.layers = Some(layers);
                    }
                    self.drop_file(base);
                } else {
                    (self.layers, self.size) = (Some(layers), size);
                    self.version(&body, now);
                    // Where it is not in the log, the file would pass for the version of before. The disk is looked at again, and gets another.
                    if self.store.as_ref().is_some_and(Store::has_disk) {
                        self.settle(base, previous.serial);
                    } else {
                        self.drop_file(base);
                    }
                }
            }
            _ => {
                (self.layers, self.size) = (Some(layers), size);
                // A number that nobody sees stands for the base; the one that is published for all of it.
                let (below, serial) = (self.number(now), self.number(now));
                if base.file.is_some() {
                    // Which forgets the log of before when the base is in force, not earlier: a restart in between goes on from there.
                    self.begin_history(base, below, serial, now);
                } else if let Some(store) = &mut self.store {
                    store.forget();
                }
                self.show(serial);
            }
        }
        self.ended = None;
        // A zone that stands for the first time is no change, nor is one that is as it was.
        let changed = serial.is_some() && serial != self.published.borrow().as_ref().map(|zone| zone.serial);
        let next = Instant::now() + setup.publish_interval;
        self.earliest = if changed { next } else { self.earliest.min(next) };
        self.placed(unplaced);
        self.telemetry.configured(&setup);
        self.report_sources();
        Ok(())
    }

    /// Base and older changes are in a new base.
    pub(super) fn rebase(&mut self, base: &Base, serial: Serial, now: Timestamp) {
        let Some(layers) = &mut self.layers else { return };
        layers.rebase(Arc::clone(&base.table));
        if let (Some(error), Some(store)) = (&base.error, &mut self.store) {
            self.telemetry.metrics.state_error("zone");
            tracing::error!(%error, "the zone cannot be written down");
            store.fail(error);
        }
        if base.file.is_some() && self.store.as_ref().is_some_and(|store| store.trouble.is_some()) {
            self.settle_anew(base, serial, now);
        } else {
            self.settle(base, serial);
        }
        self.report_disk();
    }

    /// The file is the base from now on; the log goes on from this version. Whether it is.
    fn settle(&mut self, base: &Base, serial: Serial) -> bool {
        let Some(file) = &base.file else { return false };
        let Some(manifest) = self.manifest(file, base.tally, serial) else { return false };
        let Some(store) = &mut self.store else { return false };
        match store.settle(manifest) {
            Ok(useless) => {
                let chore = Chore::Settle(store.zone_folder(), useless, serial);
                self.keeping.settling += u32::from(self.chores.try_send(chore).is_ok());
                true
            }
            Err(error) => {
                self.telemetry.metrics.state_error("zone");
                tracing::error!(%error, "which file holds the zone could not be written down");
                store.fail(&error);
                false
            }
        }
    }

    /// There is a disk again: base and what changed since are on it, history begins anew.
    fn settle_anew(&mut self, base: &Base, below: Serial, now: Timestamp) {
        let current = self.published.borrow().as_ref().map(|zone| zone.serial);
        if let Some(current) = current {
            // Who ends between base and history would take numbers for new ones that went on in memory.
            if current != below && !self.store.as_mut().is_some_and(|store| store.mark_anew(current)) {
                return self.drop_file(base);
            }
            // Where nothing changed since, the base stands for the version itself.
            self.begin_history(base, below, current, now);
            self.show_again();
        }
    }

    pub(super) fn begin_history(&mut self, base: &Base, below: Serial, current: Serial, now: Timestamp) {
        // The base first: without what changed since, it is nearer to the truth than what went before.
        if !self.settle(base, below) {
            // What is in force goes on from the log of before.
            return;
        }
        let (Some(store), Some(layers)) = (&mut self.store, &self.layers) else { return };
        let failed = store.rebase_log(below, current, now, &self.sets.now(), layers).err();
        if let Some(error) = failed {
            self.telemetry.metrics.state_error("journal");
            tracing::error!(%error, "history cannot be begun");
            store.fail(&error);
        }
    }

    /// The same version with the history that there is now. Whoever waits for versions looks at the number.
    fn show_again(&mut self) {
        let serial = self.published.borrow().as_ref().map(|zone| zone.serial);
        if let Some(serial) = serial {
            self.show(serial);
        }
    }

    fn manifest(&self, file: &str, tally: Tally, serial: Serial) -> Option<Manifest> {
        let setup = self.world.as_ref().map(|world| &world.setup).or(self.setup.as_ref())?;
        let held = |source: &&String| self.lists.get(source.as_str()).is_some_and(|list| list.meta.entries > 0);
        let own = |source: &&String| !setup.rules.lists.iter().any(|list| list.source == **source);
        Some(Manifest {
            format: FORMAT,
            zone: setup.zone.name().to_string(),
            apex: apex_text(&setup.apex),
            base: file.to_owned(),
            serial,
            records: tally.numbers(),
            sources: setup.sources.iter().filter(held).filter(own).cloned().collect(),
        })
    }

    /// A file that nobody needs.
    fn drop_file(&self, base: &Base) {
        if let (Some(file), Some(store)) = (&base.file, &self.store) {
            store.drop_base(file);
        }
    }
}

/// What a restart has to know to make the zone of the new base or of the one before, and how much of it is different from what is published.
fn difference(before: &Tree<Codes>, layers: &Layers, was: &Sets, sets: &Sets) -> Result<(Body, usize), ReadError> {
    let (mut body, mut changes) = (Body::between(was.now(), sets.now()), 0);
    let mut same = Same::new(was.now(), sets.clone());
    let mut cursor = before.cursor();
    while cursor.advance()? {
        let (old, key) = (cursor.value(), *cursor.key());
        let new = layers.get(key.as_bytes())?;
        let is_same = same.codes(old, new);
        if !is_same || layers.fresh.get(key.as_bytes()).is_some() {
            body.push(&Change { key, old, new });
        }
        changes += usize::from(!is_same);
    }
    Ok((body, changes))
}
