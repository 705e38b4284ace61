//! The look at Core's configuration while nothing has changed here: Core is asked, and the API server is not.
//!
//! What Core said is remembered by its digest, with what the identity depends on at that time. The same words again are no news. Other words,
//! an answer that is none, another state of anything here, and a few hours lead to a whole round.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use kube::runtime::controller::Action;

use super::enrol::EnrolError;
use super::keeper::KeepError;
use super::round::SHORTEST;
use crate::edge::{Context, Next};
use crate::nodeman::Nodeman;
use crate::sidecars::EdgeKey;

/// After this everything is looked at, in case a watch forgot something.
const LONGEST: SignedDuration = SignedDuration::from_hours(6);

/// What Core said last of each node; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Looks(Arc<Mutex<HashMap<EdgeKey, Look>>>);

#[derive(Clone, Debug)]
struct Look {
    /// Of what the identity depends on.
    print: u64,
    since: Timestamp,
    /// Something is to be done then.
    until: Timestamp,
    said: Said,
}

/// An answer of Core.
#[derive(Clone, Debug)]
pub struct Said {
    pub nodeman: Nodeman,
    pub digest: [u8; 32],
}

impl Looks {
    /// The identity is as Core said just now, and nothing is to be done before `within` if nothing changes.
    pub fn remember(&self, edge: &EdgeKey, print: u64, said: Said, within: Option<Duration>, now: Timestamp) {
        let longest = now.saturating_add(LONGEST).unwrap_or(Timestamp::MAX);
        let until = within.and_then(|within| now.checked_add(within).ok()).map_or(longest, |until| until.min(longest));
        self.lock().insert(edge.clone(), Look { print, since: now, until, said });
    }

    /// Everything is to be looked at.
    pub fn forget(&self, edge: &EdgeKey) {
        self.lock().remove(edge);
    }

    fn get(&self, edge: &EdgeKey, print: u64, now: Timestamp) -> Option<Look> {
        let looks = self.lock();
        // A clock that was set back says nothing of how much time has passed.
        looks.get(edge).filter(|look| look.print == print && look.since <= now && now < look.until).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<EdgeKey, Look>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks Core alone. None when everything is to be looked at.
pub(super) async fn look(context: &Context, key: &EdgeKey, uid: Option<&str>, print: u64) -> Option<Action> {
    let (now, keeper) = (context.keeper.clock.now(), &context.keeper);
    let look = keeper.looks.get(key, print, now);
    // Whatever follows, it is remembered anew or not at all.
    keeper.looks.forget(key);
    let look = look?;
    let _turn = context.identities.begin(key, uid)?;
    let result = keeper.ask_again(key, &look.said.nodeman).await;
    let result = match result {
        Ok(digest) if digest == look.said.digest => Ok(()),
        // The whole round asks itself, and does what follows.
        Ok(_) => return None,
        Err(KeepError::Enrol(EnrolError::Nodeman(error))) if error.refusal().is_some() => return None,
        Err(error) => Err(error),
    };
    keeper.calls.refreshed(key, &result, Instant::now());
    match result {
        // Not asked for want of a turn, or of a lease that is long enough: that says nothing of Core.
        Ok(()) | Err(KeepError::Later(_) | KeepError::Enrol(EnrolError::Lease(_))) => {}
        Err(error) => {
            super::round::log(key, "configuration", None, &Err(error));
            return None;
        }
    }
    let left = Duration::try_from(look.until.duration_since(now)).unwrap_or_default();
    let next = keeper.calls.next(key, Instant::now()).map_or(left, |next| next.min(left)).max(SHORTEST);
    keeper.looks.lock().insert(key.clone(), look);
    let within = Some(next.saturating_sub(SHORTEST));
    context.settled_identities.remember(key, print, Next { within, quiet: true }, now);
    Some(Action::requeue(next))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tapir_plan::clock::System;
    use tapir_wire::node_name::NodeName;

    use super::*;
    use crate::nodeman::{Transports, TrustAnchors};

    #[test]
    fn a_look_is_of_one_state_and_of_a_few_hours_or_until_something_is_due() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let transport = Transports::default().get(&TrustAnchors::System).unwrap();
        let node = NodeName::parse("a.edge.test").unwrap();
        let said = Said { nodeman: Nodeman::new(transport, "https://core.test/", node, Arc::new(System)), digest: [0; 32] };
        let (looks, now) = (Looks::default(), Timestamp::now());
        let edge = EdgeKey { namespace: "dns".into(), name: "a".into() };
        let hours = |count: i64| now + SignedDuration::from_hours(count);
        let there = |print: u64, at: Timestamp| looks.get(&edge, print, at).is_some();
        looks.remember(&edge, 1, said.clone(), None, now);
        assert_eq!([there(1, now), there(1, hours(5)), there(1, hours(6))], [true, true, false]);
        assert!(!there(2, now), "something else is there now");
        assert!(!there(1, hours(-1)), "the clock was set back");
        looks.remember(&edge, 1, said, Some(Duration::from_hours(1)), now);
        assert_eq!([there(1, now), there(1, hours(1))], [true, false]);
        looks.forget(&edge);
        assert!(!there(1, now));
    }
}
