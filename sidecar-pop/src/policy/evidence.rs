//! What the sources say of one name, added up to what rules ask for.

use tapir_wire::config::pop::List;
use tapir_wire::tags::Tag;

use super::Action;

/// What one source says of a name: one finding a source. Where several of its entries cover the name, the nearest says the
/// action, and the tags are those of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Class of the source.
    pub list: List,
    /// What the source's own record asks for, where it has records.
    pub record: Option<Action>,
    /// Whether that is wanted in place of the policy's action.
    pub keeps_action: bool,
    /// Tags, of a source of observations.
    pub tags: Option<u32>,
}

impl Finding {
    /// An entry of a list.
    #[must_use]
    pub const fn listed(list: List) -> Self {
        Self { list, record: None, keeps_action: false, tags: None }
    }

    /// An observation with these tags.
    #[must_use]
    pub const fn observed(list: List, tags: u32) -> Self {
        Self { tags: Some(tags), ..Self::listed(list) }
    }

    /// A record of somebody's policy zone.
    #[must_use]
    pub const fn recorded(list: List, record: Action, keeps_action: bool) -> Self {
        Self { record: Some(record), keeps_action, ..Self::listed(list) }
    }

    /// What it counts as. A record that lets pass exempts, in a feed of any class; a record that blocks in a feed which was
    /// subscribed to for its exemptions is at most a doubt. Upstream sorts them the same way.
    #[must_use]
    pub const fn counts_as(&self) -> List {
        match (self.list, self.record) {
            (_, Some(Action::Passthru)) => List::Allow,
            (List::Allow, Some(_)) => List::Doubt,
            (list, _) => list,
        }
    }
}

/// All findings of one name. Small and comparable: equal evidence is decided equally.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Evidence {
    /// On an allow list.
    pub allowed: bool,
    /// On a deny list.
    pub denied: bool,
    /// On a deny list that gets the policy's action.
    pub denied_plainly: bool,
    /// The most restrictive of the actions that deny lists keep.
    pub denied_with: Option<Action>,
    /// On a doubt list, for whatever reason.
    pub doubted: bool,
    /// Doubt lists that have it for another reason than a loop test.
    pub doubt_sources: u32,
    /// Tags of observations.
    pub tags: u32,
}

impl Evidence {
    /// Adds what another source says.
    pub fn add(&mut self, finding: &Finding) {
        match finding.counts_as() {
            List::Allow => self.allowed = true,
            List::Deny => {
                self.denied = true;
                match finding.record.filter(|_| finding.keeps_action) {
                    Some(action) => self.denied_with = Some(self.denied_with.map_or(action, |had| had.or_stricter(action))),
                    None => self.denied_plainly = true,
                }
            }
            List::Doubt => {
                self.doubted = true;
                self.tags |= finding.tags.unwrap_or_default();
                // Neither tags at all nor only that of the loop test is a finding about the name; no tags is what upstream counts.
                self.doubt_sources += u32::from(finding.tags != Some(Tag::LOOPTEST.mask()));
            }
        }
    }
}

impl<'a> FromIterator<&'a Finding> for Evidence {
    fn from_iter<T: IntoIterator<Item = &'a Finding>>(findings: T) -> Self {
        findings.into_iter().fold(Self::default(), |mut evidence, finding| {
            evidence.add(finding);
            evidence
        })
    }
}
