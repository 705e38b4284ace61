//! Remembers, for each identity that is there, when Core is to be asked for a certificate or its configuration again, and what came of the
//! last time. In memory: after a restart the first look at the configuration is spread over the period, so that a fleet does not ask at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use tapir_plan::retry::{Failure, pause};

use super::enrol::EnrolError;
use super::keeper::KeepError;
use super::verdict::{Verdict, verdict};
use crate::conditions::same_but_for_numbers;
use crate::nodeman::{NodemanError, Refusal};
use crate::sidecars::EdgeKey;

/// How often Core's configuration is looked at. It says itself how long it may be kept: five minutes.
pub const PERIOD: Duration = Duration::from_mins(5);
/// Pause after the first look that failed; doubles up to the period.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// Core says no in a way that time seldom heals.
const REFUSED_PAUSE: Duration = Duration::from_mins(10);

/// What a call came to that did not bring what it was for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Core knows no such node.
    Removed,
    /// Core has another data key on record for the node.
    OtherKey,
    /// The answer could not be stored, or the Secret could not be read.
    NotStored(Verdict),
    /// All else, in words.
    Failed(String),
}

/// Both calls of all edges; clones share them.
#[derive(Clone, Debug)]
pub struct Calls {
    rows: Arc<Mutex<HashMap<EdgeKey, Row>>>,
    period: Duration,
}

impl Default for Calls {
    fn default() -> Self {
        Self::every(PERIOD)
    }
}

#[derive(Clone, Debug)]
struct Row {
    inputs: String,
    renewal: Series,
    refresh: Series,
    /// How often in a row Core was not found.
    not_found: u32,
}

#[derive(Clone, Debug, Default)]
struct Series {
    failures: u32,
    next: Option<Instant>,
    trouble: Option<Trouble>,
}

/// What may be done in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    pub renewal: bool,
    pub refresh: bool,
    pub not_found: u32,
}

impl Calls {
    /// With a look at Core's configuration so often.
    #[must_use]
    pub fn every(period: Duration) -> Self {
        Self { rows: Arc::default(), period }
    }

    /// What may be done now. Other inputs than before are a reason to ask at once; so is `at_once` when nothing is known yet.
    #[must_use]
    pub fn allowed(&self, edge: &EdgeKey, inputs: &str, at_once: bool, now: Instant) -> Allowed {
        let mut rows = self.lock();
        let first = || {
            let next = if at_once { now } else { now + self.period.mul_f64(place(edge)) };
            let refresh = Series { next: Some(next), ..Series::default() };
            Row { inputs: inputs.to_owned(), renewal: Series::default(), refresh, not_found: 0 }
        };
        let row = rows.entry(edge.clone()).or_insert_with(first);
        if row.inputs != inputs {
            inputs.clone_into(&mut row.inputs);
            (row.renewal.failures, row.renewal.next) = (0, None);
            (row.refresh.failures, row.refresh.next) = (0, Some(now));
        }
        // Its time is used up by this look: whether there is anything to renew is seen in it.
        row.renewal.next = row.renewal.next.filter(|next| *next > now);
        let refresh = row.refresh.next.is_none_or(|next| next <= now);
        Allowed { renewal: row.renewal.next.is_none(), refresh, not_found: row.not_found }
    }

    /// Notes what came of a renewal.
    pub fn renewed(&self, edge: &EdgeKey, result: &Result<(), KeepError>, not_after: Timestamp, wall: Timestamp, now: Instant) {
        let next = |failures: u32, trouble: &Trouble| {
            let kind = if matches!(trouble, Trouble::Removed | Trouble::OtherKey) { Failure::Refused } else { Failure::Passing };
            pause(failures, kind, not_after, wall, rand::random())
        };
        self.note(edge, result, |row| &mut row.renewal, None, next, now);
    }

    /// Notes what came of a look at the configuration.
    pub fn refreshed(&self, edge: &EdgeKey, result: &Result<(), KeepError>, now: Instant) {
        let next = |failures: u32, trouble: &Trouble| {
            let grown = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(PERIOD);
            let refused = matches!(trouble, Trouble::Removed | Trouble::OtherKey);
            if refused { REFUSED_PAUSE } else { grown }.mul_f64(1.0 - rand::random::<f64>() / 4.0)
        };
        let period = self.period.mul_f64(0.9 + 0.2 * rand::random::<f64>());
        self.note(edge, result, |row| &mut row.refresh, Some(period), next, now);
    }

    fn note(
        &self,
        edge: &EdgeKey,
        result: &Result<(), KeepError>,
        series: fn(&mut Row) -> &mut Series,
        period: Option<Duration>,
        pause: impl Fn(u32, &Trouble) -> Duration,
        now: Instant,
    ) {
        let mut rows = self.lock();
        let Some(row) = rows.get_mut(edge) else { return };
        match result {
            Err(KeepError::Enrol(EnrolError::Nodeman(NodemanError::Unreachable(_) | NodemanError::Nonsense(_)))) => {
                row.not_found = row.not_found.saturating_add(1);
            }
            Err(KeepError::Later(_) | KeepError::Enrol(EnrolError::Lease(_))) => {}
            _ => row.not_found = 0,
        }
        let series = series(row);
        match result {
            Ok(()) => *series = Series { failures: 0, next: period.map(|period| now + period), trouble: None },
            Err(KeepError::Later(turn)) => series.next = Some(*turn),
            // A moment later the lease is long enough.
            Err(KeepError::Enrol(EnrolError::Lease(_))) => series.next = Some(now + Duration::from_secs(1)),
            Err(error) => {
                let trouble = Trouble::of(error);
                series.failures = series.failures.saturating_add(1);
                series.next = Some(now + pause(series.failures, &trouble));
                series.trouble = Some(trouble);
            }
        }
    }

    /// Another node's identity is there now, or none.
    pub fn forget(&self, edge: &EdgeKey) {
        self.lock().remove(edge);
    }

    /// What came of the last renewal and of the last look, as far as they failed.
    #[must_use]
    pub fn troubles(&self, edge: &EdgeKey) -> [Option<Trouble>; 2] {
        let rows = self.lock();
        rows.get(edge).map_or([None, None], |row| [row.renewal.trouble.clone(), row.refresh.trouble.clone()])
    }

    /// When the next look is due, and when a renewal that failed is tried again.
    #[must_use]
    pub fn next(&self, edge: &EdgeKey, now: Instant) -> Option<Duration> {
        let rows = self.lock();
        let row = rows.get(edge)?;
        // Also one whose turn came while its round went on.
        [row.renewal.next, row.refresh.next].into_iter().flatten().min().map(|next| next.saturating_duration_since(now))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<EdgeKey, Row>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Trouble {
    /// Whether it is the same trouble still.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Failed(one), Self::Failed(other)) => same_but_for_numbers(one, other),
            (one, other) => std::mem::discriminant(one) == std::mem::discriminant(other),
        }
    }

    pub(super) fn of(error: &KeepError) -> Self {
        match error {
            KeepError::Enrol(EnrolError::Nodeman(refused)) if refused.refusal() == Some(Refusal::UnknownNode) => Self::Removed,
            KeepError::Enrol(EnrolError::Nodeman(refused)) if refused.refusal() == Some(Refusal::InvalidDataSignature) => {
                Self::OtherKey
            }
            KeepError::Api(_) | KeepError::NotStored(_) => {
                verdict(error, true).map_or_else(|| Self::Failed(error.to_string()), Self::NotStored)
            }
            error => Self::Failed(verdict(error, true).map_or_else(|| error.to_string(), |verdict| verdict.message)),
        }
    }
}

/// A place within the period that is always the same for the same edge.
fn place(edge: &EdgeKey) -> f64 {
    let digest = Sha256::digest(format!("{}/{}", edge.namespace, edge.name));
    let number = digest.iter().take(4).fold(0_u32, |number, octet| (number << 8) | u32::from(*octet));
    f64::from(number) / f64::from(u32::MAX)
}

#[cfg(test)]
#[path = "calls_tests.rs"]
mod tests;
