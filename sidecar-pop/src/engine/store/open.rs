//! What was kept, read at the start.

use std::fs::{self, File};
use std::io;
use std::sync::Arc;

use tapir_table::{Palette, TableFile};

use super::super::disk::{lock, no_disk};
use super::replay::{Place, Replay, Together};
use super::{Store, base_name, generations, limits};
use crate::setup::Setup;
use crate::state::manifest::Manifest;
use crate::state::numbers::{Gate, Numbers, Reserved, boot_id};
use crate::state::scribe::Scribe;
use crate::state::unwritten::Unwritten;
use crate::state::zone_log::ZoneLog;
use crate::state::zone_log::record::Record;
use crate::zone::layers::Layers;
use crate::zone::tally::Tally;
use crate::zone::{Serial, Size};

/// What somebody must have removed.
const MISSING: &str = "versions of the zone that were written last are missing, so what was kept of them is served under a new number until its \
                       sources are decided anew; journal-*.log files were removed";

/// The zone as it was published before the start.
#[derive(Debug)]
pub(in crate::engine) struct KeptZone {
    /// Its names.
    pub(in crate::engine) layers: Layers,
    /// The file of the base: another than the manifest's, if it was put together anew; none in memory.
    pub(in crate::engine) base: Option<String>,
    /// Records of the base.
    pub(in crate::engine) tally: Tally,
    /// How many those are.
    pub(in crate::engine) size: Size,
    /// Local data of its codes.
    pub(in crate::engine) palette: Palette,
    /// Its number, if that may still be used for it.
    pub(in crate::engine) serial: Option<Serial>,
    /// What was known of it.
    pub(in crate::engine) manifest: Manifest,
}

/// What was found at the start.
#[derive(Debug, Default)]
pub(in crate::engine) struct Opened {
    /// The zone.
    pub(in crate::engine) kept: Option<KeptZone>,
    /// What is wrong with what was kept.
    pub(in crate::engine) damage: Vec<String>,
}

impl Store {
    /// Reads what is there.
    pub(in crate::engine) fn open(setup: &Setup, scribe: Scribe, room: u16) -> (Self, Opened) {
        let folder = setup.data_dir.clone();
        let limits = limits(setup, 0);
        let mut opened = Opened::default();
        let boot = boot_id();
        let (lock, trouble) = match lock(&folder) {
            Ok(lock) => (Some(lock), None),
            Err(error) => (None, Some(no_disk(&folder, &error))),
        };
        let unwritten = Unwritten::none(&folder, &boot).through(&scribe);
        let mut store = Self {
            lock,
            trouble,
            log: ZoneLog::in_memory(limits),
            limits,
            numbers: Numbers::after(None, None, &boot),
            gate: Gate::default(),
            unwritten,
            retry: None,
            generation: 0,
            manifest: None,
            scribe,
            folder,
        };
        if store.lock.is_some() {
            store.read(&mut opened, &boot, room);
        }
        (store, opened)
    }

    fn read(&mut self, opened: &mut Opened, boot: &str, room: u16) {
        self.generation = generations(&self.zone_folder()).into_iter().max().unwrap_or(0);
        let kept = match Manifest::read(&self.zone_folder()) {
            Ok(Some(manifest)) => match self.read_zone(manifest.clone(), room) {
                Ok(read) => Some(read),
                Err(error) => {
                    let aside = self.set_aside(&manifest.base);
                    opened.damage.push(format!("the zone of before the start cannot be read: {error}; {aside}"));
                    None
                }
            },
            Ok(None) => None,
            Err(error) => {
                opened.damage.push(format!("what was known of the zone before the start cannot be read: {error}"));
                None
            }
        };
        if kept.is_none() {
            match ZoneLog::open(&self.zone_folder(), Serial(0), self.limits) {
                Ok((mut log, _)) => {
                    log.cut();
                    self.log = log.through(&self.scribe);
                }
                Err(error) => self.fail(&error),
            }
        }
        let head = kept.as_ref().map(|(_, head)| *head);
        let reserved = Reserved::read(&self.folder).unwrap_or_else(|error| {
            opened.damage.push(format!("the numbers that were reserved cannot be read, going on from the clock: {error}"));
            None
        });
        // A power loss takes the end of what was written, and needs nobody's attention.
        let found = self.log.found();
        if head.is_some() && found.lost && reserved.as_ref().is_none_or(|reserved| reserved.is_of(boot)) {
            opened.damage.push(format!("{MISSING} in {}", self.zone_folder().display()));
        }
        let doubtful = self.log.is_doubtful();
        let reserved = if doubtful { reserved.map(Reserved::doubted) } else { reserved };
        // What is missing shows in the log until it is cut, and in this file from then on.
        let forgettable = !doubtful || reserved.clone().is_none_or(|reserved| self.reserve(reserved).is_ok());
        let logged = match (head, found.highest) {
            (Some(head), Some(highest)) if highest.is_after(head) => Some(highest),
            _ => head,
        };
        self.numbers = Numbers::after(reserved.as_ref(), logged, boot);
        let last = self.numbers.last();
        match Unwritten::open(&self.folder, last, boot, !doubtful) {
            Ok((unwritten, used)) => {
                self.unwritten = unwritten.through(&self.scribe);
                if let Some(used) = used {
                    self.numbers = Numbers::after(None, Some(used), boot);
                }
            }
            Err(error) => opened.damage.push(format!("marks of numbers cannot be read: {error}")),
        }
        let Some((mut zone, head)) = kept else { return };
        // Numbers beyond the last version may have been seen: what they stood for is not known.
        zone.serial = (self.numbers.last() == Some(head) && !doubtful).then_some(head);
        if zone.serial.is_none() {
            if forgettable {
                self.log.cut();
            } else {
                self.log = ZoneLog::in_memory(self.limits);
            }
        }
        self.manifest = Some(zone.manifest.clone());
        opened.kept = Some(zone);
    }

    /// The zone, and which version it is.
    fn read_zone(&mut self, manifest: Manifest, room: u16) -> io::Result<(KeptZone, Serial)> {
        let base = TableFile::open(File::open(self.zone_folder().join(&manifest.base))?).map_err(io::Error::other)?;
        let base = Arc::new(base);
        // Who wrote it before there were numbers, or numbers of so many kinds, said nothing of use.
        let tally = Tally::from_numbers(&manifest.records, base.records())
            .map_or_else(|| Tally::of(&base).map_err(io::Error::other), Ok)?;
        let mut replay = Replay::default();
        let (log, _) = ZoneLog::open(&self.zone_folder(), manifest.serial, self.limits)?;
        let mut head = manifest.serial;
        for (version, history) in log.newer().iter().flat_map(|history| history.versions().iter().map(move |one| (one, history)))
        {
            let content = history.content(version)?;
            let record = Record::read(&content).map_err(io::Error::other)?;
            let own = replay.meaning(&record.palette().map_err(io::Error::other)?);
            for change in record.changes() {
                let change = change.map_err(io::Error::other)?;
                replay.push(&change.key, own.of(change.new));
            }
            head = version.step.to;
        }
        self.generation += 1;
        let anew = base_name(self.generation);
        let Together { layers, tally, size, palette, place } =
            replay.onto(&base, tally, room, &self.zone_folder().join(&anew))?;
        let base = match place {
            Place::Before => Some(manifest.base.clone()),
            Place::File => Some(anew),
            Place::Memory => None,
        };
        self.log = log.through(&self.scribe);
        Ok((KeptZone { layers, base, tally, size, palette, serial: None, manifest }, head))
    }

    /// For somebody to look at; the newest is kept.
    fn set_aside(&self, base: &str) -> String {
        let aside = self.zone_folder().join("base.broken");
        match fs::rename(self.zone_folder().join(base), &aside) {
            Ok(()) => format!("the file is kept as {}", aside.display()),
            Err(error) => format!("nor can the file be set aside: {error}"),
        }
    }
}
