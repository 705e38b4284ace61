//! Why a reconcile of an edge failed, in whole or in part. Variant names are metric labels.

use crate::apply::ApplyError;
use crate::identity::keeper::KeepError;
use crate::rollout::RolloutError;

/// Longest part of the API server's words that a condition repeats: a message has room for 1024 characters, and for the remedy too.
const LONGEST_WORDS: usize = 600;

/// Reason of a condition, and its message with the remedy.
pub(super) type Said = (&'static str, String);

/// One variant a step.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
pub enum EdgeError {
    #[error("fetching what the edge refers to: {0}")]
    Dereference(#[source] kube::Error),
    #[error("listing the Pods of the edge: {0}")]
    ListPods(#[source] kube::Error),
    #[error("keeping the identity: {0}")]
    Identity(#[source] Box<KeepError>),
    #[error("rendering the configuration: {0}")]
    Build(String),
    #[error("applying {what}: {error}")]
    Apply { what: &'static str, error: Box<ApplyError> },
    #[error("evicting a Pod: {0}")]
    Evict(#[source] kube::Error),
    #[error("rolling out images: {0}")]
    Rollout(#[source] RolloutError),
    #[error("touching a Pod: {0}")]
    Touch(#[source] kube::Error),
    #[error("writing the status: {0}")]
    UpdateStatus(#[source] kube::Error),
    #[error("writing the finalizer of the edge: {0}")]
    Finalizer(#[source] kube::Error),
    #[error("offboarding: {0}")]
    Offboard(#[source] kube::Error),
    #[error("the edge is malformed: {0}")]
    Malformed(String),
}

impl EdgeError {
    /// Label in metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.into()
    }

    /// What a condition says of it. None for what nobody can be told or need be told: a status that cannot be written, an edge that cannot
    /// be read, a version or a lease that the next round will have.
    #[must_use]
    pub(super) fn said(&self) -> Option<Said> {
        match self {
            Self::Dereference(error) => told("ReadFailed", "fetching what the edge refers to", error),
            Self::ListPods(error) => told("ReadFailed", "listing the Pods of the edge", error),
            Self::Apply { what, error } => match &**error {
                ApplyError::Api(error) => told("ApplyFailed", &format!("applying {what}"), error),
                error => Some(("ApplyFailed", format!("applying {what}: {error}"))),
            },
            Self::Evict(error) => {
                told("EvictionFailed", "evicting a Pod that was created without its sidecars, to have it injected", error)
            }
            Self::Rollout(RolloutError::Evict(error)) => told("EvictionFailed", "evicting a Pod, to have it created anew", error),
            Self::Rollout(error) => told("UpdatePending", "rolling out images", error.cause()),
            Self::Touch(error) => {
                told("TouchFailed", "touching Pods so that they get the new configuration at once and not within minutes", error)
            }
            Self::Finalizer(error) => told("FinalizerFailed", "writing the finalizer of this edge", error),
            Self::Offboard(error) => told("OffboardFailed", "offboarding", error),
            Self::Build(error) => Some(("ConfigurationInvalid", error.clone())),
            Self::Identity(error) => match &**error {
                KeepError::Api(error) => told("IdentityUnreachable", "reading or writing the identity's Secrets", error),
                KeepError::Blocked(blocked) => Some((blocked.into(), blocked.to_string())),
                _ => None,
            },
            Self::UpdateStatus(_) | Self::Malformed(_) => None,
        }
    }
}

fn told(reason: &'static str, doing: &str, error: &kube::Error) -> Option<Said> {
    // Somebody else wrote at the same time: what was written comes back as an event, and the next round succeeds.
    let conflict = matches!(error, kube::Error::Api(status) if status.code == 409);
    (!conflict).then(|| (reason, format!("{doing}: {}", words(error))))
}

/// The API server's own words on one line, and the remedy.
#[must_use]
pub(crate) fn words(error: &kube::Error) -> String {
    let (said, remedy) = match error {
        kube::Error::Api(status) => (
            status.message.clone(),
            match status.code {
                401 | 403 => "grant the operator what its chart grants, or lift the quota or admission rule that is named",
                429 | 500.. => "look at the API server and the admission webhook that is named",
                _ => "correct what the API server objects to",
            },
        ),
        other => (other.to_string(), "look at the API server and the way from the operator to it"),
    };
    let said: String = said.chars().filter(|character| !character.is_control()).take(LONGEST_WORDS).collect();
    format!("{said}: {remedy}; tried again by itself")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16, message: &str) -> kube::Error {
        let status = serde_json::json!({"code": code, "message": message, "reason": "R", "status": "Failure"});
        kube::Error::Api(Box::new(serde_json::from_value(status).unwrap()))
    }

    #[test]
    fn the_server_s_words_and_the_remedy_are_passed_on() {
        let (reason, message) = EdgeError::Evict(refused(403, "pods \"p\" is forbidden\n")).said().unwrap();
        assert_eq!(reason, "EvictionFailed");
        assert!(message.contains("pods \"p\" is forbidden:") && message.contains("grant the operator"), "{message}");
        let long = refused(500, &"x".repeat(5000));
        assert!(EdgeError::Touch(long).said().unwrap().1.contains("admission webhook"));
    }

    #[test]
    fn a_conflict_is_no_finding() {
        assert_eq!(EdgeError::Finalizer(refused(409, "the object has been modified")).said(), None);
    }
}
