//! Who has its turn, among all edges of this operator. In the leader only; after a restart it is learnt anew from what is written of the edges.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tapir_plan::fleet::{EdgeRollout, Fleet, permissions};
use tapir_plan::rollout::{Permission, Phase, Reason};

use crate::cache::Queue;
use crate::sidecars::EdgeKey;

/// All edges. One mutex: two that ask at the same time do not both get the last place.
#[derive(Debug, Default)]
pub struct Ledger {
    rows: Mutex<Rows>,
    /// Edges whose turn has come.
    news: Queue<EdgeKey>,
}

#[derive(Debug, Default)]
struct Rows {
    known: bool,
    edges: BTreeMap<EdgeKey, EdgeRollout>,
    /// Those that were told to wait.
    waiting: BTreeMap<EdgeKey, Reason>,
    epochs: BTreeMap<EdgeKey, u64>,
}

impl Ledger {
    /// Knows nobody yet.
    #[must_use]
    pub fn new(news: Queue<EdgeKey>) -> Self {
        Self { news, ..Self::default() }
    }

    /// Changes when the turn of an edge has come.
    #[must_use]
    pub fn epoch(&self, edge: &EdgeKey) -> u64 {
        self.lock().epochs.get(edge).copied().unwrap_or_default()
    }

    /// Whether an edge was told to wait for its turn.
    #[must_use]
    pub fn is_waiting(&self, edge: &EdgeKey) -> bool {
        self.lock().waiting.contains_key(edge)
    }

    /// Edges as they are written. What was noted before is newer.
    pub fn learn(&self, edges: impl IntoIterator<Item = (EdgeKey, EdgeRollout)>) {
        let mut rows = self.lock();
        for (key, row) in edges {
            rows.edges.entry(key).or_insert(row);
        }
    }

    /// There are no others.
    pub fn all_known(&self) {
        self.lock().known = true;
    }

    /// Takes down how an edge stands and says whether it has its turn. Nobody has one before all edges are known: a canary might be among
    /// them.
    pub fn ask(&self, key: &EdgeKey, row: EdgeRollout, fleet: Fleet, now: Timestamp) -> Permission {
        let mut rows = self.lock();
        let rows = &mut *rows;
        if !rows.known {
            return Permission::Withheld(Reason::OtherEdgesFirst);
        }
        let wants = row.wants;
        rows.edges.insert(key.clone(), row);
        let mut all = permissions(&rows.edges, fleet, now);
        let permission = all.remove(key).unwrap_or(Permission::Granted);
        match &permission {
            // It has begun, as far as others are concerned.
            Permission::Granted if wants => {
                rows.waiting.remove(key);
                if let Some(row) = rows.edges.get_mut(key) {
                    row.phase = Phase::Rolling;
                }
            }
            Permission::Granted => {
                rows.waiting.remove(key);
            }
            Permission::Withheld(reason) => {
                rows.waiting.insert(key.clone(), *reason);
            }
        }
        permission
    }

    /// How an edge stands after its round. Others may have their turn now.
    pub fn note(&self, key: &EdgeKey, row: EdgeRollout, fleet: Fleet, now: Timestamp) {
        let mut rows = self.lock();
        let rows = &mut *rows;
        rows.edges.insert(key.clone(), row);
        self.tell(rows, fleet, now);
    }

    /// An edge is gone, or stands aside.
    pub fn forget(&self, key: &EdgeKey, fleet: Fleet, now: Timestamp) {
        let mut rows = self.lock();
        let rows = &mut *rows;
        rows.edges.remove(key);
        rows.waiting.remove(key);
        rows.epochs.remove(key);
        self.tell(rows, fleet, now);
    }

    /// Tells those that were told to wait and need not any more, or for another reason.
    fn tell(&self, rows: &mut Rows, fleet: Fleet, now: Timestamp) {
        if rows.waiting.is_empty() {
            return;
        }
        let all = permissions(&rows.edges, fleet, now);
        let changed = |(key, reason): &(EdgeKey, Reason)| all.get(key) != Some(&Permission::Withheld(*reason));
        let waiting = std::mem::take(&mut rows.waiting);
        let (told, waiting): (Vec<_>, Vec<_>) = waiting.into_iter().partition(changed);
        rows.waiting = waiting.into_iter().collect();
        for (key, _) in told {
            *rows.epochs.entry(key.clone()).or_default() += 1;
            self.news.push(key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tapir_plan::rollout::Images;

    use super::*;

    const FLEET: Fleet = Fleet { max_concurrent: 1, soak: Duration::from_mins(10) };

    fn key(name: &str) -> EdgeKey {
        EdgeKey { namespace: "dns".into(), name: name.into() }
    }

    fn row(phase: Phase) -> EdgeRollout {
        let images = Images { edm: None, pop: Some("pop:2".into()) };
        EdgeRollout {
            canary: false,
            target: images.clone(),
            news: images,
            phase,
            settled: phase == Phase::Current,
            soaked_since: None,
            wants: phase == Phase::Waiting || phase == Phase::Rolling,
        }
    }

    fn ask(ledger: &Ledger, name: &str) -> Permission {
        ledger.ask(&key(name), row(Phase::Waiting), FLEET, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn nobody_has_a_turn_before_all_are_known() {
        let ledger = Ledger::default();
        assert_ne!(ask(&ledger, "a"), Permission::Granted);
        ledger.all_known();
        assert_eq!(ask(&ledger, "a"), Permission::Granted);
    }

    #[test]
    fn the_last_place_is_given_once_and_the_next_is_told() {
        let ledger = Ledger::default();
        ledger.learn([(key("b"), row(Phase::Rolling))]);
        ledger.all_known();
        assert_eq!(ask(&ledger, "a"), Permission::Withheld(Reason::OtherEdgesFirst), "one has begun before the restart");
        assert_eq!(ask(&ledger, "c"), Permission::Withheld(Reason::OtherEdgesFirst));
        ledger.note(&key("b"), row(Phase::Current), FLEET, Timestamp::UNIX_EPOCH);
        assert_eq!((ledger.news.take(), ledger.epoch(&key("a"))), (vec![key("a")], 1));
        assert_eq!(ask(&ledger, "a"), Permission::Granted);
        assert_eq!(ask(&ledger, "c"), Permission::Withheld(Reason::OtherEdgesFirst), "nothing is written of a's yet");
        ledger.forget(&key("a"), FLEET, Timestamp::UNIX_EPOCH);
        assert_eq!(ledger.news.take(), [key("c")]);
    }

    #[test]
    fn a_halt_is_told_to_those_that_wait() {
        let ledger = Ledger::default();
        ledger.learn([(key("b"), row(Phase::Rolling))]);
        ledger.all_known();
        assert_eq!(ask(&ledger, "c"), Permission::Withheld(Reason::OtherEdgesFirst));
        ledger.note(&key("b"), row(Phase::Halted), FLEET, Timestamp::UNIX_EPOCH);
        assert_eq!(ledger.epoch(&key("c")), 1);
        assert_eq!(ask(&ledger, "c"), Permission::Withheld(Reason::FleetHalted));
    }
}
