//! Conditions: drafts without time, merged with the old list so that transition times stay put. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::api::Reason;
use crate::api::reasons::Care;

/// Longest message: conditions are read by people, and a resource stays far below its limit.
const LONGEST_MESSAGE: usize = 1024;

/// Truth of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr)]
pub enum Truth {
    True,
    False,
    Unknown,
}

/// A condition as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    pub kind: &'static str,
    pub truth: Truth,
    pub reason: String,
    pub message: String,
}

/// A condition that is not as it was: worth an Event and a line in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    pub draft: Draft,
}

impl Draft {
    /// A condition.
    #[must_use]
    pub fn new(kind: &'static str, truth: Truth, reason: impl Into<String>, message: impl Into<String>) -> Self {
        let message: String = message.into();
        Self { kind, truth, reason: reason.into(), message: message.chars().take(LONGEST_MESSAGE).collect() }
    }

    /// As it was said before, if it was.
    #[must_use]
    pub fn repeated(kind: &'static str, before: &[Condition]) -> Option<Self> {
        let old = before.iter().find(|old| old.type_ == kind)?;
        let truth = [Truth::True, Truth::False].into_iter().find(|truth| old.status == <&str>::from(*truth));
        Some(Self::new(kind, truth.unwrap_or(Truth::Unknown), old.reason.clone(), old.message.clone()))
    }

    /// With the words of before, if it is the same but for numbers. An error of the API server may name ports, versions and durations; as
    /// each write of a status leads to another reconcile, a message that is new each time would be a busy loop.
    #[must_use]
    pub fn steady(self, before: &[Condition]) -> Self {
        let truth: &str = self.truth.into();
        let same = |old: &&Condition| {
            old.type_ == self.kind
                && old.status == truth
                && old.reason == self.reason
                && without_numbers(&old.message).eq(without_numbers(&self.message))
        };
        match before.iter().find(same) {
            Some(old) => Self { message: old.message.clone(), ..self },
            None => self,
        }
    }
}

/// Whether two texts differ in words that hold digits at most.
#[must_use]
pub fn same_but_for_numbers(one: &str, other: &str) -> bool {
    without_numbers(one).eq(without_numbers(other))
}

/// The words that hold no digit.
fn without_numbers(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|character: char| !character.is_alphanumeric());
    words.filter(|word| !word.contains(|character: char| character.is_ascii_digit()))
}

impl Transition {
    /// Whether `Ready` repeats what another condition says, whose own turn is told.
    #[must_use]
    pub fn is_repeated(&self, conditions: &[Condition]) -> bool {
        let Draft { kind, truth, reason, .. } = &self.draft;
        let said_by = |condition: &Condition| condition.type_ != *kind && condition.reason == *reason;
        *kind == "Ready" && *truth != Truth::True && conditions.iter().any(said_by)
    }

    /// Who has to care.
    #[must_use]
    pub fn care(&self) -> Care {
        let care = self.draft.reason.parse::<Reason>().map_or(Care::Passes, Reason::care);
        match (self.draft.truth, care) {
            (Truth::False, care) | (Truth::Unknown, care @ Care::Nobody) => care,
            // Not known yet, or a warning about something that is still well.
            (Truth::Unknown, _) | (Truth::True, Care::Passes) => Care::Passes,
            (Truth::True, _) => Care::Nobody,
        }
    }
}

/// The new list, and what changed in status or reason.
#[must_use]
pub fn merge(
    old: &[Condition],
    drafts: Vec<Draft>,
    generation: Option<i64>,
    now: Timestamp,
) -> (Vec<Condition>, Vec<Transition>) {
    let mut transitions = Vec::new();
    let merged = drafts
        .into_iter()
        .map(|draft| {
            let before = old.iter().find(|condition| condition.type_ == draft.kind);
            let status: &str = draft.truth.into();
            let condition = Condition {
                type_: draft.kind.to_owned(),
                status: status.to_owned(),
                reason: draft.reason.clone(),
                message: draft.message.clone(),
                observed_generation: generation,
                last_transition_time: before
                    .filter(|before| before.status == status)
                    .map_or_else(|| Time(without_fraction(now)), |before| before.last_transition_time.clone()),
            };
            if before.is_none_or(|before| before.status != status || before.reason != draft.reason) {
                transitions.push(Transition { draft });
            }
            condition
        })
        .collect();
    (merged, transitions)
}

/// False if any is false, else Unknown if any is unknown, with the reason and message of the most urgent such one; of those that are as urgent,
/// the first.
#[must_use]
pub fn summary(kind: &'static str, parts: &[Draft], all_well: &str) -> Draft {
    // What is no reason of ours comes last.
    let urgency = |draft: &&Draft| draft.reason.parse::<Reason>().map_or((true, None), |reason| (false, Some(reason)));
    let worst = |truth| parts.iter().filter(|draft| draft.truth == truth).min_by_key(urgency);
    match worst(Truth::False).or_else(|| worst(Truth::Unknown)) {
        Some(worst) => Draft::new(kind, worst.truth, worst.reason.clone(), format!("{}: {}", worst.kind, worst.message)),
        None => Draft::new(kind, Truth::True, kind, all_well),
    }
}

/// Kubernetes writes times of objects in whole seconds.
fn without_fraction(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(truth: Truth, reason: &str) -> Draft {
        Draft::new("Enrolled", truth, reason, "message")
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn transition_times_stay_while_the_status_stays() {
        let (first, transitions) = merge(&[], vec![draft(Truth::False, "CredentialsMissing")], Some(1), at(100));
        assert_eq!(transitions.len(), 1);
        let (second, transitions) = merge(&first, vec![draft(Truth::False, "CredentialsMissing")], Some(1), at(200));
        assert_eq!((&second, transitions.len()), (&first, 0));
        let (third, transitions) = merge(&second, vec![draft(Truth::False, "NodemanRefused")], Some(2), at(300));
        assert_eq!((third[0].last_transition_time.0, transitions.len()), (at(100), 1));
        let (fourth, _) = merge(&third, vec![draft(Truth::True, "Enrolled")], Some(2), at(400));
        assert_eq!((fourth[0].last_transition_time.0, fourth[0].observed_generation), (at(400), Some(2)));
    }

    #[test]
    fn a_message_is_steady_but_for_its_numbers() {
        let said = |message: &str| Draft::new("Injected", Truth::False, "ApplyFailed", message);
        let (old, _) = merge(&[], vec![said("dial 10.0.0.1:40001: refused")], Some(1), at(100));
        assert_eq!(said("dial 10.0.0.1:40002: refused").steady(&old), said("dial 10.0.0.1:40001: refused"));
        assert_eq!(said("dial 10.0.0.1:40002: timeout").steady(&old), said("dial 10.0.0.1:40002: timeout"));
        let other = Draft { reason: "TouchFailed".to_owned(), ..said("dial 10.0.0.1:40002: refused") };
        assert_eq!(other.clone().steady(&old), other);
    }

    #[test]
    fn the_summary_is_as_bad_as_its_worst_part() {
        let parts = [draft(Truth::True, "a"), draft(Truth::Unknown, "b"), draft(Truth::False, "c")];
        let ready = summary("Ready", &parts, "well");
        assert_eq!((ready.truth, ready.reason.as_str(), ready.message.as_str()), (Truth::False, "c", "Enrolled: message"));
        assert_eq!(summary("Ready", &parts[..2], "well").truth, Truth::Unknown);
        assert_eq!(summary("Ready", &parts[..1], "well").truth, Truth::True);
    }

    #[test]
    fn the_summary_names_the_most_urgent_part_whatever_their_order() {
        let of =
            |drafts: [(Truth, &str); 3]| summary("Ready", &drafts.map(|(truth, reason)| draft(truth, reason)), "well").reason;
        let (no, unknown) = (Truth::False, Truth::Unknown);
        assert_eq!(of([(no, "NodemanUnreachable"), (no, "PolicyNotFound"), (no, "RolloutHalted")]), "RolloutHalted");
        assert_eq!(of([(unknown, "IdentityLost"), (no, "Disconnected"), (no, "NoPods")]), "NoPods");
        assert_eq!(of([(no, "Strange"), (unknown, "Pending"), (no, "Suspended")]), "Suspended");
        assert_eq!(of([(unknown, "Pending"), (unknown, "ReadFailed"), (Truth::True, "Valid")]), "ReadFailed");
    }

    #[test]
    fn who_has_to_care_is_told_by_reason_and_truth() {
        let care = |truth, reason| Transition { draft: draft(truth, reason) }.care();
        assert_eq!(care(Truth::False, "IdentityLost"), Care::Person);
        assert_eq!(care(Truth::False, "NoPods"), Care::Person);
        assert_eq!(care(Truth::Unknown, "NoPods"), Care::Passes);
        assert_eq!(care(Truth::False, "NodemanUnreachable"), Care::Passes);
        assert_eq!(care(Truth::True, "RenewalOverdue"), Care::Passes);
        assert_eq!((care(Truth::False, "Suspended"), care(Truth::Unknown, "Pending")), (Care::Nobody, Care::Nobody));
        assert_eq!((care(Truth::True, "Injected"), care(Truth::True, "UpdatePending")), (Care::Nobody, Care::Nobody));
    }

    #[test]
    fn ready_repeats_a_part_or_speaks_for_itself() {
        let (parts, _) = merge(&[], vec![draft(Truth::False, "NodeRemoved")], None, at(1));
        let ready = |truth, reason: &str| Transition { draft: Draft::new("Ready", truth, reason, "message") };
        assert!(ready(Truth::False, "NodeRemoved").is_repeated(&parts));
        assert!(!ready(Truth::False, "TouchFailed").is_repeated(&parts));
        assert!(!ready(Truth::True, "Ready").is_repeated(&parts));
        assert!(!Transition { draft: draft(Truth::False, "NodeRemoved") }.is_repeated(&parts));
    }
}
