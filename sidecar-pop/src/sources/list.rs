//! A list of names, whether it stands in the configuration or in a file beside it.

use std::collections::HashSet;

use tapir_wire::config::pop::{Format, List, Match, Source};
use tapir_wire::name::Name;
use tapir_wire::status::{RejectedLine, SourceStatus};

use super::entry::{self, BadEntry};
use super::{Scope, file};
use crate::names::{ZoneName, self_and_ancestors};

/// A list of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameList {
    /// Its name in the policy.
    pub source: String,
    /// Class.
    pub list: List,
    /// What an entry covers.
    pub r#match: Match,
    names: HashSet<Name>,
    /// Entries that were refused.
    pub rejected: Rejected,
    /// Why this is not the newest that there is.
    pub stale: Option<String>,
}

/// Entries that were refused: all are counted, the first are told one by one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rejected {
    /// How many.
    pub count: u64,
    /// The first ones.
    pub first: Vec<RejectedLine>,
}

impl Rejected {
    fn push(&mut self, line: usize, reason: &BadEntry) {
        self.count += 1;
        if self.first.len() < SourceStatus::MOST_REJECTED_LINES {
            self.first.push(RejectedLine { line: line as u64, reason: reason.to_string() });
        }
    }
}

impl NameList {
    /// Reads the entries one by one: rubbish is left out with its place and reason, the rest is in force.
    #[must_use]
    pub fn new(source: &str, list: List, r#match: Match, zone: &ZoneName, texts: &[String]) -> Self {
        let entries = texts.iter().enumerate().map(|(index, text)| (index + 1, entry::read(text, zone)));
        Self::of(source, list, r#match, entries)
    }

    /// The same with the lines of a file. `stale` says why it is not the newest one.
    #[must_use]
    pub fn of_file(source: &Source, format: Format, zone: &ZoneName, octets: &[u8], stale: Option<String>) -> Self {
        let entries = file::entries(octets, format).map(|(line, entry)| (line, entry.and_then(|text| entry::read(text, zone))));
        Self { stale, ..Self::of(&source.name, source.list, source.r#match, entries) }
    }

    fn of(source: &str, list: List, r#match: Match, entries: impl Iterator<Item = (usize, Result<Name, BadEntry>)>) -> Self {
        let (mut names, mut rejected) = (HashSet::new(), Rejected::default());
        for (line, entry) in entries {
            match entry {
                Ok(name) => {
                    names.insert(name);
                }
                Err(reason) => rejected.push(line, &reason),
            }
        }
        Self { source: source.to_owned(), list, r#match, names, rejected, stale: None }
    }

    /// Names in the list.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.names.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether the other is the same source with the same names.
    #[must_use]
    pub fn names_as(&self, other: &Self) -> bool {
        self.source == other.source && self.names == other.names
    }

    /// Whether an entry covers the name, or every name below it.
    #[must_use]
    pub fn covers(&self, name: &Name, scope: Scope) -> bool {
        match (self.r#match, scope) {
            (Match::Exact, Scope::Itself) => self.names.contains(name),
            (Match::Exact, Scope::Below) => false,
            (Match::Subtree, _) => self_and_ancestors(name).any(|name| self.names.contains(&name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(r#match: Match, texts: &[&str]) -> NameList {
        let zone = ZoneName::new(Name::parse("dnstapir").unwrap()).unwrap();
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        NameList::new("l", List::Deny, r#match, &zone, &texts)
    }

    #[test]
    fn rubbish_is_refused_line_by_line() {
        let list = list(Match::Exact, &["Evil.Example", "", "a..b", "*.example", " evil.example. ", "."]);
        assert_eq!(list.len(), 1);
        assert_eq!(list.rejected.first.iter().map(|rejected| rejected.line).collect::<Vec<_>>(), [2, 3, 4, 6]);
    }

    #[test]
    fn the_first_refusals_are_told_and_all_are_counted() {
        let list = list(Match::Exact, &["a..b"; 25]);
        assert_eq!((list.rejected.count, list.rejected.first.len()), (25, SourceStatus::MOST_REJECTED_LINES));
    }

    #[test]
    fn subtree_ends_at_label_borders() {
        let covers = |r#match, name: &str, scope| list(r#match, &["example.se"]).covers(&Name::parse(name).unwrap(), scope);
        assert!(covers(Match::Exact, "example.se", Scope::Itself));
        assert!(!covers(Match::Exact, "www.example.se", Scope::Itself));
        assert!(!covers(Match::Exact, "example.se", Scope::Below));
        assert!(covers(Match::Subtree, "example.se", Scope::Itself));
        assert!(covers(Match::Subtree, "example.se", Scope::Below));
        assert!(covers(Match::Subtree, "a.www.example.se", Scope::Itself));
        assert!(!covers(Match::Subtree, "badexample.se", Scope::Itself));
        assert!(!covers(Match::Subtree, "se", Scope::Below));
    }
}
