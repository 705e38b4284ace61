//! A list of names that stands in the configuration.

use std::collections::HashSet;

use tapir_wire::config::pop::{List, Match};
use tapir_wire::name::Name;

use super::Scope;
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
    /// Entries that were refused, as (position from 1, reason).
    pub rejected: Vec<(usize, String)>,
}

impl NameList {
    /// Reads the entries one by one: rubbish is left out with its position and reason, the rest is in force.
    #[must_use]
    pub fn new(source: &str, list: List, r#match: Match, zone: &ZoneName, texts: &[String]) -> Self {
        let mut names = HashSet::with_capacity(texts.len());
        let mut rejected = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let name = Name::parse(text.trim()).map_err(|error| error.to_string());
            match name.and_then(|name| zone.check(&name).map(|()| name).map_err(|error| error.to_string())) {
                Ok(name) => {
                    names.insert(name);
                }
                Err(reason) => rejected.push((index + 1, reason)),
            }
        }
        Self { source: source.to_owned(), list, r#match, names, rejected }
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
        assert_eq!(list.rejected.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 3, 4, 6]);
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
