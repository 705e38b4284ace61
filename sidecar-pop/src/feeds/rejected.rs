//! What was refused.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tapir_wire::status::RejectedLine;

/// Refused entries that are told one by one.
const TOLD: usize = 100;
/// Reasons that are counted one by one. There are fewer; this bounds a mistake.
const REASONS: usize = 64;

/// Entries that were refused: all are counted, the first are told one by one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rejected {
    /// How many.
    pub count: u64,
    /// How many for each reason.
    pub by_reason: BTreeMap<String, u64>,
    /// The first ones.
    pub first: Vec<RejectedLine>,
}

impl Rejected {
    /// One more. `line` counts from 1; lines, records of a transfer, or places in a list.
    pub fn push(&mut self, line: u64, reason: &(impl ToString + ?Sized)) {
        self.count += 1;
        let reason = reason.to_string();
        if self.first.len() < TOLD {
            self.first.push(RejectedLine { line, reason: reason.clone() });
        }
        if self.by_reason.len() < REASONS || self.by_reason.contains_key(&reason) {
            *self.by_reason.entry(reason).or_default() += 1;
        }
    }

    /// Nothing was refused.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_counted_and_the_first_are_told() {
        let mut rejected = Rejected::default();
        for line in 1..=250 {
            rejected.push(line, if line % 2 == 0 { "even" } else { "odd" });
        }
        assert_eq!((rejected.count, rejected.first.len()), (250, TOLD));
        assert_eq!(rejected.first.last().map(|last| last.line), Some(100));
        assert_eq!(rejected.by_reason.values().copied().collect::<Vec<_>>(), [125, 125]);
    }
}
