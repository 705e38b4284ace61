//! Rows of `/status`, one a source.

use jiff::Timestamp;
use tapir_wire::status::{SourceState, SourceStatus};

use crate::setup::Setup;
use crate::sources::NameList;

/// A source that nothing came from yet.
pub(super) fn empty(name: &str) -> SourceStatus {
    SourceStatus {
        name: name.to_owned(),
        state: SourceState::Pending,
        entries: 0,
        rejected: 0,
        rejected_lines: Vec::new(),
        updated_at: None,
        error: None,
    }
}

/// A source that holds nothing, because of an error.
pub(super) fn failed(name: &str, reason: &str) -> SourceStatus {
    SourceStatus { state: SourceState::Failed, error: Some(reason.to_owned()), ..empty(name) }
}

/// A list. Its time stays while it is what it was: a policy that changes elsewhere is no news of a list.
pub(super) fn of_list(list: &NameList, before: Option<&Setup>, old: &[SourceStatus], now: Timestamp) -> SourceStatus {
    let same = before.is_some_and(|before| before.rules.lists.iter().any(|old| old.names_as(list)));
    let since = old.iter().find(|old| same && old.name == list.source).and_then(|old| old.updated_at);
    SourceStatus {
        state: if list.stale.is_some() { SourceState::Stale } else { SourceState::Ready },
        entries: list.len() as u64,
        rejected: list.rejected.count,
        rejected_lines: list.rejected.first.clone(),
        updated_at: since.or(Some(now)),
        error: list.stale.clone(),
        ..empty(&list.source)
    }
}
