//! Condition `PolicyAccepted` after rendering: whether POP works by what was rendered. Pure.
//!
//! Only what a POP reported counts, and it counts until that POP reports something else: a missed answer is the matter of `CoreConnected`.
//! A Pod that starts, or an operator that has not asked yet, takes nothing back that was said of the same policy before.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::seen::Seen;
use crate::api::status::PolicyStatus;
use crate::conditions::{Draft, Truth};
use crate::sidecars::{Board, Component, EdgeKey, Target};

/// How long a new Pod's POP may take until it answers for the first time: images are pulled and lists are read.
const STARTING: Duration = Duration::from_mins(2);

/// What one POP has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Report {
    Revision(String),
    /// Nothing, and it cannot be expected yet.
    Starting,
    /// Nothing, and it should have.
    Silent,
}

/// What was said of the policy in the round before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before<'a> {
    pub condition: Option<&'a Condition>,
    pub policy: Option<&'a PolicyStatus>,
}

/// What each POP has said last.
pub(super) fn reports(board: &Board, key: &EdgeKey, targets: &[Target], pods: &[Seen], now: Timestamp) -> Vec<Report> {
    let young = |target: &Target| {
        let pod = pods.iter().find(|pod| pod.uid == target.uid);
        let created = pod.and_then(|pod| pod.created).unwrap_or(now);
        Duration::try_from(now.duration_since(created)).unwrap_or_default() < STARTING
    };
    let report = |target: &Target| match (board.last(key, target), board.heard(key, target)) {
        (Some(heard), _) => Report::Revision(heard.revision),
        (None, Some(_)) if !young(target) => Report::Silent,
        (None, _) => Report::Starting,
    };
    targets.iter().filter(|target| target.component == Component::Pop).map(report).collect()
}

/// The condition for what was rendered well as `revision`.
#[must_use]
pub(super) fn judge(
    rendered: Draft,
    policy: Option<&PolicyStatus>,
    revision: &str,
    reports: &[Report],
    before: Before<'_>,
) -> Draft {
    let count = |wanted: fn(&Report, &str) -> bool| reports.iter().filter(|report| wanted(report, revision)).count();
    let confirm = count(|report, revision| matches!(report, Report::Revision(found) if found == revision));
    let other = count(|report, revision| matches!(report, Report::Revision(found) if found != revision));
    let (starting, silent) = (count(|report, _| *report == Report::Starting), count(|report, _| *report == Report::Silent));
    let settled = before.policy == policy
        && before.condition.is_some_and(|before| before.status == "True" && before.reason == rendered.reason);
    if other > 0 || silent > 0 || (starting > 0 && !settled) {
        let message = format!(
            "{} as revision {revision}: {confirm} of {} Pods report it, {other} another one, {} nothing yet",
            rendered.message,
            reports.len(),
            starting + silent
        );
        return Draft::new(rendered.kind, Truth::Unknown, "Pending", message);
    }
    let message = match before.condition {
        Some(before) if starting > 0 => before.message.clone(),
        _ if reports.is_empty() => format!("{} as revision {revision}; no Pod runs POP", rendered.message),
        _ => format!("{} as revision {revision} and in force", rendered.message),
    };
    Draft { message, ..rendered }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conditions::merge;

    fn policy(revision: &str) -> PolicyStatus {
        PolicyStatus { name: "default".into(), generation: Some(1), revision: Some(revision.into()) }
    }

    /// Plays rounds: the revision wanted and what is reported; gives truth and message of each.
    fn rounds(rounds: &[(&str, &[Report])]) -> Vec<(Truth, String)> {
        let (mut conditions, mut known) = (Vec::new(), None);
        let mut said = Vec::new();
        for (revision, reports) in rounds {
            let rendered = Draft::new("PolicyAccepted", Truth::True, "Accepted", "rendered");
            let now = policy(revision);
            let before = Before { condition: conditions.first(), policy: known.as_ref() };
            let draft = judge(rendered, Some(&now), revision, reports, before);
            said.push((draft.truth, draft.message.clone()));
            (conditions, _) = merge(&conditions, vec![draft], Some(1), Timestamp::now());
            known = Some(now);
        }
        said
    }

    fn truths(played: &[(&str, &[Report])]) -> Vec<Truth> {
        rounds(played).into_iter().map(|(truth, _)| truth).collect()
    }

    fn at(revision: &str) -> Report {
        Report::Revision(revision.to_owned())
    }

    #[test]
    fn only_what_is_in_force_is_accepted() {
        let played: [(&str, &[Report]); 3] = [("a", &[at("a"), at("a")]), ("b", &[at("b"), at("a")]), ("b", &[at("b"), at("b")])];
        assert_eq!(truths(&played), [Truth::True, Truth::Unknown, Truth::True]);
        assert!(rounds(&played)[1].1.contains("as revision b: 1 of 2 Pods report it, 1 another one, 0 nothing yet"));
        assert_eq!(truths(&[("a", &[at("a")]), ("b", &[Report::Starting])]), [Truth::True, Truth::Unknown]);
        assert_eq!(truths(&[("a", &[Report::Starting])]), [Truth::Unknown]);
        assert_eq!(truths(&[("a", &[at("a")]), ("a", &[at("a"), Report::Silent])]), [Truth::True, Truth::Unknown]);
    }

    #[test]
    fn pods_that_come_and_go_and_an_operator_that_restarts_take_nothing_back() {
        let said = rounds(&[
            ("a", &[]),
            ("a", &[Report::Starting]),
            ("a", &[at("a")]),
            ("a", &[at("a"), Report::Starting]),
            ("a", &[Report::Starting]),
            ("a", &[]),
        ]);
        assert!(said.iter().all(|(truth, _)| *truth == Truth::True), "{said:?}");
        assert!(said[1].1.contains("no Pod runs POP") && said[3].1 == said[2].1 && said[4].1.ends_with("in force"), "{said:?}");
    }
}
