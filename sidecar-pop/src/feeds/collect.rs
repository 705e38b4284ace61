//! Entries and records in any order -> a table, with a count of what was refused.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use tapir_table::{
    Backing, Code, Codes, KeyBuf, OpenError, Palette, SortError, Sorter, Spill, Staged, TableFile, TableWriter, WriteError,
};
use tapir_wire::config::pop::LocalData;

use super::begun::Begun;
use super::lists::{BadEntry, Fit, Form, ListError, read};
use super::locals::{Meaning, SharedLocals};
use super::record::{Read, RecordReader};
use super::{Meta, Rejected};
use crate::dns::records::WireName;

/// Octets of tables in memory where there is no disk.
pub(super) const IN_MEMORY: u64 = 32 << 20;

/// Where a table is to stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In this file, whose folder exists.
    File(PathBuf),
    /// There is no disk.
    Memory,
}

impl Place {
    /// The file, from before it is begun.
    fn begin(&self) -> Begun {
        if let Self::File(path) = self { Begun::at(path) } else { Begun::default() }
    }
}

/// Why there is no table.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The list is no good.
    #[error(transparent)]
    List(#[from] ListError),
    /// Sorting.
    #[error(transparent)]
    Sort(#[from] SortError),
    /// Writing.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Reading what was written.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The disk says no.
    #[error("writing the table: {0}")]
    Io(#[from] io::Error),
}

impl CollectError {
    /// Whether it is our disk that is to blame, or the want of one, and not the list.
    #[must_use]
    pub const fn is_of_disk(&self) -> bool {
        !matches!(self, Self::List(_))
    }
}

/// A list that was read.
#[derive(Clone, Debug)]
pub struct Collected {
    /// Its names.
    pub table: Arc<TableFile<Codes>>,
    /// Local data that codes mean.
    pub palette: Arc<Palette>,
    /// What was refused.
    pub rejected: Rejected,
    /// Version, where the list has one.
    pub serial: Option<u32>,
    /// Something could not be kept as it is, so changes to it cannot be checked.
    pub lossy: bool,
    /// Its file, until it is kept.
    pub begun: Begun,
}

impl Collected {
    /// What the engine is told of it.
    #[must_use]
    pub fn meta(&self, fetched_at: Timestamp, expires_at: Option<Timestamp>) -> Meta {
        let entries = self.table.nodes();
        Meta { entries, rejected: self.rejected.clone(), fetched_at, expires_at, serial: self.serial }
    }
}

/// An owner, whether what is below it is meant, and its data.
type Pending = (KeyBuf, bool, Vec<(u16, Vec<u8>)>);

/// Collects the content of one source.
#[derive(Debug)]
pub struct Collector {
    fit: Fit,
    local_data: LocalData,
    sorter: Sorter<Codes>,
    locals: SharedLocals,
    rejected: Rejected,
    /// Data of the owner that came last: what stands together becomes one set without those in between.
    pending: Option<Pending>,
    /// Version, where the list has one.
    pub(super) serial: Option<u32>,
}

impl Collector {
    /// Nothing yet. What does not fit into memory goes beside the place of the table.
    #[must_use]
    pub fn new(fit: Fit, local_data: LocalData, place: &Place) -> Self {
        let spill = match place {
            Place::File(path) => Spill::Folder(path.parent().unwrap_or(Path::new(".")).to_owned()),
            Place::Memory => Spill::Memory(usize::try_from(IN_MEMORY).unwrap_or(usize::MAX)),
        };
        let locals = SharedLocals::default();
        let combine = locals.clone();
        let sorter = Sorter::new(spill, move |one, other| combine.both(one, other));
        Self { fit, local_data, sorter, locals, rejected: Rejected::default(), pending: None, serial: None }
    }

    /// For records of this zone.
    pub(super) const fn reader(&self, zone: WireName) -> RecordReader {
        RecordReader { fit: self.fit, zone, local_data: self.local_data }
    }

    /// A name, as people write it.
    pub fn entry(&mut self, line: u64, text: &str) -> Result<(), SortError> {
        match self.fit.entry(text) {
            Ok((key, codes)) => self.sorter.push(&key, codes),
            Err(error) => {
                self.refuse(line, &error);
                Ok(())
            }
        }
    }

    /// What a record means.
    pub fn record(&mut self, (key, below, meaning): Read) -> Result<(), SortError> {
        match meaning {
            Meaning::Action(code) => self.push(&key, below, code),
            Meaning::Data(kind, data) => {
                if let Some((last, last_below, records)) = &mut self.pending
                    && *last == key
                    && *last_below == below
                    && records.len() < 512
                {
                    records.push((kind, data));
                    return Ok(());
                }
                self.flush()?;
                self.pending = Some((key, below, vec![(kind, data)]));
                Ok(())
            }
        }
    }

    /// Something that is left out.
    pub fn refuse(&mut self, line: u64, reason: &(impl ToString + ?Sized)) {
        self.rejected.push(line, reason);
    }

    fn flush(&mut self) -> Result<(), SortError> {
        let Some((key, below, records)) = self.pending.take() else { return Ok(()) };
        let code = self.locals.lock().code(records);
        self.push(&key, below, code)
    }

    fn push(&mut self, key: &KeyBuf, below: bool, code: Code) -> Result<(), SortError> {
        let codes = if below { Codes::new(Code::SILENT, code) } else { Codes::new(code, Code::SILENT) };
        self.sorter.push(key, codes)
    }

    /// Everything in its order.
    pub fn finish(mut self, place: &Place) -> Result<Collected, CollectError> {
        self.flush()?;
        let Self { sorter, locals, rejected, serial, .. } = self;
        let (table, palette, begun) = write_table(place, serial.unwrap_or_default(), |table| {
            sorter.finish(table)?;
            Ok(locals.lock().palette().clone())
        })?;
        let lossy = locals.lock().is_lossy();
        Ok(Collected { table: Arc::new(table), palette: Arc::new(palette), rejected, serial, lossy, begun })
    }
}

/// Reads a list and writes its table.
pub fn collect(form: &Form, list: &std::fs::File, fit: Fit, place: &Place) -> Result<Collected, CollectError> {
    let mut collector = Collector::new(fit, super::lists::LOCAL_DATA, place);
    read(form, list, &mut collector)?;
    collector.finish(place)
}

/// The same with names that stand in the configuration: lines are their places, from 1.
pub fn collect_names(names: &[String], fit: Fit, place: &Place) -> Result<Collected, CollectError> {
    let mut collector = Collector::new(fit, super::lists::LOCAL_DATA, place);
    for (name, number) in names.iter().zip(1..) {
        match name.trim() {
            "" => collector.refuse(number, &BadEntry::NoName),
            name => collector.entry(number, name)?,
        }
    }
    collector.finish(place)
}

/// Writes a table with what `fill` puts into it, which tells its palette in the end.
pub(super) fn write_table(
    place: &Place,
    serial: u32,
    fill: impl FnOnce(&mut TableWriter<Output>) -> Result<Palette, CollectError>,
) -> Result<(TableFile<Codes>, Palette, Begun), CollectError> {
    let begun = place.begin();
    let output = match place {
        Place::File(path) => Output::File(Staged::create(path)?),
        Place::Memory => Output::Memory(Vec::new()),
    };
    let mut table = TableWriter::new(output)?;
    let palette = fill(&mut table)?;
    let (output, _) = table.finish(serial, &palette)?;
    let backing = match output {
        Output::File(staged) => Backing::File(Arc::new(staged.finish()?)),
        Output::Memory(octets) => Backing::Memory(octets.into()),
    };
    Ok((TableFile::from_backing(backing)?, palette, begun))
}

/// Where a table goes.
#[derive(Debug)]
pub(super) enum Output {
    File(Staged),
    Memory(Vec<u8>),
}

impl Write for Output {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.write(octets),
            Self::Memory(memory) if (memory.len() + octets.len()) as u64 > IN_MEMORY => Err(io::ErrorKind::OutOfMemory.into()),
            Self::Memory(memory) => memory.write(octets),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File(file) => file.flush(),
            Self::Memory(_) => Ok(()),
        }
    }
}
