//! Decisions of the policy by what made them: an allow list, a deny list, or a doubt rule.
//!
//! Rules come with a configuration. Whoever decides has the counters of its own rules in hand and counts without a lock; those of a
//! rule that another configuration has as well go on.

use std::cell::Cell;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;

use crate::policy::{Decision, Policy, Stage};

/// Why it was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// Everything was decided anew.
    All,
    /// A source said something else of the name, or of one above or below it.
    Change,
}

const OCCASIONS: [&str; 2] = ["all", "change"];
type Counters = [Counter; OCCASIONS.len()];

/// Those of the newest configuration, for who reads them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Decisions(Arc<Mutex<Vec<Row>>>);

#[derive(Clone, Debug)]
struct Row {
    list: &'static str,
    /// Empty where no rule is needed.
    rule: Arc<str>,
    counters: Counters,
}

/// Those of one configuration, for who decides: allow lists, deny lists, doubted without a rule that holds, then each rule.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deciding(Arc<[Counters]>);

/// What one pass decided, before it is told.
#[derive(Debug)]
pub(crate) struct Pass(Vec<Cell<u64>>);

/// Places of what is no rule.
const LISTS: [&str; 3] = ["Allow", "Deny", "Doubt"];

impl Decisions {
    /// Goes over to the rules of a policy.
    pub(crate) fn of(&self, policy: &Policy) -> Deciding {
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let rules = policy.rules.iter().map(|rule| ("Doubt", Arc::from(rule.name.as_str())));
        let wanted = LISTS.into_iter().map(|list| (list, Arc::from(""))).chain(rules);
        let known = |list: &str, rule: &Arc<str>| rows.iter().find(|row| row.list == list && row.rule == *rule);
        let new: Vec<Row> = wanted
            .map(|(list, rule)| {
                let counters = known(list, &rule).map(|row| row.counters.clone()).unwrap_or_default();
                Row { list, rule, counters }
            })
            .collect();
        *rows = new;
        Deciding(rows.iter().map(|row| row.counters.clone()).collect())
    }
}

impl Deciding {
    /// Begins a pass.
    pub(crate) fn pass(&self) -> Pass {
        Pass(vec![Cell::new(0); self.0.len()])
    }

    /// What a pass decided counts.
    pub(crate) fn tell(&self, pass: &Pass, occasion: Occasion) {
        for (counters, count) in self.0.iter().zip(&pass.0).filter(|(_, count)| count.get() > 0) {
            if let Some(counter) = counters.get(occasion as usize) {
                counter.inc_by(count.get());
            }
        }
    }
}

impl Pass {
    /// One more. What nothing is known of was not decided.
    pub(crate) fn count(&self, decision: &Decision) {
        let place = match (decision.stage, decision.winner) {
            (Stage::None, _) => return,
            (Stage::Allow, _) => 0,
            (Stage::Deny, _) => 1,
            (Stage::Doubt, None) => 2,
            (Stage::Doubt, Some(rule)) => LISTS.len() + rule,
        };
        if let Some(count) = self.0.get(place) {
            count.set(count.get() + 1);
        }
    }
}

impl EncodeMetric for Decisions {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let rows = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for row in &rows {
            for (occasion, counter) in OCCASIONS.iter().zip(&row.counters) {
                let labels = [("list", row.list), ("rule", &*row.rule), ("occasion", *occasion)];
                counter.encode(encoder.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Action, Evidence, Rule};

    fn policy(rules: &[&str]) -> Policy {
        let of = |name: &&str| Rule {
            name: (*name).to_owned(),
            any_tags: Some(1 << (name.len() - 1)),
            all_tags: None,
            min_tags: None,
            min_sources: None,
            action: Action::Nxdomain,
        };
        Policy::new(Action::Nxdomain, rules.iter().map(of).collect())
    }

    fn count(deciding: &Deciding, policy: &Policy, evidence: &Evidence, occasion: Occasion) {
        let pass = deciding.pass();
        pass.count(&policy.judge(evidence));
        deciding.tell(&pass, occasion);
    }

    fn shown(decisions: &Decisions) -> Vec<String> {
        let mut registry = prometheus_client::registry::Registry::default();
        registry.register("d", "D", decisions.clone());
        let text = tapir_runtime::metrics::render(&registry);
        let counted = text.lines().filter(|line| !line.starts_with('#') && !line.ends_with(" 0"));
        counted.map(|line| line.replace("d_total", "").replace('"', "")).collect()
    }

    #[test]
    fn each_is_counted_for_what_made_it_and_goes_on_with_another_configuration() {
        let decisions = Decisions::default();
        let doubted = |tags| Evidence { doubted: true, tags, ..Evidence::default() };
        let before = policy(&["a", "bb"]);
        let deciding = decisions.of(&before);
        count(&deciding, &before, &doubted(0b10), Occasion::Change);
        count(&deciding, &before, &doubted(0b100), Occasion::Change);
        count(&deciding, &before, &Evidence::default(), Occasion::Change);
        count(&deciding, &before, &Evidence { allowed: true, ..doubted(1) }, Occasion::All);
        let expected = |doubt: &str, rule| {
            vec![
                "{list=Allow,rule=,occasion=all} 1".to_owned(),
                format!("{{list=Doubt,rule=,occasion=change}} {doubt}"),
                format!("{{list=Doubt,rule=bb,occasion=change}} {rule}"),
            ]
        };
        assert_eq!(shown(&decisions), expected("1", 1));
        let after = policy(&["bb", "ccc"]);
        let next = decisions.of(&after);
        count(&next, &after, &doubted(0b10), Occasion::Change);
        // Until the next zone is in force the one of before is decided on.
        count(&deciding, &before, &doubted(0b10), Occasion::Change);
        count(&deciding, &before, &doubted(1), Occasion::Change);
        assert_eq!(shown(&decisions), expected("1", 3));
    }
}
