//! Doubt rules.

use tapir_wire::tags::Tag;

use super::{Action, Evidence};

/// One doubt rule. Every condition that is given must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name in the policy.
    pub name: String,
    /// At least one of these tags.
    pub any_tags: Option<u32>,
    /// All of these tags.
    pub all_tags: Option<u32>,
    /// At least so many tags, `looptest` not counted.
    pub min_tags: Option<u32>,
    /// On at least so many doubt lists.
    pub min_sources: Option<u32>,
    /// What happens when it fires.
    pub action: Action,
}

/// Whether each condition of a rule holds; absent where the rule does not have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conditions {
    /// Of [`Rule::any_tags`].
    pub any_tags: Option<bool>,
    /// Of [`Rule::all_tags`].
    pub all_tags: Option<bool>,
    /// Of [`Rule::min_tags`].
    pub min_tags: Option<bool>,
    /// Of [`Rule::min_sources`].
    pub min_sources: Option<bool>,
}

impl Conditions {
    /// Whether the rule fires. The checks of the file refuse rules without conditions; one that got through all the same must
    /// not fire on everything.
    #[must_use]
    pub fn hold(&self) -> bool {
        let all = [self.any_tags, self.all_tags, self.min_tags, self.min_sources];
        all.iter().any(Option::is_some) && all.iter().flatten().all(|holds| *holds)
    }
}

impl Rule {
    /// Holds the rule against what is known.
    #[must_use]
    pub fn conditions(&self, evidence: &Evidence) -> Conditions {
        let Self { name: _, any_tags, all_tags, min_tags, min_sources, action: _ } = self;
        Conditions {
            any_tags: any_tags.map(|mask| evidence.tags & mask != 0),
            all_tags: all_tags.map(|mask| evidence.tags & mask == mask),
            min_tags: min_tags.map(|limit| counted_tags(evidence.tags) >= limit),
            min_sources: min_sources.map(|limit| evidence.doubt_sources >= limit),
        }
    }
}

/// How many tags count by number.
#[must_use]
pub const fn counted_tags(tags: u32) -> u32 {
    (tags & !Tag::LOOPTEST.mask()).count_ones()
}
