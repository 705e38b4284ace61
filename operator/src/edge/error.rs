//! Why a reconcile of an edge ended early. Variant names are metric labels and Event reasons.

use crate::apply::ApplyError;
use crate::identity::keeper::KeepError;

/// One variant a step.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
pub enum EdgeError {
    #[error("fetching what the edge refers to: {0}")]
    Dereference(#[source] kube::Error),
    #[error("keeping the identity: {0}")]
    Identity(#[source] Box<KeepError>),
    #[error("rendering the configuration: {0}")]
    Build(String),
    #[error("applying {what}: {error}")]
    Apply { what: &'static str, error: Box<ApplyError> },
    #[error("evicting a Pod: {0}")]
    Evict(#[source] kube::Error),
    #[error("touching a Pod: {0}")]
    Touch(#[source] kube::Error),
    #[error("writing the status: {0}")]
    UpdateStatus(#[source] kube::Error),
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
}
