//! `status.sources` of a policy: of what all POPs say of a source, the worst. Pure.
//!
//! Every write of a status leads to another look, and counts of observations change all the time. So a row is written when its state or its
//! refused entries change, and its counts and words only now and then.

use std::sync::Arc;

use tapir_wire::status::{SourceState as Told, SourceStatus};

use crate::api::policy::{RejectedLine, Source, SourceState, Standing};
use crate::conditions::same_but_for_numbers;

/// Bounds of the schema.
const LONGEST_MESSAGE: usize = 1024;
const LONGEST_REASON: usize = 128;
const MOST_LINES: usize = 10;

/// What one POP says.
#[derive(Clone, Debug)]
pub(super) struct Report {
    pub edge: String,
    pub pod: String,
    pub says: Says,
}

/// See [`Report`].
#[derive(Clone, Debug)]
pub(super) enum Says {
    /// It was not asked yet: what was known before the operator started counts on.
    NotAsked,
    Silent,
    /// It works by another configuration than this policy's.
    Other,
    Sources(Arc<[SourceStatus]>),
}

/// The rows, in the order of the policy. `refresh` also takes counts and words over that differ only by numbers.
#[must_use]
pub(super) fn rows(sources: &[Source], reports: &[Report], before: &[SourceState], refresh: bool) -> Vec<SourceState> {
    sources
        .iter()
        .map(|source| {
            let before = before.iter().find(|row| row.name == source.name);
            steady(row(source, reports, before), before, refresh || is_static(source))
        })
        .collect()
}

/// Whether it changes only with the policy or with what somebody writes.
fn is_static(source: &Source) -> bool {
    source.inline.is_some() || source.config_map_ref.is_some()
}

fn row(source: &Source, reports: &[Report], before: Option<&SourceState>) -> SourceState {
    let told = reports.iter().filter_map(|report| match &report.says {
        Says::Sources(rows) => rows.iter().find(|row| row.name == source.name).map(|row| (report, row)),
        _ => None,
    });
    let told: Vec<_> = told.collect();
    let any = |is: fn(&Says) -> bool| reports.iter().any(|report| is(&report.says));
    let worst = told.iter().map(|(_, row)| standing(row.state)).max();
    let not_asked = any(|says| matches!(says, Says::NotAsked));
    match (worst, before) {
        // Who was worst before may not have been asked yet.
        (worst, Some(before)) if not_asked && worst.is_none_or(|worst| worst < before.state) => before.clone(),
        // A changed policy is on its way: what was said of its sources is not worth less for that.
        (None, Some(before)) if any(|says| matches!(says, Says::Other)) => before.clone(),
        (Some(worst), _) => of_worst(source, &told, worst),
        (None, _) => {
            let (state, message) = if not_asked {
                (Standing::Pending, "no POP was asked yet")
            } else if any(|says| matches!(says, Says::Other)) {
                (Standing::Pending, "no POP works by this policy yet, as it is now")
            } else if reports.is_empty() {
                (Standing::Unknown, "no Pod runs POP")
            } else {
                (Standing::Unknown, "no POP answers")
            };
            let message = message.to_owned();
            SourceState { name: source.name.clone(), state, entries: 0, rejected: 0, rejected_lines: Vec::new(), message }
        }
    }
}

fn of_worst(source: &Source, told: &[(&Report, &SourceStatus)], worst: Standing) -> SourceState {
    let among = || told.iter().filter(|(_, row)| standing(row.state) == worst);
    let entries = among().map(|(_, row)| row.entries).max().unwrap_or_default();
    let most = told.iter().map(|(_, row)| *row).max_by_key(|row| row.rejected);
    let message = among()
        .filter_map(|(report, row)| row.error.as_ref().map(|error| (report, error)))
        .min_by_key(|(report, _)| (&report.edge, &report.pod))
        .map(|(report, error)| format!("POP of Pod {} of TapirEdge {}: {error}", report.pod, report.edge));
    SourceState {
        name: source.name.clone(),
        state: worst,
        entries: if is_static(source) { entries } else { two_digits(entries) },
        rejected: most.map_or(0, |row| u32::try_from(row.rejected).unwrap_or(u32::MAX).min(i32::MAX.unsigned_abs())),
        rejected_lines: most.into_iter().flat_map(|row| &row.rejected_lines).take(MOST_LINES).map(line).collect(),
        message: message.unwrap_or_default().chars().take(LONGEST_MESSAGE).collect(),
    }
}

fn line(rejected: &tapir_wire::status::RejectedLine) -> RejectedLine {
    RejectedLine {
        line: u32::try_from(rejected.line).unwrap_or(u32::MAX).clamp(1, i32::MAX.unsigned_abs()),
        reason: rejected.reason.chars().take(LONGEST_REASON).collect(),
    }
}

/// With the counts and words of before, if that is no news.
fn steady(row: SourceState, before: Option<&SourceState>, exact: bool) -> SourceState {
    let Some(before) = before else { return row };
    let same = before.state == row.state && before.rejected == row.rejected && before.rejected_lines == row.rejected_lines;
    if !same {
        return row;
    }
    let keeps_words = same_but_for_numbers(&before.message, &row.message) || !exact;
    SourceState {
        entries: if exact { row.entries } else { before.entries },
        message: if keeps_words { before.message.clone() } else { row.message },
        ..row
    }
}

fn standing(told: Told) -> Standing {
    match told {
        Told::Ready => Standing::Ready,
        Told::Pending => Standing::Pending,
        Told::Stale => Standing::Stale,
        Told::Failed => Standing::Failed,
        Told::Unknown => Standing::Unknown,
    }
}

/// Rounded to two digits: 123456 is 120000.
fn two_digits(number: u64) -> u64 {
    let unit = 10_u64.pow(number.checked_ilog10().unwrap_or_default().saturating_sub(1));
    number / unit * unit
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sources() -> Vec<Source> {
        serde_json::from_value(json!([
            {"name": "core", "list": "Doubt", "core": {}},
            {"name": "own", "list": "Deny", "configMapRef": {"name": "lists", "key": "own"}}
        ]))
        .unwrap()
    }

    fn told(state: &str, entries: u64) -> serde_json::Value {
        json!({"name": "core", "state": state, "entries": entries, "rejected": 0})
    }

    fn pod(name: &str, rows: &[serde_json::Value]) -> Report {
        let rows: Vec<SourceStatus> = serde_json::from_value(json!(rows)).unwrap();
        Report { edge: "a".into(), pod: name.into(), says: Says::Sources(rows.into()) }
    }

    fn said(says: Says) -> Report {
        Report { edge: "a".into(), pod: "p".into(), says }
    }

    fn first(reports: &[Report], before: &[SourceState], refresh: bool) -> (Standing, u64) {
        let row = rows(&sources(), reports, before, refresh).swap_remove(0);
        (row.state, row.entries)
    }

    #[test]
    fn the_worst_of_all_pods_counts_and_is_named() {
        let mut failed = told("Failed", 0);
        failed["error"] = "this build does not serve kind rpz".into();
        let reports = [pod("q", &[told("Ready", 12_345)]), pod("p", &[failed]), said(Says::Silent)];
        let row = rows(&sources(), &reports, &[], false).swap_remove(0);
        assert_eq!((row.state, row.entries), (Standing::Failed, 0));
        assert_eq!(row.message, "POP of Pod p of TapirEdge a: this build does not serve kind rpz");
    }

    #[test]
    fn counts_that_move_are_rounded_and_written_now_and_then() {
        let before = rows(&sources(), &[pod("p", &[told("Ready", 12_345)])], &[], false);
        assert_eq!(before[0].entries, 12_000);
        let later = [pod("p", &[told("Ready", 98_765)])];
        assert_eq!(first(&later, &before, false), (Standing::Ready, 12_000));
        assert_eq!(first(&later, &before, true), (Standing::Ready, 98_000));
        assert_eq!(first(&[pod("p", &[told("Stale", 98_765)])], &before, false), (Standing::Stale, 98_000));
        assert_eq!([0, 9, 10, 99, 100, 109, u64::MAX].map(two_digits), [0, 9, 10, 99, 100, 100, 18_000_000_000_000_000_000]);
    }

    #[test]
    fn refused_lines_of_a_list_are_exact_and_bounded() {
        let lines: Vec<_> = (1..=20).map(|line| json!({"line": line, "reason": "x".repeat(500)})).collect();
        let own = json!({"name": "own", "state": "Ready", "entries": 12_345, "rejected": 20, "rejectedLines": lines});
        let row = rows(&sources(), &[pod("p", &[own])], &[], false).swap_remove(1);
        assert_eq!((row.entries, row.rejected, row.rejected_lines.len()), (12_345, 20, 10));
        assert_eq!((row.rejected_lines[9].line, row.rejected_lines[9].reason.len()), (10, 128));
    }

    #[test]
    fn an_operator_that_starts_takes_nothing_back() {
        let before = rows(&sources(), &[pod("p", &[told("Stale", 10)])], &[], false);
        let unasked = said(Says::NotAsked);
        assert_eq!(first(std::slice::from_ref(&unasked), &before, true), (Standing::Stale, 10));
        let partly = [pod("q", &[told("Ready", 20)]), unasked.clone()];
        assert_eq!(first(&partly, &before, false), (Standing::Stale, 10), "the stale one may not have been asked yet");
        let worse = [pod("q", &[told("Failed", 0)]), unasked.clone()];
        assert_eq!(first(&worse, &before, false), (Standing::Failed, 0));
        assert_eq!(first(&[unasked], &[], false).0, Standing::Pending);
    }

    #[test]
    fn silence_and_other_configurations_say_nothing_of_a_source() {
        assert_eq!(first(&[], &[], false).0, Standing::Unknown);
        assert_eq!(first(&[said(Says::Silent)], &[], false).0, Standing::Unknown);
        assert_eq!(first(&[said(Says::Silent), said(Says::Other)], &[], false).0, Standing::Pending);
    }

    #[test]
    fn words_that_differ_by_numbers_only_are_no_news() {
        let stale = |error: &str| {
            let mut row = told("Stale", 10);
            row["error"] = error.into();
            [pod("p", &[row])]
        };
        let before = rows(&sources(), &stale("timeout after 2000 ms"), &[], false);
        assert_eq!(rows(&sources(), &stale("timeout after 2001 ms"), &before, true), before);
        assert_ne!(rows(&sources(), &stale("no route"), &before, true), before);
        assert_eq!(rows(&sources(), &stale("no route"), &before, false), before, "it waits for the next look at counts");
    }
}
