//! What the keeper is to do, and what becomes of it.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::Engine;
use super::keeper::{Chore, Kept};
use crate::state::observation_log::ObservationLog;
use crate::status::Trouble;

/// What was written waits so long for the disk at most.
const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// Between two looks at a disk that failed.
const PAUSE: Duration = Duration::from_secs(5);

/// What the keeper is at.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    reserving: bool,
    flushing: bool,
    probing: bool,
    /// Manifests that are being made durable.
    pub(super) settling: u32,
    /// The zone's log was written to.
    pub(super) written: bool,
    flushed: Option<Instant>,
    disk: Option<Instant>,
}

#[cfg(test)]
impl Keeping {
    /// The disk is looked at at once.
    pub(super) const fn look_now(&mut self) {
        self.disk = None;
    }

    /// Whether the keeper has something to do.
    pub(super) const fn is_busy(&self) -> bool {
        self.reserving || self.flushing || self.probing || self.settling > 0
    }

    /// That is done.
    pub(super) const fn heard(&mut self, kept: &Kept) {
        match kept {
            Kept::Reserved(_) => self.reserving = false,
            Kept::Flushed(_) => self.flushing = false,
            Kept::Settled(_) => self.settling -= 1,
            Kept::Probed(_) => self.probing = false,
        }
    }
}

impl Engine {
    /// Gives the keeper what is due.
    pub(super) fn start_chores(&mut self, now: Timestamp) {
        let Some(store) = &mut self.store else { return };
        if !self.keeping.reserving
            && let Some(due) = store.due(now)
        {
            self.keeping.reserving = self.chores.try_send(Chore::Reserve(due, store.folder.clone(), store.gate.clone())).is_ok();
        }
        let rested = self.keeping.flushed.is_none_or(|last| last.elapsed() >= FLUSH_EVERY);
        if !self.keeping.flushing && rested && (self.keeping.written || self.cores.values().any(|core| core.written)) {
            let mut files: Vec<_> = store.log.file().into_iter().filter(|_| self.keeping.written).collect();
            for core in self.cores.values_mut().filter(|core| core.written) {
                core.written = false;
                files.extend(core.log.as_ref().map(ObservationLog::file));
            }
            self.keeping.written = false;
            self.keeping.flushed = Some(Instant::now());
            self.keeping.flushing = self.chores.try_send(Chore::Flush(files)).is_ok();
        }
        let look =
            store.trouble.is_some() && self.world.is_some() && self.keeping.disk.is_none_or(|last| last.elapsed() >= PAUSE);
        if look && !self.keeping.probing {
            self.keeping.disk = Some(Instant::now());
            let probe = Chore::Probe(store.folder.clone(), store.needs_lock());
            self.keeping.probing = self.chores.try_send(probe).is_ok();
        }
    }

    pub(super) fn kept(&mut self, kept: Kept) {
        let Some(store) = &mut self.store else { return };
        match kept {
            Kept::Reserved(written) => {
                self.keeping.reserving = false;
                if let Err(error) = &written {
                    self.telemetry.metrics.state_error("serial");
                    tracing::error!(%error, "numbers could not be reserved, trying again");
                }
                if store.reserved(written) {
                    tracing::info!("numbers are reserved again");
                }
            }
            Kept::Flushed(flushed) => {
                self.keeping.flushing = false;
                if let Err(error) = flushed {
                    self.telemetry.metrics.state_error("journal");
                    tracing::error!(%error, "what was written may not be on disk");
                }
            }
            Kept::Probed(probed) => {
                self.keeping.probing = false;
                if store.trouble.is_some() && store.probed(probed) {
                    self.wanted.merge = true;
                    self.reopen_logs();
                }
                self.report_disk();
            }
            Kept::Settled(settled) => {
                self.keeping.settling = self.keeping.settling.saturating_sub(1);
                match settled {
                    Ok(serial) => {
                        store.log.based_on(serial);
                        self.report_journal();
                    }
                    Err(error) => {
                        self.telemetry.metrics.state_error("zone");
                        tracing::error!(%error, "the base of the zone may not survive a power loss");
                    }
                }
            }
        }
    }

    pub(super) fn report_disk(&self) {
        let zone = self.store.as_ref().and_then(|store| store.trouble.clone());
        let trouble = zone.or_else(|| self.cores.values().find_map(|core| core.trouble.clone()));
        self.telemetry.trouble(Trouble::Disk, trouble);
        self.report_journal();
    }
}
