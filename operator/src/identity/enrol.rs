//! The exchange with nodeman that turns stored keys into an identity, also when the answer to an earlier one was lost.

use jiff::Timestamp;
use tapir_wire::certificate::CertificateError;
use tapir_wire::enrolment::{Configuration, Credentials, enrolment_request, renewal_request};
use tapir_wire::jwk::JwkError;

use super::material::Keys;
use crate::failpoint::Failpoint;
use crate::leader::{Leadership, LeaseTooShort};
use crate::nodeman::{CALL_LIMIT, Issued, Nodeman, NodemanError, Refusal};
use crate::telemetry::metrics::Metrics;

/// Why there is no identity yet.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    #[error(
        "Core knows node {0} as enrolled with another data key, so these credentials are used up: restore the identity from a backup, or ask the operator of Core for a new node"
    )]
    CredentialsUsed(String),
    #[error(transparent)]
    Nodeman(#[from] NodemanError),
    #[error(transparent)]
    Lease(#[from] LeaseTooShort),
    #[error("making the certificate request: {0}")]
    Request(#[from] CertificateError),
    #[error("signing the request: {0}")]
    Signature(#[from] JwkError),
}

/// What is needed besides the keys.
#[derive(Debug)]
pub struct Exchange<'a> {
    pub nodeman: &'a Nodeman,
    pub leadership: &'a Leadership,
    pub metrics: &'a Metrics,
}

/// What pending keys of another node are worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worth {
    /// Core has them on record.
    Enrolled,
    /// Core has another data key on record, and never takes a second one: these can never become the node's.
    None,
    /// Nothing is proven. A node that is not activated may become so by an enrolment that is still under way, and one that is unknown
    /// may be so at a wrong address only.
    Undecided(Refusal),
}

impl Exchange<'_> {
    /// Enrols, or recovers an enrolment whose answer was lost: nodeman then knows the data key, so that renewal and
    /// configuration together return what enrolment did.
    ///
    /// # Errors
    /// See [`EnrolError`].
    pub async fn enrol(&self, credentials: &Credentials, keys: &Keys) -> Result<(Issued, Configuration), EnrolError> {
        Failpoint::BeforeEnrol.pass();
        let result = match self.enrol_once(credentials, keys).await {
            Err(EnrolError::Nodeman(error)) if error.refusal() == Some(Refusal::AlreadyEnrolled) => self.recover(keys).await,
            Err(EnrolError::Nodeman(error)) if error.refusal() == Some(Refusal::NoEnrolmentKey) => {
                Err(EnrolError::CredentialsUsed(credentials.name.to_string()))
            }
            other => other,
        };
        if result.is_ok() {
            Failpoint::AfterEnrol.pass();
        }
        result
    }

    /// Whether Core has a data key on record, found out by renewing with it.
    ///
    /// # Errors
    /// When nodeman does not answer the question.
    pub async fn worth(&self, keys: &Keys) -> Result<Worth, EnrolError> {
        match self.renew(keys).await {
            Ok(_) => Ok(Worth::Enrolled),
            Err(EnrolError::Nodeman(error)) => match error.refusal() {
                Some(Refusal::InvalidDataSignature) => Ok(Worth::None),
                Some(refusal @ (Refusal::UnknownNode | Refusal::NotActivated)) => Ok(Worth::Undecided(refusal)),
                _ => Err(error.into()),
            },
            Err(error) => Err(error),
        }
    }

    async fn recover(&self, keys: &Keys) -> Result<(Issued, Configuration), EnrolError> {
        tracing::info!(node = keys.data.kid(), "already enrolled: recovering with the stored data key");
        let issued = self.renew(keys).await.map_err(|error| match error {
            EnrolError::Nodeman(refused) if refused.refusal() == Some(Refusal::InvalidDataSignature) => {
                EnrolError::CredentialsUsed(keys.data.kid().to_owned())
            }
            other => other,
        })?;
        self.leadership.outlasts(CALL_LIMIT)?;
        let configuration = self.counted("configuration", self.nodeman.configuration().await)?;
        Ok((issued, configuration))
    }

    async fn enrol_once(&self, credentials: &Credentials, keys: &Keys) -> Result<(Issued, Configuration), EnrolError> {
        let csr = keys.tls.csr(&credentials.name)?;
        let request = enrolment_request(credentials, &keys.data, &csr, Timestamp::now(), None)?;
        self.leadership.outlasts(CALL_LIMIT)?;
        self.counted("enroll", self.nodeman.enrol(request, &keys.tls).await)
    }

    async fn renew(&self, keys: &Keys) -> Result<Issued, EnrolError> {
        let csr = keys.tls.csr(keys.data.node_name())?;
        let request = renewal_request(&keys.data, &csr, Timestamp::now(), None);
        self.leadership.outlasts(CALL_LIMIT)?;
        self.counted("renew", self.nodeman.renew(request, &keys.tls).await)
    }

    fn counted<T>(&self, action: &str, result: Result<T, NodemanError>) -> Result<T, EnrolError> {
        let outcome = match &result {
            Ok(_) => "Success",
            Err(NodemanError::Refused { refusal, .. }) => (*refusal).into(),
            Err(error) => error.into(),
        };
        self.metrics.called_nodeman(action, outcome);
        Ok(result?)
    }
}
