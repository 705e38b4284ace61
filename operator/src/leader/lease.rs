//! Decisions about the lease: pure, time is passed in.
//!
//! Clocks of two machines are never compared. A candidate waits until it has itself seen the same record for as long
//! as the holder asked for; a holder counts its own term from the moment *before* it sent the write that was accepted.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

/// How long others wait after the last renewal that they saw. Twice the time limit of a call to Core, so that a call can
/// always start within a fresh term and end before anybody else begins.
pub const TERM: Duration = Duration::from_secs(30);
/// How often the holder renews: five tries in a term.
pub const RENEW_EVERY: Duration = Duration::from_secs(5);
/// How often a candidate looks.
pub const LOOK_EVERY: Duration = Duration::from_secs(3);
/// What a holder takes off its term, for the time that stopping takes and for clocks that run at different speeds.
pub const MARGIN: Duration = Duration::from_secs(3);

/// What to do next about the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is none: create it.
    Create,
    /// It is ours already, for instance from before a restart of this container: renew it.
    Renew,
    /// Its holder gave it up or fell silent: take it.
    Take,
    /// Somebody else holds it.
    Wait,
}

/// What one candidate has seen of the lease.
#[derive(Debug, Default)]
pub struct Observer {
    last: Option<Sighting>,
}

#[derive(Debug)]
struct Sighting {
    resource_version: Option<String>,
    at: Instant,
}

impl Observer {
    /// Takes a look at the lease as it is now.
    pub fn step(&mut self, lease: Option<&Lease>, me: &str, now: Instant) -> Step {
        let Some(lease) = lease else { return Step::Create };
        let resource_version = lease.metadata.resource_version.clone();
        let seen_since = match &self.last {
            Some(sighting) if sighting.resource_version == resource_version => sighting.at,
            _ => {
                self.last = Some(Sighting { resource_version, at: now });
                now
            }
        };
        let spec = lease.spec.clone().unwrap_or_default();
        match spec.holder_identity.as_deref() {
            None | Some("") => Step::Take,
            Some(holder) if holder == me => Step::Renew,
            Some(_) if now.saturating_duration_since(seen_since) >= asked_term(&spec) => Step::Take,
            Some(_) => Step::Wait,
        }
    }
}

/// The lease as `me` writes it; `current` carries the resourceVersion that makes the write conditional.
#[must_use]
pub fn held_by(me: &str, name: &str, current: Option<&Lease>, wall: Timestamp) -> Lease {
    let before = current.and_then(|lease| lease.spec.clone()).unwrap_or_default();
    let continues = before.holder_identity.as_deref() == Some(me);
    let transitions = before.lease_transitions.unwrap_or(0);
    Lease {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            resource_version: current.and_then(|lease| lease.metadata.resource_version.clone()),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(me.to_owned()),
            lease_duration_seconds: i32::try_from(TERM.as_secs()).ok(),
            acquire_time: before.acquire_time.filter(|_| continues).or(Some(MicroTime(wall))),
            renew_time: Some(MicroTime(wall)),
            lease_transitions: Some(if continues || current.is_none() { transitions } else { transitions.saturating_add(1) }),
            ..LeaseSpec::default()
        }),
    }
}

/// The lease as its holder gives it up, so that a successor need not wait.
#[must_use]
pub fn released(current: &Lease) -> Lease {
    let mut lease = current.clone();
    if let Some(spec) = &mut lease.spec {
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
    }
    lease.metadata.managed_fields = None;
    lease
}

fn asked_term(spec: &LeaseSpec) -> Duration {
    let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    seconds.map_or(TERM, Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: &str, version: &str) -> Lease {
        let mut lease = held_by(holder, "tapir-operator", None, Timestamp::UNIX_EPOCH);
        lease.metadata.resource_version = Some(version.to_owned());
        lease
    }

    #[test]
    fn an_absent_lease_is_created() {
        assert_eq!(Observer::default().step(None, "me", Instant::now()), Step::Create);
    }

    #[test]
    fn a_released_lease_is_taken_at_once() {
        let released = released(&lease("other", "1"));
        assert_eq!(Observer::default().step(Some(&released), "me", Instant::now()), Step::Take);
    }

    #[test]
    fn our_own_lease_is_renewed_at_once() {
        assert_eq!(Observer::default().step(Some(&lease("me", "1")), "me", Instant::now()), Step::Renew);
    }

    #[test]
    fn a_silent_holder_is_replaced_after_a_term_that_we_saw_ourselves() {
        let mut observer = Observer::default();
        let start = Instant::now();
        // The times in the record are of 1970: they must not count.
        assert_eq!(observer.step(Some(&lease("other", "1")), "me", start), Step::Wait);
        assert_eq!(observer.step(Some(&lease("other", "1")), "me", start + TERM - Duration::from_millis(1)), Step::Wait);
        assert_eq!(observer.step(Some(&lease("other", "1")), "me", start + TERM), Step::Take);
    }

    #[test]
    fn each_renewal_starts_the_wait_anew() {
        let mut observer = Observer::default();
        let start = Instant::now();
        assert_eq!(observer.step(Some(&lease("other", "1")), "me", start), Step::Wait);
        assert_eq!(observer.step(Some(&lease("other", "2")), "me", start + TERM), Step::Wait);
        assert_eq!(observer.step(Some(&lease("other", "2")), "me", start + TERM + TERM), Step::Take);
    }

    #[test]
    fn every_write_is_conditional_on_what_was_read() {
        let taken = held_by("me", "tapir-operator", Some(&lease("other", "17")), Timestamp::UNIX_EPOCH);
        assert_eq!(taken.metadata.resource_version.as_deref(), Some("17"));
        assert_eq!(taken.spec.unwrap().lease_transitions, Some(1));
        let renewed = held_by("me", "tapir-operator", Some(&lease("me", "18")), Timestamp::UNIX_EPOCH);
        assert_eq!(renewed.spec.unwrap().lease_transitions, Some(0));
    }
}
