//! Why a name is answered as it is: the decision with everything that it was made of.
//!
//! Made by [`Policy::judge`] and [`super::Rule::conditions`] themselves, so that it cannot tell another story than the zone. The
//! policy need not be the one in force: entries are bound to its sources by name.

mod view;

use jiff::Timestamp;
use tapir_wire::config::pop::{List, Match, Mode};
use tapir_wire::name::Name;

use super::{Action, Evidence, Finding, Policy};
pub use view::{ConditionView, EntryView, Explanation, RuleView, SourceView};

/// A source as a policy sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Its name.
    pub source: String,
    /// Class.
    pub list: List,
    /// What an entry covers.
    pub r#match: Match,
    /// Whether its entries are records of somebody's policy zone.
    pub records: bool,
    /// Whether the actions of its own records are wanted.
    pub keeps_action: bool,
}

/// One entry of a source at the name or above it, whether it counts or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Name of the source.
    pub source: String,
    /// Where the entry stands.
    pub entry: Name,
    /// A wildcard record: names below the entry, and not the entry itself.
    pub below: bool,
    /// What the record asks for, where the source has records.
    pub record: Option<Action>,
    /// Tags, of an observation.
    pub tags: Option<u32>,
    /// Since when.
    pub added: Option<Timestamp>,
    /// Until when.
    pub expires: Option<Timestamp>,
}

impl Listing {
    /// Whether the entry says something of the name.
    #[must_use]
    pub fn covers(&self, name: &Name, r#match: Match) -> bool {
        let same = self.entry == *name;
        match (self.below, r#match) {
            (false, Match::Exact) => same,
            (false, Match::Subtree) => same || is_above(&self.entry, name),
            (true, _) => !same && is_above(&self.entry, name),
        }
    }
}

fn is_above(upper: &Name, name: &Name) -> bool {
    std::iter::successors(name.parent(), Name::parent).any(|above| above == *upper)
}

/// A policy with what it needs to be explained.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// Whether it is acted on.
    pub mode: Mode,
    /// Its sources, in its order.
    pub bindings: &'a [Binding],
}

impl Question<'_> {
    /// Explains what happens to the name.
    #[must_use]
    pub fn explain(&self, name: &Name, listings: &[Listing]) -> Explanation {
        let mut evidence = Evidence::default();
        let mut sources = Vec::new();
        for binding in self.bindings {
            let entries: Vec<_> = listings.iter().filter(|listing| listing.source == binding.source).collect();
            let counting: Vec<_> = entries.iter().copied().filter(|entry| entry.covers(name, binding.r#match)).collect();
            let finding = finding(binding, &counting);
            if let Some(finding) = &finding {
                evidence.add(finding);
            }
            if !entries.is_empty() {
                sources.push(view::source(binding, finding.as_ref(), &entries, |entry| entry.covers(name, binding.r#match)));
            }
        }
        let decision = self.policy.judge(&evidence);
        let strangers = listings.iter().filter(|listing| self.bindings.iter().all(|binding| binding.source != listing.source));
        let mut unused: Vec<String> = strangers.map(|listing| listing.source.clone()).collect();
        unused.sort_unstable();
        unused.dedup();
        view::explanation(self, name, &evidence, &decision, sources, unused)
    }
}

/// The nearest entry says the action, all of them the tags.
fn finding(binding: &Binding, counting: &[&Listing]) -> Option<Finding> {
    // Of an entry and a wildcard at one place at most one covers the name.
    let nearest = counting.iter().max_by_key(|listing| listing.entry.labels().count())?;
    let tags = counting.iter().filter_map(|listing| listing.tags).reduce(|all, tags| all | tags);
    Some(Finding { list: binding.list, record: nearest.record, keeps_action: binding.keeps_action, tags })
}

#[cfg(test)]
mod tests;
