//! The beginning: what was kept is served before anything else happens.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tapir_table::KeyBuf;
use tokio::time::Instant;

use super::Engine;
use super::builder::Base;
use super::observe::Core;
use super::store::{KeptZone, Opened, Store, apex_text};
use crate::knowledge::observations::{Known, Observations};
use crate::policy::explain::Binding;
use crate::setup::Setup;
use crate::state::former;
use crate::state::manifest::Manifest;
use crate::state::observation_log::ObservationLog;
use crate::status::Trouble;
use crate::status::rows::Row;
use crate::zone::sets::Sets;

/// Files of the log beyond which a new base is written, so that they can go.
const MOST_FILES: usize = 32;
/// Sources that held something before the start are waited for so long.
const PATIENCE: Duration = Duration::from_secs(60);

impl Engine {
    /// A configuration came into force. The first one tells where state lies: that is read before anything else happens.
    pub(super) fn configure(&mut self, setup: Arc<Setup>, now: Timestamp) {
        let first = self.store.is_none();
        if first {
            self.setup = Some(Arc::clone(&setup));
            self.open(&setup, now);
        } else if self.store.as_ref().is_some_and(|store| store.folder != setup.data_dir) {
            tracing::warn!("a new dataDir takes effect with the next start of the process");
        }
        for core in &setup.rules.cores {
            self.open_core(&core.name, &setup, now);
        }
        for (source, error) in &setup.idle_sources {
            tracing::warn!(source, error, "a source holds nothing");
        }
        for list in &setup.rules.lists {
            if let Some(error) = &list.stale {
                tracing::warn!(source = list.source, error, "a list cannot be read, what it held last stays in force");
            }
            // The same text may be as new, or as old, as it was not before.
            if let Some((known, _)) = self.texts.get_mut(&list.source) {
                known.stale.clone_from(&list.stale);
            }
        }
        self.texts.retain(|source, _| setup.rules.lists.iter().any(|list| list.source == *source));
        if setup.zone_file.is_none() {
            self.telemetry.trouble(Trouble::ZoneFile, None);
        }
        self.give_up();
        self.wanted.rebuild = true;
        self.wanted.not_before = None;
        self.telemetry.configured_sources(&setup.sources);
        for list in setup.rules.lists.iter().filter(|list| !setup.at_fault.contains(&list.source)) {
            self.telemetry.read_inside(&list.source, false);
        }
        for source in &setup.at_fault {
            self.telemetry.read_inside(source, true);
        }
        self.setup = Some(setup);
        self.report_sources();
    }

    fn open(&mut self, setup: &Setup, now: Timestamp) {
        let (store, Opened { kept, damage }) = Store::open(setup, self.scribe.clone(), self.room);
        self.store = Some(store);
        if let Some(kept) = kept {
            self.serve_kept(kept, setup, now);
            self.wanted.merge |= self.store.as_ref().is_some_and(|store| store.log.files() > MOST_FILES);
        }
        if !damage.is_empty() {
            self.telemetry.metrics.state_error("zone");
            let text = damage.join("; ");
            tracing::error!(error = text, "kept state could not all be read, going on with the rest");
            self.telemetry.trouble(Trouble::Kept, Some(format!("kept state could not all be read at the start: {text}")));
        }
        self.report_disk();
    }

    fn serve_kept(&mut self, kept: KeptZone, setup: &Setup, now: Timestamp) {
        let KeptZone { layers, base, tally, size, palette, serial, manifest } = kept;
        if manifest.zone != setup.zone.name().to_string() {
            tracing::info!(was = manifest.zone, "the zone has another name now and is made anew");
            if let Some(store) = &mut self.store {
                store.log.cut();
            }
            return self.drop_other(base.as_deref(), &manifest);
        }
        let configured = |source: &String| setup.sources.iter().any(|name| name == source);
        self.awaited = manifest.sources.iter().filter(|source| configured(source)).cloned().collect();
        self.awaited_until = Instant::now() + PATIENCE;
        (self.sets, self.layers, self.size) = (Sets::of(palette), Some(layers), size);
        let same = serial.filter(|_| manifest.apex == apex_text(&setup.apex));
        if let Some(serial) = same {
            self.drop_other(base.as_deref(), &manifest);
            return self.show(serial);
        }
        // Its number may have been used for something else: history begins here. A number that nobody sees stands for the base.
        let (below, serial) = (self.number(now), self.number(now));
        if let Some(table) = self.layers.as_ref().map(|layers| Arc::clone(&layers.base)) {
            if base.is_none()
                && let Some(store) = &mut self.store
            {
                // What a restart begins with is on the disk, and its log with it.
                store.forget();
            }
            // Without a file it settles nothing.
            self.begin_history(&Base { table, tally, file: base, error: None }, below, serial, now);
        }
        self.show(serial);
    }

    /// What was put together anew is open and needs no file: the next start begins with the one of before and the log.
    fn drop_other(&self, base: Option<&str>, manifest: &Manifest) {
        if let (Some(base), Some(store)) = (base.filter(|base| *base != manifest.base), &self.store) {
            store.drop_base(base);
        }
    }

    fn open_core(&mut self, name: &str, setup: &Setup, now: Timestamp) {
        if self.cores.contains_key(name) {
            return;
        }
        let first = self.cores.is_empty();
        let mut observations = Observations::new(setup.observation_octets);
        let Some(store) = &self.store else { return };
        let folder = store.folder.join("obs").join(name);
        let mut log = None;
        if store.has_disk() {
            match ObservationLog::open(&folder, &mut observations, now) {
                Ok((opened, found)) => {
                    log = Some(opened.through(&self.scribe));
                    let names = observations.live().len();
                    tracing::info!(source = name, names, read = found.names, "kept observations read");
                    if found.torn {
                        tracing::warn!(source = name, "the end of kept observations is torn, as a power loss does it");
                    }
                    if found.broken > 0 {
                        self.kept_trouble(name, &format!("{} tables are damaged", found.broken));
                    }
                }
                Err(error) => self.kept_trouble(name, &error.to_string()),
            }
        }
        observations.take_displaced();
        let mut core = Core::new(observations, log);
        if first {
            self.take_former(&mut core, setup, now);
        }
        self.cores.insert(Arc::from(name), core);
    }

    /// Observations of a time when they were kept otherwise.
    fn take_former(&self, core: &mut Core, setup: &Setup, now: Timestamp) {
        let Some(store) = self.store.as_ref().filter(|store| store.has_disk()) else { return };
        let mut read: Vec<(KeyBuf, Known)> = Vec::new();
        let taken = former::read(&store.folder, |name, known| {
            let key = KeyBuf::from_wire(&name.to_wire(), setup.zone.room());
            if let (Ok(key), Ok(())) = (key, setup.zone.check(&name)) {
                read.push((key, known));
            }
        });
        let broken = match taken {
            Ok(broken) => broken,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(error) => return self.set_former_aside(&store.folder, &error.to_string()),
        };
        for (key, known) in &read {
            core.observations.restore(key, *known, now);
        }
        let written = core.log.as_mut().map(|log| {
            read.chunks(4096).try_for_each(|chunk| log.append(chunk.iter().map(|(key, known)| (key, *known))))?;
            log.file().sync_data()
        });
        tracing::info!(names = read.len(), broken, "observations of an earlier release taken over");
        match written {
            // More is missing than the one line that a crash tears.
            Some(Ok(())) if broken > 1 => self.set_former_aside(&store.folder, &format!("{broken} broken lines")),
            Some(Ok(())) => _ = fs::remove_file(store.folder.join(former::FILE)),
            _ => {}
        }
    }

    /// It may hold more than anyone else knows, for somebody to look at.
    fn set_former_aside(&self, folder: &Path, reason: &str) {
        let aside = folder.join(format!("observations.broken-{}", Timestamp::now().as_millisecond()));
        let text = match fs::rename(folder.join(former::FILE), &aside) {
            Ok(()) => format!("the file is kept as {}", aside.display()),
            Err(error) => format!("nor can the file be set aside: {error}"),
        };
        self.kept_trouble(former::FILE, &format!("{reason}; {text}"));
    }

    fn kept_trouble(&self, what: &str, reason: &str) {
        self.telemetry.metrics.state_error("journal");
        tracing::error!(what, error = reason, "kept observations could not all be read, going on with the rest");
        let text = format!("kept observations of {what} could not all be read at the start: {reason}");
        self.telemetry.trouble(Trouble::Kept, Some(text));
    }

    /// There is a disk again: what is known goes there.
    pub(super) fn reopen_logs(&mut self) {
        let (Some(store), Some(setup)) = (&self.store, &self.setup) else { return };
        let folder = store.folder.join("obs");
        for (source, core) in &mut self.cores {
            if core.log.is_some() {
                continue;
            }
            // A disk that came late may hold what nobody repeats. All of it is written down next.
            let mut kept = Observations::new(setup.observation_octets);
            if let Ok((mut log, found)) = ObservationLog::open(&folder.join(&**source), &mut kept, Timestamp::now()) {
                tracing::info!(source = &**source, read = found.names, "observations are kept from now on");
                core.observations.join(&kept);
                core.observations.take_displaced();
                self.wanted.rebuild = true;
                log.lengthen();
                core.log = Some(log.through(&self.scribe));
            }
        }
    }

    /// How many there are of each source, and how it is with them.
    pub(super) fn report_sources(&self) {
        let Some(setup) = &self.setup else { return };
        let row_of = |binding: &Binding| {
            let name = binding.source.as_str();
            if setup.rules.cores.iter().any(|core| core.name == name) {
                return crate::status::rows::of_core(name, self.cores.get(name).map(super::ask::core_row));
            }
            let idle = setup.idle_sources.iter().find(|(source, _)| source == name).map(|(_, reason)| reason.as_str());
            let stale = self.texts.get(name).and_then(|(text, _)| text.stale.as_deref());
            crate::status::rows::of_list(
                name,
                self.lists.get(name).map(|list| (&list.meta, list.health.as_ref())),
                idle.or(stale),
            )
        };
        let rows = setup.bindings.iter().map(|binding| Row { list: binding.list, told: Arc::new(row_of(binding)) });
        self.telemetry.sources(rows.collect());
    }

    pub(super) fn report_core(&self, name: &str) {
        if let Some(core) = self.cores.get(name) {
            let count = |of: fn(&Observations) -> usize| self.cores.values().map(|core| of(&core.observations) as u64).sum();
            let names = (count(|known| known.live().len()), count(|known| known.guards().len()));
            self.telemetry.observed(name, &super::ask::core_row(core), names);
        }
    }
}
