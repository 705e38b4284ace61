//! The local policy: what is known of a name -> what happens to it. Pure, and the only place that decides: for the whole zone,
//! for a change of it and for whoever asks why.
//!
//! An allow list is absolute. Then deny lists. Then the doubt rules, all of which are evaluated; the most restrictive action
//! wins. Upstream's processor works the same way, with two differences: the tag `looptest` counts for nothing unless a rule
//! names it, and equal severity is reported in the order of the rules as written.

mod action;
mod decision;
mod evidence;
pub mod explain;
mod rule;

use std::sync::Arc;

use tapir_wire::config::pop::PopConfig;

pub use action::Action;
pub use decision::{Decision, Fired, Stage};
pub use evidence::{Evidence, Finding};
pub use rule::{Conditions, Rule, counted_tags};

use crate::zone::LocalData;

/// Actions and rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// For names on deny lists, where the list does not keep its own action.
    pub deny: Action,
    /// For names on doubt lists.
    pub rules: Vec<Rule>,
    /// What redirects answer with.
    pub locals: Arc<[LocalData]>,
    /// Lifetime of the records, in seconds.
    pub record_ttl: u32,
}

impl Policy {
    /// Without redirects, records of the usual lifetime.
    #[must_use]
    pub fn new(deny: Action, rules: Vec<Rule>) -> Self {
        Self { deny, rules, locals: Arc::new([]), record_ttl: PopConfig::RECORD_TTL_SECONDS }
    }

    /// What follows from what the sources say, in whatever order they say it.
    #[must_use]
    pub fn decide(&self, findings: &[Finding]) -> Decision {
        self.judge(&findings.iter().collect())
    }

    /// The same of what was added up already. Allocates nothing.
    #[must_use]
    pub fn judge(&self, evidence: &Evidence) -> Decision {
        if evidence.allowed {
            return Decision::pass(Stage::Allow);
        }
        if evidence.denied {
            return Decision { action: self.denied(evidence), ..Decision::pass(Stage::Deny) };
        }
        if !evidence.doubted {
            return Decision::pass(Stage::None);
        }
        let mut decision = Decision::pass(Stage::Doubt);
        for (index, rule) in self.rules.iter().enumerate().filter(|(_, rule)| rule.conditions(evidence).hold()) {
            decision.fired.add(index);
            if decision.winner.is_none() || rule.action.severity() > decision.action.severity() {
                decision.action = rule.action;
                decision.winner = Some(index);
            }
        }
        decision
    }

    /// Lists that keep their action and lists that get the policy's may both have the name.
    fn denied(&self, evidence: &Evidence) -> Action {
        match evidence.denied_with {
            Some(kept) if evidence.denied_plainly => self.deny.or_stricter(kept),
            Some(kept) => kept,
            None => self.deny,
        }
    }
}

#[cfg(test)]
mod tests {
    use tapir_wire::config::pop::List;
    use tapir_wire::tags::Tag;

    use super::*;
    use crate::zone::LocalIndex;

    fn rule(name: &str, action: Action) -> Rule {
        Rule { name: name.to_owned(), any_tags: None, all_tags: None, min_tags: None, min_sources: None, action }
    }

    fn decide(rules: Vec<Rule>, tags: u32) -> Decision {
        let evidence = Evidence { doubted: true, doubt_sources: 1, tags, ..Evidence::default() };
        Policy::new(Action::Nxdomain, rules).judge(&evidence)
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
            Policy::new(Action::Nxdomain, agreed()).judge(&evidence).effect()
        };
        assert_eq!(decide(2, 1), Some(Action::Drop));
        assert_eq!(decide(1, 1), None);
        assert_eq!(decide(3, 2), None);
    }

    #[test]
    fn deny_lists_keep_their_action_where_that_is_wanted() {
        let keeps = |action| Finding::recorded(List::Deny, action, true);
        let plain = Finding::recorded(List::Deny, Action::Drop, false);
        let decide = |findings: &[Finding]| Policy::new(Action::Nodata, Vec::new()).decide(findings).action;
        assert_eq!(decide(&[keeps(Action::TcpOnly)]), Action::TcpOnly);
        assert_eq!(decide(&[keeps(Action::TcpOnly), keeps(Action::Drop)]), Action::Drop);
        assert_eq!(decide(&[plain]), Action::Nodata);
        // One of them gets the policy's action, which is the stricter one here and the weaker one there.
        assert_eq!(decide(&[plain, keeps(Action::TcpOnly)]), Action::Nodata);
        assert_eq!(decide(&[Finding::listed(List::Deny), keeps(Action::Nxdomain)]), Action::Nxdomain);
    }

    #[test]
    fn records_of_feeds_count_as_what_they_say() {
        let lists = [List::Allow, List::Deny, List::Doubt];
        for list in lists {
            assert_eq!(Finding::recorded(list, Action::Passthru, true).counts_as(), List::Allow);
        }
        let blocking = lists.map(|list| Finding::recorded(list, Action::Nxdomain, true).counts_as());
        assert_eq!(blocking, [List::Doubt, List::Deny, List::Doubt]);
        assert_eq!(lists.map(|list| Finding::listed(list).counts_as()), lists);
    }

    #[test]
    fn a_loop_test_is_no_source_that_doubts() {
        let agreed = vec![Rule { min_sources: Some(1), ..rule("agreed", Action::Drop) }];
        let decide = |tags| Policy::new(Action::Drop, agreed.clone()).decide(&[Finding::observed(List::Doubt, tags)]).effect();
        assert_eq!(decide(Tag::LOOPTEST.mask()), None);
        assert_eq!((decide(0), decide(Tag::LOOPTEST.mask() | 1)), (Some(Action::Drop), Some(Action::Drop)));
    }
}
