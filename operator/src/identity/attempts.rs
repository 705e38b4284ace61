//! Remembers failed attempts at nodeman, so that events of all kinds may reconcile an edge without each asking Core again.
//! A change of what it depends on is a new attempt at once, and only asking in vain is held back: whatever else stands in the way is looked
//! at in every round.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use super::keeper::CredentialsFound;
use super::verdict::{Retry, Verdict};
use crate::nodeman::TrustAnchors;
use crate::sidecars::EdgeKey;

/// Pause after the first failure; doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// What an attempt depends on: when any of it changes, there is no reason to wait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    named: String,
    /// Edge with the same credentials that goes first.
    pub shared_with: Option<String>,
    /// The Secret with the keys that are to be enrolled.
    pub pending: Option<String>,
}

impl Inputs {
    /// From credentials and trust anchors; the rest is to be looked up.
    #[must_use]
    pub fn of(credentials: &CredentialsFound, anchors: Option<&TrustAnchors>) -> Self {
        let anchors = match anchors {
            Some(TrustAnchors::Bundle(pem)) => hex::encode(Sha256::digest(pem.as_bytes())),
            Some(TrustAnchors::System) => "system".to_owned(),
            None => "none".to_owned(),
        };
        let named = match credentials {
            CredentialsFound::Valid { fingerprint, nodeman_url, .. } => format!("{fingerprint} {nodeman_url} {anchors}"),
            CredentialsFound::Existing(existing) => format!("{} {} {anchors}", existing.fingerprint(), existing.nodeman_url),
            CredentialsFound::Missing { .. } | CredentialsFound::Invalid { .. } => anchors,
        };
        Self { named, ..Self::default() }
    }

    /// And what people asked for by annotation: a new value is a reason to try at once.
    #[must_use]
    pub fn asked<'a>(mut self, values: impl IntoIterator<Item = Option<&'a String>>) -> Self {
        for value in values {
            self.named.push(' ');
            self.named.push_str(value.map_or("", String::as_str));
        }
        self
    }

    /// All that was named.
    #[must_use]
    pub fn named(&self) -> &str {
        &self.named
    }
}

/// Attempts of all edges; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Attempts(Arc<Mutex<HashMap<EdgeKey, Attempt>>>);

#[derive(Clone, Debug)]
struct Attempt {
    /// nodeman was asked, and is not to be asked again before `next`.
    asked: bool,
    inputs: Inputs,
    failures: u32,
    next: Instant,
    verdict: Verdict,
}

impl Attempts {
    /// The verdict of the last attempt with the same inputs, if it is not time for another one, and how long until then.
    #[must_use]
    pub fn held(&self, edge: &EdgeKey, inputs: &Inputs, now: Instant) -> Option<(Verdict, Duration)> {
        let attempts = self.lock();
        let attempt = attempts.get(edge).filter(|attempt| attempt.holds(inputs, now))?;
        Some((attempt.verdict.clone(), attempt.next.saturating_duration_since(now)))
    }

    /// An attempt failed. Says when the next one is due; none when only a change can help.
    pub fn failed(&self, edge: &EdgeKey, inputs: &Inputs, verdict: &Verdict, now: Instant) -> Option<Duration> {
        let (asked, longest) = match verdict.retry {
            Retry::OnChange => {
                self.forget(edge);
                return None;
            }
            Retry::Look(longest) => (false, longest),
            Retry::Ask(longest) => (true, longest),
        };
        let mut attempts = self.lock();
        let before = attempts.get(edge).filter(|attempt| attempt.inputs == *inputs);
        if let Some(held) = before.filter(|before| !asked && before.holds(inputs, now)) {
            // nodeman is left alone as long as it was to be.
            return Some(held.next.saturating_duration_since(now).min(longest));
        }
        let before = before.map_or(0, |attempt| attempt.failures);
        let pause = jittered(FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(before)).min(longest));
        let attempt = Attempt {
            asked,
            inputs: inputs.clone(),
            failures: before.saturating_add(1),
            next: now + pause,
            verdict: verdict.clone(),
        };
        attempts.insert(edge.clone(), attempt);
        Some(pause)
    }

    /// Whether any attempt of this edge is remembered.
    #[must_use]
    pub fn remembered(&self, edge: &EdgeKey) -> bool {
        self.lock().contains_key(edge)
    }

    /// It worked, or the edge is gone.
    pub fn forget(&self, edge: &EdgeKey) {
        self.lock().remove(edge);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<EdgeKey, Attempt>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt {
    fn holds(&self, inputs: &Inputs, now: Instant) -> bool {
        self.asked && self.inputs == *inputs && self.next > now
    }
}

/// Up to a quarter less, so that edges do not ask in step.
pub(super) fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(1.0 - rand::random::<f64>() / 4.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge() -> EdgeKey {
        EdgeKey { namespace: "dns".into(), name: "a".into() }
    }

    fn named(text: &str) -> Inputs {
        Inputs { named: text.to_owned(), ..Inputs::default() }
    }

    fn verdict(retry: Retry) -> Verdict {
        Verdict { truth: crate::conditions::Truth::False, reason: "NodemanUnreachable", message: String::new(), retry }
    }

    #[test]
    fn pauses_grow_to_their_bound_and_new_inputs_wait_for_nothing() {
        let attempts = Attempts::default();
        let now = Instant::now();
        let bound = Duration::from_secs(30);
        let pauses: Vec<Duration> =
            (0..10).filter_map(|_| attempts.failed(&edge(), &named("a"), &verdict(Retry::Ask(bound)), now)).collect();
        assert!(pauses[0] <= FIRST_PAUSE && pauses[3] > pauses[0] && pauses[9] <= bound && pauses[9] >= bound / 2, "{pauses:?}");
        assert!(attempts.held(&edge(), &named("a"), now).is_some());
        assert!(attempts.held(&edge(), &named("b"), now).is_none());
        assert!(attempts.held(&edge(), &named("a"), now + bound).is_none());
        attempts.forget(&edge());
        assert!(attempts.held(&edge(), &named("a"), now).is_none());
    }

    #[test]
    fn only_asking_in_vain_holds_and_looking_does_not_end_it() {
        let (attempts, now, bound) = (Attempts::default(), Instant::now(), Duration::from_secs(30));
        assert!(attempts.failed(&edge(), &named("a"), &verdict(Retry::Look(bound)), now).is_some());
        assert!(attempts.held(&edge(), &named("a"), now).is_none());
        attempts.failed(&edge(), &named("a"), &verdict(Retry::Ask(bound)), now);
        attempts.failed(&edge(), &named("a"), &verdict(Retry::Look(bound)), now);
        assert!(attempts.held(&edge(), &named("a"), now).is_some());
    }

    #[test]
    fn every_input_ends_a_hold() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let tried = Inputs { shared_with: None, pending: Some("uid".into()), ..named("a") };
        attempts.failed(&edge(), &tried, &verdict(Retry::Ask(Duration::from_mins(5))), now);
        assert!(attempts.held(&edge(), &tried, now).is_some());
        let shared = Inputs { shared_with: Some("dns/b".into()), ..tried.clone() };
        let moved = Inputs { pending: None, ..tried };
        assert!(attempts.held(&edge(), &shared, now).is_none() && attempts.held(&edge(), &moved, now).is_none());
    }

    #[test]
    fn what_only_a_change_can_help_is_not_repeated() {
        assert_eq!(Attempts::default().failed(&edge(), &named("a"), &verdict(Retry::OnChange), Instant::now()), None);
    }
}
