//! How each part of POP is, by the names that upstream's consumers know.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use tapir_runtime::telemetry::{BROKER, CERTIFICATE, Part, Parts, START, State, certificate, connection};
use tapir_wire::node::Renewal;
use tapir_wire::status::{SidecarStatus, SourceState};

use crate::feeds::Failed;
use crate::status::Trouble;

/// All parts that there may be.
pub(crate) const COMPONENTS: [&str; 8] =
    [START, CERTIFICATE, BROKER, "mqtt-config", "rpz", "downstream-notify", "tapir-observation", "rpz-inbound"];

/// What is looked at.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) document: &'a SidecarStatus,
    pub(crate) core_sources: &'a [String],
    /// What became of attempts to have each source.
    pub(crate) at_fault: &'a BTreeMap<Arc<str>, Failed>,
    pub(crate) troubles: &'a BTreeMap<Trouble, String>,
    pub(crate) renewal: Option<Renewal>,
    /// A NOTIFY was given up not long ago.
    pub(crate) gave_up: bool,
    pub(crate) now: Timestamp,
}

/// How each part is.
pub(crate) fn parts(seen: &Seen<'_>) -> Parts {
    let mut parts = Parts::from([
        (START, (State::Ok, format!("version {}", seen.document.version))),
        (CERTIFICATE, certificate(seen.document, seen.renewal, seen.now)),
        (BROKER, connection(seen.document, seen.now)),
        ("rpz", zone(seen)),
        ("downstream-notify", notifies(seen)),
    ]);
    let sources = seen.document.pop.as_ref().map(|pop| pop.sources.as_slice()).unwrap_or_default();
    for (part, of_core) in [("tapir-observation", true), ("rpz-inbound", false)] {
        let worst = |state: SourceState| {
            sources.iter().find(|row| row.state == state && seen.core_sources.contains(&row.name) == of_core)
        };
        let ours = |name: &&str| seen.core_sources.iter().any(|source| source == name) == of_core;
        let faulty = seen.at_fault.iter().filter(|(_, failed)| failed.is_at_fault).map(|(name, _)| &**name).filter(ours);
        let faulty = faulty.collect::<Vec<_>>().join(", ");
        let said = match (worst(SourceState::Failed), worst(SourceState::Stale)) {
            _ if !faulty.is_empty() => {
                (State::Fail, format!("what source {faulty} has made POP panic; what it held before stays"))
            }
            (Some(row), _) => (State::Fail, format!("source {} holds nothing", row.name)),
            (None, Some(row)) => (State::Warn, format!("source {} cannot take what is newer", row.name)),
            (None, None) => (State::Ok, String::new()),
        };
        parts.insert(part, said);
    }
    if let Some(settings) = seen.document.pop.as_ref().and_then(|pop| pop.core_settings.as_ref()) {
        let said = settings
            .error
            .as_ref()
            .map_or((State::Ok, format!("version {}", settings.version)), |error| (State::Warn, error.clone()));
        parts.insert("mqtt-config", said);
    }
    parts
}

fn zone(seen: &Seen<'_>) -> Part {
    // The texts have paths and addresses in them; who is told has no business with these.
    let what = |trouble: &Trouble| match trouble {
        Trouble::Listen => "the zone is not served at one of its addresses",
        Trouble::Kept => "kept state could not be read",
        Trouble::Disk => "state cannot be written",
        Trouble::ZoneFile => "the file of the zone cannot be written",
        Trouble::LocalData => "more different local data is asked for than the zone has room for",
        Trouble::Unserved | Trouble::Telemetry => "something that the configuration asks for cannot be had",
    };
    let state = |trouble: &Trouble| if matches!(trouble, Trouble::Listen | Trouble::Disk) { State::Fail } else { State::Warn };
    let worst = seen.troubles.keys().max_by_key(|trouble| state(trouble));
    worst.map_or((State::Ok, String::new()), |trouble| (state(trouble), what(trouble).to_owned()))
}

fn notifies(seen: &Seen<'_>) -> Part {
    if seen.gave_up {
        (State::Warn, "a resolver does not acknowledge what it is told".to_owned())
    } else {
        (State::Ok, String::new())
    }
}
