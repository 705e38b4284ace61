//! Edges that wait for their turn at Core. To find out what is to be asked takes half a dozen requests to the API server; while nothing has
//! changed, an edge whose turn is not yet come costs a look at the gate instead. Without that, thousands of edges that enrol together keep the
//! operator so busy with looking that they miss their turns.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::runtime::controller::Action;

use super::round::SHORTEST;
use crate::edge::Context;
use crate::sidecars::EdgeKey;

/// Who waits; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Waits(Arc<Mutex<HashMap<EdgeKey, Wait>>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wait {
    /// Of what the identity depends on.
    print: u64,
    /// Something else is to be done then.
    until: Option<Timestamp>,
}

impl Waits {
    /// An edge waits for its turn, as things stand, and at that time for nothing any more.
    pub fn remember(&self, edge: &EdgeKey, print: u64, until: Option<Timestamp>) {
        self.lock().insert(edge.clone(), Wait { print, until });
    }

    /// It waits for nothing.
    pub fn forget(&self, edge: &EdgeKey) {
        self.lock().remove(edge);
    }

    fn take(&self, edge: &EdgeKey, print: u64, now: Timestamp) -> Option<Wait> {
        self.lock().remove(edge).filter(|wait| wait.print == print && wait.until.is_none_or(|until| now < until))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<EdgeKey, Wait>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits on. None when everything is to be looked at.
pub(super) fn still(context: &Context, key: &EdgeKey, print: u64) -> Option<Action> {
    let (keeper, now) = (&context.keeper, context.keeper.clock.now());
    let wait = keeper.waits.take(key, print, now)?;
    let turn = keeper.comes(key, Instant::now())?;
    keeper.waits.remember(key, wait.print, wait.until);
    let other = wait.until.map(|until| Duration::try_from(until.duration_since(now)).unwrap_or_default());
    let next = other.into_iter().chain([turn.saturating_duration_since(Instant::now())]).min().unwrap_or_default();
    Some(Action::requeue(next.max(SHORTEST)))
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn who_waits_does_so_in_one_state_and_until_something_else_is_due() {
        let (waits, now) = (Waits::default(), Timestamp::now());
        let edge = EdgeKey { namespace: "dns".into(), name: "a".into() };
        let minutes = |count: i64| now + SignedDuration::from_mins(count);
        let waiting = |print: u64, at: Timestamp| waits.take(&edge, print, at).is_some();
        assert!(!waiting(1, now));
        waits.remember(&edge, 1, Some(minutes(5)));
        assert!(waiting(1, minutes(4)));
        waits.remember(&edge, 1, Some(minutes(5)));
        assert!(!waiting(1, minutes(5)), "something else is due");
        waits.remember(&edge, 1, None);
        assert!(!waiting(2, now), "something else is there now");
        assert!(!waiting(1, now), "and nothing is remembered of before");
    }
}
