//! Lists in every form -> a table, in bounded memory. Rubbish is refused line by line with number and reason, the rest is in force.

mod csv;
mod entry;
mod lines;
mod zone;

use std::fs::File;
use std::io::{self, BufRead, BufReader};

use tapir_table::SortError;
use tapir_wire::config::pop::{FileSource, Format, HttpsSource, LocalData};
use tapir_wire::dawg::{self, WalkError};
use tapir_wire::name::Name;

use self::csv::Rows;
use self::lines::Lines;
use self::zone::{BadLine, Line, ZoneFile};
use super::collect::Collector;
use super::record::Data;
use crate::dns::records::WireName;
use crate::dns::records::kind::SOA;
pub use entry::{BadEntry, Fit};

/// A part of a list with the line in which it begins.
type Numbered<T, E> = (u64, Result<T, E>);

/// Column of a CSV file that holds the name, from 0, where nothing is said.
const COLUMN: usize = 1;
/// Words that a compiled list may have at least, and for each octet of it. Hostile ones hold thousands of millions in an octet.
const WORDS: u64 = 1 << 20;
const WORDS_AN_OCTET: u64 = 64;

/// How a list is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// One name a line.
    Domains,
    /// As `/etc/hosts`.
    Hosts,
    /// Comma separated values.
    Csv {
        /// The column that holds the name, from 0.
        column: usize,
        /// The first record is a heading.
        has_heading: bool,
    },
    /// A compiled list.
    Dawg,
    /// Zone file of a response policy zone.
    Rpz {
        /// Name of the zone; that of its SOA where nothing is said.
        zone: Option<Name>,
    },
}

impl Form {
    /// As a source has it.
    #[must_use]
    pub fn of_file(source: &FileSource) -> Self {
        Self::new(source.format, source.column, source.header, source.zone.as_deref())
    }

    /// The same.
    #[must_use]
    pub fn of_https(source: &HttpsSource) -> Self {
        Self::new(source.format, source.column, source.header, source.zone.as_deref())
    }

    fn new(format: Format, column: Option<u32>, header: Option<bool>, zone: Option<&str>) -> Self {
        match format {
            Format::Domains => Self::Domains,
            Format::Hosts => Self::Hosts,
            Format::Csv => {
                let column = column.and_then(|column| usize::try_from(column).ok()?.checked_sub(1)).unwrap_or(COLUMN);
                Self::Csv { column, has_heading: header.unwrap_or(true) }
            }
            Format::Dawg => Self::Dawg,
            // The configuration was checked: what is no name is not there.
            Format::Rpz => Self::Rpz { zone: zone.and_then(|zone| Name::parse(zone).ok()) },
        }
    }
}

/// Why a list is refused as a whole.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// It cannot be read.
    #[error("reading the list: {0}")]
    Io(#[from] io::Error),
    /// What was read cannot be kept.
    #[error(transparent)]
    Sort(#[from] SortError),
    /// A compiled list that is damaged.
    #[error(transparent)]
    Dawg(#[from] WalkError),
    /// A zone file of nobody knows which zone.
    #[error("the file has no SOA; say `zone`, or put its SOA in front")]
    NoSoa,
}

/// Reads a list into the collector, which has nothing yet.
pub fn read(form: &Form, file: &File, to: &mut Collector) -> Result<(), ListError> {
    let text = || BufReader::with_capacity(64 << 10, file);
    match form {
        Form::Domains => read_lines(text(), false, to),
        Form::Hosts => read_lines(text(), true, to),
        Form::Csv { column, has_heading } => read_rows(text(), *column, *has_heading, to),
        Form::Rpz { zone } => read_zone(text(), zone.as_ref(), to),
        Form::Dawg => read_dawg(file, to),
    }
}

fn read_lines(from: impl BufRead, is_hosts: bool, to: &mut Collector) -> Result<(), ListError> {
    let mut lines = Lines::new(from);
    while let Some((number, line)) = lines.next()? {
        match line {
            Ok(line) => lines::each_entry(line, is_hosts, |entry| match entry {
                Ok(entry) => to.entry(number, entry),
                Err(error) => {
                    to.refuse(number, &error);
                    Ok(())
                }
            })?,
            Err(error) => to.refuse(number, &error),
        }
    }
    Ok(())
}

fn read_rows(mut from: impl BufRead, column: usize, mut is_heading: bool, to: &mut Collector) -> Result<(), ListError> {
    if from.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
        from.consume(3);
    }
    let mut rows = Rows::new(from, column);
    while let Some((number, row)) = rows.next()? {
        if std::mem::take(&mut is_heading) {
            continue;
        }
        match row.map(|value| std::str::from_utf8(value).map(str::trim)) {
            Ok(Ok(entry)) => to.entry(number, entry)?,
            Ok(Err(_)) => to.refuse(number, &BadEntry::Encoding),
            Err(error) => to.refuse(number, &error),
        }
    }
    Ok(())
}

fn read_zone(from: impl BufRead, zone: Option<&Name>, to: &mut Collector) -> Result<(), ListError> {
    let zone = zone.map(WireName::from);
    let mut file = ZoneFile::new(from, zone.unwrap_or(WireName::ROOT));
    let mut reader = zone.map(|zone| to.reader(zone));
    while let Some((number, line)) = file.next()? {
        let line = match line {
            Ok(line) => line,
            Err(error) => {
                to.refuse(number, &error);
                continue;
            }
        };
        if let Line::Soa { owner, serial } = &line {
            let reader = reader.get_or_insert_with(|| to.reader(*owner));
            if *owner == reader.zone {
                to.serial = Some(*serial);
                continue;
            }
        }
        let Some(reader) = &reader else {
            to.refuse(number, &BadLine::NoZone);
            continue;
        };
        let read = match &line {
            Line::Soa { owner, .. } => reader.read(owner, Data::Other(SOA, &[])),
            Line::Alias { owner, target } => reader.read(owner, Data::Alias(target)),
            Line::Other { owner, kind, data } => reader.read(owner, Data::Other(*kind, data)),
        };
        match read {
            Ok(Some(read)) => to.record(read)?,
            Ok(None) => {}
            Err(error) => to.refuse(number, &error),
        }
    }
    if reader.is_none() { Err(ListError::NoSoa) } else { Ok(()) }
}

/// Words of Core's lists are names; one with a dot in front means everything below the rest.
fn read_dawg(file: &File, to: &mut Collector) -> Result<(), ListError> {
    let limit = WORDS.max(file.metadata()?.len().saturating_mul(WORDS_AN_OCTET));
    let (mut number, mut below) = (0, String::new());
    dawg::walk(file, limit, |word| {
        number += 1;
        match word.strip_prefix('.').filter(|rest| !rest.is_empty()) {
            Some(rest) => {
                below.clear();
                below.extend(["*.", rest]);
                to.entry(number, &below)?;
            }
            None => to.entry(number, word)?,
        }
        Ok::<_, ListError>(())
    })?;
    Ok(())
}

/// What a source keeps of its records where nothing is said.
pub(super) const LOCAL_DATA: LocalData = LocalData::Keep;
