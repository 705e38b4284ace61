//! What a failure to keep the identity means: reason and remedy, and when to try again. Pure.

use std::time::Duration;

use super::enrol::EnrolError;
use super::keeper::KeepError;
use super::plan::Blocked;
use crate::conditions::Truth;
use crate::edge::words;
use crate::nodeman::{NodemanError, Refusal};

/// How long until the next try, when nothing that is watched will tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// A watch tells: nothing gets better by asking.
    OnChange,
    /// With growing pauses of at most this, and whenever something changes.
    Look(Duration),
    /// nodeman was asked in vain: not before a pause has passed, whatever happens meanwhile. Pauses grow up to this.
    Ask(Duration),
}

/// What is to be said of a failure, and when to try again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub truth: Truth,
    pub reason: &'static str,
    pub message: String,
    pub retry: Retry,
}

/// Core may be back any moment, and no watch would tell.
const SOON: Retry = Retry::Ask(Duration::from_secs(10));
/// Somebody at Core has to act, and no watch would tell that either.
const SELDOM: Retry = Retry::Ask(Duration::from_secs(30));
/// Nobody was asked: what is in the way may be gone any moment.
const LOOK: Retry = Retry::Look(Duration::from_secs(30));

/// What a failure to keep the identity means; none where nothing was tried.
#[must_use]
pub fn verdict(error: &KeepError, enrolled_before: bool) -> Option<Verdict> {
    let message = error.to_string();
    let verdict = |reason, retry| Some(Verdict { truth: Truth::False, reason, message: message.clone(), retry });
    // A Secret that cannot be reached says nothing against a node that was enrolled.
    let truth = if enrolled_before { Truth::Unknown } else { Truth::False };
    match error {
        // The other edge may live in a namespace that is watched apart.
        KeepError::Blocked(blocked @ Blocked::CredentialsShared(_)) => verdict(blocked.into(), LOOK),
        KeepError::Blocked(blocked) => verdict(blocked.into(), Retry::OnChange),
        KeepError::Material(_) => verdict("IdentityInvalid", LOOK),
        KeepError::NotAsWritten => verdict("IdentityInvalid", SELDOM),
        KeepError::PendingEnrolled { .. } | KeepError::PendingUndecided { .. } => verdict("CredentialsChanged", SELDOM),
        KeepError::Enrol(EnrolError::CredentialsUsed(_) | EnrolError::OtherKey(_)) => verdict("CredentialsUsed", SELDOM),
        KeepError::NoAddress(_) => verdict("CredentialsMissing", LOOK),
        KeepError::Enrol(EnrolError::Request(_) | EnrolError::Signature(_)) => verdict("CredentialsInvalid", Retry::OnChange),
        KeepError::Enrol(EnrolError::Nodeman(error)) => Some(nodeman(error)),
        KeepError::Api(error) => unreachable(truth, "reading or writing the identity's Secrets", error, LOOK),
        KeepError::NotStored(error) => unreachable(truth, "storing what nodeman answered", error, SOON),
        KeepError::Contended => Some(Verdict { truth, reason: "IdentityContended", message, retry: SOON }),
        KeepError::Later(_) => Some(Verdict { truth, reason: "Pending", message, retry: LOOK }),
        KeepError::Enrol(EnrolError::Lease(_)) | KeepError::Held => None,
    }
}

/// What the identity depends on could not be looked at.
#[must_use]
pub fn unread(error: &kube::Error, enrolled_before: bool) -> Verdict {
    let truth = if enrolled_before { Truth::Unknown } else { Truth::False };
    let message = format!("fetching what the identity depends on: {}", words(error));
    Verdict { truth, reason: "ReadFailed", message, retry: LOOK }
}

#[expect(clippy::unnecessary_wraps, reason = "an arm of `verdict`")]
fn unreachable(truth: Truth, doing: &str, error: &kube::Error, retry: Retry) -> Option<Verdict> {
    Some(Verdict { truth, reason: "IdentityUnreachable", message: format!("{doing}: {}", words(error)), retry })
}

fn nodeman(error: &NodemanError) -> Verdict {
    let (reason, remedy, retry) = match error {
        NodemanError::BadAddress(_) => ("CredentialsInvalid", "correct nodeman_url in the credentials", Retry::OnChange),
        NodemanError::BadTrustAnchors(_) => {
            ("CaBundleInvalid", "put the PEM certificates of nodeman's CA where spec.core.caBundle points", Retry::OnChange)
        }
        NodemanError::Unreachable(_) => (
            "NodemanUnreachable",
            "check name resolution, network policy and proxy between the operator and nodeman, and spec.core.caBundle if its certificate is not trusted; tried again by itself",
            SOON,
        ),
        NodemanError::Nonsense(_) => (
            "NodemanNonsense",
            "check that nodeman_url in the credentials leads to Core's nodeman and to nothing before it; tried again by itself",
            SOON,
        ),
        NodemanError::Refused { refusal, .. } => {
            let retry = if refusal.is_permanent() { SELDOM } else { SOON };
            ("NodemanRefused", remedy(*refusal), retry)
        }
    };
    Verdict { truth: Truth::False, reason, message: format!("{error}: {remedy}"), retry }
}

fn remedy(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::UnknownNode => "Core has no such node or removed it; ask the operator of Core for new credentials",
        Refusal::InvalidEnrolmentSignature => {
            "the key in the credentials is not the one at Core; compare with what Core's operator sent, or ask for new ones"
        }
        Refusal::InvalidDataSignature | Refusal::NoEnrolmentKey | Refusal::AlreadyEnrolled => {
            "ask the operator of Core for credentials of a new node"
        }
        Refusal::BadRequest => "most likely the clock of this cluster is more than five minutes slow; tried again by itself",
        Refusal::LifetimeRefused | Refusal::NotActivated | Refusal::Other => {
            "report this to the operator of Core; tried again by itself"
        }
        Refusal::Temporary => "a failure at Core; tried again by itself",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::material::MaterialError;

    #[test]
    fn every_bad_input_has_its_reason() {
        let reason = |error: KeepError| verdict(&error, false).map(|verdict| verdict.reason);
        let nodeman = |error| reason(KeepError::Enrol(EnrolError::Nodeman(error)));
        assert_eq!(reason(Blocked::CredentialsMissing("x".into()).into()), Some("CredentialsMissing"));
        assert_eq!(reason(Blocked::CredentialsInvalid("x".into()).into()), Some("CredentialsInvalid"));
        assert_eq!(reason(Blocked::CredentialsShared("x".into()).into()), Some("CredentialsShared"));
        assert_eq!(reason(Blocked::IdentityLost("x".into()).into()), Some("IdentityLost"));
        assert_eq!(reason(EnrolError::CredentialsUsed("x".into()).into()), Some("CredentialsUsed"));
        assert_eq!(nodeman(NodemanError::Unreachable("x".into())), Some("NodemanUnreachable"));
        assert_eq!(nodeman(NodemanError::Nonsense("x".into())), Some("NodemanNonsense"));
        let refused = NodemanError::Refused { status: 404, detail: "Not Found".into(), refusal: Refusal::UnknownNode };
        assert_eq!(nodeman(refused), Some("NodemanRefused"));
        assert_eq!(reason(KeepError::Contended), Some("IdentityContended"));
        assert_eq!(reason(KeepError::Held), None);
    }

    #[test]
    fn only_core_itself_is_asked_again_and_again() {
        let missing = verdict(&Blocked::CredentialsMissing("x".into()).into(), false).unwrap();
        assert_eq!(missing.retry, Retry::OnChange);
        let down = verdict(&KeepError::Enrol(EnrolError::Nodeman(NodemanError::Unreachable("x".into()))), false).unwrap();
        assert_eq!(down.retry, SOON);
        assert!(down.message.contains("network policy"));
    }

    #[test]
    fn what_stands_in_the_way_holds_nothing_back() {
        let retry = |error: KeepError| verdict(&error, false).unwrap().retry;
        assert_eq!(retry(Blocked::CredentialsShared("dns/b".into()).into()), LOOK);
        assert_eq!(retry(Blocked::RescueConflict.into()), Retry::OnChange);
        assert_eq!(retry(KeepError::Material(MaterialError::Missing("tls.key"))), LOOK);
    }

    #[test]
    fn secrets_out_of_reach_say_nothing_against_an_enrolled_node() {
        let error = KeepError::Api(kube::Error::LinesCodecMaxLineLengthExceeded);
        let truth = |enrolled_before| verdict(&error, enrolled_before).map(|verdict| (verdict.truth, verdict.reason));
        assert_eq!(truth(false), Some((Truth::False, "IdentityUnreachable")));
        assert_eq!(truth(true), Some((Truth::Unknown, "IdentityUnreachable")));
    }
}
