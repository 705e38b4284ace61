//! Lists that come with the configuration, in it or in a small file beside it: text -> table.

use std::sync::Arc;

use jiff::Timestamp;
use tapir_table::{Codes, KeyBuf, Palette, SortError, Sorter, Spill, TableFile, TableWriter};
use tapir_wire::config::pop::Format;

use super::entry::{self, BadEntry};
use super::file;
use crate::feeds::{Meta, Rejected, SourceNews};
use crate::names::ZoneName;

/// Octets that a list which came with the configuration may take as a table: many times what its text may have.
const MOST_OCTETS: usize = 64 << 20;
/// Octets that are sorted at once. Most of these lists are short.
const ARENA: usize = 1 << 20;

/// A list as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListText {
    /// Name of the source.
    pub source: String,
    /// What stands in it.
    pub text: Text,
    /// Why this is not the newest that there is.
    pub stale: Option<String>,
}

/// Entries as people write them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// One each.
    Names(Arc<[String]>),
    /// Lines.
    Lines(Format, Arc<[u8]>),
}

impl Text {
    /// Calls `each` with every entry and its place from 1: rubbish is told with the reason.
    pub fn each(&self, zone: &ZoneName, mut each: impl FnMut(u64, Result<KeyBuf, BadEntry>)) {
        let room = zone.room();
        let read = |text: &str| {
            let name = entry::read(text, zone)?;
            KeyBuf::from_wire(&name.to_wire(), room).map_err(|_| BadEntry::Unfit(crate::names::UnfitName::TooLong))
        };
        match self {
            Self::Names(names) => names.iter().zip(1..).for_each(|(text, place)| each(place, read(text))),
            Self::Lines(format, octets) => {
                for (line, entry) in file::entries(octets, *format) {
                    each(line as u64, entry.and_then(read));
                }
            }
        }
    }

    /// The whole as news of its source. What is no entry is left out, the rest is in force.
    ///
    /// # Errors
    /// When there are more names than there is memory for.
    pub fn news(&self, zone: &ZoneName, now: Timestamp) -> Result<SourceNews, SortError> {
        let mut sorter = Sorter::<Codes>::new(Spill::Memory(MOST_OCTETS), |one, _| one).with_arena(ARENA);
        let (mut rejected, mut failed) = (Rejected::default(), None);
        self.each(zone, |line, entry| match entry {
            Ok(key) => {
                if failed.is_none() {
                    failed = sorter.push(&key, Codes::LISTED).err();
                }
            }
            Err(reason) => rejected.push(line, &reason),
        });
        if let Some(failed) = failed {
            return Err(failed);
        }
        let mut writer = TableWriter::new(Vec::new())?;
        sorter.finish(&mut writer)?;
        let (octets, summary) = writer.finish(0, &Palette::default())?;
        let table = Arc::new(TableFile::from_memory(octets)?);
        let meta = Meta { entries: summary.nodes, rejected, fetched_at: now, expires_at: None, serial: None };
        Ok(SourceNews::Whole { table, palette: Arc::default(), meta })
    }
}

#[cfg(test)]
mod tests {
    use tapir_wire::name::Name;

    use super::*;

    fn news(texts: &[&str]) -> Meta {
        let zone = ZoneName::new(Name::parse("dnstapir").unwrap()).unwrap();
        let text = Text::Names(texts.iter().map(|text| (*text).to_owned()).collect());
        match text.news(&zone, Timestamp::UNIX_EPOCH).unwrap() {
            SourceNews::Whole { table, meta, .. } => {
                assert_eq!(table.nodes(), meta.entries);
                meta
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn rubbish_is_refused_line_by_line() {
        let meta = news(&["Evil.Example", "", "a..b", "*.example", " evil.example. ", "."]);
        assert_eq!(meta.entries, 1);
        assert_eq!(meta.rejected.first.iter().map(|rejected| rejected.line).collect::<Vec<_>>(), [2, 3, 4, 6]);
    }

    #[test]
    fn all_refusals_are_counted() {
        assert_eq!(news(&["a..b"; 250]).rejected.count, 250);
    }
}
