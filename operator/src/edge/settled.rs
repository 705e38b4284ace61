//! Which edges need nothing: those whose last round left nothing to do, failed nowhere, and of whose inputs none has changed since.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::sidecars::EdgeKey;

/// Even what needs nothing is compared with reality now and then, in case a watch forgot something.
const FORCED: Duration = Duration::from_hours(1);

/// What is remembered; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Settled(Arc<Mutex<HashMap<EdgeKey, Record>>>);

#[derive(Clone, Copy, Debug)]
struct Record {
    print: u64,
    since: Timestamp,
    until: Timestamp,
    quiet: bool,
}

/// What comes after a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    /// When to look again although nothing changes.
    pub within: Option<Duration>,
    /// Nothing is awaited.
    pub quiet: bool,
}

impl Settled {
    /// How long an edge still needs nothing, if its inputs are what they were.
    #[must_use]
    pub fn holds(&self, edge: &EdgeKey, print: u64, now: Timestamp) -> Option<Duration> {
        let record = *self.lock().get(edge)?;
        // A clock that was set back says nothing of how much time has passed.
        let holds = record.print == print && record.since <= now && record.until > now;
        holds.then(|| Duration::try_from(record.until.duration_since(now)).unwrap_or_default())
    }

    /// After a round nothing is left to do. `print` is of what was known before it began, so that what changed meanwhile shows. Gives the
    /// time of the next look.
    pub fn remember(&self, edge: &EdgeKey, print: u64, Next { within, quiet }: Next, now: Timestamp) -> Duration {
        // Edges that started together do not look together for ever.
        let forced = FORCED.mul_f64(0.9 + rand::random::<f64>() / 5.0);
        let pause = within.map_or(forced, |within| within.min(forced));
        let until = now.checked_add(pause).unwrap_or(now);
        self.lock().insert(edge.clone(), Record { print, since: now, until, quiet });
        pause
    }

    /// Something is to be done, or the edge is gone.
    pub fn forget(&self, edge: &EdgeKey) {
        self.lock().remove(edge);
    }

    /// How many edges need nothing and await nothing.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().values().filter(|record| record.quiet).count()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<EdgeKey, Record>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet(within: Option<Duration>) -> Next {
        Next { within, quiet: true }
    }

    #[test]
    fn settled_is_who_has_the_same_inputs_and_no_date() {
        let (settled, now) = (Settled::default(), Timestamp::now());
        let edge = EdgeKey { namespace: "dns".into(), name: "a".into() };
        assert_eq!(settled.holds(&edge, 1, now), None);
        let pause = settled.remember(&edge, 1, quiet(None), now);
        assert!(pause >= FORCED.mul_f64(0.9) && pause <= FORCED.mul_f64(1.1));
        assert_eq!(settled.holds(&edge, 1, now), Some(pause));
        assert_eq!(settled.holds(&edge, 1, now - Duration::from_secs(1)), None, "the clock was set back");
        assert_eq!(settled.holds(&edge, 2, now), None);
        assert_eq!(settled.holds(&edge, 1, now + pause), None);
        assert_eq!(settled.remember(&edge, 1, quiet(Some(Duration::from_secs(5))), now), Duration::from_secs(5));
        assert_eq!(settled.count(), 1);
        settled.remember(&edge, 1, Next { within: None, quiet: false }, now);
        assert!(settled.holds(&edge, 1, now).is_some() && settled.count() == 0, "something is awaited still");
        settled.forget(&edge);
        assert_eq!((settled.holds(&edge, 1, now), settled.count()), (None, 0));
    }
}
