//! Rows of `/status`, one a source.

use std::sync::Arc;

use jiff::Timestamp;
use tapir_wire::config::pop::List;
use tapir_wire::status::{SourceState, SourceStatus};

use crate::feeds::{Health, Meta};

/// What is told of a source, and the class of list that it is.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its class.
    pub list: List,
    /// The row; shared, so that who reads it holds up nobody.
    pub told: Arc<SourceStatus>,
}

impl Row {
    /// How it is with it: what Core says is worth what its keys are.
    #[must_use]
    pub fn state(&self, core_sources: &[String], keys_error: Option<&(SourceState, String)>) -> SourceState {
        if core_sources.contains(&self.told.name) {
            return keys_error.map_or(SourceState::Ready, |(state, _)| *state);
        }
        self.told.state
    }

    /// As it stands in `/status`.
    #[must_use]
    pub fn as_told(&self, core_sources: &[String], keys_error: Option<&(SourceState, String)>, now: Timestamp) -> SourceStatus {
        let mut row = SourceStatus::clone(&self.told);
        row.age_seconds = row.updated_at.and_then(|updated| u64::try_from(now.duration_since(updated).as_secs()).ok());
        row.state = self.state(core_sources, keys_error);
        if core_sources.contains(&row.name) {
            row.error = keys_error.map(|(_, error)| error.clone());
        }
        row
    }
}

/// What is told of a source of observations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoreRow {
    /// Names with a live observation.
    pub entries: u64,
    /// Entries that were refused.
    pub refused: u64,
    /// Last change.
    pub updated_at: Option<Timestamp>,
}

/// A source that nothing came from yet.
fn empty(name: &str) -> SourceStatus {
    SourceStatus {
        name: name.to_owned(),
        state: SourceState::Pending,
        entries: 0,
        rejected: 0,
        rejected_lines: Vec::new(),
        updated_at: None,
        serial: None,
        age_seconds: None,
        expires_at: None,
        error: None,
    }
}

/// A source of observations, which is there by itself.
#[must_use]
pub fn of_core(name: &str, row: Option<CoreRow>) -> SourceStatus {
    let CoreRow { entries, refused, updated_at } = row.unwrap_or_default();
    SourceStatus { state: SourceState::Ready, entries, rejected: refused, updated_at, ..empty(name) }
}

/// A source that tells its content. `error`: why that is none, or not the newest.
#[must_use]
pub fn of_list(name: &str, told: Option<(&Meta, Option<&Health>)>, error: Option<&str>) -> SourceStatus {
    let Some((meta, Some(health))) = told else {
        let state = if error.is_some() { SourceState::Failed } else { SourceState::Pending };
        return SourceStatus { state, error: error.map(str::to_owned), ..empty(name) };
    };
    let error = health.error.clone().or_else(|| error.map(str::to_owned));
    let held = meta.fetched_at > Timestamp::UNIX_EPOCH;
    SourceStatus {
        state: match (&error, held) {
            (None, _) => SourceState::Ready,
            (Some(_), true) if meta.entries > 0 || health.error.is_none() => SourceState::Stale,
            (Some(_), _) => SourceState::Failed,
        },
        entries: meta.entries,
        rejected: meta.rejected.count,
        rejected_lines: meta.rejected.first.iter().take(SourceStatus::MOST_REJECTED_LINES).cloned().collect(),
        updated_at: held.then_some(meta.fetched_at),
        serial: meta.serial,
        age_seconds: None,
        expires_at: health.expires_at.or(meta.expires_at),
        error,
        ..empty(name)
    }
}
