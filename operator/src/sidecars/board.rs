//! Whom to ask, and what was heard last. In memory only: after a restart everything is asked anew.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tapir_wire::node::paths::{EDM_HTTP_PORT, POP_HTTP_PORT};
use tapir_wire::status::{EventStatus, SidecarStatus, SourceStatus};

use super::incidents::Incidents;

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
    /// Both.
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::Edm, Self::Pop].into_iter()
    }

    /// Name of its container.
    #[must_use]
    pub fn container(self) -> &'static str {
        match self {
            Self::Edm => "tapir-edm",
            Self::Pop => "tapir-pop",
        }
    }

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

/// What the reconciler hopes to hear.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hope {
    /// Revision of the configuration, by component.
    pub revision: [Option<String>; 2],
    /// Serial number of the certificate.
    pub serial: Option<String>,
}

impl Hope {
    /// Whether a sidecar still works by something older. Where nothing is hoped for, nothing is older.
    #[must_use]
    pub fn is_behind(&self, component: Component, heard: &Heard) -> bool {
        let wanted = self.revision[component as usize].as_ref();
        let older = wanted.is_some_and(|wanted| *wanted != heard.revision);
        let serial = self.serial.as_ref().zip(heard.certificate_serial.as_ref());
        older || serial.is_some_and(|(wanted, found)| wanted != found)
    }
}

/// One sidecar, and what was heard of it. One entry for both, because there are ten thousand of them.
#[derive(Debug)]
struct Entry {
    target: Target,
    asked: bool,
    /// It did not answer the last time.
    silent: bool,
    /// The last answer, also of a sidecar that has been silent since.
    last: Option<Arc<Heard>>,
    /// Time of the newest exceptional event that was taken in.
    told: Option<Timestamp>,
}

impl Entry {
    fn heard(&self) -> Option<Option<Heard>> {
        self.asked.then(|| self.last.as_deref().filter(|_| !self.silent).cloned())
    }
}

#[derive(Debug, Default)]
struct Row {
    entries: Vec<Entry>,
    hope: Hope,
    due: Option<Instant>,
    /// Something is awaited: the next round comes after this pause, which grows.
    eager: Option<Duration>,
    /// The pause cannot grow further.
    calm: bool,
    epoch: u64,
    incidents: Incidents,
}

impl Row {
    /// Sidecars of one edge mostly say the same, and there may be thousands of them: it is kept once.
    fn sharing(&self, heard: &Heard) -> Arc<Heard> {
        let same = |known: &&Arc<Heard>| ***known == *heard && *known.sources.0 == *heard.sources.0;
        let known = self.entries.iter().filter_map(|entry| entry.last.as_ref()).find(same);
        known.map_or_else(|| Arc::new(heard.clone()), Arc::clone)
    }
}

/// Shared by reconciler and poller.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Mutex<HashMap<EdgeKey, Row>>>);

impl Board {
    /// The reconciler says whom to ask, and what it hopes to hear. New targets are asked at once.
    pub fn expect(&self, edge: &EdgeKey, mut targets: Vec<Target>, hope: Hope) {
        targets.sort();
        let mut rows = self.lock();
        let row = rows.entry(edge.clone()).or_default();
        if row.entries.iter().map(|entry| &entry.target).eq(&targets) && row.hope == hope {
            return;
        }
        let mut known: HashMap<Target, Entry> =
            std::mem::take(&mut row.entries).into_iter().map(|entry| (entry.target.clone(), entry)).collect();
        let entry = |target: Target| {
            known.remove(&target).unwrap_or(Entry { target, asked: false, silent: false, last: None, told: None })
        };
        row.entries = targets.into_iter().map(entry).collect();
        row.hope = hope;
        row.due = None;
        row.eager = Some(Duration::ZERO);
        row.calm = false;
    }

    /// An edge is gone.
    pub fn forget(&self, edge: &EdgeKey) {
        self.lock().remove(edge);
    }

    /// What was heard of a target: nothing yet, that it does not answer, or its answer.
    #[must_use]
    pub fn heard(&self, edge: &EdgeKey, target: &Target) -> Option<Option<Heard>> {
        self.entry(edge, target, Entry::heard)?
    }

    /// The last answer of a target, also if it has been silent since.
    #[must_use]
    pub fn last(&self, edge: &EdgeKey, target: &Target) -> Option<Heard> {
        self.entry(edge, target, |entry| entry.last.as_deref().cloned())?
    }

    /// Changes whenever something new is heard.
    #[must_use]
    pub fn epoch(&self, edge: &EdgeKey) -> u64 {
        self.lock().get(edge).map_or(0, |row| row.epoch)
    }

    /// Edges to ask now, those of which something is awaited first, and whether it is.
    pub(super) fn due(&self, now: Instant) -> Vec<Due> {
        let rows = self.lock();
        let is_due = |row: &Row| !row.entries.is_empty() && row.due.is_none_or(|due| due <= now);
        let due = rows.iter().filter(|(_, row)| is_due(row)).map(|(edge, row)| Due {
            edge: edge.clone(),
            targets: row.entries.iter().map(|entry| entry.target.clone()).collect(),
            eager: !row.calm,
            since: row.due,
        });
        let mut due: Vec<Due> = due.collect();
        due.sort_by_key(|due| (!due.eager, due.since));
        due
    }

    /// How many sidecars there are to ask in all.
    #[must_use]
    pub fn targets(&self) -> usize {
        self.lock().values().map(|row| row.entries.len()).sum()
    }

    /// Takes answers down. Says whether they differ from what was known, and whether they are what the reconciler hopes for.
    pub fn took(&self, edge: &EdgeKey, answers: Vec<(Target, Option<Heard>)>) -> Taken {
        let mut rows = self.lock();
        let Some(row) = rows.get_mut(edge) else { return Taken { changed: false, as_hoped: true } };
        let mut taken = Taken { changed: false, as_hoped: true };
        for (target, answer) in answers {
            let answer = answer.as_ref().map(|heard| row.sharing(heard));
            let Some(entry) = row.entries.iter_mut().find(|entry| entry.target == target) else { continue };
            let hoped = |heard: &Arc<Heard>| heard.connected && !row.hope.is_behind(target.component, heard);
            taken.as_hoped &= answer.as_ref().is_some_and(hoped);
            let silent = answer.is_none();
            taken.changed |= !entry.asked || entry.silent != silent || (!silent && entry.last != answer);
            entry.asked = true;
            entry.silent = silent;
            if let Some(heard) = answer {
                entry.last = Some(heard);
            }
        }
        row.epoch += u64::from(taken.changed);
        taken
    }

    /// Takes down exceptional events of a sidecar that are newer than those before, and than `since`. Says whether there are any.
    pub fn happened(&self, edge: &EdgeKey, target: &Target, events: &[EventStatus], since: Timestamp) -> bool {
        let mut rows = self.lock();
        let Some(row) = rows.get_mut(edge) else { return false };
        let Some(entry) = row.entries.iter_mut().find(|entry| entry.target == *target) else { return false };
        let any = row.incidents.take_in(&target.pod, events, entry.told.get_or_insert(since));
        row.epoch += u64::from(any);
        any
    }

    /// What happened at sidecars of an edge and was not told yet, in one note.
    #[must_use]
    pub fn take_incidents(&self, edge: &EdgeKey) -> Option<String> {
        self.lock().get_mut(edge)?.incidents.take()
    }

    /// What was heard of each POP of an edge, as [`Self::heard`] tells it; none while the edge was not looked at.
    #[must_use]
    pub fn pops(&self, edge: &EdgeKey) -> Option<Vec<(String, Option<Option<Heard>>)>> {
        let rows = self.lock();
        let pops = rows.get(edge)?.entries.iter().filter(|entry| entry.target.component == Component::Pop);
        Some(pops.map(|entry| (entry.target.pod.clone(), entry.heard())).collect())
    }

    /// When an edge is asked next: soon and then less and less often while something is awaited, calmly otherwise.
    pub(super) fn postpone(&self, edge: &EdgeKey, taken: Taken, pauses: Pauses, now: Instant) {
        let mut rows = self.lock();
        let Some(row) = rows.get_mut(edge) else { return };
        row.eager = match row.eager {
            _ if taken.as_hoped => None,
            Some(before) if !taken.changed => Some(before.mul_f64(1.5).max(pauses.eager)),
            _ => Some(pauses.eager),
        };
        // What never comes costs no more than what is well.
        row.eager = row.eager.map(|pause| pause.min(pauses.calm));
        let pause = row.eager.unwrap_or(pauses.calm);
        row.calm = pause >= pauses.calm;
        row.due = Some(now + pause.mul_f64(1.0 - rand::random::<f64>() / 4.0));
    }

    fn entry<T>(&self, edge: &EdgeKey, target: &Target, take: impl FnOnce(&Entry) -> T) -> Option<T> {
        self.lock().get(edge)?.entries.iter().find(|entry| entry.target == *target).map(take)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<EdgeKey, Row>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An edge whose sidecars are to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub edge: EdgeKey,
    pub targets: Vec<Target>,
    pub eager: bool,
    since: Option<Instant>,
}

/// Between two rounds for an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pauses {
    /// While something is awaited, at first.
    pub eager: Duration,
    /// While all is well.
    pub calm: Duration,
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

    const PAUSES: Pauses = Pauses { eager: Duration::from_secs(1), calm: Duration::from_secs(15) };

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
            certificate_serial: Some("1".into()),
            certificate_not_after: None,
            sources: Sources::default(),
        })
    }

    fn hope(revision: &str, serial: Option<&str>) -> Hope {
        Hope { revision: [Some(revision.into()), None], serial: serial.map(str::to_owned) }
    }

    #[test]
    fn only_changes_are_reported() {
        let board = Board::default();
        board.expect(&edge(), vec![target("p")], Hope::default());
        assert_eq!(board.heard(&edge(), &target("p")), None);
        assert_eq!(board.took(&edge(), vec![(target("p"), heard(false))]), Taken { changed: true, as_hoped: false });
        assert_eq!(board.took(&edge(), vec![(target("p"), heard(false))]), Taken { changed: false, as_hoped: false });
        assert_eq!(board.took(&edge(), vec![(target("p"), heard(true))]), Taken { changed: true, as_hoped: true });
        assert_eq!(board.epoch(&edge()), 2);
        assert_eq!(board.took(&edge(), vec![(target("p"), None)]), Taken { changed: true, as_hoped: false });
        assert_eq!(board.took(&edge(), vec![(target("p"), None)]), Taken { changed: false, as_hoped: false });
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
        board.expect(&edge(), vec![target.clone()], Hope::default());
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
        board.expect(&edge(), vec![target("p")], Hope::default());
        let taken = board.took(&edge(), vec![(target("p"), heard(true))]);
        board.postpone(&edge(), taken, PAUSES, now);
        assert!(board.due(now).is_empty());
        board.expect(&edge(), vec![target("p")], Hope::default());
        assert!(board.due(now).is_empty());
        board.expect(&edge(), vec![target("q")], Hope::default());
        assert!(board.due(now).len() == 1 && board.due(now)[0].eager);
        assert_eq!(board.heard(&edge(), &target("p")), None);
    }

    #[test]
    fn an_older_revision_and_an_older_certificate_are_behind() {
        let answer = heard(true).unwrap();
        assert!(!hope("r", Some("1")).is_behind(Component::Edm, &answer));
        assert!(hope("s", None).is_behind(Component::Edm, &answer) && hope("r", Some("2")).is_behind(Component::Edm, &answer));
        assert!(!hope("s", None).is_behind(Component::Pop, &answer), "nothing is hoped for");
    }

    #[test]
    fn what_is_awaited_is_asked_for_soon_and_less_and_less_often() {
        let (board, now) = (Board::default(), Instant::now());
        board.expect(&edge(), vec![target("p")], hope("s", None));
        let mut waits = Vec::new();
        for _ in 0..12 {
            let taken = board.took(&edge(), vec![(target("p"), heard(true))]);
            board.postpone(&edge(), taken, PAUSES, now);
            waits.push((1_u64..60).find(|second| !board.due(now + Duration::from_secs(*second)).is_empty()).unwrap());
        }
        // Each is up to a quarter shorter.
        assert!(waits[0] == 1 && waits[3] < waits[7] && waits[8..].iter().all(|wait| (12..=15).contains(wait)), "{waits:?}");
        assert!(!board.due(now + PAUSES.calm)[0].eager, "what never comes costs no more than what is well");
    }
}
