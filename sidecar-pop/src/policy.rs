//! The local policy: what is known of a name -> what happens to it. Pure, and the only place that decides.
//!
//! An allow list is absolute. Then deny lists. Then the doubt rules, all of which are evaluated; the most restrictive action
//! wins. Upstream's processor works the same way, with two differences: the tag `looptest` counts for nothing unless a rule
//! names it, and equal severity is reported in the order of the rules as written.

use std::sync::Arc;

use tapir_wire::config::pop::PopConfig;
use tapir_wire::tags::Tag;

use crate::zone::{LocalData, LocalIndex};

/// What happens to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Answered as usual.
    Passthru,
    /// Answered over TCP only.
    TcpOnly,
    /// Answered with data of the policy's own.
    Local(LocalIndex),
    /// The name exists, the type does not.
    Nodata,
    /// The name does not exist.
    Nxdomain,
    /// No answer at all.
    Drop,
}

impl Action {
    /// How much it restricts; all redirects are alike.
    #[must_use]
    pub const fn severity(self) -> u8 {
        match self {
            Self::Passthru => 0,
            Self::TcpOnly => 1,
            Self::Local(_) => 2,
            Self::Nodata => 3,
            Self::Nxdomain => 4,
            Self::Drop => 5,
        }
    }
}

/// Everything that the sources say about one name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// On an allow list.
    pub allowed: bool,
    /// On a deny list.
    pub denied: bool,
    /// On a doubt list, for whatever reason.
    pub doubted: bool,
    /// Doubt lists that have it for another reason than a loop test.
    pub doubt_sources: u32,
    /// Tags from Core.
    pub tags: u32,
}

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

/// Actions and rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// For names on deny lists.
    pub deny: Action,
    /// For names on doubt lists.
    pub rules: Vec<Rule>,
    /// What redirects answer with.
    pub locals: Arc<[LocalData]>,
    /// Lifetime of the records, in seconds.
    pub record_ttl: u32,
}

/// What decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// On no list.
    None,
    /// On an allow list.
    Allow,
    /// On a deny list.
    Deny,
    /// On doubt lists only.
    Doubt,
}

/// What happens to a name, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What decided.
    pub stage: Stage,
    /// What happens; [`Action::Passthru`] leaves no trace in the zone.
    pub action: Action,
    /// Rules that fired, as indices.
    pub fired: Vec<usize>,
    /// The rule whose action it is: the first of the most restrictive ones.
    pub winner: Option<usize>,
}

impl Decision {
    /// What the zone must do to the name; `None`: nothing.
    #[must_use]
    pub fn effect(&self) -> Option<Action> {
        (self.action != Action::Passthru).then_some(self.action)
    }

    const fn pass(stage: Stage) -> Self {
        Self { stage, action: Action::Passthru, fired: Vec::new(), winner: None }
    }
}

impl Policy {
    /// Without redirects, records of the usual lifetime.
    #[must_use]
    pub fn new(deny: Action, rules: Vec<Rule>) -> Self {
        Self { deny, rules, locals: Arc::new([]), record_ttl: PopConfig::RECORD_TTL_SECONDS }
    }

    /// The one decision function, for the zone and for anyone who asks why.
    #[must_use]
    pub fn decide(&self, evidence: &Evidence) -> Decision {
        if evidence.allowed {
            return Decision::pass(Stage::Allow);
        }
        if evidence.denied {
            return Decision { action: self.deny, ..Decision::pass(Stage::Deny) };
        }
        if !evidence.doubted {
            return Decision::pass(Stage::None);
        }
        let mut decision = Decision::pass(Stage::Doubt);
        for (index, rule) in self.rules.iter().enumerate().filter(|(_, rule)| rule.fires(evidence)) {
            decision.fired.push(index);
            if decision.winner.is_none() || rule.action.severity() > decision.action.severity() {
                decision.action = rule.action;
                decision.winner = Some(index);
            }
        }
        decision
    }
}

impl Rule {
    fn fires(&self, evidence: &Evidence) -> bool {
        let Self { name: _, any_tags, all_tags, min_tags, min_sources, action: _ } = self;
        let counted = (evidence.tags & !Tag::LOOPTEST.mask()).count_ones();
        let conditions = [
            any_tags.map(|mask| evidence.tags & mask != 0),
            all_tags.map(|mask| evidence.tags & mask == mask),
            min_tags.map(|limit| counted >= limit),
            min_sources.map(|limit| evidence.doubt_sources >= limit),
        ];
        // Validation refuses rules without conditions; one that got through all the same must not fire on everything.
        conditions.iter().any(Option::is_some) && conditions.iter().flatten().all(|holds| *holds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &str, action: Action) -> Rule {
        Rule { name: name.to_owned(), any_tags: None, all_tags: None, min_tags: None, min_sources: None, action }
    }

    fn decide(rules: Vec<Rule>, tags: u32) -> Decision {
        let evidence = Evidence { doubted: true, doubt_sources: 1, tags, ..Evidence::default() };
        Policy::new(Action::Nxdomain, rules).decide(&evidence)
    }

    #[test]
    fn every_condition_of_a_rule_must_hold() {
        let both = || vec![Rule { all_tags: Some(0b11), min_tags: Some(3), ..rule("both", Action::Drop) }];
        assert_eq!(decide(both(), 0b111).effect(), Some(Action::Drop));
        assert_eq!(decide(both(), 0b1101).effect(), None);
        assert_eq!(decide(both(), 0b11).effect(), None);
        assert_eq!(decide(vec![rule("empty", Action::Drop)], u32::MAX).effect(), None);
    }

    #[test]
    fn looptest_counts_only_where_it_is_named() {
        let looptest = Tag::LOOPTEST.mask();
        let count = |limit| vec![Rule { min_tags: Some(limit), ..rule("count", Action::Nxdomain) }];
        assert_eq!(decide(count(1), looptest).effect(), None);
        assert_eq!(decide(count(2), looptest | 1).effect(), None);
        assert_eq!(decide(count(1), looptest | 1).effect(), Some(Action::Nxdomain));
        let named = vec![Rule { any_tags: Some(looptest), ..rule("named", Action::Nodata) }];
        assert_eq!(decide(named, looptest).effect(), Some(Action::Nodata));
    }

    #[test]
    fn the_most_restrictive_action_wins_whatever_the_order() {
        let redirect = Action::Local(LocalIndex(0));
        let order = [Action::Drop, Action::Nxdomain, Action::Nodata, redirect, Action::TcpOnly, Action::Passthru];
        for (stronger, weaker) in order.iter().zip(order.iter().skip(1)) {
            for pair in [[*stronger, *weaker], [*weaker, *stronger]] {
                let rules = pair.map(|action| Rule { any_tags: Some(1), ..rule("r", action) }).to_vec();
                assert_eq!(decide(rules, 1).action, *stronger);
            }
        }
    }

    #[test]
    fn of_two_redirects_the_first_is_taken() {
        let redirects = [LocalIndex(1), LocalIndex(0), LocalIndex(2)].map(Action::Local);
        let decision = decide(redirects.map(|action| Rule { any_tags: Some(1), ..rule("r", action) }).to_vec(), 1);
        assert_eq!((decision.action, decision.winner), (redirects[0], Some(0)));
    }

    #[test]
    fn lists_are_counted_with_the_other_conditions() {
        let agreed = || vec![Rule { min_sources: Some(2), any_tags: Some(1), ..rule("agreed", Action::Drop) }];
        let decide = |doubt_sources, tags| {
            let evidence = Evidence { doubted: true, doubt_sources, tags, ..Evidence::default() };
            Policy::new(Action::Nxdomain, agreed()).decide(&evidence).effect()
        };
        assert_eq!(decide(2, 1), Some(Action::Drop));
        assert_eq!(decide(1, 1), None);
        assert_eq!(decide(3, 2), None);
    }
}
