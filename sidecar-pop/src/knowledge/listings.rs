//! Everything that is known at one moment, for whoever asks. Costs some reference counts, and is walked through elsewhere than where it is made.

use std::sync::Arc;

use tapir_table::{Cursor as _, KeyBuf, ReadError, Trail};
use tapir_wire::config::pop::List;
use tapir_wire::name::Name;

use super::Sighting;
use crate::policy::explain::Listing;
use crate::zone::judge::Source as _;
use crate::zone::known::{Known, action};
use crate::zone::source::AnySource;

/// A source with its class, and whether its entries are records.
#[derive(Clone, Debug)]
struct Of {
    name: Arc<str>,
    source: AnySource,
    list: List,
    records: bool,
}

/// All sources in the order of the policy.
#[derive(Clone, Debug, Default)]
pub struct Knowledge(Vec<Of>);

/// One entry of a list.
#[derive(Clone, Debug)]
pub struct Row {
    /// The name.
    pub name: Name,
    /// Source that has it.
    pub source: Arc<str>,
    /// Its class.
    pub list: List,
    /// What is known of it, of an observation.
    pub sighting: Option<Sighting>,
}

impl Knowledge {
    /// Of these: name, what it says, class, whether it has records.
    pub fn new(sources: impl IntoIterator<Item = (Arc<str>, AnySource, List, bool)>) -> Self {
        let of = |(name, source, list, records)| Of { name, source, list, records };
        Self(sources.into_iter().map(of).collect())
    }

    /// Names of the sources.
    pub fn sources(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|of| &*of.name)
    }

    /// Every entry at the name and above it.
    ///
    /// # Errors
    /// When a source cannot be read.
    pub fn listings(&self, name: &Name) -> Result<Vec<Listing>, ReadError> {
        let mut listings = Vec::new();
        let Ok(key) = KeyBuf::from_wire(&name.to_wire(), tapir_table::MAX_KEY) else { return Ok(listings) };
        for of in &self.0 {
            match &of.source {
                AnySource::List(_) => {
                    let mut path = Vec::new();
                    of.source.path(key.as_bytes(), &mut path)?;
                    for (length, known) in path {
                        listings.extend(of.entries(entry(&key, length), known));
                    }
                }
                AnySource::Core(kept) => {
                    let mut trail = Trail::new();
                    kept.changes.get_with_trail(key.as_bytes(), &mut trail);
                    listings.extend(trail.iter().filter_map(|(length, sighting)| of.observed(entry(&key, length)?, sighting)));
                }
            }
        }
        Ok(listings)
    }

    /// So many entries at most, observations first, then by class: how many there are, and these.
    ///
    /// # Errors
    /// When a source cannot be read.
    pub fn rows(&self, limit: usize) -> Result<(u64, Vec<Row>), ReadError> {
        let mut rows = Vec::new();
        let cores = self.0.iter().filter(|of| matches!(of.source, AnySource::Core(_)));
        let lists = [List::Allow, List::Deny, List::Doubt]
            .into_iter()
            .flat_map(|class| self.0.iter().filter(move |of| of.list == class && matches!(of.source, AnySource::List(_))));
        // Upstream's checks look for names of loop tests among observations: a long list must not push them out.
        for of in cores.chain(lists) {
            of.rows(limit, &mut rows)?;
        }
        Ok((self.0.iter().map(|of| of.source.names()).sum(), rows))
    }
}

impl Of {
    fn entries(&self, entry: Option<Name>, known: Known) -> Vec<Listing> {
        let (Some(entry), Known::Listed(codes)) = (entry, known) else { return Vec::new() };
        let of = |below, code| Listing {
            source: self.name.to_string(),
            entry: entry.clone(),
            below,
            record: action(code).filter(|_| self.records),
            tags: None,
            added: None,
            expires: None,
        };
        [(false, codes.own), (true, codes.below)]
            .into_iter()
            .filter(|(_, code)| !code.is_silent())
            .map(|(below, code)| of(below, code))
            .collect()
    }

    fn observed(&self, entry: Name, sighting: Sighting) -> Option<Listing> {
        let (added, expires) = sighting.times();
        Some(Listing {
            source: self.name.to_string(),
            entry,
            below: false,
            record: None,
            tags: Some(sighting.tags),
            added,
            expires,
        })
    }

    fn rows(&self, limit: usize, rows: &mut Vec<Row>) -> Result<(), ReadError> {
        let row = |key: &KeyBuf, sighting| {
            Some(Row { name: entry(key, key.len())?, source: Arc::clone(&self.name), list: self.list, sighting })
        };
        match &self.source {
            AnySource::List(_) => {
                let mut cursor = self.source.cursor();
                while rows.len() < limit && cursor.advance()? {
                    rows.extend(row(cursor.key(), None));
                }
            }
            AnySource::Core(kept) => {
                let mut cursor = kept.changes.cursor();
                while rows.len() < limit && cursor.advance()? {
                    rows.extend(row(cursor.key(), Some(cursor.value())));
                }
            }
        }
        Ok(())
    }
}

/// The name of a key, or of what stands above it.
fn entry(key: &KeyBuf, length: usize) -> Option<Name> {
    Name::parse(&key.truncated(length).to_string()).ok()
}
