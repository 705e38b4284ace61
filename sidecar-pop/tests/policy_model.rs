//! The decision function against the plainest possible reading of the rules.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use tapir_pop::policy::{Action, Finding, Policy, Rule, Stage};
use tapir_pop::zone::LocalIndex;
use tapir_wire::config::pop::{List, Mode};

const LOOPTEST: u32 = 1024;
/// Weakest first.
const ORDER: [Action; 6] =
    [Action::Passthru, Action::TcpOnly, Action::Local(LocalIndex(0)), Action::Nodata, Action::Nxdomain, Action::Drop];

fn action() -> impl Strategy<Value = Action> {
    (0..ORDER.len()).prop_map(|index| ORDER[index])
}

/// Few bits, so that rules meet findings often.
fn tags() -> impl Strategy<Value = u32> {
    vec(prop_oneof![Just(1u32), Just(2), Just(8), Just(LOOPTEST)], 0..4)
        .prop_map(|bits| bits.iter().fold(0, |all, bit| all | bit))
}

fn finding() -> impl Strategy<Value = Finding> {
    let list = prop_oneof![1 => Just(List::Allow), 2 => Just(List::Deny), 6 => Just(List::Doubt)];
    (list, option::weighted(0.3, action()), any::<bool>(), option::of(tags()))
        .prop_map(|(list, record, keeps_action, tags)| Finding { list, record, keeps_action, tags })
}

fn rule() -> impl Strategy<Value = Rule> {
    (option::of(tags()), option::of(tags()), option::of(1u32..4), option::of(1u32..4), action()).prop_map(
        |(any_tags, all_tags, min_tags, min_sources, action)| Rule {
            name: String::new(),
            any_tags,
            all_tags,
            min_tags,
            min_sources,
            action,
        },
    )
}

/// As a reader of the documentation would do it by hand.
fn by_hand(policy: &Policy, findings: &[Finding]) -> (Stage, Action, Vec<usize>) {
    let exempts = |finding: &&Finding| match finding.record {
        Some(record) => record == Action::Passthru,
        None => finding.list == List::Allow,
    };
    if findings.iter().any(|finding| exempts(&finding)) {
        return (Stage::Allow, Action::Passthru, vec![]);
    }
    let strictest = |actions: Vec<Action>| ORDER.into_iter().rev().find(|action| actions.contains(action));
    let kept = |finding: &Finding| if finding.keeps_action { finding.record.unwrap_or(policy.deny) } else { policy.deny };
    let denied: Vec<_> = findings.iter().filter(|finding| finding.list == List::Deny).map(kept).collect();
    if let Some(action) = strictest(denied) {
        return (Stage::Deny, action, vec![]);
    }
    if findings.is_empty() {
        return (Stage::None, Action::Passthru, vec![]);
    }
    let all: Vec<u32> =
        (0..32).map(|bit| 1 << bit).filter(|bit| findings.iter().any(|one| one.tags.unwrap_or(0) & bit != 0)).collect();
    let has = |bit: u32| all.contains(&bit);
    let within = |mask: u32| (0..32).map(|bit| 1u32 << bit).filter(move |bit| mask & bit != 0);
    let serious = findings.iter().filter(|finding| finding.tags != Some(LOOPTEST)).count();
    let number = |limit: u32, count: usize| count >= usize::try_from(limit).unwrap();
    let holds = |rule: &Rule| {
        let none = rule.any_tags.is_none() && rule.all_tags.is_none() && rule.min_tags.is_none() && rule.min_sources.is_none();
        !none
            && rule.any_tags.is_none_or(|mask| within(mask).any(has))
            && rule.all_tags.is_none_or(|mask| within(mask).all(has))
            && rule.min_tags.is_none_or(|limit| number(limit, all.iter().filter(|bit| **bit != LOOPTEST).count()))
            && rule.min_sources.is_none_or(|limit| number(limit, serious))
    };
    let fired: Vec<usize> = (0..policy.rules.len()).filter(|index| holds(&policy.rules[*index])).collect();
    let action = strictest(fired.iter().map(|index| policy.rules[*index].action).collect()).unwrap_or(Action::Passthru);
    (Stage::Doubt, action, fired)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn decided_as_by_hand(
        deny in action(),
        rules in vec(rule(), 0..6),
        findings in vec(finding(), 0..5),
        turned in 0usize..5,
    ) {
        let policy = Policy::new(deny, rules);
        let decision = policy.decide(&findings);
        let (stage, action, fired) = by_hand(&policy, &findings);
        prop_assert_eq!((decision.stage, decision.action), (stage, action));
        let first = fired.iter().copied().find(|index| policy.rules[*index].action.severity() == action.severity());
        prop_assert_eq!(decision.winner, first);
        prop_assert_eq!(decision.fired.iter().collect::<Vec<_>>(), fired);
        // Whoever asks first: the order of the sources means nothing.
        let mut others = findings.clone();
        others.rotate_left(turned.min(findings.len()));
        prop_assert_eq!(policy.decide(&others), decision);
        // What would block is logged only, and nothing else is published.
        let observed = decision.published(Mode::Observe);
        prop_assert_eq!(observed, decision.published(Mode::Enforce).map(|_| Action::Passthru));
    }
}
