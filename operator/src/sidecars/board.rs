//! Whom to ask, and what was heard last. In memory only: after a restart everything is asked anew.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use jiff::Timestamp;
use tapir_wire::node::paths::{EDM_HTTP_PORT, POP_HTTP_PORT};
use tapir_wire::status::{SidecarStatus, SourceStatus};

/// Namespace and name of an edge.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EdgeKey {
    pub namespace: String,
    pub name: String,
}

/// One of the two sidecars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Component {
    Edm,
    Pop,
}

impl Component {
    /// Where it serves HTTP.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Self::Edm => EDM_HTTP_PORT,
            Self::Pop => POP_HTTP_PORT,
        }
    }
}

/// One sidecar of one Pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    pub pod: String,
    pub uid: String,
    pub address: IpAddr,
    pub component: Component,
}

/// The last answer of a sidecar: only what conditions are made of, so that comparing tells whether anything changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    pub revision: String,
    pub config_error: Option<String>,
    pub disabled: bool,
    pub connected: bool,
    pub core_error: Option<String>,
    pub identity_error: Option<String>,
    pub certificate_serial: Option<String>,
    pub certificate_not_after: Option<Timestamp>,
    pub sources: Sources,
}

/// What POP says of its sources. Two are the same if nothing differs that is worth a look: counts and words move all the time.
#[derive(Clone, Debug, Default)]
pub struct Sources(pub Arc<[SourceStatus]>);

impl PartialEq for Sources {
    fn eq(&self, other: &Self) -> bool {
        let same = |one: &SourceStatus, other: &SourceStatus| {
            let lines = |row: &SourceStatus| row.rejected_lines.iter().map(|line| line.line).collect::<Vec<_>>();
            (&one.name, one.state, one.rejected) == (&other.name, other.state, other.rejected) && lines(one) == lines(other)
        };
        self.0.len() == other.0.len() && self.0.iter().zip(&*other.0).all(|(one, other)| same(one, other))
    }
}

impl Eq for Sources {}

impl From<SidecarStatus> for Heard {
    fn from(status: SidecarStatus) -> Self {
        let (certificate_serial, certificate_not_after) =
            status.identity.map(|identity| (identity.certificate_serial, identity.not_after)).unzip();
        Self {
            revision: status.config.revision,
            config_error: status.config.error,
            disabled: status.config.disabled,
            connected: status.core.connected,
            core_error: status.core.error,
            identity_error: status.identity_error,
            certificate_serial,
            certificate_not_after,
            sources: Sources(status.pop.map(|pop| pop.sources).unwrap_or_default().into()),
        }
    }
}

#[derive(Debug, Default)]
struct Row {
    targets: Vec<Target>,
    wanted_revision: [Option<String>; 2],
    heard: HashMap<Target, Option<Heard>>,
    /// The last answer, also of a sidecar that has been silent since.
    last: HashMap<Target, Heard>,
    due: Option<Instant>,
}

impl Row {
    /// POPs of one edge mostly say the same of their sources, and there may be thousands of them: it is kept once.
    fn sharing(&self, mut heard: Heard) -> Heard {
        let known = self.last.values().map(|known| &known.sources.0).find(|known| ***known == *heard.sources.0);
        if let Some(known) = known {
            heard.sources.0 = Arc::clone(known);
        }
        heard
    }
}

/// Shared by reconciler and poller.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Mutex<HashMap<EdgeKey, Row>>>);

impl Board {
    /// The reconciler says whom to ask, and which revision it hopes to hear of. New targets are asked at once.
    pub fn expect(&self, edge: &EdgeKey, mut targets: Vec<Target>, wanted_revision: [Option<String>; 2]) {
        targets.sort();
        let mut rows = self.lock();
        let row = rows.entry(edge.clone()).or_default();
        if row.targets != targets || row.wanted_revision != wanted_revision {
            row.heard.retain(|target, _| targets.contains(target));
            row.last.retain(|target, _| targets.contains(target));
            row.targets = targets;
            row.wanted_revision = wanted_revision;
            row.due = None;
        }
    }

    /// An edge is gone.
    pub fn forget(&self, edge: &EdgeKey) {
        self.lock().remove(edge);
    }

    /// What was heard of a target: nothing yet, that it does not answer, or its answer.
    #[must_use]
    pub fn heard(&self, edge: &EdgeKey, target: &Target) -> Option<Option<Heard>> {
        self.lock().get(edge)?.heard.get(target).cloned()
    }

    /// The last answer of a target, also if it has been silent since.
    #[must_use]
    pub fn last(&self, edge: &EdgeKey, target: &Target) -> Option<Heard> {
        self.lock().get(edge)?.last.get(target).cloned()
    }

    /// Edges to ask now.
    pub(super) fn due(&self, now: Instant) -> Vec<(EdgeKey, Vec<Target>)> {
        let rows = self.lock();
        let due = |row: &Row| !row.targets.is_empty() && row.due.is_none_or(|due| due <= now);
        rows.iter().filter(|(_, row)| due(row)).map(|(edge, row)| (edge.clone(), row.targets.clone())).collect()
    }

    /// Takes answers down. Says whether they differ from what was known, and whether they are what the reconciler hopes for.
    pub fn took(&self, edge: &EdgeKey, answers: Vec<(Target, Option<Heard>)>) -> Taken {
        let mut rows = self.lock();
        let Some(row) = rows.get_mut(edge) else { return Taken { changed: false, as_hoped: true } };
        let mut taken = Taken { changed: false, as_hoped: true };
        for (target, answer) in answers {
            if !row.targets.contains(&target) {
                continue;
            }
            let wanted = row.wanted_revision[target.component as usize].as_ref();
            taken.as_hoped &=
                answer.as_ref().is_some_and(|heard| heard.connected && wanted.is_none_or(|wanted| *wanted == heard.revision));
            let answer = answer.map(|heard| row.sharing(heard));
            taken.changed |= row.heard.get(&target) != Some(&answer);
            if let Some(heard) = &answer {
                row.last.insert(target.clone(), heard.clone());
            }
            row.heard.insert(target, answer);
        }
        taken
    }

    /// What was heard of each POP of an edge, as [`Self::heard`] tells it; none while the edge was not looked at.
    #[must_use]
    pub fn pops(&self, edge: &EdgeKey) -> Option<Vec<(String, Option<Option<Heard>>)>> {
        let rows = self.lock();
        let row = rows.get(edge)?;
        let pops = row.targets.iter().filter(|target| target.component == Component::Pop);
        Some(pops.map(|target| (target.pod.clone(), row.heard.get(target).cloned())).collect())
    }

    pub(super) fn known(&self, edge: &EdgeKey) -> bool {
        self.lock().contains_key(edge)
    }

    pub(super) fn postpone(&self, edge: &EdgeKey, until: Instant) {
        if let Some(row) = self.lock().get_mut(edge) {
            row.due = Some(until);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<EdgeKey, Row>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Result of [`Board::took`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    pub changed: bool,
    pub as_hoped: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge() -> EdgeKey {
        EdgeKey { namespace: "dns".into(), name: "a".into() }
    }

    fn target(pod: &str) -> Target {
        Target { pod: pod.into(), uid: pod.into(), address: [127, 0, 0, 1].into(), component: Component::Edm }
    }

    fn heard(connected: bool) -> Option<Heard> {
        Some(Heard {
            revision: "r".into(),
            config_error: None,
            disabled: false,
            connected,
            core_error: None,
            identity_error: None,
            certificate_serial: None,
            certificate_not_after: None,
            sources: Sources::default(),
        })
    }

    #[test]
    fn only_changes_are_reported() {
        let board = Board::default();
        board.expect(&edge(), vec![target("p")], [None, None]);
        assert_eq!(board.took(&edge(), vec![(target("p"), heard(false))]), Taken { changed: true, as_hoped: false });
        assert_eq!(board.took(&edge(), vec![(target("p"), heard(false))]), Taken { changed: false, as_hoped: false });
        assert_eq!(board.took(&edge(), vec![(target("p"), heard(true))]), Taken { changed: true, as_hoped: true });
        assert_eq!(board.took(&edge(), vec![(target("p"), None)]), Taken { changed: true, as_hoped: false });
        assert_eq!((board.heard(&edge(), &target("p")), board.last(&edge(), &target("p"))), (Some(None), heard(true)));
    }

    #[test]
    fn counts_of_sources_are_taken_down_and_no_news() {
        let (board, target) = (Board::default(), Target { component: Component::Pop, ..target("p") });
        let with = |state: &str, entries: u64, rejected: u64| {
            let rows: Vec<SourceStatus> = serde_json::from_value(
                serde_json::json!([{"name": "core", "state": state, "entries": entries, "rejected": rejected, "error": format!("{entries}")}]),
            )
            .unwrap();
            Some(Heard { sources: Sources(rows.into()), ..heard(true).unwrap() })
        };
        board.expect(&edge(), vec![target.clone()], [None, None]);
        let took = |answer| board.took(&edge(), vec![(target.clone(), answer)]).changed;
        assert!(took(with("Ready", 1, 0)));
        assert!(!took(with("Ready", 2, 0)));
        let entries = || board.pops(&edge()).unwrap()[0].1.clone().unwrap().unwrap().sources.0[0].entries;
        assert_eq!(entries(), 2);
        assert!(took(with("Stale", 2, 0)));
        assert!(took(with("Stale", 2, 1)));
    }

    #[test]
    fn a_new_target_is_due_at_once_and_an_old_one_forgotten() {
        let board = Board::default();
        let now = Instant::now();
        board.expect(&edge(), vec![target("p")], [None, None]);
        board.took(&edge(), vec![(target("p"), heard(true))]);
        board.postpone(&edge(), now + std::time::Duration::from_secs(15));
        assert!(board.due(now).is_empty());
        board.expect(&edge(), vec![target("p")], [None, None]);
        assert!(board.due(now).is_empty());
        board.expect(&edge(), vec![target("q")], [None, None]);
        assert_eq!(board.due(now).len(), 1);
        assert_eq!(board.heard(&edge(), &target("p")), None);
    }
}
