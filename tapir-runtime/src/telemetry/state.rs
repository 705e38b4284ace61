//! How a part is, and how the parts are that all sidecars have.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use tapir_wire::node::Renewal;
use tapir_wire::status::SidecarStatus;

/// Where nobody says when a certificate is to be renewed: so long before its end it is late.
const LATE: SignedDuration = SignedDuration::from_hours(7 * 24);
/// A connection that is gone for so long is worth an event; shorter breaks are everyday.
const GONE: SignedDuration = SignedDuration::from_secs(60);

/// The program itself, by the name that upstream's consumers know.
pub const START: &str = "main-boot";
/// The certificate of the node.
pub const CERTIFICATE: &str = "cert-status";
/// The connection to Core's broker.
pub const BROKER: &str = "mqtt-event";

/// How a part is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// As it should be.
    #[default]
    Ok,
    /// Somebody should know.
    Warn,
    /// It does not do what it is there for.
    Fail,
}

/// State, and what there is to say about it: no addresses, no names that were asked for.
pub type Part = (State, String);
/// All of them.
pub type Parts = BTreeMap<&'static str, Part>;

/// The renewal that did not happen is the one thing that ends an edge in silence.
#[must_use]
pub fn certificate(document: &SidecarStatus, renewal: Option<Renewal>, now: Timestamp) -> Part {
    let Some(identity) = &document.identity else { return (State::Ok, "no certificate yet".to_owned()) };
    let (serial, end) = (&identity.certificate_serial, identity.not_after);
    if now >= end {
        return (State::Fail, format!("certificate {serial} ended at {end}"));
    }
    let late = renewal.map_or_else(|| end.checked_sub(LATE).unwrap_or(end), |renewal| renewal.overdue);
    if now >= late {
        return (State::Warn, format!("certificate {serial} should have been renewed by {late} and ends at {end}"));
    }
    (State::Ok, format!("certificate {serial} until {end}"))
}

/// The connection to the broker, where there should be one.
#[must_use]
pub fn connection(document: &SidecarStatus, now: Timestamp) -> Part {
    let core = &document.core;
    let gone = || now.duration_since(core.since.unwrap_or(document.started_at)) >= GONE;
    if !core.connected && !document.config.disabled && core.error.is_some() && gone() {
        return (State::Fail, "no connection to the broker".to_owned());
    }
    (State::Ok, String::new())
}
