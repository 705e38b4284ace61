//! How each part of POP is, by the names that upstream's consumers know.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tapir_wire::node::Renewal;
use tapir_wire::status::{SidecarStatus, SourceState};

use crate::feeds::Failed;
use crate::status::Trouble;

/// Where nobody says when a certificate is to be renewed: so long before its end it is late.
const LATE: SignedDuration = SignedDuration::from_hours(7 * 24);
/// A connection that is gone for so long is worth an event; shorter breaks are everyday.
const GONE: SignedDuration = SignedDuration::from_secs(60);

/// All parts that there may be.
pub(crate) const COMPONENTS: [&str; 8] =
    ["main-boot", CERTIFICATE, "mqtt-event", "mqtt-config", "rpz", "downstream-notify", "tapir-observation", "rpz-inbound"];

/// The certificate of the node.
pub(crate) const CERTIFICATE: &str = "cert-status";

/// How a part is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// As it should be.
    #[default]
    Ok,
    /// Somebody should know.
    Warn,
    /// It does not do what it is there for.
    Fail,
}

/// State, and what there is to say about it: no addresses, no names that were asked for.
pub(crate) type Part = (State, String);
/// All of them.
pub(crate) type Parts = BTreeMap<&'static str, Part>;

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
        ("main-boot", (State::Ok, format!("version {}", seen.document.version))),
        (CERTIFICATE, certificate(seen)),
        ("mqtt-event", connection(seen)),
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

/// The renewal that did not happen is the one thing that ends an edge in silence.
fn certificate(seen: &Seen<'_>) -> Part {
    let Some(identity) = &seen.document.identity else { return (State::Ok, "no certificate yet".to_owned()) };
    let (serial, end) = (&identity.certificate_serial, identity.not_after);
    if seen.now >= end {
        return (State::Fail, format!("certificate {serial} ended at {end}"));
    }
    let late = seen.renewal.map_or_else(|| end.checked_sub(LATE).unwrap_or(end), |renewal| renewal.overdue);
    if seen.now >= late {
        return (State::Warn, format!("certificate {serial} should have been renewed by {late} and ends at {end}"));
    }
    (State::Ok, format!("certificate {serial} until {end}"))
}

fn connection(seen: &Seen<'_>) -> Part {
    let core = &seen.document.core;
    let gone = || seen.now.duration_since(core.since.unwrap_or(seen.document.started_at)) >= GONE;
    if !core.connected && !seen.document.config.disabled && core.error.is_some() && gone() {
        return (State::Fail, "no connection to the broker".to_owned());
    }
    (State::Ok, String::new())
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
