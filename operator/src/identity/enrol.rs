//! The exchange with nodeman that turns stored keys into an identity, also when the answer to an earlier one was lost.

use tapir_plan::clock::Clock;
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
    #[error(
        "Core has another data key on record for node {0} than spec.enrollment.existingIdentitySecretRef holds: take the data key of the installation that is enrolled"
    )]
    OtherKey(String),
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
pub struct Exchange<'a> {
    pub nodeman: &'a Nodeman,
    pub leadership: &'a Leadership,
    pub metrics: &'a Metrics,
    pub clock: &'a dyn Clock,
    /// Lifetime of certificates to ask for, in seconds.
    pub lifetime: Option<u64>,
}

impl std::fmt::Debug for Exchange<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Exchange")
            .field("nodeman", &self.nodeman)
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
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

    /// Takes over a node that was enrolled elsewhere, with the data key of that installation: nodeman gives what it gives to a renewal.
    ///
    /// # Errors
    /// See [`EnrolError`].
    pub async fn adopt(&self, keys: &Keys) -> Result<(Issued, Configuration), EnrolError> {
        Failpoint::BeforeEnrol.pass();
        let result = self.recover(keys).await.map_err(|error| match error {
            EnrolError::CredentialsUsed(node) => EnrolError::OtherKey(node),
            other => other,
        });
        if result.is_ok() {
            Failpoint::AfterEnrol.pass();
        }
        result
    }

    /// Asks what Core says of the node now.
    ///
    /// # Errors
    /// See [`EnrolError`].
    pub async fn configuration(&self) -> Result<Configuration, EnrolError> {
        self.leadership.outlasts(CALL_LIMIT)?;
        self.counted("configuration", self.nodeman.configuration().await)
    }

    async fn recover(&self, keys: &Keys) -> Result<(Issued, Configuration), EnrolError> {
        tracing::info!(node = keys.data.kid(), "enrolled already: recovering with the stored data key");
        let issued = self.renew(keys).await.map_err(|error| match error {
            EnrolError::Nodeman(refused) if refused.refusal() == Some(Refusal::InvalidDataSignature) => {
                EnrolError::CredentialsUsed(keys.data.kid().to_owned())
            }
            other => other,
        })?;
        Ok((issued, self.configuration().await?))
    }

    async fn enrol_once(&self, credentials: &Credentials, keys: &Keys) -> Result<(Issued, Configuration), EnrolError> {
        let csr = keys.tls.csr(&credentials.name)?;
        let ask = async |lifetime| {
            let request = enrolment_request(credentials, &keys.data, &csr, self.clock.now(), lifetime)?;
            self.leadership.outlasts(CALL_LIMIT)?;
            self.counted("enroll", self.nodeman.enrol(request, &keys.tls).await)
        };
        match ask(self.lifetime).await {
            Err(error) if self.lifetime_refused(&error) => ask(None).await,
            other => other,
        }
    }

    /// Asks for another certificate. Never changes anything else at Core: one whose answer is lost is of no use to anybody.
    ///
    /// # Errors
    /// See [`EnrolError`].
    pub async fn renew(&self, keys: &Keys) -> Result<Issued, EnrolError> {
        let csr = keys.tls.csr(keys.data.node_name())?;
        let ask = async |lifetime| {
            let request = renewal_request(&keys.data, &csr, self.clock.now(), lifetime);
            self.leadership.outlasts(CALL_LIMIT)?;
            self.counted("renew", self.nodeman.renew(request, &keys.tls).await)
        };
        match ask(self.lifetime).await {
            Err(error) if self.lifetime_refused(&error) => ask(None).await,
            other => other,
        }
    }

    /// The CA does not grant the lifetime that was asked for. A certificate of another lifetime is better than none.
    fn lifetime_refused(&self, error: &EnrolError) -> bool {
        let refused = self.lifetime.is_some()
            && matches!(error, EnrolError::Nodeman(error) if error.refusal() == Some(Refusal::LifetimeRefused));
        if refused {
            tracing::warn!(
                seconds = self.lifetime,
                "Core's CA refuses spec.certificate.requestedLifetime: asking for its default instead; correct it, or leave it out"
            );
        }
        refused
    }

    fn counted<T>(&self, action: &str, result: Result<T, NodemanError>) -> Result<T, EnrolError> {
        let outcome = match &result {
            Ok(_) => "Success",
            Err(NodemanError::Refused { refusal, .. }) => (*refusal).into(),
            Err(error) => error.into(),
        };
        self.metrics.called_core(action, outcome);
        Ok(result?)
    }
}
